//! Host names that lead to an app.

use crate::support::{Host, eventually, http::Connection};

fn version(host: &Host, name: &str) -> Option<String> {
    let r = Connection::open(host.router())
        .and_then(|mut c| c.ask("GET", name, "/", &[("Connection", "close")], b""))
        .ok()?;
    let v: serde_json::Value = serde_json::from_slice(&r.body).ok()?;
    Some(v["version"].as_str()?.to_owned())
}

#[test]
fn a_domain_leads_to_its_app_at_once_and_no_longer_when_removed() {
    let host = Host::start();
    host.deploy("shop");
    // So that nothing is the only app, which would get the requests for unknown hosts.
    host.create("other");
    let name = "www.example.test";
    assert_eq!(version(&host, name), None);
    host.app(&["domains:add", "WWW.Example.test", "-a", "shop"])
        .ok();
    eventually("the domain leads to the app", 10, || {
        version(&host, name).filter(|v| v == "one")
    });
    assert_eq!(version(&host, "shop.localhost").as_deref(), Some("one"));
    let listed = host.json(&["domains", "-a", "shop"]);
    assert_eq!(listed[0]["kind"], "heroku");
    let custom = &listed.as_array().expect("a list")[1..];
    assert_eq!(custom.len(), 1);
    assert_eq!(custom[0]["hostname"], name);
    assert_eq!(custom[0]["cname"], "shop.localhost");
    host.app(&["domains:info", name, "-a", "shop"]).ok();

    let refused = host.app(&["domains:add", name, "-a", "other"]);
    assert_eq!(refused.status, 2, "{refused}");
    assert!(refused.err().contains("the app shop"), "{refused}");
    let refused = host.app(&["domains:add", "shop.localhost", "-a", "other"]);
    assert!(refused.err().contains("apps:rename"), "{refused}");
    assert_eq!(version(&host, name).as_deref(), Some("one"));

    // A restart of the agent changes nothing.
    host.kill_agent();
    assert_eq!(version(&host, name).as_deref(), Some("one"));
    host.start_agent();
    assert_eq!(version(&host, name).as_deref(), Some("one"));

    host.app(&["domains:remove", name, "-a", "shop"]).ok();
    eventually("the domain leads nowhere", 10, || {
        version(&host, name).is_none().then_some(())
    });
    assert_eq!(host.app(&["domains:remove", name, "-a", "shop"]).status, 2);
    host.app(&["domains:add", "a.example.test", "-a", "shop"])
        .ok();
    host.app(&["domains:add", "example.test/docs", "-a", "shop"])
        .ok();
    host.app(&["domains:remove", "example.test/docs", "-a", "shop"])
        .ok();
    host.app(&["domains:clear", "-a", "shop"]).ok();
    assert_eq!(
        host.json(&["domains", "-a", "shop"])
            .as_array()
            .map(Vec::len),
        Some(1)
    );
}
