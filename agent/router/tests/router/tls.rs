//! TLS with clients that nobody here wrote: curl, openssl, and rustls' own client.

use crate::rig::*;
use futures_util::{SinkExt, StreamExt};
use hokku_model::route::{Cert, CertTable, RouterOrder, RouterReport};
use hokku_router::{Limits, TlsCounts};
use rcgen::{BasicConstraints, CertificateParams, CustomExtension, IsCa, Issuer, KeyPair};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// An authority that the clients trust.
struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Ca {
    fn new() -> Ca {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Ca { issuer, pem }
    }

    fn cert_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Cert {
        let names: Vec<String> = names.iter().map(|n| n.to_string()).collect();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names.clone()).unwrap();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, names[0].as_str());
        change(&mut params);
        let chain = params.signed_by(&key, &self.issuer).unwrap().pem();
        Cert {
            names,
            chain,
            key: key.serialize_pem(),
            challenge: false,
        }
    }

    fn cert(&self, names: &[&str]) -> Cert {
        self.cert_with(names, |_| {})
    }

    fn connector(&self) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap())
            .unwrap();
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    }

    async fn connect(&self, rig: &Rig, host: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(tls_addr(rig)).await?;
        let name = ServerName::try_from(host.to_owned()).unwrap();
        self.connector().connect(name, stream).await
    }

    fn file(&self, rig: &Rig) -> std::path::PathBuf {
        let path = rig.dir.path().join("ca.pem");
        std::fs::write(&path, &self.pem).unwrap();
        path
    }
}

fn tls_addr(rig: &Rig) -> SocketAddr {
    rig.router().listen_tls()[0]
}

async fn tls_rig(limits: Limits) -> Rig {
    Rig::with(
        |c| c.listen_tls = vec!["127.0.0.1:0".parse().unwrap()],
        limits,
    )
    .await
}

async fn take(rig: &mut Rig, version: u64, certs: Vec<Cert>) -> Vec<String> {
    let certs = CertTable { version, certs };
    rig.order(RouterOrder::Certs { certs }).await;
    match rig.report().await {
        RouterReport::CertsApplied {
            version: v,
            refused,
        } if v == version => refused,
        other => panic!("expected CertsApplied, got {other:?}"),
    }
}

/// A router with a mirror for `a.test`, and certificates for `a.test` (also for `c.test`) and `b.test`.
async fn ready(limits: Limits) -> (Rig, Dyno, Ca) {
    let mut rig = tls_rig(limits).await;
    let d = mirror().await;
    rig.running(&[(1, d.addr)]).await;
    let ca = Ca::new();
    let certs = vec![ca.cert(&["a.test", "c.test"]), ca.cert(&["b.test"])];
    assert_eq!(take(&mut rig, 1, certs).await, [""; 0]);
    (rig, d, ca)
}

/// Asks `https://a.test/`; `args` are separated by blanks.
async fn curl(rig: &Rig, ca: &Ca, args: &str) -> Output {
    let port = tls_addr(rig).port();
    Command::new("curl")
        .args(["-sS", "-i", "--max-time", "10", "--cacert"])
        .arg(ca.file(rig))
        .args(["--connect-to", &format!("::127.0.0.1:{port}")])
        .args(args.split_whitespace())
        .output()
        .await
        .expect("curl runs")
}

async fn said(rig: &Rig, ca: &Ca, args: &str) -> String {
    let out = curl(rig, ca, args).await;
    let error = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "curl {args}: {error}");
    String::from_utf8(out.stdout).unwrap()
}

