//! Automatic certificates, with a real ACME server: Pebble.

use crate::support::{Authority, Host, Outcome, Settings, eventually};
use serde_json::Value;

/// The points at which an order may be cut off.
const POINTS: [&str; 6] = [
    "acme-begin",
    "acme-ordered",
    "acme-proof",
    "acme-ready",
    "acme-finalized",
    "acme-issued",
];

fn host(authority: &Authority) -> Host {
    let more = authority.settings();
    Host::start_with(Settings {
        more,
        ..Settings::default()
    })
}

fn cert(host: &Host) -> Option<Value> {
    let certs = host.json(&["certs", "-a", "shop"]);
    certs.as_array()?.first().cloned()
}

fn orders(authority: &Authority) -> usize {
    authority.log().matches("Added order").count()
}

#[test]
#[ignore = "slow: run by .ci/run"]
fn certificates_are_issued_and_renewed_and_failures_are_told() {
    let mut authority = Authority::prepare();
    let host = host(&authority);
    // A life so short that the renewal falls into the test.
    authority.start(host.router().port(), 30);
    authority.point("nowhere.test", "127.0.0.9");
    host.create("shop");
    host.app(&["domains:add", "a.test", "-a", "shop"]).ok();
    host.app(&["certs:auto:enable", "-a", "shop"]).ok();
    host.app(&["domains:wait", "a.test", "--timeout", "60", "-a", "shop"])
        .ok();
    let first = cert(&host).expect("a certificate");
    assert_eq!(first["ssl_cert"]["acm"], true);
    assert_eq!(first["hosts"], serde_json::json!(["a.test"]));
    let issuer = first["ssl_cert"]["issuer"].as_str().unwrap_or_default();
    assert!(issuer.contains("Pebble"), "{first}");
    let auto = host.json(&["certs:auto", "-a", "shop"]);
    assert_eq!(auto["domains"][0]["status"], "cert issued", "{auto}");
    assert!(auto["domains"][0]["next_attempt_at"].is_string(), "{auto}");

    // The name of the certificate stays, what is in it changes.
    let renewed = eventually("the certificate is renewed", 90, || {
        cert(&host).filter(|c| c["ssl_cert"]["fingerprint"] != first["ssl_cert"]["fingerprint"])
    });
    assert_eq!(renewed["name"], first["name"]);

    // A name that does not lead here fails with the authority's words, and does not disturb the others.
    host.app(&["domains:add", "nowhere.test", "-a", "shop"])
        .ok();
    let failed = eventually("the failure is told", 60, || {
        let auto = host.json(&["certs:auto", "-a", "shop"]);
        let all = auto["domains"].as_array()?.clone();
        all.into_iter()
            .find(|d| d["hostname"] == "nowhere.test" && d["status"] == "failing")
    });
    let reason = failed["reason"].as_str().unwrap_or_default();
    assert!(
        reason.contains("the certificate authority says"),
        "{failed}"
    );
    assert!(failed["next_attempt_at"].is_string(), "{failed}");

    // It leads here now, and somebody asks at once.
    authority.point("nowhere.test", "127.0.0.1");
    host.app(&["certs:auto:refresh", "-a", "shop"]).ok();
    host.app(&[
        "domains:wait",
        "nowhere.test",
        "--timeout",
        "60",
        "-a",
        "shop",
    ])
    .ok();

    host.app(&["certs:auto:disable", "-a", "shop"]).ok();
    assert!(cert(&host).is_none());
}

#[test]
#[ignore = "slow: run by .ci/run"]
fn an_agent_killed_in_the_middle_of_an_order_goes_on_with_it() {
    let mut authority = Authority::prepare();
    let host = host(&authority);
    authority.start(host.router().port(), 24 * 3600);
    host.create("shop");
    host.app(&["certs:auto:enable", "-a", "shop"]).ok();
    for (n, point) in POINTS.into_iter().enumerate() {
        host.stop_agent();
        host.start_agent_with(&[("HOKKU_FAULT", point)]);
        let name = format!("{point}.test");
        host.app(&["domains:add", &name, "-a", "shop"]);
        host.agent_ends();
        host.start_agent();
        host.app(&["domains:wait", &name, "--timeout", "60", "-a", "shop"])
            .ok();
        // Nothing was ordered twice.
        assert_eq!(orders(&authority), n + 1, "{point}");
    }
    let certs = host.json(&["certs", "-a", "shop"]);
    assert_eq!(certs.as_array().map(Vec::len), Some(POINTS.len()));
    let log = authority.log();
    assert!(log.contains("There are now 1 accounts") && !log.contains("There are now 2 accounts"));
}

