//! Which app a request reaches: by host, wildcard, path, or by default.

use crate::rig::*;
use hokku_model::route::{AppState, Share};
use hokku_model::{AppId, DynoId};
use std::collections::BTreeMap;

#[tokio::test]
async fn hosts_wildcards_paths_and_the_default() {
    let mut rig = Rig::new(short()).await;
    let mut dynos = Vec::new();
    let mut apps = BTreeMap::new();
    for (id, hosts) in [
        (1, &["example.test"][..]),
        (2, &["example.test/shop", "own.example.test"]),
        (3, &["*.example.test"]),
        (4, &[]),
    ] {
        let dyno = saying(["", "one", "two", "three", "four"][id as usize]).await;
        let entry = app(
            &format!("app-{id}"),
            hosts,
            AppState::Running,
            &[(id, dyno.addr)],
        );
        apps.insert(AppId(id), entry);
        dynos.push(dyno);
    }
    rig.table.apps = apps;
    rig.apply().await;
    let ask = async |host: &str, path: &str| {
        let mut client = rig.client().await;
        let r = client
            .ask(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        (r.status, r.body())
    };
    for (host, path, says) in [
        ("example.test", "/", "one"),
        ("Example.test.:80", "/shops?/shop", "one"),
        ("example.test", "/shop", "two"),
        ("example.test", "/shop/x?y", "two"),
        ("example.test", "/%73hop/x", "two"),
        ("example.test", "/x/../shop", "two"),
        ("own.example.test", "/", "two"),
        ("other.example.test", "/shop", "three"),
    ] {
        assert_eq!(ask(host, path).await, (200, says.into()), "{host}{path}");
    }
    assert_eq!(ask("a.b.example.test", "/").await.0, 404);
    rig.table.default_app = Some(AppId(4));
    rig.apply().await;
    let ask = async |host: &str| {
        let mut client = rig.client().await;
        let r = client
            .ask(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        r.body()
    };
    assert_eq!(ask("a.b.example.test").await, "four");
    assert_eq!(ask("127.0.0.1").await, "four");
    assert_eq!(ask("example.test").await, "one");
}

#[tokio::test]
async fn a_share_is_served_and_drained_like_the_rest() {
    let mut rig = Rig::new(short()).await;
    let (main, canary) = (saying("main").await, saying("canary").await);
    rig.running(&[(1, main.addr)]).await;
    let shared = app("my-app", &[], AppState::Running, &[(2, canary.addr)]);
    rig.table.apps.get_mut(&APP).unwrap().shares = vec![Share {
        permille: 500,
        release: Some(2),
        targets: shared.targets,
    }];
    rig.apply().await;
    let mut client = rig.client().await;
    let mut seen = BTreeMap::new();
    for _ in 0..200 {
        let r = client.ask("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        *seen.entry(r.body()).or_insert(0) += 1;
    }
    // 100 expected of each, a standard deviation is 7
    assert!(seen["main"] > 50 && seen["canary"] > 50, "{seen:?}");
    rig.table.apps.get_mut(&APP).unwrap().shares.clear();
    rig.apply().await;
    rig.drain(2, ms(60_000)).await;
    let drained = hokku_model::route::RouterReport::Drained { dyno: DynoId(2) };
    assert_eq!(rig.report().await, drained);
    for _ in 0..20 {
        let r = client.ask("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        assert_eq!(r.body(), "main");
    }
}
