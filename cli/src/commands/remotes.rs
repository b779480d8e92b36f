//! The git remote of an app, and how git gets its token.

use crate::client::Client;
use crate::context::Context;
use crate::fail::{Fail, Result};
use crate::profile::{Profile, name_for, origin};
use crate::server::Server;
use crate::{git, output, remote};
use clap::Args;
use hokku_model::api;
use reqwest::Method;
use std::path::{Path, PathBuf};
use url::Url;

/// Add or change the git remote of an app in this repository
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  $ app git:remote --app shop\n  $ app git:remote --app shop-staging --remote staging"
)]
pub struct Set {}

impl Set {
    /// Sets the remote called by `--remote`, else `hokku`.
    pub fn run(self, cx: &Context) -> Result<()> {
        if !git::in_repository() {
            return Err(Fail::usage(
                "This is no git repository. Go into one, or make one with: git init",
            ));
        }
        let (app, client) = cx.app()?;
        let app: api::App = client.get(&["apps", &app])?;
        connect(cx, client, &app, cx.remote_flag().unwrap_or(remote::OURS))
    }
}

/// Points the remote `name` of this repository to the app, and lets git ask `app` for the token.
///
/// # Errors
/// git says no; a token for pushing can't be made or stored.
pub fn connect(cx: &Context, client: &Client, app: &api::App, name: &str) -> Result<()> {
    let there = remote::list().into_iter().find(|r| r.name == name);
    match there {
        Some(r) if r.url == app.git_url => {}
        Some(_) => git::run(&["remote", "set-url", "--", name, &app.git_url])?,
        None => git::run(&["remote", "add", "--", name, &app.git_url])?,
    }
    output::note(&format!("set git remote {name} to {}", app.git_url));
    let Some(url) = app
        .git_url
        .parse::<Url>()
        .ok()
        .filter(|u| matches!(u.scheme(), "http" | "https"))
    else {
        return Ok(());
    };
    let at = origin(&url);
    let key = format!("credential.{at}.helper");
    // An empty entry makes git forget the helpers of wider configurations, which may hold an old token.
    git::run(&["config", "--local", "--replace-all", &key, ""])?;
    git::run(&["config", "--local", "--add", &key, &helper()])?;
    if matches!(client.server(), Server::Socket { .. }) {
        store_token_for_push(cx, client, &url)?;
    }
    Ok(())
}

/// Whoever uses the socket needs no token, but git does: make one and keep it.
fn store_token_for_push(cx: &Context, client: &Client, url: &Url) -> Result<()> {
    let at = origin(url);
    let mut profiles = cx.load_profiles()?;
    if profiles.at_origin(&at).is_some_and(|p| p.token.is_some()) {
        return Ok(());
    }
    let wanted = api::CreateAuthorization {
        description: Some("git push from the server itself".into()),
        email: None,
    };
    let made: api::Authorization =
        client.send(Method::POST, &["oauth", "authorizations"], &wanted)?;
    let mut base = url.clone();
    base.set_path("/");
    profiles.put(
        &name_for(&base),
        Profile {
            url: base.to_string(),
            token: made.access_token.token,
        },
        false,
    );
    profiles.save()?;
    output::note(&format!(
        "stored a token for {at} in {}, so that git can push",
        profiles.path().display()
    ));
    Ok(())
}

/// What git runs to get a token: `app` when the PATH leads to this program, its full path otherwise.
fn helper() -> String {
    let own = std::env::current_exe().ok();
    let on_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path)
            .map(|dir| dir.join("app"))
            .find(|p| p.is_file())
    };
    helper_for(own.as_deref(), on_path())
}

fn helper_for(own: Option<&Path>, on_path: Option<PathBuf>) -> String {
    let same = |p: &Path| p.canonicalize().ok() == own.and_then(|o| o.canonicalize().ok());
    match own.and_then(Path::to_str) {
        Some(own) if !on_path.is_some_and(|p| same(&p)) => {
            format!("!{} git:credentials", shell_words::quote(own))
        }
        _ => "!app git:credentials".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_finds_this_very_program() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().join("my tools");
        std::fs::create_dir(&here).unwrap();
        let own = here.join("app");
        std::fs::write(&own, "").unwrap();
        assert_eq!(
            helper_for(Some(&own), Some(own.clone())),
            "!app git:credentials"
        );
        assert_eq!(
            helper_for(Some(&own), None),
            format!("!'{}' git:credentials", own.display())
        );
        let other = dir.path().join("app");
        std::fs::write(&other, "").unwrap();
        assert!(helper_for(Some(&own), Some(other)).starts_with("!'"));
        assert_eq!(helper_for(None, None), "!app git:credentials");
    }
}
