//! Which app a git repository belongs to, told by its remotes.

use crate::fail::{Fail, Result};
use crate::git;
use crate::profile::origin;
use std::collections::BTreeSet;
use url::Url;

/// The name of the remote that `app create` adds.
pub const OURS: &str = "hokku";

/// A git remote.
#[derive(Clone, Debug, PartialEq)]
pub struct Remote {
    /// Its name, such as `hokku`.
    pub name: String,
    /// Its URL as git has it.
    pub url: String,
}

/// What a remote's URL says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The app's name.
    pub app: String,
    /// The host name.
    pub host: String,
    /// Scheme, host and port of the API for HTTP remotes; `None` for SSH.
    pub origin: Option<String>,
}

/// The remotes of the repository in the current folder; none outside of one.
pub fn list() -> Vec<Remote> {
    let Some(text) = git::ask(&["config", "--null", "--get-regexp", r"^remote\..*\.url$"]) else {
        return Vec::new();
    };
    let one = |entry: &str| {
        let (key, url) = entry.split_once('\n')?;
        let name = key.strip_prefix("remote.")?.strip_suffix(".url")?;
        Some(Remote {
            name: name.to_owned(),
            url: url.to_owned(),
        })
    };
    text.split('\0').filter_map(one).collect()
}

/// The remote that `git config hokku.remote` names, if any.
pub fn configured() -> Option<String> {
    git::ask(&["config", "--get", "hokku.remote"])
        .map(|s| s.trim().to_owned())
        .filter(|s| !s.is_empty())
}

/// Reads `http://host:port/app.git`, `ssh://user@host:port/app.git` and `user@host:app.git`; `None` for anything else.
pub fn parse(text: &str) -> Option<Place> {
    let (host, path, at) = match text.parse::<Url>() {
        Ok(url) if matches!(url.scheme(), "http" | "https") => (
            url.host_str()?.to_owned(),
            url.path().to_owned(),
            Some(origin(&url)),
        ),
        Ok(url) if url.scheme() == "ssh" => {
            (url.host_str()?.to_owned(), url.path().to_owned(), None)
        }
        Ok(_) if text.contains("://") => return None,
        _ => {
            let (left, path) = text.split_once(':')?;
            let host = left.rsplit_once('@').map_or(left, |(_, h)| h);
            (host.to_owned(), path.to_owned(), None)
        }
    };
    let last = path.trim_matches('/').rsplit('/').next()?;
    let app = last.strip_suffix(".git").unwrap_or(last);
    app.parse::<hokku_model::name::AppName>().ok()?;
    Some(Place {
        app: app.to_owned(),
        host,
        origin: at,
    })
}

