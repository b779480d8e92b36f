//! Static sites: `static.json` of the classic static buildpack, or a plain `index.html`, or `public/`.

use crate::source::Source;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How the site is served.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Site {
    /// The folder, relative to the app.
    pub root: String,
    /// `/about` serves `about.html`.
    pub clean_urls: bool,
    /// Answered with status 404, relative to the root.
    pub error_page: Option<String>,
    /// Globs of paths to files, first match in order of the globs' text length, longest first.
    pub routes: BTreeMap<String, String>,
    /// Paths or globs to where they redirect.
    pub redirects: BTreeMap<String, Redirect>,
    /// Requests that came by plain HTTP are sent to HTTPS.
    pub https_only: bool,
    /// Requests for another host are sent to this one; `${NAME}` stands for a config var.
    pub canonical_host: Option<String>,
    /// Globs of paths to more response headers.
    pub headers: BTreeMap<String, BTreeMap<String, String>>,
}

/// One redirect.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Redirect {
    /// Where to.
    pub url: String,
    /// 301 by default.
    pub status: Option<u16>,
}

/// A header's name or value that can't break out of its line.
fn clean(s: &str) -> bool {
    !s.bytes().any(|b| b < 0x20 || b == 0x7f)
}

/// Plans the site, with warnings.
///
/// # Errors
/// Why `static.json` can't be honoured, for the app's author.
pub fn plan(source: &Source) -> Result<(Site, Vec<String>), String> {
    let Some(text) = source.text("static.json") else {
        let root = if source.has("public/index.html") && !source.has("index.html") {
            "public"
        } else {
            "."
        };
        return Ok((
            Site {
                root: root.into(),
                ..Site::default()
            },
            vec![],
        ));
    };
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|e| format!("static.json is not valid JSON: {e}."))?;
    let mut warnings = vec![];
    for key in value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, _)| k.as_str())
    {
        match key {
            "root" | "clean_urls" | "error_page" | "routes" | "redirects" | "https_only"
            | "canonical_host" | "headers" => {}
            "basic_auth" | "proxies" => {
                return Err(format!(
                    "static.json uses {key:?}, which the built-in static server does not have.\n\n\
                     Remove it, or serve the site with a program of your own (a Procfile with a web process)."
                ));
            }
            _ => warnings.push(format!(
                "{key:?} in static.json is not supported and ignored."
            )),
        }
    }
    let mut site: Site =
        serde_json::from_value(value).map_err(|e| format!("static.json can't be used: {e}."))?;
    if site.root.is_empty() {
        site.root = "public_html".into();
    }
    let parts: Vec<&str> = site
        .root
        .split('/')
        .filter(|p| !p.is_empty() && *p != ".")
        .collect();
    if parts.contains(&"..") || site.root.starts_with('/') {
        return Err(format!(
            "root in static.json is {:?}; it must be a folder of the app.",
            site.root
        ));
    }
    site.root = if parts.is_empty() {
        ".".into()
    } else {
        parts.join("/")
    };
    for (path, r) in &mut site.redirects {
        let status = *r.status.get_or_insert(301);
        if !matches!(status, 301 | 302 | 303 | 307 | 308) || r.url.is_empty() || !clean(&r.url) {
            return Err(format!(
                "The redirect of {path:?} in static.json needs a url and a status of 301, 302, 303, 307 or 308."
            ));
        }
    }
    if let Some(h) = &site.canonical_host {
        let host = h
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-:${}".contains(&b));
        if h.is_empty() || !host {
            return Err(format!(
                "canonical_host in static.json is {h:?}, which is no host name."
            ));
        }
    }
    for (k, v) in site.headers.values().flatten() {
        let token = !k.is_empty()
            && k.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !token || !clean(v) {
            return Err(format!(
                "The header {k:?} in static.json can't be sent: its name or value has characters that don't belong there."
            ));
        }
    }
    Ok((site, warnings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites() {
        let p = |files: &[(&str, &str)]| plan(&Source::of(files.iter().copied()));
        let root = |files: &[(&str, &str)]| p(files).map(|(s, _)| s.root);
        assert_eq!(
            root(&[("index.html", ""), ("public/index.html", "")]).unwrap(),
            "."
        );
        assert_eq!(root(&[("public/index.html", "")]).unwrap(), "public");
        assert_eq!(root(&[("static.json", "{}")]).unwrap(), "public_html");
        assert_eq!(
            root(&[("static.json", r#"{"root":"./dist/web/"}"#)]).unwrap(),
            "dist/web"
        );
        let (s, w) = p(&[(
            "static.json",
            r#"{"root":"d","clean_urls":true,"error_page":"e.html","routes":{"/**":"index.html"},"redirects":{"/a":{"url":"/b"}},"canonical_host":"x","unknown":1}"#,
        )])
        .unwrap();
        assert!(s.clean_urls && s.redirects["/a"].status == Some(301) && w.len() == 1);
        for bad in [
            "{",
            r#"{"root":"../x"}"#,
            r#"{"root":"/etc"}"#,
            r#"{"basic_auth":true}"#,
            r#"{"proxies":{}}"#,
            r#"{"root":3}"#,
            r#"{"canonical_host":"a/b"}"#,
            r#"{"redirects":{"/a":{"url":"/b\r\nX: y"}}}"#,
            r#"{"headers":{"/":{"A B":"c"}}}"#,
        ] {
            assert!(p(&[("static.json", bad)]).is_err(), "{bad}");
        }
    }
}
