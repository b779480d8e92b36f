//! The release phase: once, in the new release, before anything switches to it.

use crate::support::{Host, Outcome, Repo, eventually, host::Settings, repo::REMOTE};
use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

/// Where release commands ask with which status they are to end, so that a test sees each of them run, and may let
/// them wait.
struct Gate {
    port: u16,
    /// The first word that each command said, in order.
    ran: Arc<Mutex<Vec<String>>>,
    open: Arc<AtomicBool>,
    status: Arc<Mutex<String>>,
}

impl Gate {
    fn new() -> Gate {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let gate = Gate {
            port: listener.local_addr().expect("it is bound").port(),
            ran: Arc::default(),
            open: Arc::new(AtomicBool::new(true)),
            status: Arc::new(Mutex::new("0".into())),
        };
        let (ran, open, status) = (gate.ran.clone(), gate.open.clone(), gate.status.clone());
        std::thread::spawn(move || {
            for wire in listener.incoming().flatten() {
                let (ran, open, status) = (ran.clone(), open.clone(), status.clone());
                std::thread::spawn(move || answer(wire, &ran, &open, &status));
            }
        });
        gate
    }

    /// The command for a Procfile: says which version it is, prints a line, and ends as the gate says.
    fn command(&self) -> String {
        format!(
            "exec 3<>/dev/tcp/127.0.0.1/{}; echo \"$(cat version) $A\" >&3; echo \"migrating to $(cat version) with A=$A\"; \
             read -r status <&3; echo migrated; exit $status",
            self.port
        )
    }

    fn write(&self, repo: &Repo) {
        repo.write_probe();
        repo.write(
            "Procfile",
            format!("web: ./probe\nrelease: {}\n", self.command()),
        );
    }

    fn close(&self) {
        self.open.store(false, Ordering::SeqCst);
    }

    fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
    }

    fn ends_with(&self, status: &str) {
        *self.status.lock().expect("no panic") = status.into();
    }

    fn ran(&self) -> Vec<String> {
        self.ran.lock().expect("no panic").clone()
    }

    #[track_caller]
    fn waits_for(&self, runs: usize) {
        eventually("the release command runs", 30, || {
            (self.ran().len() >= runs).then_some(())
        });
    }
}

fn answer(wire: TcpStream, ran: &Mutex<Vec<String>>, open: &AtomicBool, status: &Mutex<String>) {
    let mut said = String::new();
    let mut from = BufReader::new(&wire);
    if from.read_line(&mut said).is_err() {
        return;
    }
    ran.lock().expect("no panic").push(said.trim().to_owned());
    while !open.load(Ordering::SeqCst) {
        std::thread::yield_now();
    }
    let _ = writeln!(&wire, "{}", status.lock().expect("no panic"));
    // until the other side has ended
    let _ = from.read_line(&mut said);
}

fn push(repo: &Repo) -> std::thread::JoinHandle<Outcome> {
    let c = repo.start_git(&["push", REMOTE, "main"]);
    std::thread::spawn(move || Outcome::of(c, b"", 100))
}

fn app(host: &Host, args: &[&str]) -> std::thread::JoinHandle<Outcome> {
    let mut c = host.command("app");
    c.args(args);
    std::thread::spawn(move || Outcome::of(c, b"", 100))
}

/// `v3 Deploy … (status)` lines of `app releases`.
fn releases(host: &Host) -> Vec<String> {
    let out = host.app(&["releases", "-a", "shop"]).ok().out();
    out.lines()
        .filter(|l| l.starts_with('v'))
        .map(str::to_owned)
        .collect()
}

#[test]
fn it_runs_once_in_the_new_release_before_anything_switches() {
    let host = Host::start();
    let gate = Gate::new();
    let repo = host.deploy("shop");
    host.app(&["config:set", "A=new", "-a", "shop"]).ok();
    gate.write(&repo);
    gate.close();
    repo.version("two");
    let load = host.load("shop", 50, 2);
    let pushing = push(&repo);
    gate.waits_for(1);
    host.must_serve("shop", "one");
    assert!(
        releases(&host)[0].contains("(release command executing)"),
        "{:?}",
        releases(&host)
    );
    let dynos = host.dynos("shop");
    let names: Vec<&str> = dynos
        .iter()
        .map(|d| d.0.split('.').next().unwrap_or(""))
        .collect();
    assert_eq!(
        names,
        ["release", "web"],
        "nothing of the new release runs: {dynos:?}"
    );
    gate.open();
    let pushed = pushing.join().expect("no panic").ok();
    let said = [
        "Release command declared: this new release will not be available until the command succeeds.",
        "Running release command...",
        "migrating to two with A=new",
        "migrated",
        "Waiting for release.... done.",
        "Released v4",
    ];
    said.into_iter().fold(pushed, Outcome::says);
    host.must_serve("shop", "two");
    assert_eq!(gate.ran(), ["two new"]);
    assert_eq!(load.finish().failures, Vec::<String>::new());
    let line = host.logged("shop", "migrating to two");
    assert!(line.contains(" app[release."), "{line}");
    let out = host.app(&["releases:output", "-a", "shop"]).ok().out();
    assert_eq!(out, "migrating to two with A=new\nmigrated\n");
}

