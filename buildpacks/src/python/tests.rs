use super::*;

fn plan_of(files: &[(&str, &str)]) -> Result<Plan, String> {
    plan(&Source::of(files.iter().copied()), &BTreeMap::new(), None)
}

fn version(files: &[(&str, &str)]) -> Result<(String, Option<String>), String> {
    let mut all = vec![("requirements.txt", "flask\n")];
    all.extend(files);
    plan_of(&all).map(|p| (p.python.text, p.python.from))
}

#[test]
fn who_reads_which_version_file() {
    let ok = |t: &str, f: &str| Ok((t.to_owned(), Some(f.to_owned())));
    assert_eq!(version(&[]), Ok((String::new(), None)));
    assert_eq!(
        version(&[(".python-version", "3.12\n")]),
        ok("3.12", ".python-version")
    );
    assert_eq!(
        version(&[(".python-version", "# why\n\n  3.12.4  \n")]),
        ok("3.12.4", ".python-version")
    );
    assert_eq!(
        version(&[
            ("runtime.txt", "python-3.8.5\n"),
            (".python-version", "3.12")
        ]),
        ok("3.8.5", "runtime.txt")
    );
    assert_eq!(
        version(&[(".tool-versions", "nodejs 20\npython 3.9.1\n")]),
        ok("3.9.1", ".tool-versions")
    );
    for bad in [
        "\"3.12\"",
        "python-3.12",
        "3.12\n3.11",
        "\u{feff}3.12",
        "3",
        "3.x",
        "",
        "# only\n",
        "3.12.1.1",
        "pypy3.10",
    ] {
        assert!(version(&[(".python-version", bad)]).is_err(), "{bad:?}");
    }
    for bad in [
        "3.12",
        "python 3.12",
        "python-3",
        "python-3.12-dev",
        "pypy-3.9",
        "",
    ] {
        let e = version(&[("runtime.txt", bad)]).unwrap_err();
        assert!(e.contains("python-3.11"), "{e}");
    }
    let p = plan(
        &Source::of([("requirements.txt", "")]),
        &BTreeMap::new(),
        Some(Version(3, 10, 4)),
    )
    .unwrap();
    assert_eq!(
        (
            p.python.text.as_str(),
            p.python.range.holds(Version(3, 10, 9))
        ),
        ("3.10", true)
    );
    let p = plan_of(&[
        ("uv.lock", ""),
        ("pyproject.toml", "[project]\nrequires-python = \">=3.9\"\n"),
    ])
    .unwrap();
    assert_eq!(p.python.text, ">=3.9");
}

#[test]
fn managers() {
    let m = |files: &[(&str, &str)]| plan_of(files).map(|p| (p.manager, p.warnings.len()));
    assert_eq!(m(&[("requirements.txt", "")]), Ok((Manager::Pip, 0)));
    assert_eq!(
        m(&[("requirements.txt", ""), ("poetry.lock", "")]),
        Ok((Manager::Pip, 1))
    );
    assert_eq!(
        m(&[("requirements.txt", ""), ("uv.lock", "")]),
        Ok((Manager::Pip, 1))
    );
    assert_eq!(
        m(&[("uv.lock", ""), ("pyproject.toml", "")]),
        Ok((Manager::Uv, 0))
    );
    assert_eq!(
        m(&[("Pipfile.lock", "{}"), ("requirements.txt", "")]),
        Ok((Manager::Pipenv, 1))
    );
    assert_eq!(
        m(&[("poetry.lock", ""), ("pyproject.toml", ""), ("uv.lock", "")]),
        Ok((Manager::Poetry, 1))
    );
    assert_eq!(m(&[("main.py", "")]), Ok((Manager::None, 1)));
    assert_eq!(
        m(&[("main.py", ""), ("pyproject.toml", "[tool.black]\n")]),
        Ok((Manager::None, 1))
    );
    for (files, word) in [
        (vec![("Pipfile", "")], "pipenv lock"),
        (vec![("Pipfile.lock", "")], "not valid JSON"),
        (
            vec![(
                "Pipfile.lock",
                r#"{"_meta":{"requires":{"python_version":"three"}}}"#,
            )],
            "Pipfile.lock asks for Python \"three\"",
        ),
        (vec![("setup.py", "")], "-e ."),
        (
            vec![("pyproject.toml", "[project]\ndependencies = [\"x\"]\n")],
            "uv lock",
        ),
        (
            vec![("requirements.txt", ""), (".heroku/python", "")],
            "git rm",
        ),
    ] {
        let e = plan_of(&files).unwrap_err();
        assert!(e.contains(word), "{e}");
    }
}

