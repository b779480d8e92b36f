//! The static file server of a slug: HTTP/1.1, GET and HEAD, one thread per connection.
//!
//! What it does: content types, index.html, 404 pages, ETag and If-Modified-Since, one range, redirects, headers and
//! routes of static.json. What it never does: leave its root folder, write, compress (the router does that).
//! On SIGTERM it takes no new connections, finishes the answers under way and exits with status 0.

mod answer;
mod http;

use answer::Served;
use http::Connection;
use nix::sys::signal::{SigSet, Signal};
use std::{
    collections::BTreeMap,
    io::ErrorKind,
    net::{Shutdown, TcpListener, TcpStream},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Connections at once; more are closed at once, so that memory stays bounded.
const MAX_CONNECTIONS: usize = 1024;
/// Idle connections are closed after this time: longer than any router's own limit, which must close first.
const IDLE: Duration = Duration::from_secs(95);
/// After SIGTERM, for answers under way.
const GRACE: Duration = Duration::from_secs(25);

struct Shared {
    site: Served,
    stopping: AtomicBool,
    open: Mutex<BTreeMap<i32, TcpStream>>,
}

/// `static-server [SITE.json]`: serves `$HOME` (or the working directory) by `.hokku/site.json` on `$PORT`.
pub fn main(site: Option<&Path>) -> ExitCode {
    let home = std::env::var_os("HOME").map_or_else(|| ".".into(), PathBuf::from);
    let file = site.map_or_else(|| home.join(".hokku/site.json"), Path::to_owned);
    // the folder of the app is the one above `.hokku`
    let app = file
        .parent()
        .and_then(Path::parent)
        .map_or_else(|| home.clone(), Path::to_owned);
    match serve(&file, &app) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("static-server: {e:#}.");
            ExitCode::FAILURE
        }
    }
}

fn serve(file: &Path, app: &Path) -> anyhow::Result<()> {
    use anyhow::Context;
    let text = std::fs::read(file).with_context(|| format!("can't read {}", file.display()))?;
    let site =
        serde_json::from_slice(&text).with_context(|| format!("{} is damaged", file.display()))?;
    let port =
        std::env::var("PORT").context("the variable PORT is not set: it says where to listen")?;
    let port: u16 = port
        .parse()
        .with_context(|| format!("PORT is {port:?}, which is no port number"))?;
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    // before any thread starts, so that all inherit it
    signals.thread_block()?;
    let listener = TcpListener::bind(("0.0.0.0", port))
        .with_context(|| format!("can't listen on port {port}"))?;
    println!(
        "Serving {} on port {}",
        app.display(),
        listener.local_addr()?.port()
    );
    let shared = Arc::new(Shared {
        site: Served::new(app, site)?,
        stopping: AtomicBool::new(false),
        open: Mutex::default(),
    });
    let fd = listener.as_raw_fd();
    let accepting = {
        let shared = shared.clone();
        thread::Builder::new().spawn(move || accept(&listener, &shared))?
    };
    signals.wait()?;
    shared.stopping.store(true, Ordering::SeqCst);
    // SAFETY: the listener lives in the accepting thread, which is joined below; shutdown wakes its accept.
    unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
    let _ = accepting.join();
    // idle connections end at once; busy ones see the end after their answer
    for s in lock(&shared).values() {
        let _ = s.shutdown(Shutdown::Read);
    }
    let until = Instant::now() + GRACE;
    while !lock(&shared).is_empty() && Instant::now() < until {
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn lock(s: &Shared) -> std::sync::MutexGuard<'_, BTreeMap<i32, TcpStream>> {
    s.open
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let stream = match listener.accept() {
            Ok((s, _)) => s,
            Err(_) if shared.stopping.load(Ordering::SeqCst) => return,
            Err(e)
                if matches!(
                    e.kind(),
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted
                ) =>
            {
                continue;
            }
            Err(e) => {
                // out of descriptors: those in use have to end first
                eprintln!("static-server: can't take a connection: {e}");
                thread::sleep(Duration::from_millis(50));
                continue;
            }
        };
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let id = stream.as_raw_fd();
        let Ok(twin) = stream.try_clone() else {
            continue;
        };
        let full = {
            let mut open = lock(shared);
            let full = open.len() >= MAX_CONNECTIONS;
            if !full {
                open.insert(id, twin);
            }
            full
        };
        if full {
            continue;
        }
        let for_thread = shared.clone();
        let spawned = thread::Builder::new()
            .stack_size(256 * 1024)
            .spawn(move || {
                // registered under its own descriptor, which stays open until the entry is gone
                let _gone = Gone(for_thread.clone(), id);
                talk(&stream, &for_thread);
            });
        if spawned.is_err() {
            lock(shared).remove(&id);
        }
    }
}

struct Gone(Arc<Shared>, i32);
impl Drop for Gone {
    fn drop(&mut self) {
        lock(&self.0).remove(&self.1);
    }
}

fn talk(stream: &TcpStream, shared: &Shared) {
    let _ = stream.set_nodelay(true);
    let _ = stream.set_read_timeout(Some(IDLE));
    let _ = stream.set_write_timeout(Some(Duration::from_secs(30)));
    let mut connection = Connection::new(stream);
    loop {
        let answer = match connection.request() {
            Ok(None) => return,
            Ok(Some(Ok(request))) => {
                let last = request.close || shared.stopping.load(Ordering::SeqCst);
                let head = request.head;
                (shared.site.answer(&request), head, last)
            }
            Ok(Some(Err(status))) => (answer::plain(status), false, true),
            Err(_) => return,
        };
        let (answer, head_only, last) = answer;
        if connection.send(answer, head_only, last).is_err() || last {
            let _ = stream.shutdown(Shutdown::Write);
            return;
        }
    }
}

#[cfg(test)]
fn get(site: &Served, path: &str, headers: &[(&str, &str)]) -> answer::Answer {
    site.answer(&http::Request {
        head: false,
        path: path.into(),
        headers: headers
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        close: false,
        method_allowed: true,
    })
}