#[test]
fn a_failure_leaves_the_old_release_and_a_retry_runs_it_again() {
    let host = Host::start();
    let gate = Gate::new();
    let repo = host.deploy("shop");
    let before = repo.remote_head();
    gate.write(&repo);
    gate.ends_with("3");
    repo.version("two");
    let pushed = repo.push().fails();
    pushed
        .says("migrating to two")
        .says("Waiting for release.... failed.")
        .says("The release command of v3 ended (exit status 3)")
        .says("app releases:retry")
        .says("Push rejected to shop; v2 keeps serving.");
    host.must_serve("shop", "one");
    assert_eq!(repo.remote_head(), before);
    assert!(releases(&host)[0].contains("(release command failed)"));
    let out = host
        .app(&["releases:output", "v3", "-a", "shop"])
        .ok()
        .out();
    assert!(
        out.starts_with("migrating to two with A=\nmigrated\n"),
        "{out}"
    );

    let again = host.app(&["releases:retry", "-a", "shop"]).fails();
    again.says("v4 failed");
    gate.ends_with("0");
    let again = host.app(&["releases:retry", "-a", "shop"]).ok();
    assert!(again.out().contains("migrating to two"), "{again}");
    host.must_serve("shop", "two");
    assert_eq!(gate.ran().len(), 3);
    assert!(
        releases(&host)[0].contains("Retry of v4: Deploy"),
        "{:?}",
        releases(&host)
    );
    host.app(&["releases:retry", "-a", "shop"])
        .fails()
        .says("v5 did not fail");
}

#[test]
fn config_changes_and_rollbacks_run_it_and_it_can_be_skipped() {
    let host = Host::start();
    let gate = Gate::new();
    let repo = host.create("shop");
    gate.write(&repo);
    repo.version("one");
    repo.push().ok();
    assert_eq!(gate.ran().len(), 1);
    let set = host.app(&["config:set", "A=1", "-a", "shop"]).ok();
    set.says("migrating to one with A=1");
    assert_eq!(gate.ran(), ["one", "one 1"]);
    assert_eq!(host.get("shop", "/env/A").text(), "1");

    gate.ends_with("1");
    let set = host.app(&["config:set", "A=2", "-a", "shop"]).fails();
    set.says("The release command of v4 ended (exit status 1)");
    assert_eq!(host.get("shop", "/env/A").text(), "1");
    let skip = "--skip-release-phase";
    host.app(&["config:set", "A=3", skip, "-a", "shop"]).ok();
    assert_eq!(host.get("shop", "/env/A").text(), "3");
    host.app(&["rollback", "v2", skip, "-a", "shop"]).ok();
    host.app(&["config:unset", "A", skip, "-a", "shop"]).ok();
    repo.version("two");
    repo.git(&["push", "-o", "skip-release-phase", REMOTE, "main"])
        .ok();
    host.must_serve("shop", "two");
    assert_eq!(gate.ran().len(), 3, "it was left out: {:?}", gate.ran());
    repo.version("three");
    repo.git(&["push", "-o", "skip-it", REMOTE, "main"])
        .fails()
        .says("There is no push option \"skip-it\"");

    gate.ends_with("0");
    let back = host.app(&["rollback", "v3", "-a", "shop"]).ok();
    back.says("migrating to one with A=1");
    host.must_serve("shop", "one");
    assert_eq!(gate.ran().len(), 4);
}

#[test]
fn it_may_not_take_for_ever() {
    let host = Host::start_with(Settings {
        more: "release_timeout = 1\n".into(),
        stop_grace: 1,
        ..Settings::default()
    });
    let repo = host.deploy("shop");
    repo.write(
        "Procfile",
        "web: ./probe\nrelease: trap '' TERM; sleep 1000\n",
    );
    repo.version("two");
    repo.push()
        .fails()
        .says("took longer than the 1 s it may take, and was stopped");
    host.must_serve("shop", "one");
    // an output that nobody reads does no harm
    host.app(&["releases:output", "-a", "shop"]).ok();
}

#[test]
fn deploy_scripts_of_app_json() {
    let host = Host::start();
    let repo = host.create("shop");
    repo.write_probe();
    repo.write("Procfile", "web: ./probe\nrelease: echo second\n");
    repo.write(
        "app.json",
        r#"{"scripts": {"postdeploy": "echo third, $DYNO", "dokku": {"predeploy": "echo first"}}}"#,
    );
    repo.version("one");
    let pushed = repo.push().ok();
    let text = pushed.err();
    let at = |s: &str| {
        text.find(s)
            .unwrap_or_else(|| panic!("no {s:?} in {pushed}"))
    };
    assert!(at("remote: first") < at("remote: second"), "{pushed}");
    assert!(
        at("remote: second") < at("remote: third, release."),
        "{pushed}"
    );
    repo.version("two");
    let text = repo.push().ok().err();
    assert!(
        text.contains("remote: first") && !text.contains("third"),
        "{text}"
    );
}