/// What `openssl s_client` shows of a connection on which it asks for a page.
async fn s_client(rig: &Rig, args: &str) -> String {
    let mut client = Command::new("openssl")
        .args(["s_client", "-ign_eof", "-connect"])
        .arg(tls_addr(rig).to_string())
        .args(args.split_whitespace())
        .current_dir(rig.dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("openssl runs");
    let mut stdin = client.stdin.take().unwrap();
    // after a failed handshake nobody reads it
    let _ = stdin
        .write_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
        .await;
    let out = tokio::time::timeout(PATIENCE, client.wait_with_output());
    let out = out.await.expect("s_client ends").unwrap();
    format!(
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    )
}

fn failures(counts: &TlsCounts, cause: &str) -> u64 {
    let at = TlsCounts::CAUSES.iter().position(|c| *c == cause).unwrap();
    counts.failed[at]
}

async fn until_failed(rig: &Rig, cause: &str, times: u64) {
    until(&format!("{cause} was counted {times} times"), || {
        failures(&rig.router().tls_counts(), cause) == times
    })
    .await;
}

#[tokio::test]
async fn curl_asks_in_both_versions_of_both_protocols() {
    let (rig, _d, ca) = ready(short()).await;
    for (args, protocol, version) in [
        ("--tlsv1.2 --tls-max 1.2 --http1.1", "HTTP/1.1", "tls1.2"),
        ("--tlsv1.3 --http1.1", "HTTP/1.1", "tls1.3"),
        ("--tlsv1.2 --tls-max 1.2 --http2", "HTTP/2", "tls1.2"),
        ("--tlsv1.3 --http2", "HTTP/2", "tls1.3"),
        // without ALPN
        ("--no-alpn --http1.1", "HTTP/1.1", "tls1.3"),
    ] {
        let path = args.replace([' ', '.'], "");
        let text = said(&rig, &ca, &format!("{args} https://a.test/{path}")).await;
        let text = text.to_ascii_lowercase();
        assert!(
            text.starts_with(&format!("{} 200", protocol.to_ascii_lowercase())),
            "{args}: {text}"
        );
        assert!(text.contains("x-forwarded-proto: https\r\n"), "{text}");
        let port = format!("x-forwarded-port: {}\r\n", tls_addr(&rig).port());
        assert!(text.contains(&port), "{text}");
        let line = rig
            .log_line(Some(APP), &[&format!("path=\"/{path}\"")])
            .await;
        let end = format!(
            "protocol={} tls=true tls_version={version}",
            protocol
                .to_ascii_lowercase()
                .replace("/2", "2.0")
                .replace('/', "")
        );
        assert!(line.ends_with(&end), "{line}");
    }
    let plain = rig.get("/plain").await;
    assert!(
        plain.body().contains("X-Forwarded-Proto: http\r\n")
            || plain.body().contains("x-forwarded-proto: http\r\n")
    );
    assert_eq!(rig.router().tls_counts().full, 5);
}

#[tokio::test]
async fn bodies_pass_both_ways() {
    let (rig, _d, ca) = ready(short()).await;
    let body: String = ('a'..='z').cycle().take(3_000_000).collect();
    let file = rig.dir.path().join("body");
    std::fs::write(&file, &body).unwrap();
    for version in ["--http1.1", "--http2"] {
        let args = format!("{version} -T {} https://a.test/up", file.display());
        let text = said(&rig, &ca, &args).await;
        assert!(text.ends_with(&body), "{version}: {} bytes", text.len());
    }
}

#[tokio::test]
async fn sessions_are_resumed() {
    let (rig, _d, _ca) = ready(short()).await;
    for (n, args) in ["-tls1_3", "-tls1_2", "-tls1_2 -no_ticket"]
        .iter()
        .enumerate()
    {
        let first = s_client(&rig, &format!("{args} -servername a.test -sess_out s{n}")).await;
        assert!(first.contains("\nNew, TLS"), "{args}: {first}");
        assert!(
            first.contains("AES128-GCM") || first.contains("AES_128_GCM"),
            "{first}"
        );
        let second = s_client(&rig, &format!("{args} -servername a.test -sess_in s{n}")).await;
        assert!(second.contains("\nReused, TLS"), "{args}: {second}");
        assert!(second.contains("HTTP/1.1 200"), "{second}");
    }
    let counts = rig.router().tls_counts();
    assert_eq!((counts.full, counts.resumed), (3, 3));
    // a session of one host is none of another's
    let other = s_client(&rig, "-tls1_3 -servername b.test -sess_in s0").await;
    assert!(other.contains("\nNew, TLS"), "{other}");
}

#[tokio::test]
async fn challenges_are_shown_to_those_who_ask_for_them() {
    let (mut rig, _d, ca) = ready(short()).await;
    let challenge = |ca: &Ca| Cert {
        challenge: true,
        ..ca.cert_with(&["a.test"], |p| {
            p.distinguished_name
                .push(rcgen::DnType::CommonName, "challenge");
            let digest = CustomExtension::new_acme_identifier(&[7; 32]);
            p.custom_extensions.push(digest);
        })
    };
    let certs = vec![ca.cert(&["a.test"]), challenge(&ca)];
    assert_eq!(take(&mut rig, 2, certs).await, [""; 0]);
    let text = s_client(&rig, "-servername a.test -alpn acme-tls/1").await;
    assert!(text.contains("subject=CN = challenge"), "{text}");
    assert!(text.contains("ALPN protocol: acme-tls/1"), "{text}");
    assert!(
        !text.contains("HTTP/1.1"),
        "closed without an answer: {text}"
    );
    for alpn in ["", "-alpn http/1.1", "-alpn acme-tls/1,h2,http/1.1"] {
        let text = s_client(&rig, &format!("-servername a.test {alpn}")).await;
        assert!(text.contains("subject=CN = a.test"), "{alpn}: {text}");
    }
    let text = s_client(&rig, "-servername b.test -alpn acme-tls/1").await;
    assert!(text.contains("no peer certificate available"), "{text}");
    until_failed(&rig, "no-challenge", 1).await;
}

#[tokio::test]
async fn unknown_names_see_the_default() {
    let (mut rig, _d, ca) = ready(short()).await;
    for args in ["-servername unknown.test", "-noservername"] {
        let text = s_client(&rig, args).await;
        let own = "subject=CN = hokku has no certificate for this host";
        assert!(text.contains(own), "{text}");
        assert!(text.contains("HTTP/1.1 200"), "{text}");
    }
    let refused = curl(&rig, &ca, "https://unknown.test/").await;
    assert_eq!(refused.status.code(), Some(60), "curl trusts it not");
    until_failed(&rig, "rejected", 1).await;
    let mut default = ca.cert(&["b.test"]);
    default.names.push("*".into());
    take(&mut rig, 2, vec![ca.cert(&["a.test"]), default]).await;
    for args in ["-servername unknown.test", "-noservername"] {
        let text = s_client(&rig, args).await;
        assert!(text.contains("subject=CN = b.test"), "{text}");
    }
}

#[tokio::test]
async fn new_certificates_come_without_a_broken_connection() {
    let (mut rig, _d, ca) = ready(short()).await;
    let presented = |s: &TlsStream<TcpStream>| {
        let chain = s.get_ref().1.peer_certificates().unwrap();
        chain[0].as_ref().to_vec()
    };
    let mut before = Client::over(ca.connect(&rig, "a.test").await.unwrap());
    let asked = "GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n";
    assert_eq!(before.ask(asked).await.status, 200);
    let mut bad = ca.cert(&["x.test"]);
    bad.chain = ca.pem.clone();
    let refused = take(&mut rig, 2, vec![bad, ca.cert(&["a.test"])]).await;
    assert!(
        refused.len() == 1 && refused[0].starts_with("x.test: the private key does not belong"),
        "{refused:?}"
    );
    assert_eq!(before.ask(asked).await.status, 200);
    let after = ca.connect(&rig, "a.test").await.unwrap();
    assert_ne!(presented(&before.stream), presented(&after));
    // the certificate of b.test is gone
    assert!(ca.connect(&rig, "b.test").await.is_err());
    // an older table changes nothing
    let old = CertTable {
        version: 1,
        certs: vec![],
    };
    rig.order(RouterOrder::Certs { certs: old }).await;
    assert_eq!(
        rig.report().await,
        RouterReport::CertsApplied {
            version: 2,
            refused
        }
    );
    assert_eq!(Client::over(after).ask(asked).await.status, 200);
}

#[tokio::test]
async fn certificates_outlive_the_router() {
    let (mut rig, d, ca) = ready(short()).await;
    rig.stop().await;
    let file = rig.dir.path().join("certs.json");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut config = config(rig.dir.path(), short());
    config.listen_tls = vec!["127.0.0.1:0".parse().unwrap()];
    rig.restart(config);
    let text = said(&rig, &ca, "https://a.test/").await;
    assert!(text.contains("200"), "{text}");
    drop(d);
}

#[tokio::test]
async fn plain_http_is_answered_in_plain_http() {
    let (rig, _d, _ca) = ready(short()).await;
    for asked in [
        "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n".to_owned(),
        format!(
            "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\n{}",
            "x".repeat(9)
        ),
    ] {
        let mut client = Client::to(tls_addr(&rig)).await;
        let reply = client.ask(&asked).await;
        assert_eq!(reply.status, 400);
        assert!(reply.body().contains("This port speaks HTTPS"), "{reply:?}");
        assert!(client.is_closed().await);
    }
    let mut client = Client::to(tls_addr(&rig)).await;
    client.send("\x00\x01binary").await;
    assert!(client.is_closed().await);
    until_failed(&rig, "plain", 2).await;
    until_failed(&rig, "not-tls", 1).await;
}

#[tokio::test]
async fn handshakes_have_to_be_done_in_time() {
    let (rig, _d, _ca) = ready(Limits {
        handshake: ms(100),
        ..short()
    })
    .await;
    for sent in ["", "\x16", "\x16\x03\x01\x02\x00\x01\x00"] {
        let mut client = Client::to(tls_addr(&rig)).await;
        client.send(sent).await;
        assert!(client.is_closed().await, "{sent:?}");
    }
    until_failed(&rig, "timeout", 3).await;
    drop(Client::to(tls_addr(&rig)).await);
    until_failed(&rig, "left", 1).await;
    let mut client = Client::to(tls_addr(&rig)).await;
    client.send("\x16\x03\x01\x00\x05hello").await;
    client.waits_for_end().await;
    until_failed(&rig, "malformed", 1).await;
}

#[tokio::test]
async fn old_versions_and_unknown_protocols_are_refused() {
    let (rig, _d, _ca) = ready(short()).await;
    let old = "-servername a.test -tls1_1 -cipher DEFAULT@SECLEVEL=0";
    let text = s_client(&rig, old).await;
    assert!(text.contains("no peer certificate available"), "{text}");
    until_failed(&rig, "incompatible", 1).await;
    let text = s_client(&rig, "-servername a.test -alpn ftp").await;
    assert!(text.contains("no peer certificate available"), "{text}");
    until_failed(&rig, "protocol", 1).await;
}

#[tokio::test]
async fn http2_requests_on_the_wrong_connection_are_misdirected() {
    let (rig, _d, ca) = ready(short()).await;
    for (host, status) in [("a.test", "200"), ("c.test", "404"), ("b.test", "421")] {
        let args = format!("--http2 -o /dev/null -w %{{http_code}} -H Host:{host} https://a.test/");
        assert!(said(&rig, &ca, &args).await.ends_with(status), "{host}");
    }
}

#[tokio::test]
async fn websockets_pass_through_tls() {
    let mut rig = tls_rig(short()).await;
    let d = dyno(|c, _| async move {
        let Ok(mut ws) = tokio_tungstenite::accept_async(c.stream).await else {
            return;
        };
        while let Some(Ok(m)) = ws.next().await {
            if (m.is_text() || m.is_binary()) && ws.send(m).await.is_err() {
                return;
            }
        }
    })
    .await;
    rig.running(&[(1, d.addr)]).await;
    let ca = Ca::new();
    take(&mut rig, 1, vec![ca.cert(&["a.test"])]).await;
    let stream = ca.connect(&rig, "a.test").await.unwrap();
    let opened = tokio_tungstenite::client_async("wss://a.test/socket", stream).await;
    let (mut ws, _) = opened.unwrap();
    use tokio_tungstenite::tungstenite::Message;
    for size in [0, 1, 126, 65_536, 3_000_000] {
        ws.send(Message::binary(vec![7; size])).await.unwrap();
        let m = ws.next().await.unwrap().unwrap();
        assert_eq!(m.into_data().len(), size);
    }
    ws.close(None).await.unwrap();
    while ws.next().await.is_some_and(|m| m.is_ok()) {}
    let line = rig.log_line(Some(APP), &["path=\"/socket\""]).await;
    assert!(
        line.contains(" status=101 ") && line.ends_with("tls_version=tls1.3"),
        "{line}"
    );
}

/// Deadlines of a connection hold although its handshake took longer than the sweep stays awake.
#[tokio::test]
async fn slow_handshakes_do_not_escape_the_deadlines() {
    let (rig, _d, ca) = ready(Limits {
        keep_alive: ms(100),
        ..short()
    })
    .await;
    let stream = TcpStream::connect(tls_addr(&rig)).await.unwrap();
    // the sweep finds nothing to do and sleeps
    tokio::time::sleep(ms(100)).await;
    let name = ServerName::try_from("a.test").unwrap();
    let stream = ca.connector().connect(name, stream).await.unwrap();
    Client::over(stream).waits_for_end().await;
}
