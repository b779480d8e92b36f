//! What the router answers by itself at the ports of the requests, whatever the Host.

use crate::rig::*;
use hokku_model::AppId;
use hokku_model::route::HEALTH_PATH;

#[tokio::test]
async fn health_is_told_whatever_the_host_and_no_app_hears_of_it() {
    let mut rig = Rig::new(short()).await;
    let d = mirror().await;
    rig.running(&[(1, d.addr)]).await;
    // a load balancer's host would lead to the default app, and its plain HTTP elsewhere
    rig.table.default_app = rig.table.apps.keys().next().copied();
    rig.table.front.health_path = Some("/up".into());
    for app in rig.table.apps.values_mut() {
        app.routing.https_only = true;
    }
    rig.apply().await;
    let ask = async |method: &str, path: &str, host: &str| {
        let mut client = rig.client().await;
        let text = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        client.send(&text).await;
        let reply = match method {
            "HEAD" => client.head_reply().await,
            _ => client.reply().await,
        };
        (reply.status, reply.body())
    };
    for path in [HEALTH_PATH, "/up", "/up?app=my-app"] {
        for host in ["10.0.0.7:80", "a.test", "nobody.test"] {
            let (status, body) = ask("GET", path, host).await;
            assert_eq!(status, 200, "{host}{path} {body}");
            assert!(body.contains("\"status\":\"ok\""), "{host}{path} {body}");
        }
    }
    assert_eq!(
        ask("HEAD", "/up", "10.0.0.7:80").await,
        (200, String::new())
    );
    assert_eq!(ask("POST", "/up", "10.0.0.7:80").await.0, 405);
    assert_eq!(
        ask("GET", "/", "10.0.0.7:80").await.0,
        308,
        "not a path of health"
    );
    rig.running(&[]).await;
    let mut client = rig.client().await;
    let ask = format!("GET {HEALTH_PATH} HTTP/1.1\r\nHost: 10.0.0.7:80\r\n\r\n");
    let reply = client.ask(&ask).await;
    assert_eq!(reply.status, 503);
    assert!(reply.body().contains("1 of 1 apps"), "{}", reply.body());
    assert_eq!(d.count(), 0, "no question reached the app");
}

#[tokio::test]
async fn proofs_for_acme_are_told_over_plain_http_and_others_are_the_apps() {
    let mut rig = Rig::new(short()).await;
    let d = saying("the app's own").await;
    rig.running(&[(1, d.addr)]).await;
    let proofs = [("token-1".to_owned(), "token-1.thumb".to_owned())];
    rig.table.front.challenges = proofs.into();
    rig.table
        .apps
        .get_mut(&AppId(APP.0))
        .unwrap()
        .routing
        .https_only = true;
    rig.apply().await;
    let reply = rig.get("/.well-known/acme-challenge/token-1").await;
    assert_eq!((reply.status, reply.body()), (200, "token-1.thumb".into()));
    let reply = rig.get("/.well-known/acme-challenge/token-2").await;
    assert_eq!((reply.status, reply.body()), (200, "the app's own".into()));
    assert_eq!(rig.get("/x").await.status, 308);
}
