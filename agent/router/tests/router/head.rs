//! Heads: what is added, what is removed, what is refused.

use crate::rig::*;
use hokku_model::route::AppState;

#[tokio::test]
async fn headers_are_added_and_hop_by_hop_ones_removed() {
    let mut rig = Rig::new(short()).await;
    let d = mirror().await;
    rig.running(&[(1, d.addr)]).await;
    let mut c = rig.client().await;
    let r = c
        .ask(
            "GET /p?q=1 HTTP/1.1\r\nHost: A.test:81\r\nX-Forwarded-For: 203.0.113.9\r\nConnection: keep-alive, X-Drop\r\n\
             X-Drop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nProxy: evil\r\nX_Forwarded_For: evil\r\nVia: 1.0 front\r\n\
             X-Request-Id: 0123456789abcdefghij+/=-\r\n\r\n",
        )
        .await;
    let seen = r.body();
    assert!(seen.starts_with("GET /p?q=1 HTTP/1.1\r\n"), "{seen}");
    let h = |n: &str| header(&seen, n);
    assert_eq!(h("host").unwrap(), "A.test:81");
    assert_eq!(h("x-forwarded-for").unwrap(), "203.0.113.9, 127.0.0.1");
    assert_eq!(h("x-forwarded-proto").unwrap(), "http");
    assert_eq!(h("x-forwarded-port").unwrap(), rig.addr.port().to_string());
    assert_eq!(h("x-request-id").unwrap(), "0123456789abcdefghij+/=-");
    assert_eq!(h("via").unwrap(), "1.0 front, 1.1 hokku-router");
    assert!(h("x-request-start").unwrap().parse::<u64>().unwrap() > 1_700_000_000_000);
    assert_eq!(h("te").unwrap(), "trailers");
    for gone in ["x-drop", "keep-alive", "proxy", "x_forwarded_for"] {
        assert_eq!(h(gone), None, "{gone}");
    }
    assert_eq!(r.header("via").unwrap(), "1.1 hokku-router");

    for (id, kept) in [
        ("short", false),
        ("0123456789abcdefghi_", false),
        ("01234567890123456789", true),
    ] {
        let r = c
            .ask(&format!(
                "GET / HTTP/1.1\r\nHost: a.test\r\nX-Request-Id: {id}\r\n\r\n"
            ))
            .await;
        let got = header(&r.body(), "x-request-id").unwrap();
        assert_eq!(got == id, kept, "{id}");
        assert!(kept || got.len() == 36, "{got}");
    }
    rig.log_line(
        Some(APP),
        &[
            " path=\"/p?q=1\" ",
            " fwd=\"203.0.113.9, 127.0.0.1\" ",
            " request_id=0123456789abcdefghij+/=- ",
        ],
    )
    .await;
}

#[tokio::test]
async fn the_protocol_is_believed_of_trusted_peers_only() {
    let ask = "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 8443\r\n\r\n";
    for (trust, proto) in [(true, "https"), (false, "http")] {
        let mut rig = Rig::new(short()).await;
        if !trust {
            rig.table.front.trusted.clear();
        }
        let d = mirror().await;
        rig.running(&[(1, d.addr)]).await;
        let seen = rig.client().await.ask(ask).await.body();
        assert_eq!(header(&seen, "x-forwarded-proto").unwrap(), proto);
        let port = if trust {
            "8443".into()
        } else {
            rig.addr.port().to_string()
        };
        assert_eq!(header(&seen, "x-forwarded-port").unwrap(), port);
        let tls = if trust {
            " tls=true tls_version=unknown"
        } else {
            " tls=false"
        };
        rig.log_line(Some(APP), &[tls, " status=200 "]).await;
    }
}

