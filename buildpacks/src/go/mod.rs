//! Go modules: what an app needs, by Heroku's rules first (Dev Center "Heroku Go Support").

use crate::{
    runtime::Request,
    source::Source,
    version::{Range, Version},
};
use std::collections::BTreeMap;

/// Config vars that a Go build sees (heroku-buildpack-go, `lib/common.sh`); all others stay outside.
pub const ALLOWED: &[&str] = &[
    "CGO_CFLAGS",
    "CGO_CPPFLAGS",
    "CGO_CXXFLAGS",
    "CGO_ENABLED",
    "CGO_LDFLAGS",
    "GOFLAGS",
    "GOINSECURE",
    "GONOPROXY",
    "GONOSUMCHECK",
    "GONOSUMDB",
    "GOPRIVATE",
    "GOPROXY",
    "GOSUMDB",
    "GOEXPERIMENT",
];

/// What has to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The module's path.
    pub module: String,
    /// Which Go.
    pub go: Request,
    /// Packages to install; none: all that are programs.
    pub packages: Vec<String>,
    /// Modules are taken from `vendor`.
    pub vendored: bool,
    /// `-X` of the linker: a symbol and its value.
    pub linker: Option<(String, String)>,
    /// Logins for private modules: `https://host/path` and `user:password`.
    pub logins: Vec<(String, String)>,
    /// For the build's output.
    pub warnings: Vec<String>,
}

/// Plans a build. `env` is what the build sees: the operator's environment and the config vars.
///
/// # Errors
/// Why the app can't be built, for its author.
pub fn plan(source: &Source, env: &BTreeMap<String, String>) -> Result<Plan, String> {
    let text = source.text("go.mod").unwrap_or_default();
    let mut warnings = vec![];
    let line = |name: &str| {
        text.lines().find_map(|l| {
            let l = l.split("//").next().unwrap_or_default().trim();
            l.strip_prefix(name)
                .filter(|r| r.starts_with([' ', '\t']))
                .map(|r| r.trim().trim_matches('"').to_owned())
        })
    };
    let Some(module) = line("module") else {
        return Err("go.mod names no module.\n\nIt must begin with a line such as:\n    module example.com/shop".into());
    };
    let comment = |name: &str| {
        text.lines().find_map(|l| {
            let l = l
                .trim()
                .strip_prefix("//")?
                .trim()
                .strip_prefix("+heroku")?;
            l.trim().strip_prefix(name).map(|r| r.trim().to_owned())
        })
    };
    let get = |k: &str| env.get(k).map(|v| v.trim()).filter(|v| !v.is_empty());
    let go = match (get("GOVERSION"), comment("goVersion")) {
        (Some(v), _) => exact(v, "the config var GOVERSION")?,
        (None, Some(v)) => exact(&v, "go.mod (// +heroku goVersion)")?,
        (None, None) => match line("go") {
            Some(v) => {
                let n = number(&v).ok_or_else(|| {
                    format!("The go line of go.mod holds {v:?}, which is no version of Go.")
                })?;
                // each Go 1 builds what was written for an older one (Go 1 compatibility promise)
                let range = Range::npm(&format!(">={n} <{}", n.0 + 1))?;
                Request {
                    range,
                    text: format!("{v} or newer"),
                    from: Some("go.mod".into()),
                }
            }
            None => {
                warnings.push("go.mod names no version of Go. Better: go mod edit -go=1.22".into());
                Request::any()
            }
        },
    };
    let vendored = source.has("vendor/modules.txt");
    let requires = text
        .lines()
        .map(str::trim)
        .any(|l| l.starts_with("require ") || l.starts_with("require("));
    if requires && !vendored && !source.has("go.sum") {
        return Err(
            "go.mod requires modules, but there is no go.sum with their checksums.\n\n\
             Run \"go mod tidy\" and commit go.sum."
                .into(),
        );
    }
    if source.has("vendor") && !vendored && requires {
        warnings.push(
            "There is a folder vendor without modules.txt; it is not used. Run \"go mod vendor\"."
                .into(),
        );
    }
    let packages: Vec<String> = match (get("GO_INSTALL_PACKAGE_SPEC"), comment("install")) {
        (Some(v), _) => v.split_whitespace().map(String::from).collect(),
        (None, Some(v)) => v.split_whitespace().map(String::from).collect(),
        _ => vec![],
    };
    if let Some(p) = packages.iter().find(|p| p.starts_with('-')) {
        return Err(format!(
            "{p:?} is no package of Go; a package to install can't begin with a dash."
        ));
    }
    let linker = get("GO_LINKER_SYMBOL").map(|s| {
        let value = get("GO_LINKER_VALUE").or(get("SOURCE_VERSION"));
        (s.to_owned(), value.unwrap_or_default().to_owned())
    });
    if let Some((s, v)) = &linker
        && (s.contains(char::is_whitespace) || v.contains(char::is_whitespace))
    {
        return Err("GO_LINKER_SYMBOL and GO_LINKER_VALUE can't hold blanks.".into());
    }
    let logins = env
        .iter()
        .filter_map(|(k, v)| {
            let rest = k.strip_prefix("GO_GIT_CRED__")?;
            let (scheme, host) = rest.split_once("__")?;
            let scheme = scheme.to_ascii_lowercase();
            let host = host
                .to_ascii_lowercase()
                .replace("__", "-")
                .replace('_', ".");
            matches!(scheme.as_str(), "http" | "https")
                .then(|| (format!("{scheme}://{host}/"), v.clone()))
        })
        .collect();
    Ok(Plan {
        module,
        go,
        packages,
        vendored,
        linker,
        logins,
        warnings,
    })
}

