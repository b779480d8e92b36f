//! Cron: entries of the repository and of the app, run once for each tick, whatever dies.

use crate::support::{Host, Repo, Settings, eventually};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
};

/// A server of the test's own that jobs tell of themselves, a line each.
struct Ear {
    port: u16,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Ear {
    fn open() -> Ear {
        let door = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = door.local_addr().expect("it is bound").port();
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = lines.clone();
        std::thread::spawn(move || {
            for s in door.incoming().flatten() {
                let mut line = String::new();
                if BufReader::new(s).read_line(&mut line).is_ok() && !line.is_empty() {
                    heard.lock().expect("no panic").push(line.trim().to_owned());
                }
            }
        });
        Ear { port, lines }
    }

    /// A shell line that tells this.
    fn tell(&self, what: &str) -> String {
        format!("echo {what} >/dev/tcp/127.0.0.1/{}", self.port)
    }

    fn heard(&self) -> Vec<String> {
        self.lines.lock().expect("no panic").clone()
    }
}

fn history(host: &Host, entry: &str) -> Vec<Value> {
    let all = host.json(&["cron:history", entry, "-n", "2000", "-a", "shop"]);
    all.as_array().expect("a list").clone()
}

/// Waits for a run of this status; gives the first.
#[track_caller]
fn ended(host: &Host, entry: &str, status: &str) -> Value {
    eventually(&format!("{entry} is {status}"), 30, || {
        let all = history(host, entry);
        all.into_iter().rev().find(|r| r["status"] == status)
    })
}

fn deploy_with<'a>(host: &'a Host, app_json: &str) -> Repo<'a> {
    let repo = host.create("shop");
    repo.write_probe();
    repo.write("app.json", app_json);
    repo.version("one");
    repo.push().ok();
    repo
}

#[test]
fn entries_of_the_repository_run_in_the_apps_surroundings() {
    let host = Host::start();
    let repo = deploy_with(
        &host,
        r#"{"cron": [{"name": "tick", "schedule": "* * * * * *", "command": "./probe env A; pwd; echo of $DYNO $CRON_SCHEDULED_AT"},
                     {"name": "type", "schedule": "@yearly", "command": "say hello"}]}"#,
    );
    host.app(&["config:set", "A=from config", "-a", "shop"])
        .ok();
    let line = host.logged("shop", "from config");
    assert!(line.contains("app[cron.tick]: from config"), "{line}");
    assert!(line.ends_with("/app"), "{line}");
    host.logged("shop", "heroku[cron.tick]: Process exited with status 0");
    let run = ended(&host, "tick", "succeeded");
    assert_eq!(
        (&run["trigger"], &run["exit_code"]),
        (&"schedule".into(), &0.into())
    );
    assert!(
        run["duration_ms"].as_u64().expect("a number") < 20_000,
        "{run}"
    );
    assert!(run["tick"].as_str() <= run["started_at"].as_str(), "{run}");
    let n = run["number"].to_string();
    let said = host
        .app(&["cron:logs", "tick", &n, "-a", "shop"])
        .ok()
        .out();
    assert!(said.contains("app[cron.tick]: of cron.tick 20"), "{said}");
    // a process type of the Procfile stands for its command; the new Procfile also brings entries of its own
    repo.write(
        "Procfile",
        "web: ./probe\nsay: ./probe argv\ncron: 0 0 * * * ./probe lines 1 nightly\n",
    );
    repo.version("two");
    let pushed = repo.push().ok();
    assert!(
        pushed
            .err()
            .contains("Cron entries -> tick, type, probe-lines-1-nightly"),
        "{pushed}"
    );
    let o = host.app(&["cron:run", "type", "--wait", "-a", "shop"]).ok();
    assert!(o.out().contains("app[cron.type]: 68656c6c6f"), "{o}");
    let all = host.json(&["cron", "-a", "shop"]);
    let next = &all.as_array().expect("a list")[2]["next"][0];
    assert!(
        next.as_str().expect("a time").contains("T00:00:00"),
        "{all}"
    );
}

