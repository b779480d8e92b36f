//! git's credential helper: git asks on stdin, in lines of `key=value`; the answer goes to stdout (gitcredentials(7)).

use crate::context::Context;
use crate::fail::Result;
use crate::output;
use crate::profile::{Profiles, origin};
use clap::Args;
use std::io::Read;
use url::Url;

/// Answer git's question for a token
#[derive(Args, Debug)]
pub struct Credentials {
    /// What git wants: get, store or erase; only get does something
    operation: Option<String>,
}

impl Credentials {
    /// Answers with user and token, or with nothing when this server is not known.
    pub fn run(self, cx: &Context) -> Result<()> {
        if self.operation.as_deref().is_some_and(|o| o != "get") {
            return Ok(());
        }
        let mut question = String::new();
        // A question that can't be read gets no answer; git then asks the person.
        if std::io::stdin()
            .take(1 << 16)
            .read_to_string(&mut question)
            .is_err()
        {
            return Ok(());
        }
        let env = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        if let Some(token) = token_for(
            &question,
            env("HOKKU_URL").zip(env("HOKKU_TOKEN")),
            &cx.load_profiles()?,
        ) {
            output::print(&format!("username=hokku\npassword={token}\n"));
        }
        Ok(())
    }
}

fn asked_origin(question: &str) -> Option<String> {
    let field = |name: &str| {
        question
            .lines()
            .find_map(|l| l.strip_prefix(name)?.strip_prefix('='))
    };
    let url = match field("url") {
        Some(url) => url.to_owned(),
        None => format!("{}://{}/", field("protocol")?, field("host")?),
    };
    let url: Url = url.parse().ok()?;
    matches!(url.scheme(), "http" | "https").then(|| origin(&url))
}

fn token_for(question: &str, env: Option<(String, String)>, profiles: &Profiles) -> Option<String> {
    let asked = asked_origin(question)?;
    if let Some((url, token)) = env
        && url.parse::<Url>().is_ok_and(|u| origin(&u) == asked)
    {
        return Some(token);
    }
    profiles
        .at_origin(&asked)?
        .token
        .clone()
        .filter(|t| !t.contains(['\n', '\r', '\0']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;

    #[test]
    fn a_token_goes_only_to_its_server() {
        let dir = tempfile::tempdir().unwrap();
        let mut profiles = Profiles::load(dir.path().join("c")).unwrap();
        profiles.put(
            "a",
            Profile {
                url: "http://10.0.0.1:5000/".into(),
                token: Some("t1".into()),
            },
            false,
        );
        let ask = |q: &str| {
            token_for(
                q,
                Some(("https://env.example".into(), "t2".into())),
                &profiles,
            )
        };
        assert_eq!(
            ask("protocol=http\nhost=10.0.0.1:5000\n\n").as_deref(),
            Some("t1")
        );
        assert_eq!(
            ask("protocol=https\nhost=env.example\npath=shop.git\n").as_deref(),
            Some("t2")
        );
        assert_eq!(
            ask("url=https://env.example/shop.git\n").as_deref(),
            Some("t2")
        );
        for other in [
            "protocol=https\nhost=10.0.0.1:5000\n",
            "protocol=http\nhost=10.0.0.1\n",
            "protocol=http\nhost=env.example\n",
            "",
            "host=x\n",
        ] {
            assert_eq!(ask(other), None, "{other:?}");
        }
    }
}
