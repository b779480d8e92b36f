//! Names of buildpacks that are not built in, and where they lie: Heroku's registry can't be asked without Heroku.

use std::collections::BTreeMap;

/// Official and common community buildpacks by name; the operator's table (`build.buildpacks`) goes before it.
const KNOWN: &[(&str, &str)] = &[
    (
        "heroku/clojure",
        "https://github.com/heroku/heroku-buildpack-clojure",
    ),
    (
        "heroku/scala",
        "https://github.com/heroku/heroku-buildpack-scala",
    ),
    (
        "heroku/jvm",
        "https://github.com/heroku/heroku-buildpack-jvm-common",
    ),
    (
        "heroku/metrics",
        "https://github.com/heroku/heroku-buildpack-metrics",
    ),
    ("heroku/exec", "https://github.com/heroku/exec-buildpack"),
    (
        "heroku/google-chrome",
        "https://github.com/heroku/heroku-buildpack-google-chrome",
    ),
    (
        "heroku/chromedriver",
        "https://github.com/heroku/heroku-buildpack-chromedriver",
    ),
    (
        "heroku/cli",
        "https://github.com/heroku/heroku-buildpack-cli",
    ),
    (
        "heroku-community/apt",
        "https://github.com/heroku/heroku-buildpack-apt",
    ),
    (
        "heroku-community/inline",
        "https://github.com/heroku/heroku-buildpack-inline",
    ),
    (
        "heroku-community/cli",
        "https://github.com/heroku/heroku-buildpack-cli",
    ),
    (
        "heroku-community/locale",
        "https://github.com/heroku/heroku-buildpack-locale",
    ),
    (
        "heroku-community/multi-procfile",
        "https://github.com/heroku/heroku-buildpack-multi-procfile",
    ),
    (
        "heroku-community/nginx",
        "https://github.com/heroku/heroku-buildpack-nginx",
    ),
    (
        "heroku-community/chrome-for-testing",
        "https://github.com/heroku/heroku-buildpack-chrome-for-testing",
    ),
    (
        "heroku/pgbouncer",
        "https://github.com/heroku/heroku-buildpack-pgbouncer",
    ),
    (
        "gaffneyc/jemalloc",
        "https://github.com/gaffneyc/heroku-buildpack-jemalloc",
    ),
    (
        "lstoll/monorepo",
        "https://github.com/lstoll/heroku-buildpack-monorepo",
    ),
    (
        "timanovsky/subdir",
        "https://github.com/timanovsky/subdir-heroku-buildpack",
    ),
    (
        "hashnuke/elixir",
        "https://github.com/HashNuke/heroku-buildpack-elixir",
    ),
    (
        "jincod/dotnetcore",
        "https://github.com/jincod/dotnetcore-buildpack",
    ),
    (
        "debitoor/ssh-private-key",
        "https://github.com/debitoor/ssh-private-key-buildpack",
    ),
];

/// Where a buildpack lies: the operator's word, then the table; what is no name of them is its own address.
/// `…#ref` stays at its end.
pub fn address(name: &str, own: &BTreeMap<String, String>) -> String {
    let (bare, reference) = match name.split_once('#') {
        Some((b, r)) => (b, Some(r)),
        None => (name, None),
    };
    let key = bare.trim().to_ascii_lowercase();
    let found = own
        .iter()
        .find(|(k, _)| k.eq_ignore_ascii_case(&key))
        .map(|(_, v)| v.clone())
        .or_else(|| {
            KNOWN
                .iter()
                .find(|(k, _)| *k == key)
                .map(|(_, v)| (*v).to_owned())
        });
    // a built-in name with a ref: the official one is meant
    let official = || {
        let rest = key.strip_prefix("heroku/")?;
        crate::Builtin::by_name(&key)?;
        Some(format!("https://github.com/heroku/heroku-buildpack-{rest}"))
    };
    let found = found.or_else(|| reference.and_then(|_| official()));
    match (found, reference) {
        (None, _) => name.to_owned(),
        // the address may name a ref of its own; the app's counts
        (Some(f), Some(r)) => format!("{}#{r}", f.split('#').next().unwrap_or(&f)),
        (Some(f), None) => f,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let own = BTreeMap::from([
            ("acme/base".to_owned(), "/srv/buildpacks/base".to_owned()),
            (
                "heroku-community/apt".to_owned(),
                "https://git.acme.example/apt#v2".to_owned(),
            ),
        ]);
        let a = |name: &str| address(name, &own);
        assert_eq!(a("acme/base"), "/srv/buildpacks/base");
        assert_eq!(a("heroku-community/apt"), "https://git.acme.example/apt#v2");
        assert_eq!(
            a("heroku-community/apt#v3"),
            "https://git.acme.example/apt#v3"
        );
        assert_eq!(
            a("Heroku-Community/Nginx#v1"),
            "https://github.com/heroku/heroku-buildpack-nginx#v1"
        );
        assert_eq!(
            a("heroku/python#v300"),
            "https://github.com/heroku/heroku-buildpack-python#v300"
        );
        assert_eq!(a("heroku/python"), "heroku/python");
        assert_eq!(a("https://example.org/b.tgz"), "https://example.org/b.tgz");
        let mut names: Vec<&str> = KNOWN.iter().map(|(k, _)| *k).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), KNOWN.len());
        // a name that is built in must not have a second meaning
        assert!(names.iter().all(|n| crate::Builtin::by_name(n).is_none()));
    }
}