#[tokio::test]
async fn ambiguous_requests_never_reach_the_app() {
    let mut rig = Rig::with(|c| c.threads = 1, short()).await;
    let d = mirror().await;
    rig.running(&[(1, d.addr)]).await;
    for (head, body) in [
        ("Content-Length: 3\r\nContent-Length: 4\r\n", "abcd"),
        ("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"),
        ("Content-Length: 3, 3\r\n", "abc"),
        ("Content-Length: +3\r\n", "abc"),
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n",
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "0\r\n\r\n",
        ),
        ("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
        (
            "Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n",
        ),
        ("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
        ("X: a\r\n folded\r\n", ""),
        ("X: a\nY: b\r\n", ""),
        ("X: a\rY: b\r\n", ""),
        ("X: a\0b\r\n", ""),
        ("Host: b.test\r\n", ""),
    ] {
        let mut c = rig.client().await;
        let r = c
            .ask(&format!(
                "POST / HTTP/1.1\r\nHost: a.test\r\n{head}\r\n{body}"
            ))
            .await;
        assert_eq!(r.status, 400, "{head:?} {r:?}");
        assert!(c.is_closed().await, "{head:?}");
    }
    // also when it is the second request on the connection, and when it came together with the first
    let bad = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let good = "GET /good HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let mut c = rig.client().await;
    assert_eq!(c.ask(good).await.status, 200);
    assert_eq!(c.ask(bad).await.status, 400);
    let mut c = rig.client().await;
    assert_eq!(c.ask(&format!("{good}{bad}")).await.status, 200);
    assert_eq!(c.reply().await.status, 400);
    assert_eq!(d.count(), 1, "only the good ones");

    let mut c = rig.client().await;
    assert_eq!(c.ask("GET / HTTP/1.1\r\n\r\n").await.status, 400, "no host");
    let mut c = rig.client().await;
    assert_eq!(
        c.ask("CONNECT a.test:80 HTTP/1.1\r\nHost: a.test\r\n\r\n")
            .await
            .status,
        405
    );
    let mut c = rig.client().await;
    let r = c
        .ask("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\nExpect: 200-ok\r\n\r\n")
        .await;
    assert_eq!(r.status, 417);
    let mut c = rig.client().await;
    assert_eq!(c.ask("no http at all\r\n\r\n").await.status, 400);
    let mut c = rig.client().await;
    let long = "x".repeat(200_000);
    assert_eq!(
        c.ask(&format!(
            "GET / HTTP/1.1\r\nHost: a.test\r\nX: {long}\r\n\r\n"
        ))
        .await
        .status,
        431
    );
    rig.log_line(None, &["code=H26", " status=400 "]).await;
}

#[tokio::test]
async fn old_and_odd_forms_of_requests() {
    let mut rig = Rig::new(short()).await;
    let d = mirror().await;
    rig.running(&[(1, d.addr)]).await;
    let mut c = rig.client().await;
    let r = c.ask("GET /old HTTP/1.0\r\nHost: a.test\r\n\r\n").await;
    assert!(
        r.head.starts_with("HTTP/1.0 200") && r.body().starts_with("GET /old HTTP/1.1"),
        "{r:?}"
    );
    assert!(c.is_closed().await);
    let mut c = rig.client().await;
    let r = c
        .ask("GET http://a.test/abs?x HTTP/1.1\r\nHost: other.test\r\n\r\n")
        .await;
    assert!(r.body().starts_with("GET /abs?x HTTP/1.1"), "{r:?}");
    assert_eq!(header(&r.body(), "host").unwrap(), "a.test");
    assert!(
        c.ask("OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n")
            .await
            .body()
            .starts_with("OPTIONS * HTTP/1.1")
    );
    assert!(
        c.ask("BREW /pot HTTP/1.1\r\nHost: a.test\r\n\r\n")
            .await
            .body()
            .starts_with("BREW /pot HTTP/1.1")
    );
    c.send("HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let r = c.head_reply().await;
    assert!(
        r.header("content-length")
            .unwrap()
            .parse::<usize>()
            .unwrap()
            > 50
    );
    let r = c
        .ask("GET /after-head HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .await;
    assert!(r.body().starts_with("GET /after-head"), "{r:?}");
    rig.log_line(Some(APP), &["method=HEAD", " bytes=0 "]).await;
    rig.log_line(Some(APP), &["path=\"/old\"", " protocol=http1.0 "])
        .await;
}

#[tokio::test]
async fn the_line_of_a_request() {
    let mut rig = Rig::new(short()).await;
    let d = saying("hello").await;
    rig.running(&[(1, d.addr)]).await;
    let mut c = rig.client().await;
    c.ask("GET /x?a='b HTTP/1.1\r\nHost: a.test\r\nX-Request-Id: 01234567890123456789\r\n\r\n")
        .await;
    let line = rig.log_line(Some(APP), &["path="]).await;
    let (time, rest) = line.split_at(32);
    assert!(
        time.ends_with("+00:00") && time.as_bytes()[19] == b'.',
        "{line}"
    );
    let (before, service) = rest.split_once("service=").unwrap();
    let (service, after) = service.split_once("ms").unwrap();
    assert!(service.parse::<u32>().unwrap() < 5000);
    let before = before
        .replace("connect=1ms", "connect=0ms")
        .replace("connect=2ms", "connect=0ms");
    assert_eq!(
        before,
        " heroku[router]: at=info method=GET path=\"/x?a='b\" host=a.test request_id=01234567890123456789 \
         fwd=\"127.0.0.1\" dyno=web.1 connect=0ms "
    );
    assert_eq!(after, " status=200 bytes=5 protocol=http1.1 tls=false");
}

#[tokio::test]
async fn the_release_is_told_to_loopback_clients() {
    let mut rig = Rig::new(short()).await;
    let d = saying("the app").await;
    rig.running(&[(1, d.addr)]).await;
    let path = hokku_model::route::RELEASE_PATH;
    let r = rig.get(path).await;
    assert_eq!(r.body(), r#"{"app":"my-app","release":"v3"}"#);
    let app = rig.table.apps.get_mut(&APP).unwrap();
    app.release = Some(4);
    rig.apply().await;
    assert_eq!(
        rig.get(path).await.body(),
        r#"{"app":"my-app","release":"v4"}"#
    );
    let forwarded =
        format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n");
    assert_eq!(
        rig.client().await.ask(&forwarded).await.body(),
        "the app",
        "came through a proxy"
    );
    let unknown = format!("GET {path} HTTP/1.1\r\nHost: unknown.test\r\n\r\n");
    assert_eq!(rig.client().await.ask(&unknown).await.status, 404);
}

#[tokio::test]
async fn a_thousand_apps() {
    let mut rig = Rig::new(short()).await;
    let (one, other) = (saying("one").await, saying("other").await);
    for i in 0..1000u128 {
        let addr = if i == 777 { one.addr } else { other.addr };
        let routes = app(
            &format!("app{i}"),
            &[&format!("app{i}.test")],
            AppState::Running,
            &[(i, addr)],
        );
        rig.table.apps.insert(hokku_model::AppId(i), routes);
    }
    rig.apply().await;
    let mut c = rig.client().await;
    for (host, status, text) in [
        ("app777.test", 200, "one"),
        ("APP777.test:80", 200, "one"),
        ("app778.test", 200, "other"),
        ("app1000.test", 404, "No such app"),
        ("xapp1.test", 404, "No such app"),
        ("test", 404, "No such app"),
    ] {
        let r = c
            .ask(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        assert_eq!(r.status, status, "{host}");
        assert!(r.body().contains(text), "{host}: {r:?}");
    }
    let r = c
        .ask("GET / HTTP/1.1\r\nHost: x.test\r\nAccept: application/json\r\n\r\n")
        .await;
    assert_eq!(r.header("content-type").unwrap(), "application/json");
    assert!(r.body().contains("\"id\":\"no_such_app\""), "{r:?}");
    rig.log_line(
        None,
        &[
            " host=app1000.test ",
            " dyno= connect= service= status=404 ",
        ],
    )
    .await;
}

#[tokio::test]
async fn http2_with_prior_knowledge() {
    use http_body_util::{BodyExt, Full};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let mut rig = Rig::new(short()).await;
    let d = mirror().await;
    rig.running(&[(1, d.addr)]).await;
    let io = TokioIo::new(tokio::net::TcpStream::connect(rig.addr).await.unwrap());
    let (mut send, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    let running = tokio::spawn(connection);
    let request = |text: &'static str| {
        http::Request::post("http://a.test/h2?x=1")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .body(Full::new(bytes::Bytes::from(text)))
            .unwrap()
    };
    let both = tokio::join!(
        send.clone().send_request(request("first")),
        send.send_request(request("second"))
    );
    for (response, text) in [(both.0, "first"), (both.1, "second")] {
        let response = response.unwrap();
        assert_eq!(response.status(), 200);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let seen = String::from_utf8_lossy(&body).into_owned();
        assert!(
            seen.starts_with("POST /h2?x=1 HTTP/1.1\r\n") && seen.ends_with(text),
            "{seen}"
        );
        assert_eq!(header(&seen, "host").unwrap(), "a.test");
        assert_eq!(header(&seen, "cookie").unwrap(), "a=1; b=2");
    }
    rig.log_line(Some(APP), &[" host=a.test ", " protocol=http2.0 "])
        .await;
    drop(running);
}
