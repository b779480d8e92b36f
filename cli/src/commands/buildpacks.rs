//! Buildpacks: what builds an app, in order. Texts and rules by the Heroku CLI's `buildpacks` commands.

use crate::context::Context;
use crate::fail::{Fail, Result};
use crate::output::{self, Paint};
use clap::Args;
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One buildpack of an app, as the API tells it.
#[derive(Serialize, Deserialize)]
struct Installation {
    ordinal: u64,
    buildpack: Named,
}

#[derive(Serialize, Deserialize)]
struct Named {
    url: String,
    name: String,
}

fn installed(cx: &Context) -> Result<(String, Vec<Installation>)> {
    let (app, client) = cx.app()?;
    let mut all: Vec<Installation> = client.list(&["apps", &app, "buildpack-installations"])?;
    all.sort_by_key(|i| i.ordinal);
    Ok((app, all))
}

fn urls(cx: &Context) -> Result<(String, Vec<String>)> {
    let (app, all) = installed(cx)?;
    Ok((app, all.into_iter().map(|i| i.buildpack.url).collect()))
}

/// Replaces the whole list, and says what the next release is built with.
fn replace(cx: &Context, done: &str, list: &[String]) -> Result<()> {
    let (app, client) = cx.app()?;
    let updates: Vec<Value> = list.iter().map(|b| json!({ "buildpack": b })).collect();
    let path = ["apps", &app, "buildpack-installations"];
    let now: Vec<Installation> = client.send(Method::PUT, &path, &json!({ "updates": updates }))?;
    output::print(&after(done, &app, &now));
    Ok(())
}

fn after(done: &str, app: &str, now: &[Installation]) -> String {
    let app = output::clean(app);
    match now {
        [] => format!("{done}. Next release on {app} will detect buildpacks normally.\n"),
        [one] => format!(
            "{done}. Next release on {app} will use {}.\n\
             Run git push hokku main to create a new release using this buildpack.\n",
            output::clean(&one.buildpack.url)
        ),
        several => {
            let mut text = format!("{done}. Next release on {app} will use:\n");
            for (i, b) in several.iter().enumerate() {
                text += &format!("  {}. {}\n", i + 1, output::clean(&b.buildpack.url));
            }
            text + "Run git push hokku main to create a new release using these buildpacks.\n"
        }
    }
}

/// Names are as good as addresses: `heroku/python` and `https://github.com/heroku/heroku-buildpack-python` are one.
fn same(a: &str, b: &str) -> bool {
    fn plain(s: &str) -> String {
        let s = s.trim().to_ascii_lowercase();
        let s = s
            .strip_prefix("https://github.com/heroku/heroku-buildpack-")
            .map_or(s.clone(), |n| format!("heroku/{n}"));
        s.trim_end_matches('/').trim_end_matches(".git").to_owned()
    }
    plain(a) == plain(b)
}

fn index(text: i64) -> Result<usize> {
    usize::try_from(text)
        .ok()
        .filter(|i| *i > 0)
        .ok_or_else(|| Fail::usage("Invalid index. Must be greater than 0."))
}

fn not_twice(list: &[String], wanted: &str) -> Result<()> {
    match list.iter().any(|b| same(b, wanted)) {
        true => Err(Fail::usage(format!(
            "The buildpack {wanted} is already set on your app."
        ))),
        false => Ok(()),
    }
}

/// List the buildpacks of an app
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app buildpacks")]
pub struct List {
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

impl List {
    /// Prints them in order; what the first build detected is among them.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, all) = installed(cx)?;
        if self.json {
            return output::json(&all);
        }
        let shown = Paint::stdout().app(&app);
        let mut text = match all.len() {
            0 => format!("{shown} has no Buildpacks.\n"),
            1 => output::header(&format!("{shown} Buildpack")),
            _ => output::header(&format!("{shown} Buildpacks")),
        };
        for (i, b) in all.iter().enumerate() {
            let url = output::clean(&b.buildpack.url);
            text += &match all.len() {
                1 => format!("{url}\n"),
                _ => format!("{}. {url}\n", i + 1),
            };
        }
        output::print(&text);
        Ok(())
    }
}

/// Add a buildpack to an app
#[derive(Args, Debug)]
#[command(
    after_help = "A buildpack is a name (heroku/python), the address of a git repository, with #branch, #tag or\n#commit at its end, the address of a .tgz, or a folder of the server.\n\nExample:\n  $ app buildpacks:add --index 1 heroku/nodejs\n  $ app buildpacks:add 'https://github.com/heroku/heroku-buildpack-apt#main'"
)]
pub struct Add {
    /// Its name or address
    buildpack: String,
    /// Where to put it; 1 is the first. At the end without it
    #[arg(short, long, allow_negative_numbers = true)]
    index: Option<i64>,
}

