use super::*;

fn plan_of(package: &str, files: &[(&str, &str)], env: &[(&str, &str)]) -> Result<Plan, String> {
    let mut all = vec![("package.json", package)];
    all.extend(files);
    let env = env
        .iter()
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .collect();
    plan(&Source::of(all), &env)
}

#[test]
fn versions_of_node() {
    let v = |p: &str, files: &[(&str, &str)]| {
        plan_of(p, files, &[]).map(|p| (p.node.text, p.node.from.unwrap_or_default()))
    };
    assert_eq!(v("{}", &[]), Ok((String::new(), String::new())));
    assert_eq!(
        v(r#"{"engines":{"node":"18.x"}}"#, &[(".nvmrc", "20")])
            .unwrap()
            .0,
        "18.x"
    );
    assert_eq!(
        v("{}", &[(".nvmrc", "lts/iron\n")]),
        Ok(("lts/iron".into(), ".nvmrc".into()))
    );
    assert_eq!(
        v("{}", &[(".node-version", "v20.1.0\n")]),
        Ok(("v20.1.0".into(), ".node-version".into()))
    );
    assert_eq!(
        v("{}", &[(".tool-versions", "python 3\nnodejs 22.1.0")])
            .unwrap()
            .1,
        ".tool-versions"
    );
    for bad in ["lts/*", "node", "latest"] {
        let e = v(&format!(r#"{{"engines":{{"node":"{bad}"}}}}"#), &[]).unwrap_err();
        assert!(e.contains("engines.node") && e.contains("20.x"), "{e}");
    }
    assert!(v(r#"{"engines":{"node":20}}"#, &[]).is_err());
    assert_eq!(
        plan_of(
            r#"{"engines":{"node":">=18"}}"#,
            &[("package-lock.json", "")],
            &[]
        )
        .unwrap()
        .warnings
        .len(),
        1
    );
}

#[test]
fn managers() {
    let m = |p: &str, files: &[(&str, &str)]| {
        plan_of(p, files, &[]).map(|p| (p.manager, p.manager_version))
    };
    assert_eq!(m("{}", &[]), Ok((Manager::Npm, None)));
    assert_eq!(
        m("{}", &[("npm-shrinkwrap.json", "")]),
        Ok((Manager::Npm, None))
    );
    assert_eq!(
        m("{}", &[("yarn.lock", "# yarn lockfile v1")]),
        Ok((Manager::Yarn, None))
    );
    assert_eq!(
        m(
            r#"{"packageManager":"pnpm@9.1.0+sha512.abc","engines":{"pnpm":"8"}}"#,
            &[("pnpm-lock.yaml", "")]
        ),
        Ok((Manager::Pnpm, Some("9.1.0".into())))
    );
    assert_eq!(
        m(r#"{"engines":{"pnpm":"8.x"}}"#, &[("pnpm-lock.yaml", "")])
            .unwrap()
            .1
            .as_deref(),
        Some("8.x")
    );
    for (lock, pnpm) in [
        ("lockfileVersion: 5.4\n", "7"),
        ("lockfileVersion: '6.0'\n\nsettings:\n", "8"),
        ("lockfileVersion: '9.0'\n", "10"),
        ("lockfileVersion: '77.0'\n", "latest"),
        ("", "latest"),
    ] {
        let plan = plan_of("{}", &[("pnpm-lock.yaml", lock)], &[]).unwrap();
        assert_eq!(plan.manager_version.as_deref(), Some(pnpm), "{lock}");
        let warned = format!("{pnpm} is used");
        assert!(plan.warnings[0].contains(&warned), "{:?}", plan.warnings);
    }
    for (p, files, word) in [
        (
            "{}",
            vec![("yarn.lock", ""), ("package-lock.json", "")],
            "git rm yarn.lock",
        ),
        (
            "{}",
            vec![("npm-shrinkwrap.json", ""), ("package-lock.json", "")],
            "several lock files",
        ),
        ("{}", vec![(".heroku/node", "")], "git rm"),
        ("{,}", vec![], "not valid JSON"),
        ("[]", vec![], "one object"),
        (
            r#"{"packageManager":"yarn@1;rm -rf"}"#,
            vec![("yarn.lock", "")],
            "packageManager",
        ),
    ] {
        let e = plan_of(p, &files, &[]).unwrap_err();
        assert!(e.contains(word), "{e}");
    }
}

#[test]
fn scripts_in_order() {
    let p = r#"{"scripts":{"build":"b","heroku-prebuild":"x","postinstall":"p","prepare":"q","heroku-cleanup":"c","start":"s","preinstall":" "}}"#;
    let s = plan_of(p, &[], &[("NODE_BUILD_FLAGS", "--x  y")])
        .unwrap()
        .scripts;
    assert_eq!(
        s,
        Scripts {
            before: vec!["heroku-prebuild".into()],
            after: vec!["postinstall".into(), "prepare".into()],
            build: Some(("build".into(), vec!["--x".into(), "y".into()])),
            cleanup: Some("heroku-cleanup".into()),
        }
    );
    let s = plan_of(
        r#"{"scripts":{"build":"b","heroku-postbuild":"h"}}"#,
        &[],
        &[],
    )
    .unwrap()
    .scripts;
    assert_eq!(s.build, Some(("heroku-postbuild".into(), vec![])));
    assert!(
        !plan_of(r#"{"scripts":{"start":"b"}}"#, &[], &[])
            .unwrap()
            .scripts
            .any()
    );
}

#[test]
fn pruning() {
    let p = |env: &[(&str, &str)]| {
        let p = plan_of(r#"{"devDependencies":{"a":"1"}}"#, &[], env).unwrap();
        (p.install_dev, p.prune, p.has_dev)
    };
    assert_eq!(p(&[]), (true, true, true));
    assert_eq!(p(&[("NODE_ENV", "development")]), (true, false, true));
    assert_eq!(
        p(&[("NPM_CONFIG_PRODUCTION", "false")]),
        (true, false, true)
    );
    assert_eq!(
        p(&[("NPM_CONFIG_PRODUCTION", "true")]),
        (false, false, true)
    );
    assert_eq!(p(&[("PNPM_SKIP_PRUNING", "true")]), (true, false, true));
}

#[test]
fn the_key_changes_with_what_is_installed_only() {
    let base = r#"{"name":"a","version":"1.0.0","scripts":{"start":"x"},"dependencies":{"e":"1"}}"#;
    let k = |p: &str, lock: &str, env: &[(&str, &str)]| {
        plan_of(p, &[("package-lock.json", lock)], env).unwrap().key
    };
    let first = k(base, "L", &[]);
    assert_eq!(
        k(
            &base.replace("1.0.0", "1.0.1").replace("\"x\"", "\"y\""),
            "L",
            &[("SECRET", "1"), ("NPM_TOKEN", "t")]
        ),
        first
    );
    assert_ne!(k(base, "M", &[]), first);
    assert_ne!(k(&base.replace("\"e\"", "\"f\""), "L", &[]), first);
    assert_ne!(k(base, "L", &[("NPM_CONFIG_OMIT", "optional")]), first);
    let c = |p: &str, env: &[(&str, &str)]| plan_of(p, &[], env).unwrap().cacheable.is_ok();
    assert!(c(base, &[]));
    assert!(!c(base, &[("NODE_MODULES_CACHE", "false")]));
    assert!(!c(r#"{"workspaces":["a"]}"#, &[]));
    assert!(!c(r#"{"dependencies":{"x":"file:./x"}}"#, &[]));
    let committed = plan_of(base, &[("node_modules", "")], &[]).unwrap();
    assert!(committed.cacheable.is_err());
}

#[test]
fn yarn_berry_and_bun() {
    let lock = "# This file is generated\n\n__metadata:\n  version: 8\n  cacheKey: 10\n";
    let p = plan_of("{}", &[("yarn.lock", lock)], &[]).unwrap();
    assert_eq!(
        (p.manager, p.manager_version.as_deref(), p.pnp),
        (Manager::Berry, Some("4"), true)
    );
    assert!(p.cacheable.is_err() && p.warnings.iter().any(|w| w.contains("4 is used")));
    let rc = "nodeLinker: node-modules\nyarnPath: .yarn/releases/yarn-4.1.0.cjs\n";
    let p = plan_of(
        r#"{"packageManager":"yarn@4.1.0"}"#,
        &[("yarn.lock", ""), (".yarnrc.yml", rc)],
        &[],
    )
    .unwrap();
    assert_eq!(
        (p.manager, p.manager_version.as_deref(), p.pnp),
        (Manager::Berry, Some("4.1.0"), false)
    );
    assert_eq!(
        p.yarn_path.as_deref(),
        Some(".yarn/releases/yarn-4.1.0.cjs")
    );
    assert!(p.cacheable.is_ok());
    for lock in ["bun.lock", "bun.lockb"] {
        let p = plan_of("{}", &[(lock, "")], &[]).unwrap();
        assert_eq!((p.manager, p.lock), (Manager::Bun, Some(lock)));
    }
    let e = plan_of("{}", &[("bun.lock", ""), ("yarn.lock", "")], &[]).unwrap_err();
    assert!(e.contains("git rm bun.lock"), "{e}");
}