/// Picks the remote that says which app is meant: the one asked for, the one called `hokku` (or what `preferred` says),
/// else the only one whose server is known.
///
/// # Errors
/// The remote asked for is not there or is no app's; several remotes would do.
pub fn choose(
    remotes: &[Remote],
    wanted: Option<&str>,
    preferred: &str,
    known: impl Fn(&Place) -> bool,
) -> Result<Option<(String, Place)>> {
    if let Some(wanted) = wanted {
        let Some(found) = remotes.iter().find(|r| r.name == wanted) else {
            let have: Vec<&str> = remotes.iter().map(|r| r.name.as_str()).collect();
            let have = if have.is_empty() {
                "none here".to_owned()
            } else {
                have.join(", ")
            };
            return Err(Fail::usage(format!(
                "There is no git remote {wanted:?}; the remotes are: {have}.\nAdd it with: app git:remote --app NAME --remote {wanted}"
            )));
        };
        return match parse(&found.url) {
            Some(place) => Ok(Some((found.name.clone(), place))),
            None => Err(Fail::usage(format!(
                "The git remote {wanted:?} points to {}, which is no app.",
                found.url
            ))),
        };
    }
    let places: Vec<(String, Place)> = remotes
        .iter()
        .filter_map(|r| parse(&r.url).map(|p| (r.name.clone(), p)))
        .collect();
    if let Some(ours) = places.iter().find(|(name, _)| name == preferred) {
        return Ok(Some(ours.clone()));
    }
    let known: Vec<(String, Place)> = places.into_iter().filter(|(_, p)| known(p)).collect();
    let distinct: BTreeSet<&Place> = known.iter().map(|(_, p)| p).collect();
    if distinct.len() > 1 {
        let list: Vec<String> = known
            .iter()
            .map(|(name, p)| format!("    {} (app {})", name, p.app))
            .collect();
        return Err(Fail::usage(format!(
            "Several git remotes are apps:\n{}\nSay which with --remote NAME or --app NAME, or once and for all with: git config hokku.remote NAME",
            list.join("\n")
        )));
    }
    Ok(known.into_iter().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(app: &str, host: &str, origin: Option<&str>) -> Option<Place> {
        Some(Place {
            app: app.into(),
            host: host.into(),
            origin: origin.map(Into::into),
        })
    }

    #[test]
    fn urls() {
        assert_eq!(
            parse("http://127.0.0.1:5000/shop.git"),
            place("shop", "127.0.0.1", Some("http://127.0.0.1:5000"))
        );
        assert_eq!(
            parse("https://me:pw@h.example/git/shop.git/"),
            place("shop", "h.example", Some("https://h.example"))
        );
        assert_eq!(
            parse("ssh://hokku@h.example:22/shop.git"),
            place("shop", "h.example", None)
        );
        assert_eq!(
            parse("hokku@h.example:shop.git"),
            place("shop", "h.example", None)
        );
        assert_eq!(parse("h.example:shop"), place("shop", "h.example", None));
        for no in [
            "",
            "../shop",
            "/srv/git/shop.git",
            "file:///srv/shop.git",
            "https://h.example/",
            "git@github.com:Me/My_App.git",
        ] {
            assert_eq!(parse(no), None, "{no}");
        }
    }

    fn remotes(list: &[(&str, &str)]) -> Vec<Remote> {
        list.iter()
            .map(|(n, u)| Remote {
                name: (*n).into(),
                url: (*u).into(),
            })
            .collect()
    }

    #[test]
    fn choice() {
        let all = remotes(&[
            ("origin", "https://github.com/me/shop.git"),
            ("staging", "http://s:1/shop-staging.git"),
            ("prod", "http://p:1/shop.git"),
        ]);
        let on = |hosts: &'static [&str]| move |p: &Place| hosts.contains(&p.host.as_str());
        let app = |r: Result<Option<(String, Place)>>| r.unwrap().map(|(_, p)| p.app);
        assert_eq!(
            app(choose(&all, Some("prod"), OURS, on(&[]))),
            Some("shop".into())
        );
        assert_eq!(
            app(choose(&all, None, OURS, on(&["s"]))),
            Some("shop-staging".into())
        );
        assert_eq!(app(choose(&all, None, OURS, on(&[]))), None);
        assert_eq!(
            app(choose(&all, None, "prod", on(&["s"]))),
            Some("shop".into())
        );
        let many = choose(&all, None, OURS, on(&["s", "p"])).unwrap_err().text;
        assert!(
            many.contains("staging (app shop-staging)") && many.contains("--remote"),
            "{many}"
        );
        let none = choose(&all, Some("nope"), OURS, on(&[])).unwrap_err().text;
        assert!(none.contains("origin, staging, prod"), "{none}");
        let ours = remotes(&[
            ("hokku", "http://x:1/a1.git"),
            ("prod", "http://p:1/shop.git"),
        ]);
        assert_eq!(
            app(choose(&ours, None, OURS, on(&["p"]))),
            Some("a1".into())
        );
    }

    proptest::proptest! {
        #[test]
        fn no_url_panics(text in ".{0,60}") {
            let _ = parse(&text);
        }
    }
}