impl Add {
    /// Adds it.
    pub fn run(self, cx: &Context) -> Result<()> {
        let at = self.index.map(index).transpose()?;
        let (_, mut list) = urls(cx)?;
        not_twice(&list, &self.buildpack)?;
        let at = at.map_or(list.len(), |i| (i - 1).min(list.len()));
        list.insert(at, self.buildpack);
        replace(cx, "Buildpack added", &list)
    }
}

/// Set the buildpack of an app, in place of its first one or of the one at an index
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  $ app buildpacks:set heroku/python\n  $ app buildpacks:set --index 2 heroku/nodejs"
)]
pub struct Set {
    /// Its name or address
    buildpack: String,
    /// Which one to replace; 1 is the first
    #[arg(short, long, allow_negative_numbers = true)]
    index: Option<i64>,
}

impl Set {
    /// Replaces one.
    pub fn run(self, cx: &Context) -> Result<()> {
        let at = self.index.map(index).transpose()?.unwrap_or(1) - 1;
        let (_, mut list) = urls(cx)?;
        not_twice(&list, &self.buildpack)?;
        match list.get_mut(at) {
            Some(b) => *b = self.buildpack,
            None => list.push(self.buildpack),
        }
        replace(cx, "Buildpack set", &list)
    }
}

/// Remove a buildpack from an app
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  $ app buildpacks:remove heroku/nodejs\n  $ app buildpacks:remove --index 1"
)]
pub struct Remove {
    /// Its name or address
    buildpack: Option<String>,
    /// Which one; 1 is the first
    #[arg(short, long, allow_negative_numbers = true)]
    index: Option<i64>,
}

impl Remove {
    /// Removes one.
    pub fn run(self, cx: &Context) -> Result<()> {
        let at = self.index.map(index).transpose()?;
        if at.is_some() && self.buildpack.is_some() {
            return Err(Fail::usage(
                "Please choose either index or Buildpack URL, but not both.",
            ));
        }
        if at.is_none() && self.buildpack.is_none() {
            return Err(Fail::usage(
                "Usage: app buildpacks:remove [BUILDPACK_URL]. Must specify a buildpack to remove, either by index or URL.",
            ));
        }
        let (app, mut list) = urls(cx)?;
        if list.is_empty() {
            return Err(Fail::usage(format!(
                "No buildpacks were found. Next release on {app} will detect buildpack normally."
            )));
        }
        let at = match (at, &self.buildpack) {
            (Some(i), _) if i <= list.len() => i - 1,
            (Some(_), _) => {
                return Err(Fail::usage(match list.len() {
                    1 => "Invalid index. Only value is 1.".to_owned(),
                    n => format!("Invalid index. Please choose a value between 1 and {n}"),
                }));
            }
            (None, wanted) => {
                let wanted = wanted.as_deref().unwrap_or_default();
                list.iter()
                    .position(|b| same(b, wanted))
                    .ok_or_else(|| Fail::usage("Buildpack not found. Nothing was removed."))?
            }
        };
        list.remove(at);
        replace(cx, "Buildpack removed", &list)
    }
}

/// Remove all buildpacks from an app, so that the next build detects one
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app buildpacks:clear")]
pub struct Clear {}

impl Clear {
    /// Removes all.
    pub fn run(self, cx: &Context) -> Result<()> {
        replace(cx, "Buildpacks cleared", &[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_of_one_buildpack() {
        assert!(same(
            "heroku/python",
            "https://github.com/heroku/heroku-buildpack-python.git"
        ));
        assert!(same("Heroku/Python", "heroku/python"));
        assert!(!same(
            "heroku/python",
            "https://github.com/me/heroku-buildpack-python"
        ));
        assert!(!same(
            "https://example.org/a#v1",
            "https://example.org/a#v2"
        ));
    }

    #[test]
    fn what_is_said() {
        let b = |url: &str| Installation {
            ordinal: 0,
            buildpack: Named {
                url: url.into(),
                name: url.into(),
            },
        };
        assert_eq!(
            after("Buildpacks cleared", "shop", &[]),
            "Buildpacks cleared. Next release on shop will detect buildpacks normally.\n"
        );
        assert_eq!(
            after(
                "Buildpack added",
                "shop",
                &[b("heroku/nodejs"), b("heroku/python")]
            ),
            "Buildpack added. Next release on shop will use:\n  1. heroku/nodejs\n  2. heroku/python\n\
             Run git push hokku main to create a new release using these buildpacks.\n"
        );
    }
}