#[test]
#[ignore = "slow: run by .ci/run"]
fn a_name_is_proven_over_tls_and_its_certificate_shown_there() {
    let mut authority = Authority::prepare();
    let more = format!(
        "router_listen_tls = [\"127.0.0.1:{}\"]\n{}challenges = [\"tls-alpn-01\"]\n",
        authority.tls_port(),
        authority.settings()
    );
    let host = Host::start_with(Settings {
        more,
        ..Settings::default()
    });
    authority.start(host.router().port(), 24 * 3600);
    host.create("shop");
    host.app(&["domains:add", "a.test", "-a", "shop"]).ok();
    host.app(&["certs:auto:enable", "--wait", "-a", "shop"])
        .ok();
    let shown = eventually("the certificate is shown", 20, || {
        let shown = shown_by(authority.tls_port(), "a.test");
        shown.contains("Pebble").then_some(shown)
    });
    assert!(shown.contains("DNS:a.test"), "{shown}");
}

#[test]
#[ignore = "slow: run by .ci/run"]
fn an_issued_certificate_serves_and_redirects_leave_the_proofs_alone() {
    let mut authority = Authority::prepare();
    let tls = authority.tls_port();
    let more = format!(
        "router_listen_tls = [\"127.0.0.1:{tls}\"]\n{}challenges = [\"http-01\"]\n",
        authority.settings()
    );
    let host = Host::start_with(Settings {
        more,
        ..Settings::default()
    });
    let plain = host.router().port();
    authority.start(plain, 24 * 3600);
    let repo = host.deploy("shop");
    repo.app(&["certs:auto:enable"]).ok();
    repo.app(&["domains:add", "a.test"]).ok();
    repo.app(&["domains:wait", "a.test", "--timeout", "60"])
        .ok();
    let root = authority.issuing_root();
    let ask = |url: &str| {
        let mut curl = host.command("curl");
        curl.args(["-sS", "-i", "--noproxy", "*", "--connect-to"])
            .arg(format!("a.test:443:127.0.0.1:{tls}"))
            .arg("--connect-to")
            .arg(format!("a.test:80:127.0.0.1:{plain}"))
            .arg("--cacert")
            .arg(&root)
            .arg(url);
        Outcome::of(curl, b"", 20).ok().out().to_lowercase()
    };
    eventually("the certificate is shown", 20, || {
        shown_by(tls, "a.test").contains("Pebble").then_some(())
    });
    let secure = ask("https://a.test/");
    assert!(secure.starts_with("http/2 200"), "{secure}");
    assert!(!secure.contains("strict-transport-security"), "{secure}");
    assert!(secure.contains("x-forwarded-proto") && secure.contains("https"));
    assert!(ask("http://a.test/").starts_with("http/1.1 200"));

    repo.app(&["routing:set", "https_only=true", "hsts=1d"])
        .ok();
    let to = eventually("plain HTTP is redirected", 10, || {
        let said = ask("http://a.test/some/where?x=1");
        said.starts_with("http/1.1 308").then_some(said)
    });
    assert!(
        to.contains("\nlocation: https://a.test/some/where?x=1\r"),
        "{to}"
    );
    assert!(!to.contains("strict-transport-security"), "{to}");
    let secure = ask("https://a.test/");
    assert!(secure.starts_with("http/2 200"), "{secure}");
    assert!(
        secure.contains("\nstrict-transport-security: max-age=86400\r"),
        "{secure}"
    );

    // The proof is fetched over plain HTTP all the same. A redirect would lead the authority to port 443, where nobody is.
    repo.app(&["domains:add", "b.test"]).ok();
    repo.app(&["domains:wait", "b.test", "--timeout", "60"])
        .ok();
    let log = authority.log();
    assert!(log.contains("http://b.test"), "no proof over HTTP in {log}");
}

/// Issuer and names of the certificate that a client gets for this name.
fn shown_by(port: u16, name: &str) -> String {
    let line = format!(
        "openssl s_client -connect 127.0.0.1:{port} -servername {name} </dev/null 2>/dev/null \
         | openssl x509 -noout -issuer -ext subjectAltName"
    );
    let done = std::process::Command::new("bash")
        .args(["-c", &line])
        .output();
    String::from_utf8_lossy(&done.expect("bash is installed").stdout).into_owned()
}
