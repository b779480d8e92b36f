//! Apps behind a Unix socket: as over TCP.

use crate::rig::*;
use hokku_model::DynoId;
use hokku_model::address::Address;
use hokku_model::route::{AppState, Target};
use hokku_model::routing::{Proto, Routing};
use hokku_router::Limits;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio::net::{UnixListener, UnixStream};

/// The app at these sockets.
async fn at(rig: &mut Rig, paths: &[&Path], proto: Proto) {
    let mut app = app("my-app", &["a.test"], AppState::Running, &[]);
    app.routing = Routing {
        proto,
        ..Routing::default()
    };
    app.targets = (1..)
        .zip(paths)
        .map(|(n, path)| Target {
            dyno: DynoId(n),
            name: format!("web.{n}").parse().unwrap(),
            addr: Address::Unix(path.to_str().unwrap().into()),
        })
        .collect();
    rig.table.apps = [(APP, app)].into();
    rig.apply().await;
}

/// Takes connections and answers each request on them with its body, or with "none"; counts the connections.
fn echo(path: &Path) -> (Arc<AtomicUsize>, tokio::task::AbortHandle) {
    let listener = UnixListener::bind(path).unwrap();
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    let task = tokio::spawn(async move {
        let mut open = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, SeqCst);
            open.spawn(answer(Client::over(stream)));
        }
    });
    (taken, task.abort_handle())
}

async fn answer(mut c: Client<UnixStream>) {
    while let Some(r) = c.next_message().await {
        let body = match r.body() {
            empty if empty.is_empty() => "none".to_owned(),
            body => body,
        };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        c.send(&head).await;
        c.send(&body).await;
    }
}

#[tokio::test]
async fn requests_pass_and_connections_are_kept() {
    let mut rig = Rig::with(|c| c.threads = 1, short()).await;
    let path = rig.dir.path().join("app.sock");
    let (taken, _task) = echo(&path);
    at(&mut rig, &[&path], Proto::Http1).await;
    let mut c = rig.client().await;
    for _ in 0..20 {
        let r = c.ask("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
        assert_eq!((r.status, r.body()), (200, "none".into()));
    }
    // longer than any socket holds at once, both ways
    let long = "x".repeat(3_000_000);
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n",
        long.len()
    );
    let r = c.ask(&format!("{head}{long}")).await;
    assert_eq!((r.status, r.bytes.len()), (200, long.len()));
    assert_eq!(taken.load(SeqCst), 1, "one connection for all of them");
    rig.log_line(Some(APP), &["dyno=web.1 ", " status=200 "])
        .await;
}

#[tokio::test]
async fn one_that_nobody_listens_at_is_passed_over() {
    let mut rig = Rig::new(Limits {
        attempts: 3,
        ..short()
    })
    .await;
    let folder = rig.dir.path().to_owned();
    let (gone, left, good) = (
        folder.join("gone.sock"),
        folder.join("left.sock"),
        folder.join("good.sock"),
    );
    // the app died: its socket is still in the folder
    drop(std::os::unix::net::UnixListener::bind(&left).unwrap());
    at(&mut rig, &[&gone, &left], Proto::Http1).await;
    let r = rig.get("/").await;
    rig.expect_code(&r, "H21", 503).await;
    let (_taken, _task) = echo(&good);
    at(&mut rig, &[&gone, &left, &good], Proto::Http1).await;
    for _ in 0..20 {
        assert_eq!(rig.get("/").await.status, 200);
    }
    rig.log_line(Some(APP), &["dyno=web.3 ", " status=200 "])
        .await;
}

#[tokio::test]
async fn a_pooled_connection_that_died_is_not_noticed_by_clients() {
    let mut rig = Rig::with(|c| c.threads = 1, short()).await;
    let path = rig.dir.path().join("app.sock");
    let (_, task) = echo(&path);
    at(&mut rig, &[&path], Proto::Http1).await;
    assert_eq!(rig.get("/").await.status, 200);
    // another process listens there now
    task.abort();
    std::fs::remove_file(&path).unwrap();
    let (taken, _task) = echo(&path);
    for _ in 0..5 {
        assert_eq!(rig.get("/").await.status, 200);
    }
    assert!(taken.load(SeqCst) >= 1);
}

#[tokio::test]
async fn a_full_queue_is_waited_for() {
    let mut rig = Rig::new(Limits {
        connect: ms(5000),
        ..short()
    })
    .await;
    let path = rig.dir.path().join("app.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
    // what does not fit is told so at once
    let mut waiting = Vec::new();
    loop {
        let one = nix::sys::socket::socket(
            nix::sys::socket::AddressFamily::Unix,
            nix::sys::socket::SockType::Stream,
            nix::sys::socket::SockFlag::SOCK_NONBLOCK,
            None,
        )
        .unwrap();
        let to = nix::sys::socket::UnixAddr::new(&path).unwrap();
        match nix::sys::socket::connect(std::os::fd::AsRawFd::as_raw_fd(&one), &to) {
            Ok(()) => waiting.push(one),
            Err(e) => {
                assert_eq!(e, nix::Error::EAGAIN);
                break;
            }
        }
    }
    at(&mut rig, &[&path], Proto::Http1).await;
    let mut c = rig.client().await;
    c.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    listener.set_nonblocking(true).unwrap();
    let listener = UnixListener::from_std(listener).unwrap();
    let serve = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(answer(Client::over(stream)));
        }
    };
    tokio::select! {
        r = c.reply() => assert_eq!(r.body(), "none"),
        () = serve => {}
    }
    drop(waiting);
}

#[tokio::test]
async fn tunnels_and_http2_pass_as_well() {
    let mut rig = Rig::new(short()).await;
    let path = rig.dir.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    at(&mut rig, &[&path], Proto::Http1).await;
    let mut c = rig.client().await;
    c.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n")
        .await;
    let (stream, _) = listener.accept().await.unwrap();
    let mut d = Client::over(stream);
    assert!(
        d.next_message()
            .await
            .unwrap()
            .head
            .contains("upgrade: chat")
    );
    d.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n")
        .await;
    assert_eq!(c.head_reply().await.status, 101);
    c.send("GET /ping HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(
        d.next_message()
            .await
            .unwrap()
            .head
            .starts_with("GET /ping ")
    );

    at(&mut rig, &[&path], Proto::H2c).await;
    let serve = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service =
                hyper::service::service_fn(|r: http::Request<hyper::body::Incoming>| async move {
                    let said = format!("{:?} {}", r.version(), r.uri().path());
                    Ok::<_, std::convert::Infallible>(http::Response::new(
                        http_body_util::Full::new(bytes::Bytes::from(said)),
                    ))
                });
            let serving =
                hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
                    .serve_connection(hyper_util::rt::TokioIo::new(stream), service);
            tokio::spawn(serving);
        }
    };
    tokio::select! {
        r = rig.get("/x") => assert_eq!((r.status, r.body()), (200, "HTTP/2.0 /x".into())),
        () = serve => {}
    }
}
