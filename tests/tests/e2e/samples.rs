//! The sample apps of `tests/apps`, built by the built-in buildpacks. Those that fetch packages are slow.

use crate::support::{Host, Repo};

fn deployed<'a>(host: &'a Host, app: &str, sample: &str) -> Repo<'a> {
    let repo = host.create(app);
    repo.write_sample(sample);
    repo.commit("First");
    repo.push().ok();
    repo
}

/// Changes one line of one file and pushes again.
fn redeploy(repo: &Repo<'_>, file: &str) -> crate::support::Outcome {
    let path = repo.dir.join(file);
    let text = std::fs::read_to_string(&path).expect("the sample has it");
    assert!(text.contains("version one"), "{text}");
    repo.write(file, text.replace("version one", "version two"));
    repo.commit("Second");
    repo.push().ok()
}

#[test]
fn a_static_page() {
    let host = Host::start();
    let repo = deployed(&host, "site", "static");
    let r = host.get("site", "/");
    assert_eq!(r.status, 200);
    assert!(r.text().contains("version one"), "{}", r.text());
    assert!(
        r.header("content-type")
            .is_some_and(|t| t.contains("text/html")),
        "{:?}",
        r.headers
    );
    assert_eq!(host.get("site", "/style.css").status, 200);
    assert_eq!(host.get("site", "/no-such-page").status, 404);
    assert_ne!(host.get("site", "/../Procfile").status, 200);
    redeploy(&repo, "index.html");
    assert!(host.get("site", "/").text().contains("version two"));
}

#[test]
fn a_script_named_in_the_procfile() {
    let host = Host::start();
    let repo = deployed(&host, "script", "procfile-script");
    assert!(host.get("script", "/").text().contains("version one"));
    redeploy(&repo, "serve");
    assert!(host.get("script", "/").text().contains("version two"));
}

#[test]
fn python_with_its_standard_library() {
    let host = Host::start();
    let repo = deployed(&host, "py", "python-stdlib");
    assert!(host.get("py", "/").text().contains("version one"));
    redeploy(&repo, "server.py");
    assert!(host.get("py", "/").text().contains("version two"));
}

#[test]
#[ignore = "slow: run by .ci/run"]
fn flask_by_pip() {
    let host = Host::start();
    let repo = deployed(&host, "flask", "flask");
    assert!(host.get("flask", "/").text().contains("version one"));
    let again = redeploy(&repo, "hello.py");
    assert!(host.get("flask", "/").text().contains("version two"));
    // Dependencies that have not changed are not installed again.
    assert!(!again.err().contains("Collecting flask"), "{again}");
    assert!(again.took.as_secs() < 10, "{again}");
}

#[test]
#[ignore = "slow: run by .ci/run"]
fn express_by_npm() {
    let host = Host::start();
    let repo = deployed(&host, "express", "node");
    assert!(host.get("express", "/").text().contains("version one"));
    let again = redeploy(&repo, "index.js");
    assert!(host.get("express", "/").text().contains("version two"));
    assert!(again.took.as_secs() < 10, "{again}");
}
