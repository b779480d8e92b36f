//! Releases, and going back.

use crate::support::Host;

#[test]
fn to_the_one_before_without_a_build() {
    let host = Host::start();
    let repo = host.deploy("shop");
    repo.version("two");
    repo.push().ok();
    let back = repo.app(&["rollback"]).ok();
    host.must_serve("shop", "one");
    assert!(back.took.as_secs() < 5, "{back}");
    let head = repo.remote_head();
    assert!(head.is_some());
    // And forward again, by number.
    let releases = host.json(&["releases", "-a", "shop"]);
    let two = releases
        .as_array()
        .expect("a list")
        .iter()
        .filter(|r| r["status"] == "succeeded" && r["current"] == false)
        .filter_map(|r| r["version"].as_u64())
        .max()
        .expect("there is one");
    repo.app(&["rollback", &format!("v{two}")]).ok();
    host.must_serve("shop", "two");
}

#[test]
fn config_goes_back_too() {
    let host = Host::start();
    let repo = host.deploy("shop");
    host.app(&["config:set", "A=old", "-a", "shop"]).ok();
    let old = current(&host);
    host.app(&["config:set", "A=new", "-a", "shop"]).ok();
    repo.version("two");
    repo.push().ok();
    host.app(&["rollback", &format!("v{old}"), "-a", "shop"])
        .ok();
    host.must_serve("shop", "one");
    assert_eq!(host.get("shop", "/env/A").text(), "old");
    let text = host.json(&["releases", "-a", "shop"]).to_string();
    assert!(text.contains(&format!("Rollback to v{old}")), "{text}");
}

fn current(host: &Host) -> u64 {
    host.json(&["releases", "-a", "shop"])
        .as_array()
        .expect("a list")
        .iter()
        .find(|r| r["current"] == true)
        .and_then(|r| r["version"].as_u64())
        .expect("one is current")
}

#[test]
fn to_what_never_was_is_refused() {
    let host = Host::start();
    let repo = host.deploy("shop");
    host.app(&["rollback", "v99", "-a", "shop"])
        .fails()
        .says("v99");
    repo.write("mode", "exit:1");
    repo.version("two");
    repo.push().fails();
    let releases = host.json(&["releases", "-a", "shop"]);
    let failed = releases
        .as_array()
        .expect("a list")
        .iter()
        .find(|r| r["status"] == "failed")
        .and_then(|r| r["version"].as_u64())
        .unwrap_or_else(|| panic!("no failed release in {releases}"));
    host.app(&["rollback", &format!("v{failed}"), "-a", "shop"])
        .fails();
    host.must_serve("shop", "one");
}

#[test]
fn releases_are_never_renumbered() {
    let host = Host::start();
    let repo = host.deploy("shop");
    repo.version("two");
    repo.push().ok();
    host.app(&["config:set", "A=b", "-a", "shop"]).ok();
    host.app(&["rollback", "-a", "shop"]).ok();
    let releases = host.json(&["releases", "-a", "shop"]);
    let mut versions: Vec<u64> = releases
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|r| r["version"].as_u64())
        .collect();
    versions.sort_unstable();
    let n = versions.len() as u64;
    assert!(n >= 4, "{releases}");
    assert_eq!(versions, (1..=n).collect::<Vec<_>>(), "{releases}");
    host.app(&["releases", "-a", "shop"])
        .ok()
        .says("Rollback to");
    host.app(&["releases:info", &format!("v{n}"), "-a", "shop"])
        .ok()
        .says("Rollback to");
}