#[test]
fn a_newer_release_waits_for_the_command_of_the_one_before() {
    let host = Host::start();
    let gate = Gate::new();
    let repo = host.create("shop");
    gate.write(&repo);
    repo.version("one");
    repo.push().ok();
    gate.close();
    let first = app(&host, &["config:set", "A=1", "-a", "shop"]);
    gate.waits_for(2);
    let second = app(&host, &["config:set", "B=2", "-a", "shop"]);
    eventually("the second release is made", 30, || {
        (releases(&host).len() == 4).then_some(())
    });
    let running = || {
        let dynos = host.dynos("shop");
        dynos.iter().filter(|d| d.0.starts_with("release.")).count()
    };
    assert_eq!((running(), gate.ran().len()), (1, 2), "one at a time");
    gate.open();
    let (first, second) = (
        first.join().expect("no panic"),
        second.join().expect("no panic"),
    );
    second.ok();
    assert_eq!(host.get("shop", "/env/A").text(), "1", "{first}");
    assert_eq!(host.get("shop", "/env/B").text(), "2");
    assert_eq!(gate.ran().len(), 3);
}

#[test]
fn stopped_by_hand_it_has_failed() {
    let host = Host::start();
    let gate = Gate::new();
    let repo = host.deploy("shop");
    gate.write(&repo);
    gate.close();
    repo.version("two");
    let pushing = push(&repo);
    gate.waits_for(1);
    let dynos = host.dynos("shop");
    let name = &dynos
        .iter()
        .find(|d| d.0.starts_with("release."))
        .expect("it runs")
        .0;
    host.app(&["run:stop", name, "-a", "shop"]).ok();
    pushing
        .join()
        .expect("no panic")
        .fails()
        .says("was stopped after");
    gate.open();
    host.must_serve("shop", "one");
}

/// The agent dies at this point of a release phase that began with a config change; or, without one, while the command
/// runs. The next agent goes on, and the command runs once.
fn killed_at(point: Option<&str>) {
    let host = Host::start();
    let gate = Gate::new();
    let repo = host.create("shop");
    gate.write(&repo);
    repo.version("one");
    repo.push().ok();
    if let Some(p) = point {
        host.kill_agent();
        host.start_agent_with(&[("HOKKU_FAULT", p)]);
    } else {
        gate.close();
    }
    let load = host.load("shop", 50, 2);
    let setting = app(&host, &["config:set", "A=1", "-a", "shop"]);
    match point {
        Some(_) => host.agent_ends(),
        None => {
            gate.waits_for(2);
            host.kill_agent();
        }
    }
    host.must_serve("shop", "one");
    host.start_agent();
    gate.open();
    eventually("the new release serves", 30, || {
        (host.try_get("shop", "/env/A").ok()?.text() == "1").then_some(())
    });
    assert_eq!(gate.ran(), ["one", "one 1"], "at {point:?}");
    let _ = setting.join().expect("no panic");
    let list = releases(&host);
    assert!(
        list[0].starts_with("v3") && !list[0].contains("(release"),
        "{list:?}"
    );
    let out = host.app(&["releases:output", "-a", "shop"]).ok().out();
    assert_eq!(out, "migrating to one with A=1\nmigrated\n", "at {point:?}");
    eventually("nothing of it is left on disk", 10, || {
        let left = std::fs::read_dir(host.data().join("dynos")).ok()?.count();
        (left == 1).then_some(())
    });
    assert_eq!(load.finish().failures, Vec::<String>::new());
}

#[test]
fn killed_between_claim_and_start() {
    killed_at(Some("phase-claimed"));
}

#[test]
fn killed_while_the_command_runs() {
    killed_at(None);
}

#[test]
fn killed_between_the_end_of_the_command_and_its_record() {
    killed_at(Some("phase-ended"));
}

#[test]
fn killed_between_the_record_and_the_switch() {
    killed_at(Some("phase-concluded"));
}

#[test]
fn a_command_that_fails_while_the_agent_is_away_fails_its_release() {
    let host = Host::start();
    let gate = Gate::new();
    let repo = host.create("shop");
    gate.write(&repo);
    repo.version("one");
    repo.push().ok();
    gate.close();
    gate.ends_with("9");
    let setting = app(&host, &["config:set", "A=1", "-a", "shop"]);
    gate.waits_for(2);
    host.kill_agent();
    gate.open();
    let release = || host.processes().iter().any(|p| p.contains("/dev/tcp/"));
    eventually("the command has ended", 20, || (!release()).then_some(()));
    host.start_agent();
    eventually("the release has failed", 20, || {
        releases(&host)[0]
            .contains("(release command failed)")
            .then_some(())
    });
    let _ = setting.join().expect("no panic");
    assert_eq!(gate.ran().len(), 2, "it was not run again");
    host.must_serve("shop", "one");
}
