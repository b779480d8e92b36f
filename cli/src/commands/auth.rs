//! Logins: who this person is to which server.

use crate::client::Client;
use crate::context::Context;
use crate::fail::{Fail, Result};
use crate::profile::{Profile, name_for, origin};
use crate::server::{Server, parse_url};
use crate::{output, terminal};
use clap::Args;
use hokku_model::api;
use std::io::Read;
use url::Url;

/// Log in to a server with a token
#[derive(Args, Debug)]
#[command(after_help = "Example:
  $ app login https://hokku.example.com
  $ app login http://10.0.0.5:5000 --token-stdin < token

Get a token on the server itself with: app authorizations:create")]
pub struct Login {
    /// The server
    url: Option<String>,
    /// Read the token from stdin instead of asking for it
    #[arg(long)]
    token_stdin: bool,
    /// What to call this login [default: the host's name]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Use this server when nothing else says which
    #[arg(long)]
    default: bool,
    /// Accepted as Heroku's; there is no other way here
    #[arg(short, long, hide = true)]
    interactive: bool,
}

impl Login {
    /// Tries the token, then stores it.
    pub fn run(self, cx: &Context) -> Result<()> {
        let mut profiles = cx.load_profiles()?;
        let url = match self.url.as_deref().or(cx.host_flag()) {
            Some(text) => match profiles.named(text) {
                Some(profile) => parse_url(&profile.url)?,
                None => parse_url(text)?,
            },
            None => self.usual_server(cx)?,
        };
        if url.scheme() == "http" && !is_here(&url) {
            output::warning(&format!(
                "{url} is not encrypted: whoever is between can read the token and your code."
            ));
        }
        let token = self.token(&url)?;
        let client = Client::new(Server::Http {
            url: url.clone(),
            token: Some(token.clone()),
        })?;
        let account: api::Account = client.get(&["account"])?;
        let name = self.profile.unwrap_or_else(|| name_for(&url));
        profiles.put(
            &name,
            Profile {
                url: url.to_string(),
                token: Some(token),
            },
            self.default,
        );
        profiles.save()?;
        output::note(&format!(
            "Logged in to {} as {}",
            url.as_str().trim_end_matches('/'),
            account.email
        ));
        Ok(())
    }

    fn usual_server(&self, cx: &Context) -> Result<Url> {
        let ask = || Fail::usage("Say which server: app login https://your-server");
        if let Ok(url) = std::env::var("HOKKU_URL") {
            return parse_url(&url);
        }
        if let Some((_, profile)) = cx.load_profiles()?.default() {
            return parse_url(&profile.url);
        }
        match terminal::both() {
            true => parse_url(
                &terminal::ask("Server (such as https://hokku.example.com): ")?.ok_or_else(ask)?,
            ),
            false => Err(ask()),
        }
    }

    fn token(&self, url: &Url) -> Result<String> {
        let text = if self.token_stdin {
            let mut text = String::new();
            let read = std::io::stdin().take(1 << 16).read_to_string(&mut text);
            read.map_err(|e| Fail::new(format!("The token can't be read from stdin: {e}.")))?;
            text
        } else if terminal::both() {
            terminal::ask_secret(&format!(
                "Token for {}: ",
                url.as_str().trim_end_matches('/')
            ))?
        } else {
            return Err(Fail::usage(
                "There is no terminal to ask for the token. Give it on stdin: app login URL --token-stdin < file",
            ));
        };
        let token = text.trim();
        if token.is_empty() {
            return Err(Fail::usage(
                "No token was given. Get one on the server with: app authorizations:create",
            ));
        }
        Ok(token.to_owned())
    }
}

fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// Forget the login of a server
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app logout\n  $ app logout --host https://hokku.example.com")]
pub struct Logout {}

impl Logout {
    /// Removes the token from this machine; the server still knows it.
    pub fn run(self, cx: &Context) -> Result<()> {
        let mut profiles = cx.load_profiles()?;
        let client = cx.client()?;
        let Server::Http { url, .. } = client.server() else {
            return Err(Fail::usage(format!(
                "There is no login to forget: {} needs none.",
                client.server()
            )));
        };
        if !profiles.remove(&origin(url)) {
            return Err(Fail::new(format!(
                "There is no login for {} to forget.",
                client.server()
            )));
        }
        profiles.save()?;
        output::note(&format!("Logged out of {}", client.server()));
        Ok(())
    }
}

/// Show who you are to the server
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app whoami\n  $ app auth:whoami --json")]
pub struct Whoami {
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

impl Whoami {
    /// Prints the e-mail.
    pub fn run(self, cx: &Context) -> Result<()> {
        let account: api::Account = cx.client()?.get(&["account"])?;
        if self.json {
            return output::json(&account);
        }
        output::line(&account.email);
        Ok(())
    }
}