fn number(text: &str) -> Option<Version> {
    let text = text.strip_prefix("go").unwrap_or(text);
    let mut n = text.split('.').map(|p| {
        let digits: String = p.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().ok()
    });
    Some(Version(
        n.next()??,
        n.next()??,
        n.next().flatten().unwrap_or(0),
    ))
}

fn exact(text: &str, from: &str) -> Result<Request, String> {
    let bare = text.strip_prefix("go").unwrap_or(text);
    let parts = bare.split('.').count();
    match number(text) {
        Some(Version(a, b, c)) if parts <= 3 => Ok(Request {
            range: Range::prefix(a, b, (parts == 3).then_some(c)),
            text: bare.to_owned(),
            from: Some(from.to_owned()),
        }),
        _ => Err(format!(
            "{from} holds {text:?}, which is no version of Go.\n\nExpected something like go1.22 or go1.22.3."
        )),
    }
}

/// The default process types: of one program `web`, of several each by its name (heroku-buildpack-go, `bin/compile`).
pub fn types(programs: &[String]) -> BTreeMap<String, String> {
    match programs {
        [one] => BTreeMap::from([("web".to_owned(), format!("bin/{one}"))]),
        all => all
            .iter()
            .map(|p| (p.clone(), format!("bin/{p}")))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(module: &str, more: &[(&str, &str)], env: &[(&str, &str)]) -> Result<Plan, String> {
        let mut files = vec![("go.mod", module)];
        files.extend(more);
        let env = env
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect();
        plan(&Source::of(files), &env)
    }

    #[test]
    fn which_go() {
        let go = |text: &str, env: &[(&str, &str)]| {
            let p = with(text, &[], env).unwrap().go;
            (p.text, p.range)
        };
        let holds =
            |text: &str, env: &[(&str, &str)], v: &str| go(text, env).1.holds(v.parse().unwrap());
        let m = "module example.com/shop // mine\n\ngo 1.17\n";
        assert_eq!(go(m, &[]).0, "1.17 or newer");
        assert!(holds(m, &[], "1.19.8") && !holds(m, &[], "1.16.9") && !holds(m, &[], "2.0.0"));
        let h = "// +heroku goVersion go1.18\nmodule x\n\ngo 1.17\n";
        assert!(holds(h, &[], "1.18.9") && !holds(h, &[], "1.19.0"));
        assert!(holds(h, &[("GOVERSION", "go1.19.8")], "1.19.8"));
        assert!(!holds(h, &[("GOVERSION", "go1.19.8")], "1.19.9"));
        assert!(holds("module x\ngo 1.22rc1\n", &[], "1.22.0"));
    }

    #[test]
    fn what_is_planned() {
        let m = "module example.com/shop\n// +heroku install ./cmd/... ./tools/x\ngo 1.17\n";
        let p = with(
            m,
            &[("vendor/modules.txt", "")],
            &[
                ("GO_LINKER_SYMBOL", "main.commit"),
                ("SOURCE_VERSION", "abc"),
                ("GO_GIT_CRED__HTTPS__GIT_EXAMPLE_COM", "me:pw"),
            ],
        )
        .unwrap();
        assert_eq!(p.module, "example.com/shop");
        assert_eq!(p.packages, ["./cmd/...", "./tools/x"]);
        assert!(p.vendored);
        assert_eq!(p.linker, Some(("main.commit".into(), "abc".into())));
        assert_eq!(
            p.logins,
            [("https://git.example.com/".to_owned(), "me:pw".to_owned())]
        );
        let p = with(m, &[], &[("GO_INSTALL_PACKAGE_SPEC", ".")]).unwrap();
        assert_eq!(p.packages, ["."]);
    }

    #[test]
    fn mistakes() {
        for (module, env, want) in [
            ("go 1.17\n", vec![], "names no module"),
            (
                "module x\nrequire example.com/y v1.0.0\n",
                vec![],
                "no go.sum",
            ),
            ("module x\ngo one\n", vec![], "\"one\""),
            ("module x\n", vec![("GOVERSION", "latest")], "GOVERSION"),
            (
                "module x\n",
                vec![("GO_INSTALL_PACKAGE_SPEC", "-toolexec=x")],
                "dash",
            ),
        ] {
            let e = with(module, &[], &env).unwrap_err();
            assert!(e.contains(want), "{e}");
        }
    }

    #[test]
    fn default_types() {
        let t = |p: &[&str]| {
            let p: Vec<String> = p.iter().map(|p| p.to_string()).collect();
            types(&p).into_iter().collect::<Vec<_>>()
        };
        let s = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(t(&["shop"]), [s("web", "bin/shop")]);
        assert_eq!(
            t(&["web", "mail"]),
            [s("mail", "bin/mail"), s("web", "bin/web")]
        );
        assert!(t(&[]).is_empty());
    }
}
