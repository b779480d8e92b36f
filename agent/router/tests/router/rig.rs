//! A router with short limits, an agent that gives it orders, dynos of many characters, and a client that shows bytes.

use hokku_model::route::{AppRoutes, AppState, RouteTable, RouterOrder, RouterReport, Target};
use hokku_model::{AppId, DynoId};
use hokku_router::control_client::{self, OrderSender, ReportReceiver};
use hokku_router::{Config, Limits, Router};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

pub const APP: AppId = AppId(0xa);
pub const PATIENCE: Duration = Duration::from_secs(10);

pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Limits that make a test short.
pub fn short() -> Limits {
    Limits {
        stop: ms(200),
        close_grace: ms(200),
        quarantine: ms(300),
        ..Limits::default()
    }
}

pub struct Rig {
    pub addr: SocketAddr,
    pub dir: tempfile::TempDir,
    router: Option<Router>,
    limits: Limits,
    to: Option<OrderSender>,
    from: Option<ReportReceiver>,
    pub table: RouteTable,
}

pub fn config(dir: &std::path::Path, limits: Limits) -> Config {
    let mut c = Config::new(
        dir.join("router.sock"),
        dir.join("routes.json"),
        dir.join("logs"),
    );
    c.listen = vec!["127.0.0.1:0".parse().unwrap()];
    c.threads = 2;
    c.limits = limits;
    c
}

impl Rig {
    pub async fn new(limits: Limits) -> Rig {
        Rig::with(|_| {}, limits).await
    }

    pub async fn with(change: impl FnOnce(&mut Config), limits: Limits) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path(), limits.clone());
        change(&mut config);
        let router = hokku_router::start(config).unwrap();
        let addr = router.listen()[0];
        let mut rig = Rig {
            addr,
            dir,
            router: Some(router),
            limits,
            to: None,
            from: None,
            table: RouteTable::default(),
        };
        rig.connect_agent().await;
        rig
    }

    pub fn router(&self) -> &Router {
        self.router.as_ref().expect("a router that runs")
    }

    /// Starts another router in the same folder; no agent is connected.
    pub fn restart(&mut self, config: Config) {
        self.lose_agent();
        let router = hokku_router::start(config).unwrap();
        self.addr = router.listen()[0];
        self.router = Some(router);
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("router.sock")
    }

    /// A (new) agent; returns the version its Hello tells.
    pub async fn connect_agent(&mut self) -> u64 {
        let (to, from) = control_client::connect(&self.socket()).await.unwrap();
        (self.to, self.from) = (Some(to), Some(from));
        match self.report().await {
            RouterReport::Hello {
                pid,
                version,
                listen,
            } => {
                assert_eq!((pid, listen), (std::process::id(), vec![self.addr]));
                version
            }
            other => panic!("expected Hello, got {other:?}"),
        }
    }

    /// Where metrics and health are answered over TCP.
    pub fn asides(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        self.router.as_ref().unwrap().asides()
    }

    /// Another router takes over, and the agent talks to it; gives the elder.
    pub async fn hand_over(&mut self) -> Router {
        let mut config = config(self.dir.path(), self.limits.clone());
        config.take_over = true;
        let heir = tokio::task::spawn_blocking(|| hokku_router::start(config).unwrap());
        let elder = self.router.replace(heir.await.unwrap()).unwrap();
        self.connect_agent().await;
        elder
    }

    pub fn lose_agent(&mut self) {
        (self.to, self.from) = (None, None);
    }

    pub async fn report(&mut self) -> RouterReport {
        let from = self.from.as_mut().unwrap();
        timeout(PATIENCE, from.recv())
            .await
            .expect("a report in time")
            .unwrap()
            .expect("an open connection")
    }

    pub async fn order(&mut self, order: RouterOrder) {
        self.to.as_mut().unwrap().send(&order).await.unwrap();
    }

    /// Sends the table with the next version and waits until it is in force.
    pub async fn apply(&mut self) {
        self.table.version += 1;
        let table = self.table.clone();
        let version = table.version;
        self.order(RouterOrder::Table { table }).await;
        assert_eq!(self.report().await, RouterReport::Applied { version });
    }

    /// One app, `a.test`, with these dynos (numbered from 1) and this state.
    pub async fn app(&mut self, state: AppState, dynos: &[(u128, SocketAddr)]) {
        let app = app("my-app", &["a.test"], state, dynos);
        self.table.apps = BTreeMap::from([(APP, app)]);
        self.apply().await;
    }

    pub async fn running(&mut self, dynos: &[(u128, SocketAddr)]) {
        self.app(AppState::Running, dynos).await;
    }

    pub async fn drain(&mut self, dyno: u128, deadline: Duration) {
        self.order(RouterOrder::Drain {
            dyno: DynoId(dyno),
            deadline_ms: deadline.as_millis() as u64,
        })
        .await;
    }

    pub async fn show(&mut self, dyno: u128) {
        let dyno = DynoId(dyno);
        self.order(RouterOrder::ShowInFlight { dyno }).await;
    }

    pub async fn client(&self) -> Client {
        Client::to(self.addr).await
    }

    /// One GET on a connection of its own.
    pub async fn get(&self, path: &str) -> Reply {
        let mut c = self.client().await;
        c.ask(&format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n"))
            .await
    }

    /// Waits until a line of the app's log (or `none`) has all these parts.
    pub async fn log_line(&self, app: Option<AppId>, parts: &[&str]) -> String {
        let name = app.map_or("none".to_owned(), |a| a.to_string());
        let path = self.dir.path().join("logs").join(format!("{name}.log"));
        let mut text = String::new();
        for _ in 0..500 {
            text = std::fs::read_to_string(&path).unwrap_or_default();
            if let Some(l) = text.lines().find(|l| parts.iter().all(|p| l.contains(p))) {
                return l.to_owned();
            }
            tokio::time::sleep(ms(10)).await;
        }
        panic!("no line with {parts:?} in {}:\n{text}", path.display());
    }

    /// Asks until the failure's page comes; checks status, page and log line.
    pub async fn expect_code(&self, reply: &Reply, code: &str, status: u16) {
        assert_eq!(reply.status, status, "{reply:?}");
        assert!(reply.body().contains(code), "{reply:?}");
        self.log_line(
            Some(APP),
            &[&format!(" code={code} "), &format!(" status={status} ")],
        )
        .await;
    }

    pub async fn stop(&mut self) {
        if let Some(router) = self.router.take() {
            tokio::task::spawn_blocking(|| router.stop()).await.unwrap();
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(router) = self.router.take() {
            // stopping blocks, which an async thread may not
            std::thread::spawn(|| router.stop()).join().unwrap();
        }
    }
}

pub fn app(name: &str, hosts: &[&str], state: AppState, dynos: &[(u128, SocketAddr)]) -> AppRoutes {
    let target = |(i, (id, addr)): (usize, &(u128, SocketAddr))| Target {
        dyno: DynoId(*id),
        name: format!("web.{}", i + 1).parse().unwrap(),
        addr: (*addr).into(),
    };
    AppRoutes {
        hosts: hosts.iter().map(|h| h.to_string()).collect(),
        release: Some(3),
        targets: dynos.iter().enumerate().map(target).collect(),
        ..AppRoutes::new(name.parse().unwrap(), state)
    }
}

/// An address that refuses connections.
pub async fn dead_addr() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}

