//! Making a dyno's health checks again and again, and telling how they went.

use super::{
    Fact, Probe, Supervisor, command, on_failure,
    probe::{self, Verdict},
    refusal::Asked,
};
use futures_util::future::join_all;
use hokku_model::{
    DynoId,
    health::{Ask, Check, Purpose},
};
use std::{net::SocketAddr, time::Duration};
use tokio::time::{Instant, sleep};

/// The pause before somebody who does not listen yet is asked again.
const SOON: Duration = Duration::from_millis(50);

/// One dyno's checks.
pub struct Watch {
    owner: Supervisor,
    dyno: DynoId,
    probe: Probe,
    begun: Instant,
}

impl Watch {
    /// Checks of a dyno whose process runs.
    pub fn new(owner: Supervisor, dyno: DynoId, probe: Probe) -> Watch {
        Watch {
            owner,
            dyno,
            probe,
            begun: Instant::now(),
        }
    }

    /// Makes them until it is dropped: those of its start first, unless it was up already, and then the others.
    pub async fn run(self) {
        self.owner.inner.seen.begin(self.dyno, &self.probe);
        let all = self.probe.checks.iter().enumerate();
        let (first, later): (Vec<_>, Vec<_>) =
            all.partition(|(_, c)| c.purpose == Purpose::Startup);
        if !self.probe.up {
            // One that only warns holds nothing up.
            let (gates, warns): (Vec<_>, Vec<_>) = first.into_iter().partition(|(_, c)| c.gates());
            let begin = async {
                let passed = join_all(gates.into_iter().map(|(i, c)| self.begin(i, c))).await;
                if passed.into_iter().all(|p| p) {
                    join_all(later.into_iter().map(|(i, c)| self.go_on(i, c))).await;
                }
            };
            tokio::join!(
                begin,
                join_all(warns.into_iter().map(|(i, c)| self.begin(i, c)))
            );
        } else {
            join_all(later.into_iter().map(|(i, c)| self.go_on(i, c))).await;
        }
    }

    /// Until it passes or its attempts are used up. False: it did not pass.
    async fn begin(&self, i: usize, check: &Check) -> bool {
        sleep(Duration::from_millis(check.delay_ms)).await;
        let mut left = check.attempts;
        loop {
            match self.make(i, check).await {
                Verdict::Passed => {
                    self.tell(i, Ok(())).await;
                    return true;
                }
                // Not counted as an attempt: an app that boots does not listen.
                Verdict::Unheard(_) if self.is_own_port(check) => {
                    if self.begun.elapsed() >= self.probe.boot_limit {
                        let dyno = self.dyno;
                        let listening = self.owner.listening(dyno).await;
                        let fact = Fact::BootTimeout { dyno, listening };
                        self.owner.report(fact).await;
                        return false;
                    }
                    sleep(SOON).await;
                }
                Verdict::Failed(text) | Verdict::Unheard(text) => {
                    left = left.saturating_sub(1);
                    if left == 0 {
                        // before it is told: a dyno that is given up is killed at once
                        self.failed(check, &text).await;
                    }
                    self.tell(i, Err(text)).await;
                    if left == 0 {
                        return false;
                    }
                    sleep(Duration::from_millis(check.wait_ms)).await;
                }
            }
        }
    }

    /// For ever. Passes are told when they are news.
    async fn go_on(&self, i: usize, check: &Check) {
        sleep(Duration::from_millis(check.delay_ms)).await;
        let mut known_good = false;
        let mut failures: u32 = 0;
        loop {
            let outcome = match self.make(i, check).await {
                Verdict::Passed => Ok(()),
                Verdict::Failed(text) | Verdict::Unheard(text) => Err(text),
            };
            let good = outcome.is_ok();
            failures = if good { 0 } else { failures.saturating_add(1) };
            if failures == check.attempts
                && let Err(text) = &outcome
            {
                self.failed(check, text).await;
            }
            if !(good && known_good) {
                self.tell(i, outcome).await;
            }
            known_good = good;
            sleep(Duration::from_millis(check.wait_ms)).await;
        }
    }

    /// Makes a check and keeps how it went.
    async fn make(&self, i: usize, check: &Check) -> Verdict {
        let begun = Instant::now();
        let verdict = self.ask(check).await;
        let seen = &self.owner.inner.seen;
        seen.note(self.dyno, i, begun.elapsed(), &verdict);
        verdict
    }

    /// It failed so often that it counts.
    async fn failed(&self, check: &Check, text: &str) {
        on_failure::carry_out(&self.owner, self.dyno, &self.probe, check, text).await;
    }

    fn is_own_port(&self, check: &Check) -> bool {
        let asks = matches!(check.ask, Ask::Http { .. } | Ask::Tcp | Ask::Listening);
        asks && check.port.is_none()
    }

    /// Makes a check once.
    pub async fn ask(&self, check: &Check) -> Verdict {
        let limit = Duration::from_millis(check.timeout_ms);
        let own = self.probe.addr.map(|a| a.port());
        let Some(port) = check.port.or(own).or_else(|| {
            let needs_none = matches!(check.ask, Ask::Uptime { .. } | Ask::Command { .. });
            needs_none.then_some(0)
        }) else {
            return Verdict::Failed("It has no port to be asked on.".into());
        };
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        let verdict = match &check.ask {
            Ask::Http { .. } => match Asked::by(&check.ask, &self.probe.host) {
                Some(asked) => probe::http(addr, &asked, limit).await,
                None => Verdict::Passed,
            },
            Ask::Tcp => probe::tcp(addr, limit).await,
            Ask::Listening => match self.owner.listening(self.dyno).await {
                ports if ports.contains(&port) => Verdict::Passed,
                ports => Verdict::Unheard(instead(port, &ports)),
            },
            Ask::Uptime { ms } => {
                let end = self.begun + Duration::from_millis(*ms);
                tokio::time::sleep_until(end).await;
                Verdict::Passed
            }
            Ask::Command { argv } => command::check(&self.owner, self.dyno, argv, limit).await,
        };
        // The port may be somebody else's, whose answer tells nothing of this dyno.
        let asked_port = matches!(check.ask, Ask::Http { .. } | Ask::Tcp);
        let of_start = asked_port && check.purpose == Purpose::Startup;
        match verdict {
            Verdict::Passed if of_start => match self.owner.listening(self.dyno).await {
                ports if ports.contains(&port) => verdict,
                ports => Verdict::Unheard(instead(port, &ports)),
            },
            _ => verdict,
        }
    }

    async fn tell(&self, check: usize, outcome: Result<(), String>) {
        let dyno = self.dyno;
        let fact = Fact::Checked {
            dyno,
            check,
            outcome,
        };
        self.owner.report(fact).await;
    }
}

fn instead(port: u16, ports: &[u16]) -> String {
    let list: Vec<String> = ports.iter().map(u16::to_string).collect();
    match list[..] {
        [] => format!("No process of it listens on port {port}, or on any other."),
        _ => format!(
            "No process of it listens on port {port}; they listen on {}.",
            list.join(", ")
        ),
    }
}
