//! Which runtime: the first source that has a version in the wanted range wins; in it, the newest.

use crate::version::{Range, Version};
use std::path::PathBuf;

/// Where a runtime comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Installed on this machine; the program.
    Host(PathBuf),
    /// In the operator's mirror; file name and SHA-256 in hex.
    Mirror {
        /// File name in the mirror.
        file: String,
        /// 64 hex digits.
        sha256: String,
    },
    /// At the makers'.
    Upstream {
        /// Where the archive is.
        url: String,
        /// 64 hex digits.
        sha256: String,
        /// Long-term support, for Node.
        lts: bool,
    },
}

/// One runtime that can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Exact version.
    pub version: Version,
    /// Where from.
    pub origin: Origin,
}

/// Which version an app asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What fits.
    pub range: Range,
    /// As the app writes it, for messages.
    pub text: String,
    /// The file that says so; `None` when nothing does and a default is taken.
    pub from: Option<String>,
}

impl Request {
    /// No wish: whatever is at hand.
    pub fn any() -> Request {
        Request {
            range: Range::any(),
            text: String::new(),
            from: None,
        }
    }
}

/// The best of one source: the newest that fits, and for a range without upper end the newest long-term one.
pub fn best<'a>(range: &Range, list: &'a [Candidate]) -> Option<&'a Candidate> {
    let fits = || list.iter().filter(|c| range.holds(c.version));
    let is_lts = |c: &&Candidate| matches!(c.origin, Origin::Upstream { lts: true, .. });
    if range.is_wide()
        && let Some(c) = fits().filter(is_lts).max_by_key(|c| c.version)
    {
        return Some(c);
    }
    fits().max_by_key(|c| c.version)
}

/// The one nearest to what is wanted: same major first, then the smallest distance, a newer one before an older.
pub fn nearest<'a>(range: &Range, list: &'a [Candidate]) -> Option<&'a Candidate> {
    let w = range.low();
    list.iter().min_by_key(|c| {
        let v = c.version;
        let minor = v.1.abs_diff(w.1);
        (
            v.0.abs_diff(w.0),
            if v.0 == w.0 { minor } else { 0 },
            v < w,
            v.2.abs_diff(w.2),
        )
    })
}

/// The message when nothing fits.
pub fn unavailable(name: &str, request: &Request, have: &[Candidate], upstream: &str) -> String {
    let mut versions: Vec<Version> = have.iter().map(|c| c.version).collect();
    versions.sort();
    versions.dedup();
    let list = match versions.len() {
        0 => "none".to_owned(),
        // the newest twenty say enough
        n => versions[n.saturating_sub(20)..]
            .iter()
            .map(|v| v.to_string())
            .collect::<Vec<_>>()
            .join(", "),
    };
    let asked = match &request.from {
        Some(f) => format!("{f} asks for {name} {}", request.text),
        None => format!("The app needs {name}"),
    };
    format!(
        "{asked}, which can't be had here.\n\nAvailable: {list}.\n{upstream}\n\n\
         Ask for one of the available versions, or set the config var HOKKU_RUNTIME_NEAREST=1\n\
         to take the nearest one with a warning, or let the operator install it on the host\n\
         or put it into the runtime mirror."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn c(v: &str, lts: bool) -> Candidate {
        let origin = Origin::Upstream {
            url: String::new(),
            sha256: String::new(),
            lts,
        };
        Candidate {
            version: v.parse().unwrap(),
            origin,
        }
    }

    #[test]
    fn choice() {
        let list = [
            c("18.20.0", true),
            c("22.1.0", true),
            c("23.5.0", false),
            c("22.9.1", true),
        ];
        let v = |r: &str| best(&Range::npm(r).unwrap(), &list).map(|c| c.version.to_string());
        assert_eq!(v("*").as_deref(), Some("22.9.1"), "long-term before newest");
        assert_eq!(v(">=23").as_deref(), Some("23.5.0"));
        assert_eq!(v("18.x").as_deref(), Some("18.20.0"));
        assert_eq!(v("16"), None);
        let n = |r: &str| {
            nearest(&Range::npm(r).unwrap(), &list)
                .unwrap()
                .version
                .to_string()
        };
        assert_eq!(n("4.0.0"), "18.20.0");
        assert_eq!(n("22.4.0"), "22.1.0");
        assert_eq!(n("23.4.0"), "23.5.0");
        assert_eq!(n("24"), "23.5.0");
        let r = Request {
            range: Range::npm("4").unwrap(),
            text: "4.0.0".into(),
            from: Some("package.json".into()),
        };
        let m = unavailable("Node.js", &r, &list, "nodejs.org can't be reached.");
        assert!(
            m.contains("package.json asks for Node.js 4.0.0") && m.contains("18.20.0, 22.1.0"),
            "{m}"
        );
        assert!(m.contains("HOKKU_RUNTIME_NEAREST=1"));
    }
}
