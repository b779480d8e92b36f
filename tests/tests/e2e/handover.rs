//! Nothing fails and nothing is reset, whatever changes: requests on kept and on new connections, and WebSockets, which
//! stay until their deadline and are told to go away then.

use crate::support::{Host, Repo, Settings, eventually, http::Connection};
use futures_util::{SinkExt, StreamExt};
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio_tungstenite::tungstenite::{
    Message, client::IntoClientRequest, protocol::frame::coding::CloseCode,
};

/// Seconds that WebSockets stay on a dyno or router that is replaced.
const DRAIN: u64 = 2;

#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    requests: AtomicU64,
    messages: AtomicU64,
    goodbyes: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Seen {
    fn fail(&self, what: String) {
        self.failures.lock().expect("no panic").push(what);
    }
}

/// Clients that the load on kept connections has not: one connection a request, and WebSockets.
struct Others {
    seen: Arc<Seen>,
    threads: Vec<JoinHandle<()>>,
}

impl Others {
    fn start(router: SocketAddr) -> Others {
        let seen: Arc<Seen> = Arc::default();
        let mut threads = vec![];
        for _ in 0..2 {
            let s = seen.clone();
            threads.push(std::thread::spawn(move || new_connections(router, &s)));
            let s = seen.clone();
            threads.push(std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime");
                runtime.block_on(sockets(router, &s));
            }));
        }
        Others { seen, threads }
    }

    fn finish(self) -> Arc<Seen> {
        self.seen.stop.store(true, SeqCst);
        for t in self.threads {
            t.join().expect("no panic");
        }
        self.seen
    }
}

fn new_connections(router: SocketAddr, seen: &Seen) {
    while !seen.stop.load(SeqCst) {
        let asked = Connection::open(router).and_then(|mut c| {
            let close = [("Connection", "close")];
            c.ask("GET", "shop.localhost", "/", &close, b"")
        });
        match asked {
            Ok(r) if r.status == 200 => {}
            Ok(r) => seen.fail(format!("new connection: status {}: {}", r.status, r.text())),
            Err(e) => seen.fail(format!("new connection: {:?}: {e}", e.kind())),
        }
        seen.requests.fetch_add(1, SeqCst);
        std::thread::sleep(Duration::from_millis(15));
    }
}

/// Echoes on a socket; when it is told to go away, it comes back.
async fn sockets(router: SocketAddr, seen: &Seen) {
    while !seen.stop.load(SeqCst) {
        if let Err(e) = socket(router, seen).await {
            seen.fail(format!("socket: {e}"));
        }
    }
}

async fn socket(router: SocketAddr, seen: &Seen) -> Result<(), Box<dyn std::error::Error>> {
    let stream = tokio::net::TcpStream::connect(router).await?;
    let request = "ws://shop.localhost/ws".into_client_request()?;
    let (mut ws, _) = tokio_tungstenite::client_async(request, stream).await?;
    while !seen.stop.load(SeqCst) {
        if ws.send(Message::text("here")).await.is_err() {
            // said goodbye to meanwhile: the frame is still to be read
        }
        match ws.next().await.ok_or("it ended without a close frame")?? {
            Message::Close(Some(f)) if f.code == CloseCode::Away => {
                seen.goodbyes.fetch_add(1, SeqCst);
                return Ok(());
            }
            Message::Text(t) if t.as_str() == "here" => seen.messages.fetch_add(1, SeqCst),
            other => return Err(format!("{other:?}").into()),
        };
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ws.close(None).await?;
    Ok(())
}

/// Makes changes under all three kinds of load; nothing may fail. Gives how many sockets were told to go away.
fn under_load(changes: impl FnOnce(&Host, &Repo)) -> u64 {
    let host = Host::start_with(Settings {
        copies: true,
        more: format!("drain_timeout = {DRAIN}\n"),
        ..Settings::default()
    });
    let repo = host.deploy("shop");
    let load = host.load("shop", 100, 8);
    let others = Others::start(host.router());
    eventually("the load runs", 10, || {
        let sockets = others.seen.messages.load(SeqCst);
        (load.answered() > 20 && sockets > 4).then_some(())
    });
    changes(&host, &repo);
    let (report, seen) = (load.finish(), others.finish());
    let mut failures = report.failures;
    failures.extend(seen.failures.lock().expect("no panic").drain(..));
    assert!(
        failures.is_empty(),
        "{} failed:\n{}",
        failures.len(),
        failures[..failures.len().min(30)].join("\n")
    );
    println!(
        "{} requests on kept connections (slowest {:?}), {:?} on new ones, {:?} messages, {:?} goodbyes; none failed",
        report.good, report.slowest, seen.requests, seen.messages, seen.goodbyes
    );
    seen.goodbyes.load(SeqCst)
}

/// Another file of the agent and the router, and the agent started again: gives the time until the router is another.
fn upgrade(host: &Host) -> Duration {
    const DONE: &str = "a new router has taken over";
    let before = host.agent_log().matches(DONE).count();
    host.replace_agent();
    host.stop_agent();
    let begun = Instant::now();
    host.start_agent();
    eventually("the router is another", 20, || {
        (host.agent_log().matches(DONE).count() > before).then_some(())
    });
    begun.elapsed()
}

#[test]
fn the_router_hands_over_after_an_upgrade_and_not_again() {
    let goodbyes = under_load(|host, _| {
        for _ in 0..3 {
            let took = upgrade(host);
            println!("agent start and hand-over: {took:?}");
        }
        let log = host.agent_log();
        host.stop_agent();
        host.start_agent();
        host.must_serve("shop", "one");
        let asked = |l: &str| l.matches("runs another program").count();
        assert_eq!(
            asked(&host.agent_log()),
            asked(&log),
            "not without a reason"
        );
        std::thread::sleep(Duration::from_secs(DRAIN));
    });
    assert!(goodbyes >= 2, "both sockets had to move: {goodbyes}");
}

#[test]
fn everything_changes_under_load() {
    let goodbyes = under_load(|host, repo| {
        let app = |args: &[&str]| {
            host.app(&[args, &["-a", "shop"]].concat()).ok();
        };
        repo.version("two");
        repo.push().ok();
        upgrade(host);
        app(&["config:set", "N=1"]);
        app(&["ps:scale", "web=2"]);
        host.up("shop", &["web.1", "web.2"]);
        host.kill_agent();
        host.start_agent();
        app(&["ps:restart"]);
        upgrade(host);
        app(&["ps:scale", "web=1"]);
        host.stop_agent();
        host.start_agent();
        app(&["rollback"]);
        host.must_serve("shop", "two");
    });
    assert!(goodbyes >= 2, "both sockets had to move: {goodbyes}");
}

#[test]
fn an_upgrade_that_does_not_start_changes_nothing() {
    let host = Host::start_with(Settings {
        copies: true,
        ..Settings::default()
    });
    host.deploy("shop");
    let socket = host.data().join("router/handover.sock");
    // nobody answers there: the new one has to give up
    std::fs::rename(&socket, socket.with_extension("away")).expect("it is there");
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("the name is free"));
    host.replace_agent();
    host.stop_agent();
    host.start_agent();
    eventually("the failure is said", 20, || {
        let log = host.agent_log();
        log.contains("if it had not taken over, the old one goes on")
            .then_some(())
    });
    host.must_serve("shop", "one");
}
