//! Which buildpacks an app names itself, when none were chosen for it: `app.json`, `.buildpacks`, `BUILDPACK_URL`.

use crate::source::Source;
use serde_json::Value;

/// The most buildpacks of an app.
pub const MOST: usize = 20;

/// The buildpacks that the app names, in order, and where; `None` when it names none.
///
/// The order is that of Heroku: `app.json` (Dev Center "app.json Schema", `buildpacks`), then the file of the classic
/// multi buildpack, then the config var that was before it.
///
/// # Errors
/// A file that can't be used, for the app's author.
pub fn named(
    source: &Source,
    buildpack_url: Option<&str>,
) -> Result<Option<(Vec<String>, &'static str)>, String> {
    let found = match app_json(source)? {
        Some(list) => Some((list, "app.json")),
        None => match dot_buildpacks(source) {
            Some(list) => Some((list, ".buildpacks")),
            None => buildpack_url
                .map(str::trim)
                .filter(|u| !u.is_empty())
                .map(|u| (vec![u.to_owned()], "the config var BUILDPACK_URL")),
        },
    };
    let Some((list, from)) = found else {
        return Ok(None);
    };
    if list.len() > MOST {
        return Err(format!(
            "{from} names {} buildpacks; an app can have {MOST}.",
            list.len()
        ));
    }
    if let Some(bad) = list
        .iter()
        .find(|b| b.len() > 500 || b.chars().any(|c| c.is_whitespace() || c.is_control()))
    {
        return Err(format!(
            "{from} names {:?}, which is neither the name nor the address of a buildpack.",
            bad.chars().take(80).collect::<String>()
        ));
    }
    Ok(Some((list, from)))
}

/// `"buildpacks": [{ "url": "heroku/nodejs" }]`; plain texts in the list are taken too. A file that is broken in other
/// places is not judged here.
fn app_json(source: &Source) -> Result<Option<Vec<String>>, String> {
    let Some(text) = source.text("app.json") else {
        return Ok(None);
    };
    let Ok(value) = serde_json::from_str::<Value>(text.trim_start_matches('\u{feff}')) else {
        return Ok(None);
    };
    let Some(list) = value.get("buildpacks") else {
        return Ok(None);
    };
    let wrong = || {
        "\"buildpacks\" in app.json can't be used; expected a list such as:\n    \"buildpacks\": [{ \"url\": \"heroku/nodejs\" }]".to_owned()
    };
    let urls: Vec<String> = list
        .as_array()
        .ok_or_else(wrong)?
        .iter()
        .map(|b| {
            b.get("url")
                .unwrap_or(b)
                .as_str()
                .map(|u| u.trim().to_owned())
                .filter(|u| !u.is_empty())
        })
        .collect::<Option<_>>()
        .ok_or_else(wrong)?;
    Ok((!urls.is_empty()).then_some(urls))
}

/// One reference a line; `#` begins a comment where a line begins (in an address it begins the ref).
fn dot_buildpacks(source: &Source) -> Option<Vec<String>> {
    let list: Vec<String> = source
        .text(".buildpacks")?
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .map(String::from)
        .collect();
    (!list.is_empty()).then_some(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, &str)], url: Option<&str>) -> Result<String, String> {
        Ok(named(&Source::of(files.iter().copied()), url)?
            .map(|(l, from)| format!("{from}: {}", l.join(" ")))
            .unwrap_or_default())
    }

    #[test]
    fn what_an_app_names() {
        let json = r#"{"buildpacks":[{"url":"heroku/nodejs"},{"url":"https://example.org/b#v1"}]}"#;
        let dot = "# first\r\nheroku/nodejs\r\n\r\nhttps://example.org/x.git#main\n";
        assert_eq!(
            of(&[("app.json", json), (".buildpacks", dot)], Some("x")).unwrap(),
            "app.json: heroku/nodejs https://example.org/b#v1"
        );
        assert_eq!(
            of(&[("app.json", "{}"), (".buildpacks", dot)], Some("x")).unwrap(),
            ".buildpacks: heroku/nodejs https://example.org/x.git#main"
        );
        assert_eq!(
            of(&[], Some(" heroku/go ")).unwrap(),
            "the config var BUILDPACK_URL: heroku/go"
        );
        assert_eq!(
            of(&[("app.json", r#"{"buildpacks":["heroku/go"]}"#)], None).unwrap(),
            "app.json: heroku/go"
        );
        for none in [r#"{"buildpacks":[]}"#, "{", "[]"] {
            assert_eq!(of(&[("app.json", none)], None).unwrap(), "");
        }
        for bad in [
            r#"{"buildpacks":"x"}"#,
            r#"{"buildpacks":[{}]}"#,
            r#"{"buildpacks":["a b"]}"#,
        ] {
            assert!(of(&[("app.json", bad)], None).is_err(), "{bad}");
        }
        assert!(of(&[(".buildpacks", &"heroku/go\n".repeat(21))], None).is_err());
    }
}