#[test]
fn a_django_app() {
    let files = [
        ("requirements.txt", "-r requirements/base.txt\n"),
        ("requirements/base.txt", "django==5.0\n"),
        ("site/manage.py", ""),
        ("bin/post_compile", ""),
        ("nltk.txt", "stopwords punkt\n$(x)\n"),
    ];
    let p = plan_of(&files).unwrap();
    assert_eq!(
        p,
        Plan {
            manager: Manager::Pip,
            python: Request::any(),
            key: vec![
                (
                    "requirements.txt".into(),
                    b"-r requirements/base.txt\n".to_vec()
                ),
                ("requirements/base.txt".into(), b"django==5.0\n".to_vec()),
            ],
            always_install: false,
            manage_py: Some("site/manage.py".into()),
            pre_compile: false,
            post_compile: true,
            nltk: vec!["stopwords".into(), "punkt".into()],
            warnings: vec![],
        }
    );
    let off = |v: &str| {
        let config = BTreeMap::from([("DISABLE_COLLECTSTATIC".to_owned(), v.to_owned())]);
        plan(&Source::of(files), &config, None)
            .unwrap()
            .manage_py
            .is_none()
    };
    assert!(off("1") && off("") && !off("0"));
}

#[test]
fn what_to_add_to_the_procfile() {
    let s = Source::of([("requirements.txt", "Flask\nGunicorn\n"), ("app.py", "")]);
    assert_eq!(
        suggestion(&s, None).as_deref(),
        Some("web: gunicorn app:app")
    );
    assert_eq!(
        suggestion(&s, Some("x.wsgi")).as_deref(),
        Some("web: gunicorn x.wsgi")
    );
    assert_eq!(
        suggestion(
            &Source::of([("requirements.txt", "flask"), ("app.py", "")]),
            None
        ),
        None
    );
}

#[test]
fn versions_that_poetry_and_pipenv_write() {
    let v = |files: &[(&str, &str)], yes: &str, no: &str| {
        let r = plan_of(files).unwrap().python.range;
        assert!(
            r.holds(yes.parse().unwrap()) && !r.holds(no.parse().unwrap()),
            "{files:?}"
        );
    };
    let poetry = "[tool.poetry.dependencies]\npython = \"^3.10\"\n";
    v(
        &[("poetry.lock", ""), ("pyproject.toml", poetry)],
        "3.11.2",
        "4.0.0",
    );
    let project = "[project]\nrequires-python = \">=3.10,<3.12\"\n";
    v(
        &[("poetry.lock", ""), ("pyproject.toml", project)],
        "3.11.2",
        "3.12.0",
    );
    let lock = r#"{"_meta":{"requires":{"python_version":"3.11"}}}"#;
    v(&[("Pipfile.lock", lock)], "3.11.9", "3.12.0");
    let lock = r#"{"_meta":{"requires":{"python_full_version":"3.11.2","python_version":"3.11"}}}"#;
    v(&[("Pipfile.lock", lock)], "3.11.2", "3.11.3");
    // a package of its own is installed in each build
    let always = |project: &str| {
        plan_of(&[("poetry.lock", ""), ("pyproject.toml", project)])
            .unwrap()
            .always_install
    };
    assert!(always("[tool.poetry]\n") && !always("[tool.poetry]\npackage-mode = false\n"));
}
