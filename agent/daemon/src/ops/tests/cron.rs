use super::*;
use hokku_core::cron::{
    end::After,
    judge::{Claim, What},
};
use hokku_model::{
    DynoId, Micros,
    cron::{
        Alerts, Entry, EntryName, EntryPatch, Mark, Open, Overlap, Run, Status, Trigger, Trouble,
    },
};
use std::time::Duration;

const MINUTE: i64 = 60_000_000;

fn name(text: &str) -> EntryName {
    text.parse().unwrap()
}

fn entry(text: &str, command: &str) -> Entry {
    Entry::new(name(text), "* * * * *", command)
}

fn new(name: &str, command: &str) -> EntryPatch {
    EntryPatch {
        name: Some(name.into()),
        schedule: Some("* * * * *".into()),
        command: Some(command.into()),
        ..EntryPatch::default()
    }
}

/// An app whose release has these entries.
async fn with(place: &Place, entries: &[Entry]) -> AppId {
    let app = place.ops.create_app(&me(), Some("shop")).await.unwrap().id;
    let mut slug = slug("first", &["web"]);
    slug.app_json.cron = entries.to_vec();
    let release = place.ops.push(app, slug).await;
    place.ops.promote(app, release.version).await.unwrap();
    app
}

async fn in_force(ops: &Ops, app: AppId, entry: &Entry, from: i64) -> Mark {
    let new = [(app, entry.name.clone(), "print".to_owned())];
    let marks = ops.cron_in_force(&new, &[], Micros(from)).await.unwrap();
    marks[0].1.clone()
}

fn claimed(app: AppId, entry: &Entry, mark: &Mark, dyno: u128, what: What) -> Claimed {
    let tick = Micros(mark.until.0 + MINUTE);
    let claim = Claim {
        tick,
        ticks: 1,
        what,
    };
    Claimed {
        app,
        entry: entry.clone(),
        mark: mark.clone(),
        until: tick,
        claims: vec![(claim, DynoId(dyno))],
        replaces: false,
    }
}

const RUN: What = What::Run(Trigger::Schedule);

async fn open(ops: &Ops) -> Vec<Open> {
    ops.cron_open().await.unwrap().0
}

fn ended(open: &Open, status: Status, retry: Option<u64>, trouble: Option<Trouble>) -> Ended {
    Ended {
        dyno: open.dyno,
        run: Run {
            ended_at: Some(Micros(MINUTE)),
            ..open.run.clone()
        },
        after: After {
            status,
            retry: retry.map(Duration::from_secs),
            trouble,
        },
        next: DynoId(open.dyno.0 + 1000),
    }
}

#[tokio::test]
async fn a_tick_is_claimed_once_and_survives() {
    let place = Place::new();
    let entry = entry("tick", "x");
    let app = with(&place, std::slice::from_ref(&entry)).await;
    let mark = in_force(&place.ops, app, &entry, MINUTE).await;
    let first = claimed(app, &entry, &mark, 1, RUN);
    let done = place
        .ops
        .cron_claim(std::slice::from_ref(&first), 1)
        .await
        .unwrap();
    assert_eq!((done.marks.len(), done.open.len()), (1, 1));
    // the same decision again, as by an agent that had died before it heard of the commit
    let mut again = first.clone();
    again.claims[0].1 = DynoId(2);
    let done = place.ops.cron_claim(&[again], 1).await.unwrap();
    assert_eq!((done.marks.len(), done.open.len()), (0, 0));
    let place = place.reopen();
    let all = open(&place.ops).await;
    assert_eq!(
        (all.len(), all[0].dyno, all[0].run.number),
        (1, DynoId(1), 1)
    );
    // another schedule: a decision made from the old one does not count
    let second = claimed(
        app,
        &entry,
        &place.ops.cron_marks().await.unwrap()[&(app, name("tick"))],
        3,
        RUN,
    );
    let new = [(app, name("tick"), "another".to_owned())];
    place.ops.cron_in_force(&new, &[], Micros(0)).await.unwrap();
    let done = place.ops.cron_claim(&[second], 1).await.unwrap();
    assert!(done.open.is_empty());
}

#[tokio::test]
async fn an_end_is_written_once_with_its_retry_and_its_alert() {
    let place = Place::new();
    let ops = &place.ops;
    let mut entry = entry("tick", "x");
    entry.retries = 1;
    let app = with(&place, std::slice::from_ref(&entry)).await;
    let alerts = Alerts {
        webhook: Some("https://h.example/s3cret".into()),
        ..Alerts::default()
    };
    ops.set_cron_alerts(&me(), app, &alerts, &[]).await.unwrap();
    let mark = in_force(ops, app, &entry, MINUTE).await;
    ops.cron_claim(&[claimed(app, &entry, &mark, 1, RUN)], 1)
        .await
        .unwrap();
    let first = open(ops).await.remove(0);
    let end = ended(&first, Status::Failed, Some(10), None);
    assert!(ops.cron_end(&end, 1).await.unwrap().is_some());
    assert!(ops.cron_end(&end, 1).await.unwrap().is_none());
    let retry = open(ops).await.remove(0);
    assert_eq!(
        (retry.run.number, retry.run.attempt, retry.retries),
        (2, 2, 0)
    );
    assert_eq!(
        (retry.run.tick, retry.not_before),
        (first.run.tick, Micros(MINUTE + 10_000_000))
    );
    let end = ended(&retry, Status::Failed, None, Some(Trouble::Failed));
    ops.cron_end(&end, 1).await.unwrap();
    let (left, alerts) = ops.cron_open().await.unwrap();
    assert_eq!((left.len(), alerts.len()), (0, 1));
    let all = ops
        .cron_history(app, Some(&name("tick")), 10)
        .await
        .unwrap();
    let numbers: Vec<u32> = all.iter().map(|r| r.number).collect();
    assert_eq!(numbers, [2, 1]);
    // the command of an alert is open in the same step in which the alert is done
    let command = Some(("page".to_owned(), Default::default()));
    ops.cron_alert_done(&alerts[0], command.clone())
        .await
        .unwrap();
    ops.cron_alert_done(&alerts[0], command).await.unwrap();
    let (left, alerts) = ops.cron_open().await.unwrap();
    assert_eq!((left.len(), alerts.len()), (1, 0));
    assert_eq!(left[0].run.trigger, Trigger::Alert);
}

