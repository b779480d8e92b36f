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

/// Django refuses hosts that it was not told of, and redirects what did not come by HTTPS.
#[test]
#[ignore = "slow: run by .ci/run"]
fn django_is_checked_as_its_visitors_ask() {
    let host = Host::start();
    let repo = host.create("dj");
    repo.write_sample("django");
    host.app(&[
        "config:set",
        "ALLOWED_HOSTS=shop.example",
        "SECRET_KEY=x",
        "-a",
        "dj",
    ])
    .ok();
    repo.commit("First");
    repo.push()
        .fails()
        .says("GET / with Host: dj.localhost, X-Forwarded-Proto: https was answered with 400 Bad Request")
        .says("add \"dj.localhost\" to ALLOWED_HOSTS")
        .says("Push rejected");
    // With its domain known here, that is the Host it is asked with: nothing has to be set in app.json.
    host.app(&["domains:add", "shop.example", "-a", "dj"]).ok();
    repo.git(&["commit", "--quiet", "--allow-empty", "-m", "Again"])
        .ok();
    repo.push().ok();
    let mut c = crate::support::http::Connection::open(host.router()).expect("the router listens");
    let r = c
        .ask("GET", "shop.example", "/", &[], b"")
        .expect("it answers");
    assert_eq!(r.status, 301, "{}", r.text());
    assert_eq!(r.header("location"), Some("https://shop.example/"));
    host.app(&["checks:run", "-a", "dj"])
        .ok()
        .says("startup \"page\": passes in ");
    // The other way: the default name is allowed too.
    host.app(&["domains:remove", "shop.example", "-a", "dj"])
        .ok();
    host.app(&["config:set", "ALLOWED_HOSTS=dj.localhost", "-a", "dj"])
        .ok();
    redeploy(&repo, "site_of_tests/urls.py");
    let r = host.get("dj", "/");
    assert_eq!(
        r.header("location"),
        Some("https://dj.localhost/"),
        "{}",
        r.text()
    );
}
