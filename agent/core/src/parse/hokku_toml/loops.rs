//! Redirects that lead back to themselves.

use super::path::{covers, prefix};
use hokku_model::{
    routing::Redirect,
    said::{Level, Said, Setting},
};

/// Does the redirect of this rule (none: of the whole app) lead back to where it came from? Then the way, in words.
/// Followed as the router would: of the rules that cover a path, the longest that has a redirect counts, at last the app.
pub fn endless(said: &Said, path: Option<&str>) -> Option<String> {
    let mut way: Vec<&str> = vec![];
    let mut at = path;
    loop {
        let redirect = match at {
            Some(p) => said.rules.get(p).and_then(of)?,
            None => of(&said.app)?,
        };
        let name = at.unwrap_or("every path");
        if let Some(i) = way.iter().position(|w| *w == name) {
            // what runs into somebody else's circle is told there
            return (i == 0).then(|| format!("{} → {name}", way.join(" → ")));
        }
        way.push(name);
        let to = redirect.to.replace("$path", "").replace("$query", "");
        let to = to.split(['?', '#']).next().unwrap_or_default();
        let to = if to.is_empty() { "/" } else { to };
        if !to.starts_with('/') {
            return None;
        }
        let to = prefix(to).unwrap_or_else(|_| to.to_owned());
        let rules = said
            .rules
            .iter()
            .filter(|(p, level)| covers(p, &to) && of(level).is_some());
        at = rules.max_by_key(|(p, _)| p.len()).map(|(p, _)| p.as_str());
    }
}

fn of(level: &Level) -> Option<&Redirect> {
    level.iter().find_map(|s| match s {
        Setting::Redirect(r) => Some(r),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(app: Option<&str>, rules: &[(&str, Option<&str>)]) -> Said {
        let level = |to: Option<&str>| {
            let to = to.map(|to| {
                Setting::Redirect(Redirect {
                    to: to.into(),
                    status: 302,
                })
            });
            to.into_iter().collect::<Level>()
        };
        Said {
            app: level(app),
            rules: rules
                .iter()
                .map(|(p, to)| ((*p).to_owned(), level(*to)))
                .collect(),
        }
    }

    #[test]
    fn circles_are_found() {
        type Case<'a> = (
            Option<&'a str>,
            &'a [(&'a str, Option<&'a str>)],
            Option<&'a str>,
            bool,
        );
        let cases: &[Case] = &[
            (None, &[("/a", Some("/b"))], Some("/a"), false),
            (None, &[("/a", Some("/a/b"))], Some("/a"), true),
            (None, &[("/a", Some("/a/"))], Some("/a"), true),
            (None, &[("/a", Some("/a$path?x=1"))], Some("/a"), true),
            (None, &[("/a", Some("/ab"))], Some("/a"), false),
            (None, &[("/", Some("/app"))], Some("/"), true),
            (
                None,
                &[("/", Some("/app")), ("/app", None)],
                Some("/"),
                true,
            ),
            (
                None,
                &[("/", Some("/app")), ("/app", Some("https://example.org"))],
                Some("/"),
                false,
            ),
            (None, &[("/a", Some("$path"))], Some("/a"), false),
            (None, &[("/", Some("$path$query"))], Some("/"), true),
            (
                None,
                &[("/a", Some("/b")), ("/b", Some("/a"))],
                Some("/b"),
                true,
            ),
            (
                None,
                &[("/x", Some("/a")), ("/a", Some("/b")), ("/b", Some("/a"))],
                Some("/x"),
                false,
            ),
            (Some("/x"), &[], None, true),
            (Some("/x"), &[("/x", None)], None, true),
            (Some("https://example.org$path"), &[], None, false),
            (
                Some("/x"),
                &[("/x", Some("https://example.org"))],
                None,
                false,
            ),
        ];
        for (app, rules, path, is) in cases {
            let way = endless(&said(*app, rules), *path);
            assert_eq!(way.is_some(), *is, "{app:?} {rules:?} {way:?}");
        }
        assert_eq!(
            endless(
                &said(None, &[("/a", Some("/b")), ("/b", Some("/a"))]),
                Some("/a")
            )
            .as_deref(),
            Some("/a → /b → /a")
        );
    }
}