#[tokio::test]
async fn what_never_had_a_process_gets_another_dyno() {
    let place = Place::new();
    let entry = entry("tick", "x");
    let app = with(&place, std::slice::from_ref(&entry)).await;
    let mark = in_force(&place.ops, app, &entry, MINUTE).await;
    place
        .ops
        .cron_claim(&[claimed(app, &entry, &mark, 1, RUN)], 1)
        .await
        .unwrap();
    assert!(
        place
            .ops
            .cron_another_dyno(DynoId(1), DynoId(9))
            .await
            .unwrap()
    );
    assert!(
        !place
            .ops
            .cron_another_dyno(DynoId(1), DynoId(10))
            .await
            .unwrap()
    );
    let all = open(&place.ops).await;
    assert_eq!(
        (all.len(), all[0].dyno, all[0].run.dyno),
        (1, DynoId(9), Some(DynoId(9)))
    );
}

#[tokio::test]
async fn own_entries_go_first_and_pauses_add_up() {
    let place = Place::new();
    let ops = &place.ops;
    let mut asleep = entry("asleep", "x");
    asleep.paused = true;
    let app = with(&place, &[entry("theirs", "x"), asleep]).await;
    let added = ops.cron_add(&me(), app, &new("mine", "y")).await.unwrap();
    assert_eq!(added.overlap, Overlap::Forbid);
    let say = async || {
        let all = ops.cron_jobs(&ops.desired().await.unwrap()).await.unwrap();
        let one = |j: &CronJob| format!("{} {}", j.entry.name, j.paused_by.unwrap_or("-"));
        all.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(say().await, "mine -, theirs -, asleep release");
    ops.cron_pause(&me(), app, Some("theirs"), true)
        .await
        .unwrap();
    assert_eq!(say().await, "mine -, theirs app, asleep release");
    ops.cron_pause(&me(), app, None, true).await.unwrap();
    assert_eq!(say().await, "mine all, theirs all, asleep all");
    let no = ops
        .cron_pause(&me(), app, Some("mine"), false)
        .await
        .unwrap_err();
    assert!(no.to_string().contains("app cron:resume"), "{no}");
    ops.cron_pause(&me(), app, None, false).await.unwrap();
    ops.cron_pause(&me(), app, Some("theirs"), false)
        .await
        .unwrap();
    assert_eq!(say().await, "mine -, theirs -, asleep release");
    let no = ops
        .cron_pause(&me(), app, Some("asleep"), false)
        .await
        .unwrap_err();
    assert!(no.to_string().contains("maintenance"), "{no}");
    for (name, words) in [("theirs", "repository"), ("nobody", "no cron entry")] {
        let no = ops.cron_remove(&me(), app, name).await.unwrap_err();
        assert!(no.to_string().contains(words), "{no}");
    }
    let no = ops
        .cron_add(&me(), app, &new("mine", "z"))
        .await
        .unwrap_err();
    assert!(no.to_string().contains("cron:edit mine"), "{no}");
    let bad = EntryPatch {
        timeout: Some(0),
        ..EntryPatch::default()
    };
    let no = ops.cron_edit(&me(), app, "mine", &bad).await.unwrap_err();
    assert!(no.to_string().contains("timeout"), "{no}");
}

#[tokio::test]
async fn numbers_go_on_when_an_entry_comes_back_and_old_lines_go() {
    let place = Place::new();
    let ops = &place.ops;
    let entry = entry("tick", "x");
    let app = with(&place, std::slice::from_ref(&entry)).await;
    let mut mark = in_force(ops, app, &entry, 0).await;
    // so many entries that each keeps its least
    for n in 0..30 {
        let c = claimed(app, &entry, &mark, n, What::Skip("busy".into()));
        mark = ops.cron_claim(&[c], 5000).await.unwrap().marks[0].1.clone();
    }
    let all = ops.cron_history(app, None, 100).await.unwrap();
    let numbers: Vec<u32> = all.iter().map(|r| r.number).collect();
    assert_eq!(numbers, (11..=30).rev().collect::<Vec<_>>());
    ops.cron_in_force(&[], &[(app, name("tick"))], Micros(0))
        .await
        .unwrap();
    let mark = in_force(ops, app, &entry, 0).await;
    assert_eq!((mark.last_run, mark.until), (30, Micros(0)));
    let run = ops.cron_run(&me(), app, "tick").await.unwrap();
    assert_eq!(run.number, 31);
    ops.destroy_app(&me(), app).await.unwrap();
    let (left, _) = ops.cron_open().await.unwrap();
    assert_eq!((ops.cron_marks().await.unwrap().len(), left.len()), (0, 0));
}
