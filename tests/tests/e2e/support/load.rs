//! Requests at a steady rate over kept connections, every answer checked.

use super::http::Connection;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// A running load.
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Report>>,
    started: Instant,
    rate: u32,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// Good answers.
    pub good: u64,
    /// All others, in words, each with its time since the start: wrong status, wrong content, refused, reset, closed.
    pub failures: Vec<String>,
    /// How many answers each version of the app gave.
    pub versions: BTreeMap<String, u64>,
    /// The slowest answer.
    pub slowest: Duration,
}

impl Load {
    /// Sends `rate` requests a second for `/load/<n>?…` over `connections` connections to the probe behind `host`.
    pub fn start(router: SocketAddr, host: &str, rate: u32, connections: u32) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let started = Instant::now();
        let threads = (0..connections)
            .map(|n| {
                let (stop, answered, host) = (stop.clone(), answered.clone(), host.to_owned());
                let pause = Duration::from_secs(1) * connections / rate;
                let offset = pause * n / connections;
                std::thread::spawn(move || {
                    one(
                        router,
                        &host,
                        n,
                        started,
                        started + offset,
                        pause,
                        &stop,
                        &answered,
                    )
                })
            })
            .collect();
        Load {
            stop,
            answered,
            threads,
            started,
            rate,
        }
    }

    /// How many answers, good or bad, have come so far.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Ends it.
    ///
    /// # Panics
    /// Fewer than half of the ordered requests could be sent: the load was none.
    pub fn finish(mut self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Report::default();
        for t in std::mem::take(&mut self.threads) {
            let r = t.join().expect("the load does not panic");
            all.good += r.good;
            all.failures.extend(r.failures);
            all.slowest = all.slowest.max(r.slowest);
            for (v, n) in r.versions {
                *all.versions.entry(v).or_default() += n;
            }
        }
        let ordered = self.started.elapsed().as_secs_f64() * f64::from(self.rate);
        let sent = all.good + all.failures.len() as u64;
        assert!(
            sent as f64 > ordered / 2.0,
            "only {sent} of {ordered:.0} ordered requests were sent; slowest {:?}",
            all.slowest
        );
        all
    }
}

/// A test that fails in the middle must not leave its load to the next one's ports.
impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for t in std::mem::take(&mut self.threads) {
            let _ = t.join();
        }
    }
}

#[allow(clippy::too_many_arguments)]
fn one(
    router: SocketAddr,
    host: &str,
    n: u32,
    started: Instant,
    first: Instant,
    pause: Duration,
    stop: &AtomicBool,
    answered: &AtomicU64,
) -> Report {
    let mut report = Report::default();
    let mut connection = None;
    let mut next = first;
    for i in 0u64.. {
        let now = Instant::now();
        if next > now {
            std::thread::sleep(next - now);
        }
        next = (next + pause).max(Instant::now() - pause * 20);
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let path = format!("/load/{n}?i={i}");
        let sent = Instant::now();
        let fresh = connection.is_none();
        let outcome = ask(router, &mut connection, host, &path);
        report.slowest = report.slowest.max(sent.elapsed());
        answered.fetch_add(1, Ordering::Relaxed);
        match outcome {
            Ok(version) => {
                report.good += 1;
                *report.versions.entry(version).or_default() += 1;
            }
            Err(e) => {
                connection = None;
                report.failures.push(format!(
                    "{:.3} s, connection {n}{}, request {i}, after {:?}: {e}",
                    started.elapsed().as_secs_f64(),
                    if fresh { " (new)" } else { "" },
                    sent.elapsed()
                ));
            }
        }
    }
    report
}

fn ask(
    router: SocketAddr,
    connection: &mut Option<Connection>,
    host: &str,
    path: &str,
) -> Result<String, String> {
    let c = match connection {
        Some(c) => c,
        None => connection.insert(Connection::open(router).map_err(|e| format!("connect: {e}"))?),
    };
    let r = c
        .ask("GET", host, path, &[], b"")
        .map_err(|e| format!("{:?}: {e}", e.kind()))?;
    if r.status != 200 {
        return Err(format!("status {}: {}", r.status, r.text()));
    }
    let v: serde_json::Value =
        serde_json::from_slice(&r.body).map_err(|e| format!("{e}: {}", r.text()))?;
    if v["path"] != path {
        return Err(format!("asked {path}, got {v}"));
    }
    let version = v["version"].as_str().unwrap_or_default().to_owned();
    if r.header("connection")
        .is_some_and(|c| c.eq_ignore_ascii_case("close"))
    {
        *connection = None;
    }
    Ok(version)
}

/// The instruments themselves, held against a probe without any platform: a load that can't fail proves nothing.
mod tests {
    use super::*;
    use crate::support::{eventually, host::probe, slot::Slot};
    use std::process::{Child, Command, Stdio};

    fn start(port: u16) -> Child {
        let child = Command::new(probe())
            .env("PORT", port.to_string())
            .stdout(Stdio::null())
            .spawn()
            .expect("the probe starts");
        eventually("the probe listens", 10, || {
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        child
    }

    #[test]
    fn a_load_counts_what_fails_and_only_that() {
        let slot = Slot::take();
        let at = SocketAddr::from(([127, 0, 0, 1], slot.spare()));
        let mut app = start(slot.spare());
        let load = Load::start(at, "x", 200, 4);
        eventually("100 answers", 10, || (load.answered() > 100).then_some(()));
        let report = load.finish();
        assert_eq!(report.failures, Vec::<String>::new());
        assert!(report.good > 100);

        let load = Load::start(at, "x", 200, 4);
        eventually("50 answers", 10, || (load.answered() > 50).then_some(()));
        app.kill().expect("it runs");
        app.wait().expect("our child");
        let seen = load.answered();
        eventually("failures are counted", 10, || {
            (load.answered() > seen + 50).then_some(())
        });
        let mut app = start(slot.spare());
        let seen = load.answered();
        eventually("it recovers", 10, || {
            (load.answered() > seen + 50).then_some(())
        });
        let report = load.finish();
        assert!(report.good > 80, "{report:?}");
        assert!(report.failures.len() > 40, "{report:?}");
        assert!(
            report.failures.iter().any(|f| f.contains("connect")),
            "{report:?}"
        );
        app.kill().expect("it runs");
        app.wait().expect("our child");
    }
}
