//! Asking a web dyno for its first answer.
//!
//! A connection alone proves little: gunicorn listens before its workers have booted. So a request is made, and the
//! first byte of any answer counts, whatever the status: a redirect, a 400 for an unknown host and a 500 are answers.

use super::Probe;
use std::{io, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

/// The wait after the first try; each further one is half as long again.
const FIRST_WAIT: Duration = Duration::from_millis(5);

/// The longest wait between tries.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// After this long without a byte on an open connection the dyno counts as answering: its first page is slow.
const SLOW: Duration = Duration::from_secs(10);

/// Comes back when the dyno answers. The boot limit is the caller's.
pub async fn answer(probe: &Probe) {
    answer_slow(probe, SLOW).await;
}

async fn answer_slow(probe: &Probe, slow: Duration) {
    let mut wait = FIRST_WAIT;
    while !matches!(ask(probe, slow).await, Ok(true)) {
        sleep(wait).await;
        wait = (wait * 3 / 2).min(LONGEST_WAIT);
    }
}

/// How long the rest of a probe's answer is listened to.
const LONGEST_END: Duration = Duration::from_secs(5);

/// Bytes of it that are listened to.
const MOST_OF_AN_ANSWER: u64 = 4 << 20;

/// One request. False when the connection was closed without a byte.
async fn ask(probe: &Probe, slow: Duration) -> io::Result<bool> {
    let Some(addr) = probe.addr else {
        return Ok(true);
    };
    let mut s = TcpStream::connect(addr).await?;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nUser-Agent: hokku-probe\r\nAccept: */*\r\nX-Forwarded-Proto: https\r\n\
         Connection: close\r\n\r\n",
        probe.host
    );
    s.write_all(request.as_bytes()).await?;
    let mut byte = [0];
    match timeout(slow, s.read(&mut byte)).await {
        Ok(r) => {
            let answered = r? > 0;
            if answered {
                tokio::spawn(listen_to_the_end(s));
            }
            Ok(answered)
        }
        // silent; that somebody still listens is seen by another connection
        Err(_) => TcpStream::connect(addr).await.map(|_| true),
    }
}

/// Takes the rest of the answer: closed in the middle of it, the app would log a broken connection at each start.
async fn listen_to_the_end(s: TcpStream) {
    let _ = timeout(
        LONGEST_END,
        tokio::io::copy(&mut s.take(MOST_OF_AN_ANSWER), &mut tokio::io::sink()),
    )
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{net::TcpListener, time::Instant};

    fn probe(addr: std::net::SocketAddr) -> Probe {
        Probe {
            addr: Some(addr),
            up: false,
            checks: vec![],
            app: String::new(),
            name: String::new(),
            host: "app.test".into(),
            boot_limit: Duration::from_secs(60),
        }
    }

    #[tokio::test]
    async fn any_first_byte_counts_and_the_request_is_complete() {
        let l = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let p = probe(l.local_addr().unwrap());
        let server = tokio::spawn(async move {
            // as a server whose workers are not there yet
            for _ in 0..3 {
                drop(l.accept().await.unwrap());
            }
            let (mut s, _) = l.accept().await.unwrap();
            let mut got = Vec::new();
            while !got.ends_with(b"\r\n\r\n") {
                s.read_buf(&mut got).await.unwrap();
            }
            s.write_all(b"H").await.unwrap();
            String::from_utf8(got).unwrap()
        });
        answer(&p).await;
        let got = server.await.unwrap();
        assert!(
            got.starts_with("GET / HTTP/1.1\r\nHost: app.test\r\n"),
            "{got}"
        );
        for h in [
            "X-Forwarded-Proto: https",
            "User-Agent: hokku-probe",
            "Connection: close",
        ] {
            assert!(got.contains(&format!("\r\n{h}\r\n")), "{h}");
        }
    }

    #[tokio::test]
    async fn a_silent_listener_answers_slowly() {
        let l = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let p = probe(l.local_addr().unwrap());
        let t = Instant::now();
        let slow = Duration::from_millis(100);
        // connections wait in the queue of the listener, which takes none
        answer_slow(&p, slow).await;
        assert!(t.elapsed() >= slow);
        drop(l);
        let r = timeout(slow, answer_slow(&p, slow)).await;
        assert!(r.is_err(), "nobody listens any more");
    }
}