#[test]
fn a_bad_entry_ends_the_push_and_names_the_place() {
    let host = Host::start();
    let repo = host.deploy("shop");
    repo.write(
        "app.json",
        r#"{"cron": [{"command": "x", "schedule": "61 * * * *"}]}"#,
    );
    repo.version("two");
    let o = repo.push().fails();
    assert!(
        o.err()
            .contains("app.json: cron[0].schedule can't be used: \"61 * * * *\""),
        "{o}"
    );
    repo.write("app.json", "{}");
    repo.write("Procfile", "web: ./probe\ncron: 0 0 * * mon,noday ./x\n");
    repo.version("three");
    let o = repo.push().fails();
    assert!(o.err().contains("line 2: \"0 0 * * mon,noday\""), "{o}");
    host.must_serve("shop", "one");
}

#[test]
fn the_apps_own_entries_are_added_changed_run_and_removed() {
    let host = Host::start();
    let repo = deploy_with(
        &host,
        r#"{"cron": [{"name": "theirs", "schedule": "@yearly", "command": "true"}]}"#,
    );
    let o = host.app(&[
        "cron:add",
        "30 4 * * *",
        "--name",
        "mine",
        "--timezone",
        "Europe/London",
        "-a",
        "shop",
        "exit 7",
    ]);
    assert!(o.ok().out().contains("At 04:30"));
    host.app(&["cron:add", "@daily", "-a", "shop", "./probe", "argv", "a b"])
        .ok();
    repo.version("two");
    repo.push().ok();
    let all = host.json(&["cron", "-a", "shop"]);
    let names: Vec<&str> = all
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|e| e["name"].as_str())
        .collect();
    assert_eq!(names, ["mine", "probe-argv-a-b", "theirs"]);
    let o = host.app(&["cron:run", "mine", "--wait", "-a", "shop"]);
    assert_eq!(o.status, 7, "{o}");
    let o = host
        .app(&["cron:run", "probe-argv-a-b", "--wait", "-a", "shop"])
        .ok();
    assert!(o.out().contains("612062"), "{o}");
    let run = ended(&host, "mine", "failed");
    assert_eq!(
        (&run["trigger"], &run["user"]),
        (&"manual".into(), &"root".into())
    );
    host.app(&["cron:edit", "mine", "--retries", "2", "-a", "shop", "true"])
        .ok();
    host.app(&["cron:run", "mine", "--wait", "-a", "shop"]).ok();
    // what is the repository's is changed there
    let o = host.app(&["cron:rm", "theirs", "-a", "shop"]).fails();
    assert!(o.err().contains("repository"), "{o}");
    host.app(&["cron:rm", "mine", "-a", "shop"]).ok();
    let o = host.app(&["cron:run", "mine", "-a", "shop"]).fails();
    assert!(o.err().contains("no cron entry \"mine\""), "{o}");
    let o = host
        .app(&["cron:add", "every day", "-a", "shop", "true"])
        .fails();
    assert!(o.err().contains("2 fields"), "{o}");
}

#[test]
fn a_run_under_way_is_waited_for_joined_or_replaced() {
    let host = Host::start();
    deploy_with(
        &host,
        r#"{"cron": [{"name": "waits", "schedule": "* * * * * *", "command": "sleep 600"},
                     {"name": "yields", "schedule": "*/2 * * * * *", "command": "sleep 600", "overlap": "replace"},
                     {"name": "joins", "schedule": "* * * * * *", "command": "sleep 600", "overlap": "allow"}]}"#,
    );
    let skipped = ended(&host, "waits", "skipped");
    assert!(
        skipped["reason"]
            .as_str()
            .expect("text")
            .contains("still under way"),
        "{skipped}"
    );
    let running = |entry: &str| {
        let all = history(&host, entry);
        all.iter().filter(|r| r["status"] == "running").count()
    };
    assert_eq!(running("waits"), 1);
    ended(&host, "yields", "replaced");
    eventually("two runs at once", 20, || {
        (running("joins") > 2).then_some(())
    });
    host.app(&["cron:pause", "-a", "shop"]).ok();
    eventually("the newest of those that yield is alone", 20, || {
        (running("yields") == 1).then_some(())
    });
    host.logged("shop", "heroku[cron.waits]: Skipped its run of ");
    // somebody stops it: no failure, and no new run
    let run = history(&host, "waits")
        .into_iter()
        .find(|r| r["status"] == "running")
        .expect("it runs");
    host.app(&[
        "ps:stop",
        run["dyno_name"].as_str().expect("a name"),
        "-a",
        "shop",
    ])
    .ok();
    ended(&host, "waits", "stopped");
}

