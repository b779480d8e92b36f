//! Apps: list, make, describe, rename, destroy.

use super::remotes;
use crate::context::Context;
use crate::fail::{Fail, Result};
use crate::output::{self, Paint};
use crate::progress::Progress;
use crate::{git, remote, terminal, time};
use clap::Args;
use hokku_model::api;
use reqwest::Method;
use std::collections::BTreeMap;

/// List your apps
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app apps\n  $ app apps --json")]
pub struct List {
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

impl List {
    /// Prints the names, in order.
    pub fn run(self, cx: &Context) -> Result<()> {
        let client = cx.client()?;
        let mut apps: Vec<api::App> = client.list(&["apps"])?;
        apps.sort_by(|a, b| a.name.cmp(&b.name));
        if self.json {
            return output::json(&apps);
        }
        if apps.is_empty() {
            output::line("You have no apps.");
            return Ok(());
        }
        let account: api::Account = client.get(&["account"])?;
        let paint = Paint::stdout();
        let mut text = output::header(&format!("{} Apps", account.email));
        for app in &apps {
            let off = if app.maintenance {
                " (maintenance)"
            } else {
                ""
            };
            text.push_str(&format!("{}{off}\n", paint.app(&app.name)));
        }
        output::print(&text);
        Ok(())
    }
}

/// Make an app, and a git remote for it
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  $ app create\n  $ app create shop\n  $ app apps:create shop --remote staging"
)]
pub struct Create {
    /// Its name; one is made up when there is none
    name: Option<String>,
    /// Leave the git repository alone
    #[arg(short, long)]
    no_remote: bool,
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

impl Create {
    /// Makes the app; in a git repository, adds the remote and what git needs for a token.
    pub fn run(self, cx: &Context) -> Result<()> {
        let name = self.name;
        if let Some(name) = &name {
            name.parse::<hokku_model::name::AppName>()
                .map_err(|e| Fail::usage(e.to_string()))?;
        }
        let client = cx.client()?;
        let label = name.as_ref().map_or_else(
            || "Creating app".to_owned(),
            |n| format!("Creating {}", Paint::stderr().app(n)),
        );
        let progress = Progress::start(label);
        let app: api::App = client.send(Method::POST, &["apps"], &api::CreateApp { name })?;
        progress.done_with(&Paint::stderr().app(&app.name));
        if self.json {
            output::json(&app)?;
        } else {
            output::line(&format!("{} | {}", app.web_url, app.git_url));
        }
        if !self.no_remote && git::in_repository() {
            remotes::connect(cx, client, &app, cx.remote_flag().unwrap_or(remote::OURS))?;
        }
        Ok(())
    }
}

/// Show what is known about an app
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app apps:info\n  $ app info --app shop --shell")]
pub struct Info {
    /// The app
    name: Option<String>,
    /// Print key=value lines for a shell
    #[arg(short, long)]
    shell: bool,
    /// Print JSON
    #[arg(short, long, conflicts_with = "shell")]
    json: bool,
}

impl Info {
    /// Prints the app and what it runs.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (name, client) = cx.app_or(self.name.as_deref())?;
        let app: api::App = client.get(&["apps", &name])?;
        let dynos: Vec<api::Dyno> = client.list(&["apps", &name, "dynos"])?;
        if self.json {
            return output::json(&serde_json::json!({ "app": app, "dynos": dynos }));
        }
        let mut types: BTreeMap<&str, usize> = BTreeMap::new();
        for dyno in &dynos {
            *types.entry(&dyno.r#type).or_default() += 1;
        }
        let types: Vec<String> = types.iter().map(|(t, n)| format!("{t}: {n}")).collect();
        if self.shell {
            output::print(&shell(&app, &types));
            return Ok(());
        }
        let mut pairs: Vec<(&str, String)> = vec![("Auto Cert Mgmt", app.acm.to_string())];
        if let Some(built) = &app.buildpack_provided_description {
            pairs.push(("Buildpack", built.clone()));
        }
        pairs.push(("Created At", time::date(&app.created_at)));
        pairs.push(("Dynos", types.join(", ")));
        pairs.push(("Git URL", app.git_url.clone()));
        pairs.push((
            "Maintenance",
            if app.maintenance { "on" } else { "off" }.into(),
        ));
        pairs.push(("Owner", app.owner.email.clone()));
        if let Some(released) = &app.released_at {
            pairs.push(("Released At", time::ago(released)));
        }
        pairs.extend(app.repo_size.map(|n| ("Repo Size", output::size(n))));
        pairs.extend(app.slug_size.map(|n| ("Slug Size", output::size(n))));
        pairs.push(("Stack", app.stack.name.clone().unwrap_or_default()));
        pairs.push(("Web URL", app.web_url.clone()));
        output::print(&format!(
            "{}{}",
            output::header(&app.name),
            output::object(&pairs)
        ));
        Ok(())
    }
}

fn shell(app: &api::App, types: &[String]) -> String {
    let number = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
    let pairs = [
        ("auto_cert_mgmt", app.acm.to_string()),
        ("created_at", app.created_at.clone()),
        ("dynos", types.join(", ")),
        ("git_url", app.git_url.clone()),
        ("id", app.id.clone()),
        ("maintenance", app.maintenance.to_string()),
        ("name", app.name.clone()),
        ("owner", app.owner.email.clone()),
        ("released_at", app.released_at.clone().unwrap_or_default()),
        ("repo_size", number(app.repo_size)),
        ("slug_size", number(app.slug_size)),
        ("stack", app.stack.name.clone().unwrap_or_default()),
        ("web_url", app.web_url.clone()),
    ];
    pairs
        .iter()
        .map(|(k, v)| format!("{k}={}\n", shell_words::quote(v)))
        .collect()
}

/// Destroy an app for good, with all it has
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app apps:destroy --app shop --confirm shop")]
pub struct Destroy {
    /// The app
    name: Option<String>,
    /// The app's name once more, so that nothing is asked
    #[arg(short, long, value_name = "NAME")]
    confirm: Option<String>,
}

impl Destroy {
    /// Asks for the name unless it was confirmed, destroys, and removes the git remotes that pointed there.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (name, client) = cx.app_or(self.name.as_deref())?;
        let app: api::App = client.get(&["apps", &name])?;
        confirm(&app.name, self.confirm.as_deref())?;
        let progress = Progress::start(format!("Destroying {}", Paint::stderr().app(&app.name)));
        client.order(Method::DELETE, &["apps", &app.id])?;
        progress.done();
        for one in remote::list().iter().filter(|r| r.url == app.git_url) {
            git::run(&["remote", "remove", &one.name])?;
        }
        Ok(())
    }
}

