//! PROXY headers in front of plain HTTP and of TLS.

use crate::rig::*;
use tokio::process::Command;

const V1: &str = "PROXY TCP4 203.0.113.9 198.51.100.1 40000 443\r\n";
const ASK: &str = "GET /proxied HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";

async fn ready(trusted: &[&str], proxy_protocol: bool) -> (Rig, Dyno) {
    let limits = hokku_router::Limits {
        handshake: ms(100),
        ..short()
    };
    let with_tls = |c: &mut hokku_router::Config| {
        c.listen_tls = vec!["127.0.0.1:0".parse().unwrap()];
    };
    let mut rig = Rig::with(with_tls, limits).await;
    rig.table.front.trusted = trusted.iter().map(|t| t.to_string()).collect();
    rig.table.front.proxy_protocol = proxy_protocol;
    let d = mirror().await;
    rig.running(&[(1, d.addr)]).await;
    (rig, d)
}

fn v2(command: u8, rest: &[u8]) -> Vec<u8> {
    let length = (rest.len() as u16).to_be_bytes();
    let fixed = [0x20 | command, 0x11];
    [b"\r\n\r\n\0\r\nQUIT\n", &fixed[..], &length, rest].concat()
}

#[tokio::test]
async fn the_header_tells_who_the_client_is() {
    let (rig, _d) = ready(&["127.0.0.0/8"], true).await;
    let addresses = [203, 0, 113, 9, 198, 51, 100, 1, 0x9c, 0x40, 0x01, 0xbb];
    // an addition as AWS' network balancers make it
    let addition = [&[0xea, 0, 5, 1][..], b"vpce"].concat();
    for header in [
        V1.as_bytes().to_vec(),
        v2(1, &addresses),
        v2(1, &[&addresses[..], &addition].concat()),
    ] {
        let mut client = rig.client().await;
        client.send_bytes(&header).await;
        let reply = client.ask(ASK).await;
        let text = reply.body().to_ascii_lowercase();
        assert!(text.contains("x-forwarded-for: 203.0.113.9\r\n"), "{text}");
        assert!(text.contains("x-forwarded-port: 443\r\n"), "{text}");
        assert!(text.contains("x-forwarded-proto: http\r\n"), "{text}");
    }
    rig.log_line(Some(APP), &["fwd=\"203.0.113.9\""]).await;
    for header in [b"PROXY UNKNOWN\r\n".to_vec(), v2(0, &addresses)] {
        let mut client = rig.client().await;
        client.send_bytes(&header).await;
        let text = client.ask(ASK).await.body().to_ascii_lowercase();
        assert!(text.contains("x-forwarded-for: 127.0.0.1\r\n"), "{text}");
    }
}

#[tokio::test]
async fn trusted_peers_must_send_one() {
    let (rig, _d) = ready(&["127.0.0.0/8"], true).await;
    for sent in [ASK, "PROXY TCP4 x\r\n", "", "PROXY TCP4 203.0.113.9"] {
        let mut client = rig.client().await;
        client.send(sent).await;
        assert!(client.is_closed().await, "{sent:?}");
    }
}

#[tokio::test]
async fn nobody_else_may_send_one() {
    for (trusted, on) in [("10.0.0.0/8", true), ("127.0.0.0/8", false)] {
        let (rig, d) = ready(&[trusted], on).await;
        let mut client = rig.client().await;
        assert_eq!(client.ask(&format!("{V1}{ASK}")).await.status, 400);
        assert_eq!(d.count(), 0);
        assert_eq!(rig.get("/").await.status, 200);
    }
}

#[tokio::test]
async fn curl_sends_one_before_tls_too() {
    let (rig, _d) = ready(&["127.0.0.1"], true).await;
    let tls = rig.router().listen_tls()[0];
    for (url, proto) in [
        (format!("http://{}/c", rig.addr), "http"),
        (format!("https://{tls}/c"), "https"),
    ] {
        let out = Command::new("curl")
            .args([
                "-sSk",
                "--max-time",
                "10",
                "--haproxy-protocol",
                "-H",
                "Host: a.test",
                &url,
            ])
            .output()
            .await
            .unwrap();
        let text = String::from_utf8(out.stdout).unwrap().to_ascii_lowercase();
        assert!(
            text.contains(&format!("x-forwarded-proto: {proto}\r\n")),
            "{url}: {text}"
        );
        assert!(
            text.contains("x-forwarded-for: 127.0.0.1\r\n"),
            "{url}: {text}"
        );
    }
}