#[test]
fn a_paused_entry_does_not_run_and_is_not_made_up_for() {
    let host = Host::start();
    deploy_with(
        &host,
        r#"{"cron": [{"name": "tick", "schedule": "* * * * * *", "command": "true", "missed": "all"}]}"#,
    );
    ended(&host, "tick", "succeeded");
    host.app(&["cron:pause", "tick", "-a", "shop"]).ok();
    let quiet = || {
        let all = history(&host, "tick");
        let open = all.iter().any(|r| r["ended_at"].is_null());
        (!open).then_some(all.len())
    };
    let before = eventually("nothing is under way", 20, quiet);
    let o = host.app(&["cron", "-a", "shop"]).ok();
    assert!(o.out().contains("paused"), "{o}");
    // as long as two ticks take, told by the clock of another entry
    host.app(&[
        "cron:add",
        "* * * * * *",
        "--name",
        "other",
        "-a",
        "shop",
        "true",
    ])
    .ok();
    eventually("time passes", 30, || {
        (history(&host, "other").len() > 2).then_some(())
    });
    assert_eq!(eventually("still nothing", 5, quiet), before);
    host.app(&["cron:resume", "tick", "-a", "shop"]).ok();
    eventually("it goes on", 20, || {
        (history(&host, "tick").len() > before).then_some(())
    });
    let missed = history(&host, "tick")
        .into_iter()
        .filter(|r| r["trigger"] == "missed");
    assert_eq!(missed.count(), 0);
}

/// Takes requests; gives their bodies.
fn webhook() -> (String, Arc<Mutex<Vec<Value>>>) {
    let door = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/s3cret", door.local_addr().expect("it is bound"));
    let got: Arc<Mutex<Vec<Value>>> = Arc::default();
    let all = got.clone();
    std::thread::spawn(move || {
        for (n, s) in door.incoming().flatten().enumerate() {
            let mut reader = BufReader::new(s);
            let mut length = 0;
            let mut line = String::new();
            while reader.read_line(&mut line).unwrap_or(0) > 2 {
                if let Some(v) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = v.trim().parse().unwrap_or(0);
                }
                line.clear();
            }
            let mut body = vec![0; length];
            let read = reader.read_exact(&mut body);
            // the first attempt of all fails
            let status = if n == 0 { "503 Busy" } else { "200 OK" };
            let answer =
                format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = reader.get_mut().write_all(answer.as_bytes());
            if read.is_ok() && n > 0 {
                all.lock()
                    .expect("no panic")
                    .extend(serde_json::from_slice(&body));
            }
        }
    });
    (url, got)
}

