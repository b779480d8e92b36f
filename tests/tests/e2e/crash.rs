//! Apps that break the rules while they run.

use crate::support::{Host, Settings, eventually, host::send};
use nix::sys::signal::Signal::SIGKILL;
use std::time::{Duration, Instant};

/// The process that answers, as the host sees it: the one below this test's shims that listens on the dyno's port.
fn app_pid(host: &Host, app: &str) -> i32 {
    let port = host.about(app)["port"]
        .as_str()
        .expect("it says")
        .to_owned();
    let wanted = format!("PORT={port}");
    std::fs::read_dir("/proc")
        .expect("Linux")
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok())
        .find(|pid| {
            let read = |f: &str| std::fs::read(format!("/proc/{pid}/{f}")).unwrap_or_default();
            String::from_utf8_lossy(&read("cmdline")).starts_with("./probe")
                && String::from_utf8_lossy(&read("environ"))
                    .split('\0')
                    .any(|v| v == wanted)
        })
        .expect("the app's process is there")
}

#[test]
fn a_killed_dyno_is_back_at_once() {
    let host = Host::start();
    host.deploy("shop");
    let before = host.about("shop")["port"].clone();
    let pid = app_pid(&host, "shop");
    let start = Instant::now();
    send(pid, SIGKILL);
    // A request waits for the new dyno, or gets a page; a new dyno has a new port.
    eventually("a new dyno answers", 10, || {
        let r = host.try_get("shop", "/").ok()?;
        (r.status == 200 && r.json()["port"] != before).then_some(())
    });
    let took = start.elapsed();
    // 50 ms and the app's own start are the aim on a quiet machine with optimised programs: `make bench crash`.
    assert!(took < Duration::from_millis(700), "back after {took:?}");
    host.logged("shop", "Process exited with status 137");
}

#[test]
fn one_of_two_dies_and_no_request_waits() {
    let host = Host::start();
    host.deploy("shop");
    host.app(&["ps:scale", "web=2", "-a", "shop"]).ok();
    host.up("shop", &["web.1", "web.2"]);
    let pid = app_pid(&host, "shop");
    send(pid, SIGKILL);
    // The signal takes effect a moment later. A request that the dying process has taken by then is H13, rightly: what
    // it did is not known, so it is not done again elsewhere.
    eventually("its sockets are closed", 10, || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat
            .rsplit(')')
            .next()
            .and_then(|s| s.trim().chars().next());
        matches!(state, None | Some('Z' | 'X')).then_some(())
    });
    for _ in 0..50 {
        host.must_serve("shop", "one");
    }
    host.up("shop", &["web.1", "web.2"]);
}

#[test]
fn one_that_crashes_again_and_again_is_h10_and_waits_longer_and_longer() {
    let host = Host::start();
    host.deploy("shop");
    // It starts well, and from the next start on it does not.
    host.app(&["config:set", "PROBE_MODE=none", "-a", "shop"])
        .ok();
    for _ in 0..4 {
        let _ = host.try_get("shop", "/exit/1");
        std::thread::sleep(Duration::from_millis(50));
    }
    host.logged("shop", "State changed from up to crashed");
    // An app that comes up is served again, whatever it did before.
    eventually("it is served again", 30, || host.serves("shop"));
}

#[test]
fn one_that_ignores_sigterm_is_killed_after_its_grace() {
    let host = Host::start_with(Settings {
        stop_grace: 1,
        ..Settings::default()
    });
    let repo = host.create("shop");
    repo.write_probe();
    repo.write("mode", "ignore-term");
    repo.version("one");
    repo.push().ok();
    let before = host.dynos("shop");
    host.app(&["ps:restart", "-a", "shop"]).ok();
    host.logged("shop", "Error R12 (Exit timeout)");
    host.logged("shop", "Stopping process with SIGKILL");
    eventually("the old one is gone", 20, || {
        (!std::path::Path::new(&format!("/proc/{}", before[0].2)).exists()).then_some(())
    });
    host.up("shop", &["web.1"]);
}

#[test]
fn children_end_with_their_dyno() {
    let host = Host::start_with(Settings {
        stop_grace: 1,
        ..Settings::default()
    });
    let repo = host.create("shop");
    repo.write_probe();
    repo.write("mode", "children:3");
    repo.version("one");
    repo.push().ok();
    let children = || {
        host.processes()
            .iter()
            .filter(|p| {
                p.contains("./probe child")
                    || p.contains("probe child")
                    || p.contains("probe orphan")
            })
            .count()
    };
    eventually("three children and an orphan run", 10, || {
        (children() >= 4).then_some(())
    });
    host.app(&["ps:scale", "web=0", "-a", "shop"]).ok();
    eventually("no child is left", 20, || (children() == 0).then_some(()));
    host.app(&["ps:scale", "web=1", "-a", "shop"]).ok();
    eventually("it runs again", 20, || (children() >= 4).then_some(()));
    // When the main process dies, what it started dies too.
    send(app_pid(&host, "shop"), SIGKILL);
    eventually("the new dyno has children of its own only", 20, || {
        (host.serves("shop").is_some() && children() <= 4).then_some(())
    });
}

#[test]
fn an_app_that_hangs_up_gives_a_code_and_the_next_request_is_served() {
    let host = Host::start();
    host.deploy("shop");
    let r = host.get("shop", "/hang-up");
    assert_eq!(r.status, 503);
    host.logged("shop", "code=H13");
    host.must_serve("shop", "one");
}
