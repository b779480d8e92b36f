//! What the router's codec takes, hyper's takes as well and understands alike: method, target, fields, body, and where
//! the next request begins. The other way round hyper may take more.
//!
//! Left out: targets that hyper's type for URLs refuses or writes differently (`<`, `|`, `//x`), which the router passes
//! on as they are; and the fields' lines when there are more than hyper is told to take.
#![no_main]
use bytes::Bytes;
use hokku_router::fuzz::{Side, read};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use tokio::io::AsyncWriteExt;

#[derive(Debug, PartialEq)]
struct Seen {
    method: Vec<u8>,
    target: Vec<u8>,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
    body: Vec<u8>,
}

thread_local! {
    static RUNTIME: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
}

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    if text.len() > 60_000 {
        return;
    }
    let ours = read(Side::Client, [text]).messages;
    if ours.is_empty() {
        return;
    }
    let theirs = hypers(text);
    for (i, mine) in ours.into_iter().enumerate() {
        let last = ends(&mine.fields, mine.minor);
        let mut fields: Vec<_> = mine
            .fields
            .into_iter()
            .map(|(n, v)| (n.to_ascii_lowercase(), v))
            .collect();
        fields.sort();
        let mine = Seen {
            method: mine.first,
            target: mine.target,
            fields,
            body: mine.body,
        };
        let target = String::from_utf8_lossy(&mine.target);
        if !target
            .parse::<http::Uri>()
            .is_ok_and(|u| u.to_string() == target)
        {
            return;
        }
        assert_eq!(Some(&mine), theirs.get(i));
        if last {
            return;
        }
    }
});

/// Does the client, by this request, send no more after it?
fn ends(fields: &[(Vec<u8>, Vec<u8>)], minor: u8) -> bool {
    let mut tokens = fields
        .iter()
        .filter(|f| f.0.eq_ignore_ascii_case(b"connection"))
        .flat_map(|f| f.1.split(|b| *b == b','))
        .map(<[u8]>::trim_ascii);
    minor == 0
        || tokens.any(|t| t.eq_ignore_ascii_case(b"close") || t.eq_ignore_ascii_case(b"upgrade"))
}

fn hypers(text: &[u8]) -> Vec<Seen> {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let to = seen.clone();
    RUNTIME.with(|r| {
        r.block_on(async move {
            let (mut client, server) = tokio::io::duplex(1 << 20);
            client.write_all(text).await.expect("it fits");
            client.shutdown().await.expect("an end");
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let to = to.clone();
                async move {
                    let (parts, body) = request.into_parts();
                    if let Ok(body) = body.collect().await {
                        let mut fields: Vec<_> = parts
                            .headers
                            .iter()
                            .map(|(k, v)| (k.as_str().into(), v.as_bytes().into()))
                            .collect();
                        fields.sort();
                        to.borrow_mut().push(Seen {
                            method: parts.method.as_str().into(),
                            target: parts.uri.to_string().into_bytes(),
                            fields,
                            body: body.to_bytes().to_vec(),
                        });
                    }
                    Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::new())))
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
    });
    seen.take()
}
