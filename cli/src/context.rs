//! What a command needs to know before it can ask anything, found out when it is first needed.

use crate::client::Client;
use crate::fail::{Fail, Result};
use crate::profile::{self, Profiles};
use crate::remote::{self, Place, Remote};
use crate::server::{self, Server, Sources};
use std::cell::OnceCell;
use std::path::PathBuf;

/// Flags that every command takes.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Where {
    /// The app [default: HOKKU_APP, else what the git remote says]
    #[arg(
        short,
        long,
        global = true,
        value_name = "NAME",
        help_heading = "Where"
    )]
    pub app: Option<String>,
    /// The git remote that says which app
    #[arg(
        short,
        long,
        global = true,
        value_name = "NAME",
        help_heading = "Where"
    )]
    pub remote: Option<String>,
    /// The server: a URL, the name of a stored login, or unix:/path
    #[arg(
        short = 'H',
        long,
        global = true,
        value_name = "URL",
        help_heading = "Where"
    )]
    pub host: Option<String>,
}

/// The surroundings of one command.
pub struct Context {
    flags: Where,
    profiles: OnceCell<Profiles>,
    remotes: OnceCell<Vec<Remote>>,
    client: OnceCell<Client>,
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

/// Makes a value at its first use.
fn once<T>(cell: &OnceCell<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = make()?;
    Ok(cell.get_or_init(|| value))
}

impl Context {
    /// Surroundings with these flags.
    pub fn new(flags: Where) -> Context {
        Context {
            flags,
            profiles: OnceCell::new(),
            remotes: OnceCell::new(),
            client: OnceCell::new(),
        }
    }

    /// The name given with `--remote`.
    pub fn remote_flag(&self) -> Option<&str> {
        self.flags.remote.as_deref()
    }

    /// The server given with `--host`.
    pub fn host_flag(&self) -> Option<&str> {
        self.flags.host.as_deref()
    }

    /// The name given with `--app` or `HOKKU_APP`.
    fn app_named(&self) -> Option<String> {
        self.flags.app.clone().or_else(|| {
            if self.flags.remote.is_some() {
                None
            } else {
                env("HOKKU_APP")
            }
        })
    }

    /// The stored logins, read anew.
    ///
    /// # Errors
    /// There is no home to store them in, or the file is damaged.
    pub fn load_profiles(&self) -> Result<Profiles> {
        let path = profile::default_path()
            .ok_or_else(|| Fail::new("There is nowhere to store logins: HOME is not set. Set HOME, or use HOKKU_URL and HOKKU_TOKEN."))?;
        Profiles::load(path)
    }

    fn profiles(&self) -> Result<&Profiles> {
        once(&self.profiles, || {
            Profiles::load(
                profile::default_path().unwrap_or_else(|| PathBuf::from("/nonexistent/hokku")),
            )
        })
    }

    fn remotes(&self) -> &[Remote] {
        self.remotes.get_or_init(remote::list)
    }

    fn place(&self) -> Result<Option<(String, Place)>> {
        let profiles = self.profiles()?;
        let env_origin = env("HOKKU_URL")
            .or_else(|| self.flags.host.clone())
            .and_then(|u| u.parse().ok());
        let env_origin = env_origin.as_ref().map(profile::origin);
        let known = |p: &Place| match &p.origin {
            Some(origin) => {
                profiles.at_origin(origin).is_some() || env_origin.as_ref() == Some(origin)
            }
            None => profiles.at_host(&p.host).is_some(),
        };
        if self.remotes().is_empty() && self.flags.remote.is_none() {
            return Ok(None);
        }
        let preferred = remote::configured().unwrap_or_else(|| remote::OURS.to_owned());
        remote::choose(
            self.remotes(),
            self.flags.remote.as_deref(),
            &preferred,
            known,
        )
    }

    fn resolve(&self, app_named: bool) -> Result<Server> {
        let profiles = self.profiles()?;
        let (env_url, env_token, env_socket) =
            (env("HOKKU_URL"), env("HOKKU_TOKEN"), env("HOKKU_SOCKET"));
        let decided = self.flags.host.is_some() || env_url.is_some() || env_socket.is_some();
        let place = match decided {
            true => None,
            // Without an app to look up, a repository with many apps is no reason to stop.
            false if app_named => self.place().unwrap_or_default(),
            false => self.place()?,
        };
        let sources = Sources {
            host: self.flags.host.as_deref(),
            env_url: env_url.as_deref(),
            env_token: env_token.as_deref(),
            env_socket: env_socket.as_deref().map(std::path::Path::new),
            remote: place.as_ref(),
            remote_decides: !app_named,
        };
        server::resolve(&sources, profiles)
    }

    /// The server, for a command that is about no app or a named one.
    ///
    /// # Errors
    /// The server can't be told, see [`server::resolve`].
    pub fn client(&self) -> Result<&Client> {
        once(&self.client, || Client::new(self.resolve(true)?))
    }

    /// The app that is meant, and its server.
    ///
    /// # Errors
    /// No app is named, and no git remote says which.
    pub fn app(&self) -> Result<(String, &Client)> {
        if let Some(name) = self.app_named() {
            return Ok((checked_app(&name)?, self.client()?));
        }
        let Some((_, place)) = self.place()? else {
            return Err(Fail::usage(
                "No app was named, and no git remote here says which one is meant.\nName it with --app NAME or HOKKU_APP, or run in the app's repository: app git:remote --app NAME",
            ));
        };
        Ok((
            place.app,
            once(&self.client, || Client::new(self.resolve(false)?))?,
        ))
    }

    /// The app called `name`, else as [`Context::app`].
    ///
    /// # Errors
    /// As [`Context::app`]; two different names were given.
    pub fn app_or(&self, name: Option<&str>) -> Result<(String, &Client)> {
        match (name, self.flags.app.as_deref()) {
            (Some(name), Some(flag)) if name != flag => Err(Fail::usage(format!(
                "Which app is meant, {name:?} or {flag:?}? Name one."
            ))),
            (Some(name), _) => Ok((checked_app(name)?, self.client()?)),
            (None, _) => self.app(),
        }
    }
}

/// Names and ids of apps are safe in paths; anything else is a typing error.
fn checked_app(name: &str) -> Result<String> {
    let id = name.len() == 36 && name.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    if !id {
        name.parse::<hokku_model::name::AppName>()
            .map_err(|e| Fail::usage(e.to_string()))?;
    }
    Ok(name.to_owned())
}
