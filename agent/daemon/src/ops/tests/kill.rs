//! SIGKILL at any moment, also in the middle of a transaction.

use super::*;
use hokku_model::release::ReleaseStatus;
use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

const FOLDER: &str = "HOKKU_TEST_KILL_FOLDER";

/// The child: changes things until it is killed. Does nothing as a test of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(dir) = std::env::var_os(FOLDER) else {
        return;
    };
    let config = Config {
        data_dir: dir.into(),
        ..Config::default()
    };
    let ops = Ops::open(Arc::new(config)).unwrap();
    let app = match ops.find_app("shop").await {
        Ok(app) => app.id,
        Err(_) => ops.running("shop", &["web"]).await.id,
    };
    // What counts as done has to be there afterwards.
    println!("\nready");
    for n in 0.. {
        let value = format!("{}-{n}", std::process::id());
        let a = ops.set(app, "N", &value).await;
        println!("\ndone {} {value}", a.version);
        let b = ops.push(app, slug(&value, &["web"])).await;
        ops.promote(app, b.version).await.unwrap();
        let other = ops.create_app(&me(), None).await.unwrap();
        ops.destroy_app(&me(), other.id).await.unwrap();
    }
}

#[tokio::test]
async fn the_store_opens_whole_after_sigkill() {
    let mut place = Place::new();
    let mut seen = 0;
    for round in 0..12u64 {
        let Place { dir, config, ops } = place;
        drop(ops);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "ops::tests::kill::child"])
            .env(FOLDER, &config.data_dir)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut done = vec![];
        let parse = |l: &str| {
            let (version, value) = l.strip_prefix("done ")?.split_once(' ')?;
            Some((version.parse::<u32>().ok()?, value.to_owned()))
        };
        let ready = lines.by_ref().any(|l| l.unwrap() == "ready");
        while done.len() < (round / 3) as usize {
            done.extend(parse(&lines.next().unwrap().unwrap()));
        }
        // When the fault strikes; no step is waited for.
        std::thread::sleep(Duration::from_micros(round * 711));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(ready);
        let rest = lines.map_while(std::result::Result::ok);
        done.extend(rest.filter_map(|l| parse(&l)));

        let ops = Ops::open(config.clone()).unwrap();
        place = Place { dir, config, ops };
        let app = check(&place).await;
        for (version, value) in done {
            let env = place.ops.release_env(app, version).await.unwrap();
            assert_eq!(env["N"], value);
            seen += 1;
        }
    }
    assert!(seen >= 18, "every third round waits for one change more");
}

/// Every record fits every other; gives the app's id.
async fn check(place: &Place) -> AppId {
    let ops = &place.ops;
    let sql = rusqlite::Connection::open(place.data().join("hokku.db")).unwrap();
    let sound: String = sql
        .query_row("PRAGMA integrity_check", [], |r| r.get(0))
        .unwrap();
    assert_eq!(sound, "ok");
    let names: i64 = sql
        .query_row(
            "SELECT COUNT(*) FROM claim WHERE kind = 'app-name'",
            [],
            |r| r.get(0),
        )
        .unwrap();
    let apps = ops.apps().await.unwrap();
    assert_eq!(names as usize, apps.len());
    for app in &apps {
        let all = ops.releases(app.id).await.unwrap();
        let versions: Vec<u32> = all.iter().map(|r| r.version).collect();
        let want: Vec<u32> = (1..app.next_version).rev().collect();
        assert_eq!(versions, want);
        let pending = all.iter().filter(|r| r.status == ReleaseStatus::Pending);
        let pending: Vec<u32> = pending.map(|r| r.version).collect();
        assert_eq!(pending, app.candidate.into_iter().collect::<Vec<_>>());
        let current = app.current.unwrap();
        assert_eq!(
            ops.release(app.id, current).await.unwrap().status,
            ReleaseStatus::Succeeded
        );
        for r in &all {
            ops.release_env(app.id, r.version).await.unwrap();
        }
    }
    ops.desired().await.unwrap();
    apps.iter().find(|a| a.name.as_str() == "shop").unwrap().id
}