#[test]
fn trouble_is_told_by_webhook_and_command() {
    let host = Host::start();
    deploy_with(
        &host,
        r#"{"cron": [{"name": "bad", "schedule": "@yearly", "command": "echo no space left; exit 3"},
                     {"name": "long", "schedule": "@yearly", "command": "sleep 600", "timeout": 1},
                     {"name": "full", "schedule": "* * * * * *", "command": "sleep 600"}]}"#,
    );
    host.app(&["cron:pause", "full", "-a", "shop"]).ok();
    let (url, got) = webhook();
    let o = host.app(&["cron:alerts:test", "-a", "shop"]).fails();
    assert!(o.err().contains("cron:alerts"), "{o}");
    let ear = Ear::open();
    let command = ear.tell("$CRON_EVENT $CRON_ENTRY $CRON_EXIT_CODE");
    let set = [
        "cron:alerts:set",
        "--webhook",
        "-",
        "--command",
        &command,
        "-a",
        "shop",
    ];
    let o = host.app_with(&set, url.as_bytes()).ok();
    assert!(
        o.out().contains("127.0.0.1") && !o.out().contains("s3cret"),
        "{o}"
    );
    host.app(&["cron:run", "bad", "--wait", "-a", "shop"])
        .fails();
    host.logged("shop", "An alert did not arrive, trying again in 10 s");
    host.app(&["cron:run", "long", "--wait", "-a", "shop"])
        .fails();
    ended(&host, "long", "timed-out");
    host.app(&["cron:resume", "full", "-a", "shop"]).ok();
    ended(&host, "full", "skipped");
    host.app(&["cron:pause", "full", "-a", "shop"]).ok();
    let alert = |event: &str, entry: &str| {
        eventually(&format!("the alert {event} {entry}"), 30, || {
            let all = got.lock().expect("no panic");
            all.iter()
                .find(|a| a["event"] == event && a["entry"] == entry)
                .cloned()
        })
    };
    let failed = alert("failed", "bad");
    assert_eq!(
        (&failed["exit_code"], &failed["app"]),
        (&3.into(), &"shop".into())
    );
    assert_eq!(failed["output"][0], "no space left");
    alert("ran-too-long", "long");
    alert("did-not-run", "full");
    eventually("the command was run", 30, || {
        let all = ear.heard();
        let has = |l: &str| all.iter().any(|h| h == l);
        (has("failed bad 3") && has("did-not-run full")).then_some(())
    });
    let db = std::fs::read(host.data().join("hokku.db")).expect("the store");
    let wal = std::fs::read(host.data().join("hokku.db-wal")).unwrap_or_default();
    let plain = |bytes: &[u8]| bytes.windows(6).any(|w| w == b"s3cret");
    assert!(!plain(&db) && !plain(&wal) && !host.agent_log().contains("s3cret"));
}

/// What ran, by entry and tick: how many dynos.
fn ran(ear: &Ear) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for line in ear.heard() {
        *all.entry(line).or_default() += 1;
    }
    all
}

/// Every tick of the history had one dyno, and no second of the time is left out.
#[track_caller]
fn each_tick_once(host: &Host, ear: &Ear, entries: &[&str]) -> usize {
    eventually("everything has ended", 60, || {
        let open = |e: &&str| history(host, e).iter().any(|r| r["ended_at"].is_null());
        (!entries.iter().any(open)).then_some(())
    });
    let heard = ran(ear);
    let twice: Vec<_> = heard.iter().filter(|(_, n)| **n != 1).collect();
    assert!(twice.is_empty(), "run more than once: {twice:?}");
    let mut n = 0;
    for entry in entries {
        let mut ticks: Vec<String> = history(host, entry)
            .iter()
            .filter_map(|r| r["tick"].as_str().map(str::to_owned))
            .collect();
        ticks.sort();
        let seconds: Vec<i64> = ticks.iter().map(|t| second(t)).collect();
        let first = *seconds.first().expect("it ran");
        let all: Vec<i64> = (first..first + seconds.len() as i64).collect();
        assert_eq!(seconds, all, "{entry} lost ticks");
        for tick in &ticks {
            let line = format!("{entry} {}", second(tick));
            assert_eq!(
                heard.get(&line),
                Some(&1),
                "{line} is in the history and did not run"
            );
        }
        n += ticks.len();
    }
    assert_eq!(n, heard.len(), "what ran is not in the history");
    n
}

/// Seconds of the day: `…T12:34:56Z`.
fn second(rfc3339: &str) -> i64 {
    let time = rfc3339.split_once('T').expect("a time").1;
    let parts: Vec<i64> = time[..8]
        .split(':')
        .map(|p| p.parse().expect("a number"))
        .collect();
    let day: i64 = rfc3339[8..10].parse().expect("a day");
    ((day * 24 + parts[0]) * 60 + parts[1]) * 60 + parts[2]
}