/// Something that listens where a dyno would.
pub struct Dyno {
    pub addr: SocketAddr,
    /// Connections taken.
    pub taken: Arc<AtomicUsize>,
    task: tokio::task::AbortHandle,
}

impl Drop for Dyno {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Dyno {
    pub fn count(&self) -> usize {
        self.taken.load(SeqCst)
    }
}

/// A dyno whose connections are run by `serve`; its second argument counts them from 0.
pub async fn dyno<F, Fut>(serve: F) -> Dyno
where
    F: Fn(Client, usize) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = taken.clone();
    let task = tokio::spawn(async move {
        let mut open = tokio::task::JoinSet::new();
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                return;
            };
            stream.set_nodelay(true).unwrap();
            let n = counter.fetch_add(1, SeqCst);
            open.spawn(serve(
                Client {
                    stream,
                    read: Vec::new(),
                },
                n,
            ));
        }
    });
    Dyno {
        addr,
        taken,
        task: task.abort_handle(),
    }
}

/// Answers every request with this text, keeping connections open.
pub async fn saying(text: &'static str) -> Dyno {
    dyno(move |mut c, _| async move {
        while let Some(_request) = c.next_message().await {
            c.send(&format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}",
                text.len()
            ))
            .await;
        }
    })
    .await
}

/// Answers with the request as it arrived (head, then the decoded body).
pub async fn mirror() -> Dyno {
    dyno(|mut c, _| async move {
        while let Some(r) = c.next_message().await {
            let text = format!("{}\r\n\r\n{}", r.head, r.body());
            let head = r.head.starts_with("HEAD");
            c.send(&format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                text.len()
            ))
            .await;
            if !head {
                c.send(&text).await;
            }
        }
    })
    .await
}

/// One end of a connection, for client and dyno alike.
pub struct Client<S = TcpStream> {
    pub stream: S,
    pub read: Vec<u8>,
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// First line and headers, without the empty line.
    pub head: String,
    pub bytes: Vec<u8>,
    pub trailers: String,
}

