//! Takes connections: on TCP, and on a Unix socket whose peers the kernel names.

use super::{ApiState, caller::Remote, routes};
use anyhow::{Context, Result};
use axum::{Router, extract::Request};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// Connections at once, on each of the two listeners; more wait to be taken.
const MOST_CONNECTIONS: usize = 1024;
/// Seconds for the head of a request, and between two requests of a connection.
const HEAD_TIME: Duration = Duration::from_secs(60);
/// Bytes and number of header lines; Heroku's CLI gathers up to 7 kB of request ids.
const MOST_HEAD: usize = 64 * 1024;
const MOST_HEADERS: usize = 100;
/// What is under way at the end gets this long.
const LAST_CALL: Duration = Duration::from_secs(2);

pub(super) async fn serve(
    state: ApiState,
    tcp: TcpListener,
    mut shutdown: watch::Receiver<bool>,
) -> Result<()> {
    let path = state.config.socket();
    let unix =
        bind(&path).with_context(|| format!("can't make the agent's socket {}", path.display()))?;
    let app = routes::all(state);
    let talks = Talks {
        tasks: TaskTracker::new(),
        shutdown: shutdown.clone(),
    };
    let seats = [(); 2].map(|()| Arc::new(Semaphore::new(MOST_CONNECTIONS)));
    let by_tcp = async {
        loop {
            let seat = sit(&seats[0]).await;
            match tcp.accept().await {
                Ok((stream, from)) => {
                    let _ = stream.set_nodelay(true);
                    let _ = nix::sys::socket::setsockopt(
                        &stream,
                        nix::sys::socket::sockopt::KeepAlive,
                        &true,
                    );
                    let ip = from.ip().to_canonical();
                    talks.begin(stream, seat, app.clone(), move |r| {
                        r.extensions_mut().insert(Remote(ip));
                    });
                }
                Err(e) => pause(e).await,
            }
        }
    };
    let by_unix = async {
        loop {
            let seat = sit(&seats[1]).await;
            match unix.accept().await {
                Ok((stream, _)) => {
                    let peer = stream.peer_cred().ok();
                    talks.begin(stream, seat, app.clone(), move |r| {
                        if let Some(peer) = peer {
                            r.extensions_mut().insert(peer);
                        }
                    });
                }
                Err(e) => pause(e).await,
            }
        }
    };
    tokio::select! {
        () = by_tcp => {}
        () = by_unix => {}
        () = stopped(&mut shutdown) => {}
    }
    drop((tcp, unix));
    let _ = fs::remove_file(&path);
    talks.tasks.close();
    let _ = tokio::time::timeout(LAST_CALL, talks.tasks.wait()).await;
    Ok(())
}

/// Makes the socket, in the place of one whose agent is gone. Everybody may connect: who may do what is decided by
/// the peer's user id.
fn bind(path: &Path) -> Result<UnixListener> {
    if let Some(folder) = path.parent().filter(|f| !f.exists()) {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(folder)?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        anyhow::bail!("another agent answers there; stop it first");
    }
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e.into()),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

async fn sit(seats: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    seats.clone().acquire_owned().await.ok()
}

/// Out of descriptors, or a client that was gone before it was taken: go on, but not at full speed.
async fn pause(e: io::Error) {
    tracing::warn!("can't take a connection: {e}");
    tokio::time::sleep(Duration::from_millis(50)).await;
}

/// Returns when the agent stops.
async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}

/// The connections.
struct Talks {
    tasks: TaskTracker,
    shutdown: watch::Receiver<bool>,
}

impl Talks {
    /// Answers the requests of one connection; each is marked with what is known of the peer.
    fn begin<S>(
        &self,
        stream: S,
        seat: Option<OwnedSemaphorePermit>,
        app: Router,
        mark: impl Fn(&mut Request) + Clone + Send + Sync + 'static,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
            let mut request = request.map(axum::body::Body::new);
            mark(&mut request);
            app.clone().oneshot(request)
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_buf_size(MOST_HEAD)
            .max_headers(MOST_HEADERS)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stopped(&mut shutdown) => {
                    connection.as_mut().graceful_shutdown();
                    let last = tokio::time::timeout(LAST_CALL, connection).await;
                    last.unwrap_or(Ok(()))
                }
            };
            if let Err(e) = ended {
                tracing::debug!("a connection ended early: {e}");
            }
            drop(seat);
        });
    }
}