/// An app whose entries tell each second that they run.
fn telling(host: &Host, entries: &[&str]) -> Ear {
    let ear = Ear::open();
    let tell = ear.tell("$CRON_ENTRY $(( ($(date -u -d $CRON_SCHEDULED_AT +%-d)*24 + $(date -u -d $CRON_SCHEDULED_AT +%-H))*3600 + $(date -u -d $CRON_SCHEDULED_AT +%-M)*60 + $(date -u -d $CRON_SCHEDULED_AT +%-S) ))");
    let list: Vec<Value> = entries
        .iter()
        .map(|name| {
            serde_json::json!({"name": name, "schedule": "* * * * * *", "command": tell, "overlap": "allow", "missed": "all"})
        })
        .collect();
    deploy_with(host, &serde_json::json!({ "cron": list }).to_string());
    ear
}

#[test]
fn killed_at_each_step_every_tick_runs_once() {
    let host = Host::start();
    let ear = telling(&host, &["tick"]);
    eventually("it runs", 20, || (ear.heard().len() > 1).then_some(()));
    for point in [
        "cron-before-claim",
        "cron-after-claim",
        "dyno-folder",
        "cron-before-end",
        "cron-after-end",
    ] {
        host.kill_agent();
        host.start_agent_with(&[("HOKKU_FAULT", point)]);
        host.agent_ends();
        let before = ear.heard().len();
        host.start_agent();
        eventually("it goes on", 20, || {
            (ear.heard().len() > before).then_some(())
        });
    }
    host.app(&["cron:pause", "-a", "shop"]).ok();
    each_tick_once(&host, &ear, &["tick"]);
}

#[test]
#[ignore = "slow: run by .ci/run"]
fn killed_at_random_every_tick_runs_once() {
    let kills: u64 = std::env::var("HOKKU_KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(120);
    // copies: a thousand kills take a quarter of an hour, in which somebody may build
    let host = Host::start_with(Settings {
        copies: true,
        ..Settings::default()
    });
    let entries = ["tick", "tack"];
    let ear = telling(&host, &entries);
    let mut dice = std::process::id() as u64 | 1;
    for _ in 0..kills {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        // when the fault strikes; no step is waited for
        std::thread::sleep(std::time::Duration::from_millis(dice % 1500));
        host.kill_agent();
        host.start_agent();
    }
    host.app(&["cron:pause", "-a", "shop"]).ok();
    let n = each_tick_once(&host, &ear, &entries);
    assert!(n as u64 > kills / 4, "it hardly ever ran: {n} ticks");
    // what killed agents were trying the host with at their start waits a minute for them
    eventually("only the web dyno is left", 90, || {
        let shims = host
            .processes()
            .into_iter()
            .filter(|p| p.contains("hokku-shim"));
        (shims.count() <= 1).then_some(())
    });
    println!("{n} ticks over {kills} kills: none lost, none doubled");
}

#[test]
#[ignore = "slow: run by .ci/run"]
fn what_was_missed_while_the_agent_was_down_is_said_or_made_up_for() {
    let host = Host::start();
    let entry = |name: &str, missed: &str| serde_json::json!({"name": name, "schedule": "*/10 * * * * *", "command": "true", "missed": missed});
    let all = [
        entry("skips", "skip"),
        entry("once", "once"),
        entry("all", "all"),
    ];
    deploy_with(&host, &serde_json::json!({ "cron": all }).to_string());
    ended(&host, "skips", "succeeded");
    host.stop_agent();
    // more than the grace, and nothing but the clock to wait for
    std::thread::sleep(std::time::Duration::from_secs(85));
    host.start_agent();
    let missed = ended(&host, "skips", "missed");
    assert!(missed["ticks"].as_u64().expect("a number") >= 2, "{missed}");
    host.logged("shop", "heroku[cron.skips]: Missed ");
    let made_up = |name: &str| {
        let all = history(&host, name)
            .into_iter()
            .filter(|r| r["trigger"] == "missed");
        all.collect::<Vec<_>>()
    };
    eventually("all are made up for", 60, || {
        (made_up("all").len() >= 2).then_some(())
    });
    assert_eq!(made_up("once").len(), 1, "{:?}", made_up("once"));
    assert!(made_up("once")[0]["ticks"].as_u64().expect("a number") >= 2);
}
