//! What the router does to a request and its answer.

use crate::support::{Host, eventually, http::Connection};
use futures_util::{SinkExt, StreamExt};
use std::io::Write;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

#[test]
fn the_headers_that_apps_rely_on() {
    let host = Host::start();
    host.deploy("shop");
    let mut c = Connection::open(host.router()).expect("it listens");
    let r = c
        .ask(
            "GET",
            "Shop.LocalHost:80",
            "/a%20b?c=d&e",
            &[("X-Request-Id", "0123456789-0123456789"), ("X-Own", "kept")],
            b"",
        )
        .expect("an answer");
    let v = r.json();
    let h = &v["headers"];
    assert_eq!(v["path"], "/a%20b?c=d&e");
    assert_eq!(h["host"], "Shop.LocalHost:80");
    assert_eq!(h["x-own"], "kept");
    assert_eq!(h["x-request-id"], "0123456789-0123456789");
    assert_eq!(h["x-forwarded-proto"], "http");
    assert!(
        h["x-forwarded-for"]
            .as_str()
            .is_some_and(|f| f.ends_with("127.0.0.1")),
        "{h}"
    );
    assert!(h["x-forwarded-port"].is_string(), "{h}");
    assert!(h["x-request-start"].is_string(), "{h}");
    // One is made when none, or a bad one, is given.
    let r = c
        .ask("GET", "shop.localhost", "/", &[("X-Request-Id", "no")], b"")
        .expect("an answer");
    let id = r.json()["headers"]["x-request-id"].clone();
    assert!(id.as_str().is_some_and(|i| i.len() >= 20), "{id}");
}

#[test]
fn figures_of_an_app_are_on_the_routers_socket() {
    let host = Host::start();
    host.deploy("shop");
    assert_eq!(host.get("shop", "/").status, 200);
    let seen = eventually("its requests are counted", 10, || {
        let mut c =
            std::os::unix::net::UnixStream::connect(host.data().join("router/metrics.sock"))
                .ok()?;
        c.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .ok()?;
        let text = std::io::read_to_string(c).ok()?;
        text.contains("hokku_router_requests_total{app=\"shop\",process=\"web\",status=\"2xx\"}")
            .then_some(text)
    });
    assert!(
        seen.contains("hokku_router_targets{app=\"shop\",process=\"web\"} 1\n"),
        "{seen}"
    );
}

#[test]
fn unknown_hosts_get_404_and_empty_apps_their_code() {
    let host = Host::start();
    host.create("shop");
    // With one app alone, that one would get the requests for unknown hosts.
    host.create("other");
    eventually("the router has its first table", 10, || {
        (host.get("shop", "/").status == 502).then_some(())
    });
    assert_eq!(host.get("nobody", "/").status, 404);
    host.logged("shop", "code=H81");
}

#[test]
fn bodies_go_both_ways_whole() {
    let host = Host::start();
    host.deploy("shop");
    let body: Vec<u8> = (0..5_000_000u32).map(|i| (i * 31 % 251) as u8).collect();
    let mut c = Connection::open(host.router()).expect("it listens");
    let r = c
        .ask("POST", "shop.localhost", "/echo", &[], &body)
        .expect("an answer");
    assert!(r.body == body, "{} bytes came back", r.body.len());
    let r = c
        .ask("GET", "shop.localhost", "/big/3000000", &[], b"")
        .expect("an answer on the same connection");
    assert_eq!(r.body.len(), 3_000_000);
    let r = c
        .ask("HEAD", "shop.localhost", "/", &[], b"")
        .expect("an answer");
    assert_eq!(r.status, 200);
}

#[test]
fn streams_are_not_held_back() {
    let host = Host::start();
    host.deploy("shop");
    let mut c = Connection::open(host.router()).expect("it listens");
    c.send("GET", "shop.localhost", "/stream/4/400", &[], b"")
        .expect("sent");
    let started = std::time::Instant::now();
    assert_eq!(c.head().expect("a head").status, 200);
    let first = c.chunk().expect("a chunk");
    assert_eq!(first, b"data: 1\n\n");
    assert!(
        started.elapsed() < std::time::Duration::from_millis(350),
        "the first event was held back for {:?}",
        started.elapsed()
    );
    let mut rest = vec![];
    loop {
        let chunk = c.chunk().expect("a chunk");
        if chunk.is_empty() {
            break;
        }
        rest.extend(chunk);
    }
    assert_eq!(rest, b"data: 2\n\ndata: 3\n\ndata: 4\n\n");
}

#[test]
fn websockets_echo() {
    let host = Host::start();
    host.deploy("shop");
    let router = host.router();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(async {
            let stream = tokio::net::TcpStream::connect(router)
                .await
                .expect("it listens");
            let request = "ws://shop.localhost/ws"
                .into_client_request()
                .expect("a URL");
            let (mut ws, _) = tokio_tungstenite::client_async(request, stream)
                .await
                .expect("the handshake");
            for size in [1, 125, 126, 60_000] {
                let sent = Message::binary(vec![7u8; size]);
                ws.send(sent.clone()).await.expect("sent");
                let got = ws.next().await.expect("open").expect("a message");
                assert_eq!(got, sent);
            }
            ws.close(None).await.expect("closed");
        });
}
