//! Certificates given by hand.

use crate::support::{Host, authority::certificate, eventually};

#[test]
fn a_certificate_is_given_shown_replaced_and_removed() {
    let host = Host::start();
    host.create("shop");
    host.app(&["domains:add", "a.test", "-a", "shop"]).ok();
    let (crt, key) = certificate(host.dir(), "one", &["a.test", "b.test"], 30);
    let (crt, key) = (
        crt.to_string_lossy().into_owned(),
        key.to_string_lossy().into_owned(),
    );
    let added = host.app(&["certs:add", &crt, &key, "-a", "shop"]).ok();
    assert!(added.out().contains("a.test, b.test"), "{added}");
    assert!(added.err().contains("signed by itself"), "{added}");
    assert!(!added.out().contains("PRIVATE KEY"));
    let listed = host.json(&["certs", "-a", "shop"]);
    assert_eq!(listed[0]["hosts"], serde_json::json!(["a.test"]));
    assert_eq!(listed[0]["ssl_cert"]["acm"], false);
    assert_eq!(listed[0]["ssl_cert"]["self_signed?"], true);
    assert!(!listed.to_string().contains("PRIVATE"), "{listed}");
    let domains = host.json(&["domains", "-a", "shop"]);
    let domains = domains.as_array().expect("a list");
    let a = domains.iter().find(|d| d["hostname"] == "a.test");
    let a = a.expect("it was added");
    assert_eq!(a["sni_endpoint"]["name"], listed[0]["name"]);
    eventually("the router has said what it thinks of it", 10, || {
        let log = host.agent_log();
        (!host.json(&["certs", "-a", "shop"])[0]["refused"].is_string()
            || log.contains("the router refused a certificate"))
        .then_some(())
    });

    let (other, other_key) = certificate(host.dir(), "two", &["a.test"], 90);
    let (other, other_key) = (
        other.to_string_lossy().into_owned(),
        other_key.to_string_lossy().into_owned(),
    );
    let refused = host.app(&["certs:update", &other, &key, "-a", "shop"]);
    assert_eq!(refused.status, 2, "{refused}");
    assert!(refused.err().contains("does not belong"), "{refused}");
    host.app(&["certs:update", &other, &other_key, "-a", "shop"])
        .ok();
    let updated = host.json(&["certs", "-a", "shop"]);
    assert_eq!(updated[0]["name"], listed[0]["name"]);
    assert_ne!(
        updated[0]["ssl_cert"]["fingerprint"],
        listed[0]["ssl_cert"]["fingerprint"]
    );
    let info = host.app(&["certs:info", "-a", "shop"]).ok();
    assert!(
        info.out().contains("a.test") && !info.out().contains("b.test"),
        "{info}"
    );

    let off = host.app(&["certs:auto:enable", "-a", "shop"]);
    assert_eq!(off.status, 2, "{off}");
    assert!(off.err().contains("agree = true"), "{off}");
    host.app(&["certs:remove", "-a", "shop"]).ok();
    assert_eq!(host.json(&["certs", "-a", "shop"]), serde_json::json!([]));
}
