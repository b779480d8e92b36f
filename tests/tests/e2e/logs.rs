//! `app logs`: what dynos, router and platform wrote, in order, complete.

use crate::support::{Host, eventually};
use std::io::{BufRead, BufReader};

#[test]
fn all_three_sources_in_heroku_s_format() {
    let host = Host::start();
    host.deploy("shop");
    host.get("shop", "/log/2/hello");
    let app = host.logged("shop", "hello 2");
    let (time, rest) = app.split_once(' ').expect("a time");
    assert_eq!(time.len(), 32, "{app}");
    assert!(time.ends_with("+00:00"), "{app}");
    assert_eq!(rest, "app[web.1]: hello 2");
    let router = host.logged("shop", "path=\"/log/2/hello\"");
    for part in [
        "heroku[router]: at=info method=GET path=\"/log/2/hello\" host=shop.localhost",
        " request_id=",
        " fwd=",
        " dyno=web.1 connect=",
        " service=",
        " status=200 bytes=6",
    ] {
        assert!(router.contains(part), "{part:?} is not in {router}");
    }
    host.logged("shop", "heroku[web.1]: State changed from starting to up");
    host.logged(
        "shop",
        "heroku[web.1]: Starting process with command `./probe`",
    );
}

#[test]
fn filters() {
    let host = Host::start();
    host.deploy("shop");
    host.app(&["ps:scale", "worker=1", "-a", "shop"]).ok();
    host.logged("shop", "app[worker.1]");
    host.get("shop", "/log/5/hello");
    host.logged("shop", "hello 5");
    let lines = |args: &[&str]| -> Vec<String> {
        let mut all = vec!["logs", "-a", "shop"];
        all.extend(args);
        host.app(&all)
            .ok()
            .out()
            .lines()
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(lines(&["-n", "2", "-s", "app", "-p", "web"]).len(), 2);
    let web = lines(&["-p", "web", "-n", "1500"]);
    assert!(
        !web.is_empty() && web.iter().all(|l| l.contains("[web.1]:")),
        "{web:?}"
    );
    let worker = lines(&["-d", "worker.1", "-n", "1500"]);
    assert!(
        !worker.is_empty() && worker.iter().all(|l| l.contains("[worker.1]:")),
        "{worker:?}"
    );
    let app = lines(&["-s", "app", "-n", "1500"]);
    assert!(
        !app.is_empty() && app.iter().all(|l| l.contains(" app[")),
        "{app:?}"
    );
    let platform = lines(&["-s", "heroku", "-n", "1500"]);
    assert!(
        !platform.is_empty() && platform.iter().all(|l| l.contains(" heroku[")),
        "{platform:?}"
    );
    let all = lines(&["-n", "1500"]);
    let mut sorted = all.clone();
    sorted.sort_by_key(|l| l.get(..32).unwrap_or_default().to_owned());
    assert_eq!(all, sorted, "in order of time");
}

#[test]
fn a_tail_shows_what_comes() {
    let host = Host::start();
    host.deploy("shop");
    let mut c = host.command("app");
    c.args(["logs", "-t", "-a", "shop"])
        .stdout(std::process::Stdio::piped());
    let mut child = c.spawn().expect("app starts");
    let (tx, rx) = std::sync::mpsc::channel();
    let out = child.stdout.take().expect("piped");
    std::thread::spawn(move || {
        for l in BufReader::new(out).lines().map_while(Result::ok) {
            let _ = tx.send(l);
        }
    });
    let mut seen: Vec<String> = vec![];
    eventually("the tail is connected", 20, || {
        seen.extend(rx.try_iter());
        seen.iter()
            .any(|l| l.contains("listening on port"))
            .then_some(())
    });
    host.get("shop", "/log/300/tailed");
    eventually("all lines come through the tail", 20, || {
        seen.extend(rx.try_iter());
        (seen.iter().filter(|l| l.contains("tailed ")).count() == 300).then_some(())
    });
    let numbers: Vec<usize> = seen
        .iter()
        .filter_map(|l| l.split("tailed ").nth(1)?.parse().ok())
        .collect();
    assert_eq!(
        numbers,
        (1..=300).collect::<Vec<_>>(),
        "in order, none twice"
    );
    child.kill().expect("it runs");
    child.wait().expect("our child");
}

#[test]
fn a_burst_is_kept_and_blocks_nobody() {
    let host = Host::start();
    host.deploy("shop");
    let started = std::time::Instant::now();
    assert_eq!(host.get("shop", "/log/20000/burst").status, 200);
    assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
    host.logged("shop", "burst 20000");
    let out = host
        .app(&["logs", "-n", "1000", "-s", "app", "-a", "shop"])
        .ok()
        .out();
    let numbers: Vec<usize> = out
        .lines()
        .filter_map(|l| l.split("burst ").nth(1)?.parse().ok())
        .collect();
    assert_eq!(numbers, (19_001..=20_000).collect::<Vec<_>>());
}

#[test]
fn the_last_words_of_a_dying_dyno_are_kept() {
    let host = Host::start();
    host.deploy("shop");
    host.get("shop", "/stderr/last-words");
    let _ = host.try_get("shop", "/exit/3");
    host.logged("shop", "last-words");
    host.logged("shop", "Process exited with status 3");
    host.logged("shop", "State changed from up to crashed");
}
