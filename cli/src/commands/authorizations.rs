//! Tokens: make, list, revoke.

use crate::context::Context;
use crate::fail::Result;
use crate::progress::Progress;
use crate::{output, time};
use clap::Args;
use hokku_model::api;
use reqwest::Method;

/// List your tokens
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app authorizations\n  $ app authorizations --json")]
pub struct List {
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

impl List {
    /// Prints what each is for; never the secrets.
    pub fn run(self, cx: &Context) -> Result<()> {
        let mut list: Vec<api::Authorization> = cx.client()?.list(&["oauth", "authorizations"])?;
        list.sort_by(|a, b| {
            a.description
                .cmp(&b.description)
                .then_with(|| a.created_at.cmp(&b.created_at))
        });
        if self.json {
            return output::json(&list);
        }
        if list.is_empty() {
            output::line("No authorizations.");
            return Ok(());
        }
        let rows: Vec<Vec<String>> = list
            .iter()
            .map(|a| {
                vec![
                    a.description.clone(),
                    a.id.clone(),
                    a.user.email.clone(),
                    time::ago(&a.created_at),
                ]
            })
            .collect();
        output::print(&output::plain_table(&rows));
        Ok(())
    }
}

/// Make a token, for another machine, a script or a colleague
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  $ app authorizations:create --description CI\n  $ app authorizations:create --email ann@example.com --short"
)]
pub struct Create {
    /// What it is for
    #[arg(short, long)]
    description: Option<String>,
    /// Whose it is; only root may make one for somebody else
    #[arg(short, long)]
    email: Option<String>,
    /// Print the token only
    #[arg(short = 'S', long)]
    short: bool,
    /// Print JSON
    #[arg(short, long, conflicts_with = "short")]
    json: bool,
}

impl Create {
    /// Makes it and shows it, for the only time.
    pub fn run(self, cx: &Context) -> Result<()> {
        let client = cx.client()?;
        let progress = Progress::start("Creating OAuth Authorization");
        let wanted = api::CreateAuthorization {
            description: self.description,
            email: self.email,
        };
        let made: api::Authorization =
            client.send(Method::POST, &["oauth", "authorizations"], &wanted)?;
        progress.done();
        let token = made.access_token.token.clone().unwrap_or_default();
        if self.json {
            return output::json(&made);
        }
        if self.short {
            output::line(&token);
            return Ok(());
        }
        let pairs = [
            ("ID", made.id.clone()),
            ("Description", made.description.clone()),
            ("Scope", made.scope.join(", ")),
            ("User", made.user.email.clone()),
            ("Token", token),
        ];
        output::print(&output::object(&pairs));
        output::note("The token is not shown again.");
        Ok(())
    }
}

/// Make a token worthless
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  $ app authorizations:revoke 105a7bfa-34c3-476e-873a-b1ac3fdc12fb"
)]
pub struct Revoke {
    /// Its id
    id: String,
}

impl Revoke {
    /// Revokes it.
    pub fn run(self, cx: &Context) -> Result<()> {
        let client = cx.client()?;
        let progress = Progress::start("Revoking OAuth Authorization");
        client.order(Method::DELETE, &["oauth", "authorizations", &self.id])?;
        progress.done();
        Ok(())
    }
}