fn confirm(app: &str, given: Option<&str>) -> Result<()> {
    let how = format!("To go on, say so: --confirm {app}");
    if given.is_none() && terminal::both() {
        output::warning(&format!(
            "This destroys {app} for good, with its releases and config vars.\nTo go on, type its name."
        ));
        let typed = terminal::ask("> ")?;
        return match typed.as_deref() == Some(app) {
            true => Ok(()),
            false => Err(Fail::usage(format!(
                "That is not {app}. Nothing was destroyed."
            ))),
        };
    }
    match given {
        Some(given) if given == app => Ok(()),
        Some(given) => Err(Fail::usage(format!(
            "The confirmation {given:?} does not match {app}. Nothing was destroyed.\n{how}"
        ))),
        None => Err(Fail::usage(format!(
            "This would destroy {app} for good, with its releases and config vars.\n{how}"
        ))),
    }
}

/// Give an app another name
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app apps:rename boutique --app shop")]
pub struct Rename {
    /// The new name
    newname: String,
}

impl Rename {
    /// Renames, and rewrites the git remotes that pointed to the old name.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (name, client) = cx.app()?;
        let before: api::App = client.get(&["apps", &name])?;
        let paint = Paint::stderr();
        let progress = Progress::start(format!(
            "Renaming {} to {}",
            paint.app(&before.name),
            paint.app(&self.newname)
        ));
        let wanted = api::UpdateApp {
            name: Some(self.newname),
            maintenance: None,
        };
        let after: api::App = client.send(Method::PATCH, &["apps", &before.id], &wanted)?;
        progress.done();
        output::line(&format!("{} | {}", after.web_url, after.git_url));
        for one in remote::list().iter().filter(|r| r.url == before.git_url) {
            git::run(&["remote", "set-url", &one.name, &after.git_url])?;
            output::note(&format!("Git remote {} updated", one.name));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destroying_needs_the_very_name() {
        assert!(confirm("app1", Some("app1")).is_ok());
        let said = confirm("app1", Some("app10")).unwrap_err().text;
        assert!(said.contains("--confirm app1"), "{said}");
    }
}
