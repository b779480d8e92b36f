//! Whatever our parser takes, hyper's takes as well and understands alike: method, target, fields, body, and where the
//! next message begins.
//!
//! What hyper refuses and we take, all of it (see [`hyper_is_stricter`]):
//! * targets with characters that no URL has (`<`, `>`, `\`, `^`, `` ` ``, `|`, `"`, `{`, `}`): nothing in HTTP/1.1's syntax hangs on
//!   them, nginx and HAProxy pass them on, and apps get such links;
//! * targets that begin with two slashes and the like, which hyper's URL type reads as something else than a path.

use super::body::Left;
use super::framing;
use super::head::{self, Head};
use super::scan::{REQUEST, Scan};
use crate::buffers::Buf;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use tokio::io::AsyncWriteExt;

#[derive(Clone, Debug, PartialEq)]
struct Seen {
    method: String,
    target: String,
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

fn is_last(seen: &Seen, old: bool) -> bool {
    let stops = |k: &str| matches!(k, "connection" | "upgrade" | "expect");
    old || seen.fields.iter().any(|(k, _)| stops(k))
}

/// Every message up to the first that is refused or not whole.
fn ours(text: &[u8]) -> Vec<Seen> {
    let mut buf = Buf::with(text);
    let mut all = Vec::new();
    while let Some((seen, old)) = one(&mut buf) {
        // hyper stops after a request that asks it to; we were only asked to read
        let last = is_last(&seen, old);
        all.push(seen);
        if last {
            break;
        }
    }
    all
}

fn one(buf: &mut Buf) -> Option<(Seen, bool)> {
    let (head, end) = match Head::quick_request(buf.data()) {
        Some(quick) => quick,
        None => {
            let (start, end) = Scan::default().look(buf.data(), &REQUEST).ok()??;
            (Head::request(&buf.data()[start..end]).ok()?, end)
        }
    };
    let framing = framing::of_request(&head).ok()?;
    buf.consume(end);
    let (mut left, mut body) = (Left::of(framing), Vec::new());
    while !matches!(left, Left::Nothing) {
        if buf.is_empty() {
            return None;
        }
        let mut trailers = Vec::new();
        let (from, to) = left.take(buf, &mut trailers).ok()?;
        head::trailers(&trailers).ok()?;
        body.extend_from_slice(buf.at(from, to));
    }
    let mut fields: Vec<_> = head
        .fields()
        .map(|f| {
            let name = String::from_utf8_lossy(f.name).to_ascii_lowercase();
            (name, f.value.to_vec())
        })
        .collect();
    fields.sort();
    let seen = Seen {
        method: head.method().into(),
        target: head.target().into(),
        fields,
        body,
    };
    Some((seen, head.minor == 0))
}

fn theirs(text: &[u8]) -> Vec<Seen> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let to = seen.clone();
    runtime.block_on(async move {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        client.write_all(text).await.unwrap();
        client.shutdown().await.unwrap();
        let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let to = to.clone();
            async move {
                let (parts, body) = request.into_parts();
                if let Ok(body) = body.collect().await {
                    let mut fields: Vec<_> = parts
                        .headers
                        .iter()
                        .map(|(k, v)| (k.as_str().to_owned(), v.as_bytes().to_vec()))
                        .collect();
                    fields.sort();
                    to.borrow_mut().push(Seen {
                        method: parts.method.to_string(),
                        target: parts.uri.to_string(),
                        fields,
                        body: body.to_bytes().to_vec(),
                    });
                }
                Ok::<_, Infallible>(http::Response::new(Full::new(bytes::Bytes::new())))
            }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .half_close(true)
            .max_headers(1000)
            .serve_connection(TokioIo::new(server), service);
        // what it refuses shows in what it has seen
        let _ = connection.await;
        drop(client);
    });
    seen.take()
}

/// Does hyper refuse this target for what URLs may hold?
fn hyper_is_stricter(target: &str) -> bool {
    match target.parse::<http::Uri>() {
        Ok(uri) => {
            let said = uri.to_string();
            said != target
        }
        Err(_) => true,
    }
}