impl Reply {
    pub fn body(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Values of a header, joined by `|`.
    pub fn header(&self, name: &str) -> Option<String> {
        header(&self.head, name)
    }
}

pub fn header(head: &str, name: &str) -> Option<String> {
    let values: Vec<&str> = head
        .lines()
        .skip(1)
        .filter_map(|l| l.split_once(':'))
        .filter(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, v)| v.trim())
        .collect();
    (!values.is_empty()).then(|| values.join("|"))
}

impl Client {
    pub async fn to(addr: SocketAddr) -> Client {
        Client::over(TcpStream::connect(addr).await.unwrap())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub fn over(stream: S) -> Client<S> {
        let read = Vec::new();
        Client { stream, read }
    }

    pub async fn send(&mut self, text: &str) {
        self.send_bytes(text.as_bytes()).await;
    }

    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        // the other side may have closed already; that shows when reading
        let _ = self.stream.write_all(bytes).await;
    }

    pub async fn ask(&mut self, text: &str) -> Reply {
        self.send(text).await;
        self.reply().await
    }

    pub async fn reply(&mut self) -> Reply {
        self.message(false)
            .await
            .expect("an answer before the end of the connection")
    }

    /// The answer to HEAD: no body, whatever the length says.
    pub async fn head_reply(&mut self) -> Reply {
        self.message(true)
            .await
            .expect("an answer before the end of the connection")
    }

    /// A request, seen from the dyno; `None` at the end of the connection.
    pub async fn next_message(&mut self) -> Option<Reply> {
        self.message(false).await
    }

    async fn more(&mut self) -> bool {
        let mut part = vec![0; 65536];
        let n = timeout(PATIENCE, self.stream.read(&mut part))
            .await
            .expect("bytes in time")
            .unwrap_or(0);
        self.read.extend_from_slice(&part[..n]);
        n > 0
    }

    async fn through(&mut self, mark: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.read.windows(mark.len()).position(|w| w == mark) {
                return Some(self.read.drain(..at + mark.len()).collect());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    pub async fn exactly(&mut self, n: usize) -> Option<Vec<u8>> {
        while self.read.len() < n {
            if !self.more().await {
                return None;
            }
        }
        Some(self.read.drain(..n).collect())
    }

    /// Only a head.
    pub async fn head(&mut self) -> Option<Reply> {
        let head = self.through(b"\r\n\r\n").await?;
        let head = String::from_utf8_lossy(&head[..head.len() - 4]).into_owned();
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|s| s.parse().ok())
            .unwrap_or(0);
        Some(Reply {
            status,
            head,
            bytes: Vec::new(),
            trailers: String::new(),
        })
    }

    /// One chunk of a chunked body; empty for the last.
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = self.through(b"\r\n").await?;
        let size =
            usize::from_str_radix(String::from_utf8_lossy(&size).trim(), 16).expect("a chunk size");
        let data = self.exactly(size).await?;
        if size > 0 {
            self.exactly(2).await?;
        }
        Some(data)
    }

    async fn message(&mut self, no_body: bool) -> Option<Reply> {
        let mut m = self.head().await?;
        // interim answers come before the one that is meant
        while matches!(m.status, 100 | 102..=199) && m.head.starts_with("HTTP/") {
            m = self.head().await?;
        }
        if no_body || m.status == 204 || m.status == 304 || m.status == 101 {
            return Some(m);
        }
        if m.header("transfer-encoding").is_some() {
            loop {
                let part = self.chunk().await?;
                if part.is_empty() {
                    break;
                }
                m.bytes.extend(part);
            }
            loop {
                let line = self.through(b"\r\n").await?;
                if line == b"\r\n" {
                    break;
                }
                m.trailers.push_str(&String::from_utf8_lossy(&line));
            }
        } else if let Some(n) = m.header("content-length") {
            m.bytes = self.exactly(n.parse().unwrap()).await?;
        } else if m.head.starts_with("HTTP/") {
            while self.more().await {}
            m.bytes = std::mem::take(&mut self.read);
        }
        Some(m)
    }

    /// Reads until the other side closes.
    pub async fn waits_for_end(&mut self) {
        while self.more().await {
            self.read.clear();
        }
    }

    /// Does the other side close, without another byte?
    pub async fn is_closed(&mut self) -> bool {
        self.read.is_empty() && !self.more().await
    }
}

/// Waits until `f` holds.
pub async fn until(what: &str, mut f: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if f() {
            return;
        }
        tokio::time::sleep(ms(10)).await;
    }
    panic!("waited too long until {what}");
}
