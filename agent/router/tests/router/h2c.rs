//! HTTP/2 to apps, and every pair of protocols: gRPC with its trailers comes through.

use crate::rig::*;
use bytes::Bytes;
use futures_util::StreamExt;
use hokku_model::AppId;
use hokku_model::routing::Proto;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

/// Sends each message back as it comes, then a status in the trailers.
async fn grpc(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let seen = format!(
        "{} {} te={:?} for={:?}",
        request.method(),
        request.uri(),
        request.headers().get("te"),
        request.headers().get("x-forwarded-for"),
    );
    let mut response = Response::builder()
        .header("content-type", "application/grpc")
        .header("x-seen", seen);
    if request.uri().path() == "/broken" {
        // only trailers, as gRPC answers errors
        response = response.header("grpc-status", "13");
        return Ok(response
            .body(BodyExt::boxed(Full::new(Bytes::new())))
            .unwrap());
    }
    let frames = request
        .into_body()
        .into_data_stream()
        .map(|d| Ok(Frame::data(d.unwrap_or_default())));
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let last = futures_util::stream::once(async move { Ok(Frame::trailers(trailers)) });
    let body = StreamBody::new(frames.chain(last));
    Ok(response.body(BodyExt::boxed(body)).unwrap())
}

async fn h2c_dyno() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, SeqCst);
            tokio::spawn(
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service_fn(grpc)),
            );
        }
    });
    (addr, taken)
}

async fn rig_for(addr: SocketAddr, proto: Proto) -> Rig {
    let mut rig = Rig::with(|c| c.threads = 1, short()).await;
    rig.running(&[(1, addr)]).await;
    rig.table.apps.get_mut(&AppId(APP.0)).unwrap().routing.proto = proto;
    rig.apply().await;
    rig
}

async fn h2<B>(rig: &Rig) -> hyper::client::conn::http2::SendRequest<B>
where
    B: hyper::body::Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = tokio::net::TcpStream::connect(rig.addr).await.unwrap();
    let (send, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    send
}

#[tokio::test]
async fn grpc_streams_both_ways_with_trailers() {
    let (addr, taken) = h2c_dyno().await;
    let rig = rig_for(addr, Proto::H2c).await;
    let mut send = h2(&rig).await;
    let (give, take) = tokio::sync::mpsc::channel::<Bytes>(1);
    let stream = futures_util::stream::unfold(take, |mut take| async move {
        let bytes = take.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(bytes)), take))
    });
    let request = Request::post("http://a.test/pkg.Service/Call")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(StreamBody::new(Box::pin(stream)))
        .unwrap();
    let response = send.send_request(request).await.unwrap();
    assert_eq!(
        response.headers()["x-seen"],
        "POST http://a.test/pkg.Service/Call te=Some(\"trailers\") for=Some(\"127.0.0.1\")"
    );
    let mut body = response.into_body();
    for word in ["one", "two", "three"] {
        give.send(Bytes::from(word)).await.unwrap();
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), word, "as soon as it came");
    }
    drop(give);
    let trailers = body
        .frame()
        .await
        .unwrap()
        .unwrap()
        .into_trailers()
        .unwrap();
    assert_eq!(trailers["grpc-status"], "0");
    rig.log_line(Some(APP), &[" protocol=http2.0 ", " status=200 bytes=11 "])
        .await;
    assert_eq!(taken.load(SeqCst), 1);
}

#[tokio::test]
async fn many_requests_share_a_connection_to_the_app() {
    let (addr, taken) = h2c_dyno().await;
    let rig = rig_for(addr, Proto::H2c).await;
    let send = h2(&rig).await;
    let big = Bytes::from(vec![7; 300_000]);
    let all = (0..20).map(|i| {
        let (mut send, big) = (send.clone(), big.clone());
        async move {
            let path = if i % 5 == 4 { "/broken" } else { "/ok" };
            let request = Request::post(format!("http://a.test{path}"))
                .body(Full::new(big.clone()))
                .unwrap();
            let response = send.send_request(request).await.unwrap();
            let status = response.headers().get("grpc-status").cloned();
            let body = response.into_body().collect().await.unwrap();
            match path {
                "/ok" => {
                    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
                    assert!(body.to_bytes() == big);
                }
                _ => assert_eq!(status.unwrap(), "13"),
            }
        }
    });
    futures_util::future::join_all(all).await;
    assert!(taken.load(SeqCst) < 20, "{}", taken.load(SeqCst));

    // HTTP/1.1 to the same app, trailers and all
    let mut c = rig.client().await;
    let before = taken.load(SeqCst);
    for _ in 0..3 {
        let r = c.ask("POST /one HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello").await;
        assert_eq!((r.status, r.body().as_str()), (200, "hello"), "{r:?}");
        assert_eq!(r.trailers, "grpc-status: 0\r\n");
        let r = c.ask("GET /two HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        assert!(
            r.header("x-seen")
                .unwrap()
                .starts_with("GET http://a.test/two "),
            "{r:?}"
        );
    }
    assert_eq!(taken.load(SeqCst), before, "no new connection");
    rig.log_line(
        Some(APP),
        &["path=\"/one\"", " protocol=http1.1 ", " bytes=5 "],
    )
    .await;
}

#[tokio::test]
async fn trailers_of_http_1_apps_reach_http_2_clients() {
    let d = dyno(|mut c, _| async move {
        while c.next_message().await.is_some() {
            c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nGrpc-Status: 5\r\n\r\n").await;
        }
    })
    .await;
    let rig = rig_for(d.addr, Proto::Http1).await;
    let mut send = h2(&rig).await;
    let request = Request::get("http://a.test/")
        .body(Full::new(Bytes::new()))
        .unwrap();
    let body = send
        .send_request(request)
        .await
        .unwrap()
        .into_body()
        .collect()
        .await
        .unwrap();
    assert_eq!(body.trailers().unwrap()["grpc-status"], "5");
    assert_eq!(body.to_bytes(), "abc");
}

#[tokio::test]
async fn an_app_that_speaks_no_http_2() {
    let d = saying("I speak HTTP/1.1").await;
    let rig = rig_for(d.addr, Proto::H2c).await;
    let r = rig.get("/").await;
    assert_eq!(r.status, 503, "{r:?}");
    assert!(
        r.body().contains("H13") || r.body().contains("H17"),
        "{r:?}"
    );
}

#[tokio::test]
async fn a_client_that_resets_its_stream_is_gone() {
    let silent = dyno(|mut c, _| async move {
        c.head().await;
        c.waits_for_end().await;
    })
    .await;
    let rig = rig_for(silent.addr, Proto::Http1).await;
    let mut send = h2(&rig).await;
    let request = Request::get("http://a.test/reset")
        .body(Full::new(Bytes::new()))
        .unwrap();
    let asking = tokio::spawn(send.send_request(request));
    until("the dyno has it", || silent.count() == 1).await;
    asking.abort();
    let line = rig.log_line(Some(APP), &["path=\"/reset\""]).await;
    assert!(
        line.contains("code=H27") && line.contains(" status=499 "),
        "{line}"
    );
}
