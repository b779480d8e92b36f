//! With real shims, in the best walls that this machine and user have.

use super::*;
use crate::sys::testing;
use hokku_model::{
    AppId, Micros,
    shim::{AppTree, Frame, Isolation, Limits, Output},
};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};
use tokio::sync::mpsc::Receiver;

const UID: u32 = 23_457;
const PATIENCE: Duration = Duration::from_secs(20);

struct Node {
    base: tempfile::TempDir,
    isolation: Isolation,
}

impl Node {
    fn new() -> Node {
        let base = tempfile::tempdir().unwrap();
        for d in ["slug", "logs"] {
            fs::create_dir(base.path().join(d)).unwrap();
        }
        let root = nix::unistd::geteuid().is_root();
        let isolation = if root {
            Isolation::Root { uid: UID }
        } else {
            Isolation::Plain
        };
        if root {
            chown(base.path().join("slug"), Some(UID), Some(UID)).unwrap();
        }
        fs::set_permissions(base.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Node { base, isolation }
    }

    fn supervisor(&self) -> (Supervisor, Receiver<Fact>) {
        let (tx, rx) = mpsc::channel(64);
        let dynos = self.base.path().join("dynos");
        (Supervisor::new(dynos, testing::shim_exe(), tx), rx)
    }

    fn log(&self, dyno: DynoId) -> String {
        let file = self.base.path().join(format!("logs/{dyno}.log"));
        fs::read_to_string(file).unwrap_or_default()
    }

    async fn wait_log(&self, dyno: DynoId, text: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.log(dyno).contains(text) {
            assert!(
                Instant::now() < end,
                "{text:?} is not in {:?}",
                self.log(dyno)
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn order(&self, script: &str) -> StartOrder {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let id = DynoId(u128::from(std::process::id()) << 64 | u128::from(n));
        StartOrder {
            record: DynoRecord {
                id,
                name: "web.1".parse().unwrap(),
                app: AppId(7),
                app_name: "my-app".parse().unwrap(),
                version: 3,
                slug: None,
                port: None,
                command: script.into(),
                started_at: Micros::now(),
                oneoff: false,
                purpose: Default::default(),
                quota: Default::default(),
                care: Default::default(),
            },
            spec: ShimSpec {
                dir: "/nowhere".into(),
                argv: ["/bin/bash", "-c", script].map(String::from).to_vec(),
                env: vec![("PATH".into(), "/usr/bin:/bin".into())],
                cwd: "/app".into(),
                isolation: self.isolation,
                app: AppTree::Overlay {
                    lower: vec![self.base.path().join("slug")],
                },
                binds: vec![],
                output: Output::Log {
                    file: self.base.path().join(format!("logs/{id}.log")),
                    source: "app[web.1]".into(),
                    max_bytes: 1 << 20,
                },
                limits: Limits::default(),
                hide: vec![],
                hostname: "web.1".into(),
            },
            probe: None,
        }
    }
}

/// What a failed test has left running ends with it.
impl Drop for Node {
    fn drop(&mut self) {
        let dynos = self.base.path().join("dynos");
        for d in fs::read_dir(dynos).into_iter().flatten().flatten() {
            let who = fs::read(d.path().join("shim.json")).unwrap_or_default();
            if let Ok(who) = serde_json::from_slice::<hokku_model::shim::ShimPid>(&who)
                && crate::sys::proc::is_alive(&who)
            {
                // SAFETY: takes no pointers
                unsafe { libc::kill(who.pid, libc::SIGKILL) };
                while !crate::sys::proc::is_gone(who.pid) {
                    std::thread::yield_now();
                }
            }
        }
    }
}

async fn next(facts: &mut Receiver<Fact>) -> Fact {
    tokio::time::timeout(PATIENCE, facts.recv())
        .await
        .expect("a fact in time")
        .expect("a fact")
}

async fn running(facts: &mut Receiver<Fact>) -> i32 {
    match next(facts).await {
        Fact::Running { pid, .. } => pid,
        f => panic!("{f:?}"),
    }
}

async fn gone(dir: &Path) {
    let end = Instant::now() + PATIENCE;
    while dir.exists() {
        assert!(Instant::now() < end, "{} is still there", dir.display());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_life_from_start_to_exit() {
    let node = Node::new();
    let (s, mut facts) = node.supervisor();
    let order = node.order("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.02; done");
    let dyno = order.record.id;
    s.start(order);
    let pid = running(&mut facts).await;
    assert!(pid > 1 && s.folder(dyno).join("record.json").exists());
    node.wait_log(dyno, "up").await;
    s.signal(dyno, libc::SIGTERM);
    assert_eq!(
        next(&mut facts).await,
        Fact::Exited {
            dyno,
            exit: Exit::Code(3)
        }
    );
    assert!(node.log(dyno).contains("app[web.1]: bye\n"));
    gone(&s.folder(dyno)).await;
    s.kill(dyno);
    s.signal(dyno, 15);
    assert_eq!(s.listening(dyno).await, Vec::<u16>::new());
    assert!(s.attach(dyno).await.is_err());
}

#[tokio::test]
async fn a_process_that_ends_at_once_runs_and_exits() {
    let node = Node::new();
    let (s, mut facts) = node.supervisor();
    for _ in 0..10 {
        let order = node.order("exit 6");
        let dyno = order.record.id;
        s.start(order);
        running(&mut facts).await;
        assert_eq!(
            next(&mut facts).await,
            Fact::Exited {
                dyno,
                exit: Exit::Code(6)
            }
        );
        gone(&s.folder(dyno)).await;
    }
}

#[tokio::test]
async fn what_cannot_be_started_leaves_nothing() {
    let node = Node::new();
    let (s, mut facts) = node.supervisor();
    let mut order = node.order("true");
    let dyno = order.record.id;
    order.spec.app = AppTree::Overlay {
        lower: vec!["/nowhere/slug".into()],
    };
    s.start(order);
    match next(&mut facts).await {
        Fact::StartFailed { dyno: d, error } => {
            assert!(d == dyno && error.contains("/nowhere/slug"), "{error}")
        }
        f => panic!("{f:?}"),
    }
    assert!(!s.folder(dyno).exists());
}

#[tokio::test]
async fn deaf_processes_are_killed_and_killed_shims_are_noticed_at_once() {
    let node = Node::new();
    let (s, mut facts) = node.supervisor();
    let order = node.order("trap '' TERM; echo up; while :; do sleep 1; done");
    let dyno = order.record.id;
    s.start(order);
    running(&mut facts).await;
    node.wait_log(dyno, "up").await;
    s.signal(dyno, libc::SIGTERM);
    assert_eq!(s.listening(dyno).await, Vec::<u16>::new());
    s.kill(dyno);
    assert_eq!(
        next(&mut facts).await,
        Fact::Exited {
            dyno,
            exit: Exit::Signal(9)
        }
    );

    let order = node.order("echo up; sleep 1000 & wait");
    let dyno = order.record.id;
    s.start(order);
    let pid = running(&mut facts).await;
    node.wait_log(dyno, "up").await;
    let t = Instant::now();
    // SAFETY: takes no pointers
    unsafe { libc::kill(pid, libc::SIGKILL) };
    assert_eq!(
        next(&mut facts).await,
        Fact::Exited {
            dyno,
            exit: Exit::Lost
        }
    );
    assert!(t.elapsed() < Duration::from_secs(1), "{:?}", t.elapsed());
    gone(&s.folder(dyno)).await;
}

#[tokio::test]
async fn a_new_agent_finds_the_dynos_of_the_old_one() {
    let node = Node::new();
    let (s, mut facts) = node.supervisor();
    let lives = node.order("trap 'exit 4' USR1; echo up; while :; do sleep 0.02; done");
    let ends = node.order("trap 'exit 5' USR1; echo up; while :; do sleep 0.02; done");
    let killed = node.order("echo up; sleep 1000");
    let ids = [lives.record.id, ends.record.id, killed.record.id];
    let record = lives.record.clone();
    let mut pids = vec![];
    for o in [lives, ends, killed] {
        s.start(o);
        pids.push(running(&mut facts).await);
    }
    for id in ids {
        node.wait_log(id, "up").await;
    }
    // the old agent stops taking facts: what ends from now on is for the next one
    drop((s, facts));
    let (s, mut facts) = node.supervisor();
    let Ok(Found::Alive(mut conn)) = shim::connect(&s.folder(ids[1])).await else {
        panic!("it lives");
    };
    conn.tx.send(&Frame::Signal(libc::SIGUSR1)).await.unwrap();
    // SAFETY: takes no pointers
    unsafe { libc::kill(pids[2], libc::SIGKILL) };
    let end = Instant::now() + PATIENCE;
    while !pids[1..].iter().all(|p| crate::sys::proc::is_gone(*p)) {
        assert!(Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    fs::create_dir(s.folder(DynoId(42))).unwrap();
    fs::create_dir(node.base.path().join("dynos/other")).unwrap();
    let mut found = s.adopt().await;
    found.sort_by_key(|a| ids.iter().position(|i| *i == a.record.id));
    let states: Vec<_> = found
        .iter()
        .map(|a| (a.record.id, a.pid, a.state))
        .collect();
    let expect = [
        (ids[0], pids[0], AdoptedState::Running),
        (ids[1], 0, AdoptedState::Exited(Exit::Code(5))),
        (ids[2], 0, AdoptedState::Exited(Exit::Lost)),
    ];
    assert_eq!(states, expect);
    assert_eq!(found[0].record, record);
    for _ in 0..2 {
        match next(&mut facts).await {
            Fact::Exited { dyno, .. } => gone(&s.folder(dyno)).await,
            f => panic!("{f:?}"),
        }
    }
    assert!(!s.folder(DynoId(42)).exists());
    s.signal(ids[0], libc::SIGUSR1);
    assert_eq!(
        next(&mut facts).await,
        Fact::Exited {
            dyno: ids[0],
            exit: Exit::Code(4)
        }
    );
    gone(&s.folder(ids[0])).await;
    assert!(s.adopt().await.is_empty());
}

#[tokio::test]
async fn a_dyno_that_was_told_to_stop_is_known_as_such_to_the_next_agent() {
    let node = Node::new();
    let (s, mut facts) = node.supervisor();
    let order = node.order("trap 'echo deaf' TERM; echo up; while :; do sleep 0.02; done");
    let dyno = order.record.id;
    s.start(order);
    running(&mut facts).await;
    node.wait_log(dyno, "up").await;
    let (next_agent, mut next_facts) = node.supervisor();
    let found = next_agent.adopt().await;
    assert_eq!(
        [false],
        found.iter().map(|f| f.stopping).collect::<Vec<_>>()[..]
    );
    s.stop(dyno, libc::SIGTERM);
    node.wait_log(dyno, "deaf").await;
    let (third, mut third_facts) = node.supervisor();
    let found = third.adopt().await;
    assert_eq!(
        [true],
        found.iter().map(|f| f.stopping).collect::<Vec<_>>()[..]
    );
    third.kill(dyno);
    for facts in [&mut facts, &mut next_facts, &mut third_facts] {
        next(facts).await;
    }
}

#[tokio::test]
async fn a_reused_pid_and_a_reboot_are_ends() {
    let node = Node::new();
    let (s, mut facts) = node.supervisor();
    let order = node.order("true");
    let dir = s.folder(order.record.id);
    folder::create(&dir, &order.record).unwrap();
    // as if the pid of the shim now were that of this test
    fs::write(
        dir.join("shim.json"),
        format!(
            r#"{{"pid":{},"start_ticks":1,"boot_id":"{}"}}"#,
            std::process::id(),
            fs::read_to_string("/proc/sys/kernel/random/boot_id")
                .unwrap()
                .trim()
        ),
    )
    .unwrap();
    let found = s.adopt().await;
    assert_eq!(found[0].state, AdoptedState::Exited(Exit::Lost));
    let dyno = order.record.id;
    assert_eq!(
        next(&mut facts).await,
        Fact::Exited {
            dyno,
            exit: Exit::Lost
        }
    );
    gone(&dir).await;
}

const SERVER: &str = r#"use IO::Socket::INET; $| = 1;
    my $s = IO::Socket::INET->new(Listen => 5, ReuseAddr => 1, LocalAddr => "127.0.0.1", LocalPort => $ENV{LISTEN}) or die "no port: $@";
    print "listening on ", $s->sockport, "\n";
    while (my $c = $s->accept) { my $l = <$c>; print $c "HTTP/1.1 500 No\r\n\r\n"; close $c }"#;

fn web(node: &Node, listen: u16, port: u16, limit: Duration) -> StartOrder {
    let mut order = node.order("");
    order.spec.argv = ["/usr/bin/perl", "-e", SERVER].map(String::from).to_vec();
    order.spec.env.push(("LISTEN".into(), listen.to_string()));
    order.probe = Some(Probe {
        addr: Some(([127, 0, 0, 1], port).into()),
        up: false,
        checks: vec![],
        app: "my-app".into(),
        name: "web.1".into(),
        host: "my-app.localhost".into(),
        boot_limit: limit,
    });
    order
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

#[tokio::test]
async fn a_web_dyno_answers_on_its_port_and_is_asked_again_after_adoption() {
    let node = Node::new();
    let (s, mut facts) = node.supervisor();
    let port = free_port();
    let order = web(&node, port, port, PATIENCE);
    let (dyno, probe) = (order.record.id, order.probe.clone().unwrap());
    s.start(order);
    running(&mut facts).await;
    assert_eq!(next(&mut facts).await, Fact::Answering { dyno });
    assert_eq!(s.listening(dyno).await, [port]);
    drop((s, facts));
    let (s, mut facts) = node.supervisor();
    assert_eq!(s.adopt().await.len(), 1);
    s.probe(dyno, probe);
    assert_eq!(next(&mut facts).await, Fact::Answering { dyno });
    s.kill(dyno);
    assert_eq!(
        next(&mut facts).await,
        Fact::Exited {
            dyno,
            exit: Exit::Signal(9)
        }
    );
}

#[tokio::test]
async fn a_dyno_on_the_wrong_port_is_told_with_the_port_it_listens_on() {
    let node = Node::new();
    let (s, mut facts) = node.supervisor();
    let mut order = web(&node, 0, free_port(), PATIENCE);
    let dyno = order.record.id;
    let mut probe = order.probe.take().unwrap();
    s.start(order);
    running(&mut facts).await;
    node.wait_log(dyno, "listening on").await;
    let real: u16 = node
        .log(dyno)
        .trim()
        .rsplit(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    probe.boot_limit = Duration::from_millis(50);
    s.probe(dyno, probe);
    assert_eq!(
        next(&mut facts).await,
        Fact::BootTimeout {
            dyno,
            listening: vec![real]
        }
    );
    s.kill(dyno);
    assert_eq!(
        next(&mut facts).await,
        Fact::Exited {
            dyno,
            exit: Exit::Signal(9)
        }
    );
}

#[tokio::test]
async fn somebody_attaches() {
    let node = Node::new();
    let (s, mut facts) = node.supervisor();
    let mut order = node.order("read x; echo got $x; exit 2");
    order.spec.output = Output::Attached { pty: None };
    let dyno = order.record.id;
    s.start(order);
    running(&mut facts).await;
    let mut conn = s.attach(dyno).await.unwrap();
    conn.tx.send(&Frame::Attach).await.unwrap();
    conn.tx.send(&Frame::Stdin(b"it\n".to_vec())).await.unwrap();
    let mut out = Vec::new();
    let exit = loop {
        match conn.rx.recv().await.unwrap() {
            Some(Frame::Stdout(b)) => out.extend(b),
            Some(Frame::Exited(e)) => break e,
            f => panic!("{f:?}"),
        }
    };
    assert_eq!((&*out, exit), (&b"got it\n"[..], Exit::Code(2)));
    assert_eq!(conn.rx.recv().await.unwrap(), None);
    assert_eq!(
        next(&mut facts).await,
        Fact::Exited {
            dyno,
            exit: Exit::Code(2)
        }
    );
}

#[tokio::test]
async fn many_start_at_once_and_an_end_is_known_within_milliseconds() {
    let node = Node::new();
    let (s, mut facts) = node.supervisor();
    let t = Instant::now();
    for _ in 0..20 {
        s.start(node.order("exec sleep 1000"));
    }
    let mut pids = Vec::new();
    let mut ids = Vec::new();
    while pids.len() < 20 {
        if let Fact::Running { dyno, pid } = next(&mut facts).await {
            pids.push(pid);
            ids.push(dyno);
        }
    }
    eprintln!("20 dynos run after {:?}", t.elapsed());
    let mut worst = Duration::ZERO;
    for id in ids {
        let t = Instant::now();
        s.kill(id);
        assert_eq!(
            next(&mut facts).await,
            Fact::Exited {
                dyno: id,
                exit: Exit::Signal(9)
            }
        );
        worst = worst.max(t.elapsed());
    }
    eprintln!("an end was known after {worst:?} at most");
    assert!(worst < Duration::from_secs(2));
}

#[tokio::test]
async fn a_dyno_above_its_limits_is_reported_and_killed_with_the_reason() {
    let node = Node::new();
    let (s, mut facts) = node.supervisor();
    let mut order = node.order(
        "perl -e '$|=1; my $n = 15_000_000; my $x = \"x\" x $n; print \"thirty\\n\"; select(undef,undef,undef,0.05) while !-e \"/tmp/go\"; \
         my $y = \"y\" x ($n * 10); sleep 100'; true",
    );
    let dyno = order.record.id;
    order.record.quota.memory_soft = Some(10 << 20);
    order.record.quota.memory = Some(100 << 20);
    s.start(order);
    running(&mut facts).await;
    match next(&mut facts).await {
        Fact::OverMemory {
            dyno: d,
            used,
            soft,
        } => {
            assert_eq!((d, soft), (dyno, 10 << 20));
            assert!((10 << 20..100 << 20).contains(&used), "{used}");
        }
        f => panic!("{f:?}"),
    }
    let go = match node.isolation {
        Isolation::Plain => "/tmp/go".into(),
        _ => s.folder(dyno).join("tmp/go"),
    };
    fs::write(go, "").unwrap();
    let mut fact = next(&mut facts).await;
    while let Fact::OverMemory { .. } = fact {
        fact = next(&mut facts).await;
    }
    let exit = Exit::Memory(100 << 20);
    assert_eq!(fact, Fact::Exited { dyno, exit });
    assert_eq!(exit.to_string(), "killed: out of memory, its limit is 100M");
    gone(&s.folder(dyno)).await;
}

#[tokio::test]
async fn a_dyno_that_fills_its_scratch_disk_is_killed_with_the_reason() {
    let node = Node::new();
    let (s, mut facts) = node.supervisor();
    let mut order = node.order(
        "cd; for i in $(seq 8); do head -c 1000000 /dev/zero > part$i; done; echo full; while :; do sleep 1; done",
    );
    order.spec.env.push(("HOME".into(), "/app".into()));
    let dyno = order.record.id;
    order.record.quota.disk = Some(4 << 20);
    s.start(order);
    running(&mut facts).await;
    node.wait_log(dyno, "full").await;
    let exit = Exit::Disk(4 << 20);
    assert_eq!(next(&mut facts).await, Fact::Exited { dyno, exit });
    gone(&s.folder(dyno)).await;
}