fn agree(text: &[u8]) -> Result<(), TestCaseError> {
    let (ours, theirs) = (ours(text), theirs(text));
    for (i, mine) in ours.iter().enumerate() {
        if hyper_is_stricter(&mine.target) {
            return Ok(());
        }
        prop_assert_eq!(
            Some(mine),
            theirs.get(i),
            "{:?}",
            String::from_utf8_lossy(text)
        );
    }
    Ok(())
}

fn line() -> impl Strategy<Value = String> {
    let framing = prop_oneof![
        Just("Content-Length: 3\r\n"),
        Just("content-length:3 \r\n"),
        Just("Content-Length: 003\r\n"),
        Just("Content-Length: 0\r\n"),
        Just("Content-Length: +3\r\n"),
        Just("Content-Length: 3,3\r\n"),
        Just("Content-Length: 3\r\nContent-Length: 3\r\n"),
        Just("Transfer-Encoding: chunked\r\n"),
        Just("transfer-encoding:\tCHUNKED\r\n"),
        Just("Transfer-Encoding: x, chunked\r\n"),
        Just("Transfer-Encoding: chunked, x\r\n"),
        Just("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        Just("Transfer-Encoding : chunked\r\n"),
        Just("Transfer-Encoding\x0b: chunked\r\n"),
        Just("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"),
        Just("Content-Length\r\n : 3\r\n"),
        Just("X: a\r\n Content-Length: 3\r\n"),
        Just("X: a\nContent-Length: 3\r\n"),
        Just("X: a\rContent-Length: 3\r\n"),
        Just("\r\n"),
    ]
    .prop_map(str::to_owned);
    prop_oneof![
        4 => framing,
        3 => "[a-zA-Z!#$%&'*+.^_`|~0-9-]{1,8}: ?[ -~\t]{0,12}\r\n",
        1 => "[ -~\t\r\n]{0,12}\r\n",
        1 => "x:\\PC{0,6}\r\n",
    ]
}

fn first() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "(GET|POST|PUT|HEAD|OPTIONS|BREW|get) /[a-z?=&%.~/]{0,10} HTTP/1\\.1\r\n",
        2 => "(GET|POST) [!-~]{1,10} HTTP/1\\.[01]\r\n",
        1 => "[ -~\t]{0,20}\r\n",
        1 => "GET /\\PC{0,5} HTTP/1\\.1\r\n",
    ]
}

fn body() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("abc".to_owned()),
        Just("3\r\nabc\r\n0\r\n\r\n".to_owned()),
        Just("3;x=y\r\nabc\r\n0\r\nX-T: 1\r\n\r\n".to_owned()),
        Just("0\r\n\r\n".to_owned()),
        "[0-9a-f]{1,2}\r\n[ -~]{0,20}\r\n0\r\n\r\n",
        "[0-3;\r\n a]{0,20}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn what_we_take_hyper_takes_alike(
        messages in proptest::collection::vec((first(), proptest::collection::vec(line(), 0..4), body()), 1..3),
    ) {
        let mut text = String::new();
        for (first, lines, body) in messages {
            text.push_str(&first);
            lines.iter().for_each(|l| text.push_str(l));
            text.push_str("\r\n");
            text.push_str(&body);
        }
        agree(text.as_bytes())?;
    }

    #[test]
    fn also_with_some_bytes_changed(
        at in proptest::collection::vec((0usize..120, any::<u8>()), 0..4),
        chunked: bool,
    ) {
        let mut text = if chunked {
            b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\nGET /b HTTP/1.1\r\nHost: b\r\n\r\n".to_vec()
        } else {
            b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nX: y\r\n\r\nabcGET /b HTTP/1.1\r\nHost: b\r\n\r\n".to_vec()
        };
        for (i, b) in at {
            let i = i % text.len();
            text[i] = b;
        }
        agree(&text)?;
    }
}

#[test]
fn plain_requests_are_seen_by_both() {
    let text = b"POST /a?b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: b\r\n\r\n";
    assert_eq!(ours(text).len(), 2);
    assert_eq!(ours(text), theirs(text));
}
