//! Making one health check: HTTP, TCP, ports of the dyno, uptime. What follows from it is decided elsewhere.

use super::refusal::{Answer, Asked, judge};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use std::{net::SocketAddr, time::Duration};
use tokio::{net::TcpStream, time::timeout};

/// Bytes of an answer that are read for what it says.
const MOST_OF_A_BODY: usize = 1 << 20;

/// How a check went.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Well.
    Passed,
    /// Not well: why, in sentences.
    Failed(String),
    /// Nobody is there yet to be asked.
    Unheard(String),
}

/// Asks over HTTP.
pub async fn http(addr: SocketAddr, asked: &Asked<'_>, limit: Duration) -> Verdict {
    let asking = async {
        let stream = match TcpStream::connect(addr).await {
            Ok(s) => s,
            Err(e) => return Verdict::Unheard(refused(addr, &e).await),
        };
        match exchange(stream, asked).await {
            Ok(verdict) => verdict,
            // as a server whose workers are not there yet
            Err(e) if e.is_incomplete_message() || e.is_canceled() || e.is_closed() => {
                Verdict::Unheard(format!(
                    "The connection to port {} was closed without an answer.",
                    addr.port()
                ))
            }
            Err(e) => Verdict::Failed(format!(
                "GET {} on port {} was not answered as HTTP: {e}.",
                asked.path,
                addr.port()
            )),
        }
    };
    timeout(limit, asking).await.unwrap_or_else(|_| {
        Verdict::Failed(format!(
            "GET {} with Host: {} was not answered within {} s.",
            asked.path,
            asked.host,
            limit.as_secs_f64()
        ))
    })
}

async fn exchange(stream: TcpStream, asked: &Asked<'_>) -> hyper::Result<Verdict> {
    let (mut sender, conn) = hyper::client::conn::http1::Builder::new()
        .title_case_headers(true)
        .handshake(TokioIo::new(stream))
        .await?;
    let conn = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(conn));
    let mut request = hyper::Request::get(asked.path)
        .header("host", asked.host)
        .header("user-agent", "hokku-probe")
        .header("accept", "*/*")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-port", "443")
        .header("connection", "close");
    for (name, value) in asked.headers {
        if !name.eq_ignore_ascii_case("host") {
            request = request.header(name, value);
        }
    }
    let request = match request.body(Empty::<bytes::Bytes>::new()) {
        Ok(r) => r,
        Err(e) => return Ok(Verdict::Failed(format!("The check can't be sent: {e}."))),
    };
    let answer = sender.send_request(request).await?;
    let status = answer.status().as_u16();
    let location = answer
        .headers()
        .get("location")
        .map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
    // A body that is longer, or breaks off, is judged without it.
    let body = Limited::new(answer.into_body(), MOST_OF_A_BODY)
        .collect()
        .await;
    let body = body.map(|b| b.to_bytes()).unwrap_or_default();
    drop(conn);
    let answer = Answer {
        status,
        location: location.as_deref(),
        body: &String::from_utf8_lossy(&body),
    };
    Ok(match judge(asked, &answer) {
        Ok(()) => Verdict::Passed,
        Err(text) => Verdict::Failed(text),
    })
}

/// Connects, and no more.
pub async fn tcp(addr: SocketAddr, limit: Duration) -> Verdict {
    match timeout(limit, TcpStream::connect(addr)).await {
        Ok(Ok(_)) => Verdict::Passed,
        Ok(Err(e)) => Verdict::Unheard(refused(addr, &e).await),
        Err(_) => Verdict::Failed(format!(
            "Port {} took no connection within {} s.",
            addr.port(),
            limit.as_secs_f64()
        )),
    }
}

/// Why nobody could be reached.
async fn refused(addr: SocketAddr, e: &std::io::Error) -> String {
    let port = addr.port();
    let six = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port));
    if TcpStream::connect(six).await.is_ok() {
        return format!(
            "It listens on port {port} for IPv6 only, and the router connects to 127.0.0.1: listen on 0.0.0.0:{port}, or on [::] for both."
        );
    }
    match e.kind() {
        std::io::ErrorKind::ConnectionRefused => {
            format!("Nothing listens on 127.0.0.1:{port}.")
        }
        _ => format!("127.0.0.1:{port} can't be connected to: {e}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hokku_model::health::Ask;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    async fn ask(answer: &'static str) -> (Verdict, String) {
        let l = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = l.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut s, _) = l.accept().await.unwrap();
            let mut got = Vec::new();
            while !got.ends_with(b"\r\n\r\n") {
                s.read_buf(&mut got).await.unwrap();
            }
            s.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(got).unwrap()
        });
        let check = Ask::Http {
            path: "/up?a=1".into(),
            content: Some("fine".into()),
            headers: vec![("X-Key".into(), "k".into())],
        };
        let asked = Asked::by(&check, "shop.test").unwrap();
        let verdict = http(addr, &asked, Duration::from_secs(5)).await;
        (verdict, server.await.unwrap())
    }

    #[tokio::test]
    async fn a_request_as_the_router_sends_it_and_a_body_in_chunks() {
        let (verdict, sent) = ask(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nfi\r\n2\r\nne\r\n0\r\n\r\n",
        )
        .await;
        assert_eq!(verdict, Verdict::Passed);
        assert!(sent.starts_with("GET /up?a=1 HTTP/1.1\r\n"), "{sent}");
        for h in ["Host: shop.test", "X-Forwarded-Proto: https", "X-Key: k"] {
            assert!(sent.contains(&format!("\r\n{h}\r\n")), "{sent}");
        }
    }

    #[tokio::test]
    async fn no_answer_is_told_from_a_bad_one() {
        let (verdict, _) = ask("").await;
        assert!(matches!(verdict, Verdict::Unheard(_)), "{verdict:?}");
        let (verdict, _) = ask("SSH-2.0-x\r\n").await;
        assert!(
            matches!(&verdict, Verdict::Failed(t) if t.contains("not answered as HTTP")),
            "{verdict:?}"
        );
        let l = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = l.local_addr().unwrap();
        assert_eq!(tcp(addr, Duration::from_secs(5)).await, Verdict::Passed);
        let check = Ask::Http {
            path: "/".into(),
            content: None,
            headers: vec![],
        };
        let asked = Asked::by(&check, "shop.test").unwrap();
        let slow = http(addr, &asked, Duration::from_millis(50)).await;
        assert!(
            matches!(&slow, Verdict::Failed(t) if t.contains("within 0.05 s")),
            "{slow:?}"
        );
        drop(l);
        let gone = tcp(addr, Duration::from_secs(5)).await;
        assert!(
            matches!(&gone, Verdict::Unheard(t) if t.contains("Nothing listens")),
            "{gone:?}"
        );
    }

    #[tokio::test]
    async fn one_that_listens_for_ipv6_only_is_told_so() {
        let Ok(l) = TcpListener::bind("[::1]:0").await else {
            return; // a host without IPv6
        };
        let addr = SocketAddr::from(([127, 0, 0, 1], l.local_addr().unwrap().port()));
        let verdict = tcp(addr, Duration::from_secs(5)).await;
        assert!(
            matches!(&verdict, Verdict::Unheard(t) if t.contains("IPv6 only")),
            "{verdict:?}"
        );
    }
}
