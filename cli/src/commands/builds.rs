//! Builds: what was pushed and what became of it.

use crate::context::Context;
use crate::fail::{Fail, Result};
use crate::output::{self, Paint};
use crate::time;
use anstyle::AnsiColor;
use clap::Args;
use hokku_model::api;

/// List the builds of an app
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app builds\n  $ app builds --json")]
pub struct List {
    /// How many
    #[arg(short, long, default_value_t = 15)]
    num: usize,
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

impl List {
    /// Prints the newest first.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let mut list: Vec<api::Build> = client.list(&["apps", &app, "builds"])?;
        list.sort_by(|a, b| b.created_at.cmp(&a.created_at));
        list.truncate(self.num);
        if self.json {
            return output::json(&list);
        }
        if list.is_empty() {
            output::line(&format!(
                "{app} has no builds. Push one with: git push hokku main"
            ));
            return Ok(());
        }
        let rows: Vec<Vec<String>> = list
            .iter()
            .map(|b| {
                let commit: String = b.commit.chars().take(8).collect();
                vec![
                    b.id.clone(),
                    b.status.clone(),
                    commit,
                    b.user.email.clone(),
                    time::ago(&b.created_at),
                ]
            })
            .collect();
        let paint = Paint::stdout();
        let text = output::table(&rows, |column, cell| match (column, cell) {
            (1, "failed") => paint.colour(AnsiColor::Red, cell),
            (1, "pending") => paint.colour(AnsiColor::Yellow, cell),
            (4, _) => paint.dim(cell),
            _ => cell.to_owned(),
        });
        output::print(&format!(
            "{}{text}",
            output::header(&format!("{app} Builds"))
        ));
        Ok(())
    }
}

/// Show the output of a build
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  $ app builds:output\n  $ app builds:output 01234567-89ab-cdef-0123-456789abcdef"
)]
pub struct Output {
    /// The build [default: the newest]
    id: Option<String>,
}

impl Output {
    /// Copies the output to stdout while it comes.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let build: api::Build = match &self.id {
            Some(id) => client.get(&["apps", &app, "builds", id])?,
            None => {
                let list: Vec<api::Build> = client.list(&["apps", &app, "builds"])?;
                let newest = list
                    .into_iter()
                    .max_by(|a, b| a.created_at.cmp(&b.created_at));
                newest.ok_or_else(|| Fail::new(format!("{app} has no builds yet.")))?
            }
        };
        client.copy_text(&build.output_stream_url)
    }
}
