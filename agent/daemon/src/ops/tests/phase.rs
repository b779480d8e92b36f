//! Release phases in the store.

use super::*;
use hokku_model::{DynoId, dyno::Exit, phase::Outcome, release::ReleaseStatus, run::Run};

fn with_release(content: &str) -> Slug {
    slug(content, &["web", "release"])
}

impl Ops {
    async fn wish_of(&self, app: AppId) -> hokku_core::desired::AppWish {
        self.desired().await.unwrap().apps[&app].clone()
    }

    async fn run_phase(&self, app: AppId, version: u32, outcome: Outcome) {
        let claim = self.claim_step(app, version, 0).await.unwrap().unwrap();
        self.conclude_step(app, claim.dyno, outcome).await.unwrap();
    }
}

#[tokio::test]
async fn a_step_is_claimed_once_and_its_end_counts_once() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.running("shop", &["web"]).await.id;
    let v = ops.push(app, with_release("second")).await.version;
    let phase = || async { ops.wish_of(app).await.candidate.unwrap().phase };
    assert_eq!(
        (phase().await.steps.len(), phase().await.over()),
        (1, false)
    );

    assert_eq!(
        ops.claim_step(app, v, 1).await.unwrap(),
        None,
        "not the next one"
    );
    assert_eq!(
        ops.claim_step(app, v - 1, 0).await.unwrap(),
        None,
        "no candidate"
    );
    let claim = ops.claim_step(app, v, 0).await.unwrap().unwrap();
    assert_eq!(
        ops.claim_step(app, v, 0).await.unwrap(),
        None,
        "claimed already"
    );
    assert_eq!(ops.wish_of(app).await.claim, Some(claim.clone()));

    ops.conclude_step(app, DynoId(1), Ok(())).await.unwrap();
    assert!(
        ops.wish_of(app).await.claim.is_some(),
        "somebody else's end"
    );
    ops.conclude_step(app, claim.dyno, Ok(())).await.unwrap();
    ops.conclude_step(app, claim.dyno, Err("late".into()))
        .await
        .unwrap();
    assert!(phase().await.over() && ops.wish_of(app).await.claim.is_none());
    assert_eq!(ops.claim_step(app, v, 0).await.unwrap(), None, "it ran");
    let ran = ops.phase(app, v).await.unwrap();
    assert_eq!((ran.len(), ran[0].dyno), (1, claim.dyno));
    assert!(matches!(ran[0].ended, Some((_, Ok(())))));
}

#[tokio::test]
async fn a_new_release_waits_for_the_command_of_the_one_that_it_superseded() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.running("shop", &["web"]).await.id;
    let old = ops.push(app, with_release("second")).await.version;
    let claim = ops.claim_step(app, old, 0).await.unwrap().unwrap();
    let new = ops.set(app, "A", "1").await.version;
    assert_eq!(
        ops.claim_step(app, new, 0).await.unwrap(),
        None,
        "the lock is held"
    );
    ops.conclude_step(app, claim.dyno, Err("ended (exit status 1)".into()))
        .await
        .unwrap();
    let phase = ops.wish_of(app).await.candidate.unwrap().phase;
    assert_eq!(
        (phase.done, phase.failed),
        (0, None),
        "its end is not the new one's"
    );
    assert!(ops.claim_step(app, new, 0).await.unwrap().is_some());
}

#[tokio::test]
async fn what_runs_before_a_release_serves() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.create_app(&me(), Some("shop")).await.unwrap().id;
    let names = |r: &Release| -> Vec<String> { r.phase.iter().map(|s| s.name.clone()).collect() };
    let mut full = with_release("first");
    full.app_json.predeploy = Some("a".into());
    full.app_json.postdeploy = Some(" b ".into());
    let first = ops.push(app, full.clone()).await;
    assert_eq!(names(&first), ["predeploy", "release", "postdeploy"]);
    assert_eq!(first.phase[2].command, "b");
    ops.promote(app, first.version).await.unwrap();
    let set = ops.set(app, "A", "1").await;
    assert_eq!(
        names(&set),
        ["predeploy", "release"],
        "postdeploy is the first deploy's"
    );
    ops.promote(app, set.version).await.unwrap();
    let back = ops.rollback(&me(), app, None).await.unwrap();
    assert_eq!(names(&back), ["predeploy", "release"]);
    let skipping = me().skipping_phase(true);
    let done = ops
        .release_from_build(&skipping, app, full, "abc")
        .await
        .unwrap();
    assert!(done.release.phase.is_empty());
    let plain = ops.push(app, slug("x", &["web"])).await;
    assert!(plain.phase.is_empty());
}

#[tokio::test]
async fn the_last_failed_release_is_run_again() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.running("shop", &["web"]).await.id;
    let said = |e: OpsError| e.to_string();
    let e = ops.retry_release(&me(), app, None).await.unwrap_err();
    assert!(said(e).contains("v2 did not fail"));
    let failed = ops.push(app, with_release("second")).await;
    let e = ops.retry_release(&me(), app, None).await.unwrap_err();
    assert!(said(e).contains("v3 is being rolled out"));
    ops.run_phase(app, 3, Err("ended (exit status 1)".into()))
        .await;
    ops.abandon(app, 3, "its release command failed")
        .await
        .unwrap();
    let again = ops.retry_release(&me(), app, None).await.unwrap();
    assert_eq!(again.description, "Retry of v3: Deploy 1a2b3c4d");
    assert_eq!((again.version, &again.slug), (4, &failed.slug));
    let phase = ops.wish_of(app).await.candidate.unwrap().phase;
    assert_eq!((phase.steps.len(), phase.failed), (1, None));
    ops.abandon(app, 4, "again").await.unwrap();
    let third = ops.retry_release(&me(), app, None).await.unwrap();
    assert_eq!(third.description, "Retry of v4: Deploy 1a2b3c4d");
    ops.promote(app, third.version).await.unwrap();
    assert_eq!(
        ops.release(app, 5).await.unwrap().status,
        ReleaseStatus::Succeeded
    );
}

#[tokio::test]
async fn a_retry_keeps_the_config_of_the_release_that_failed() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.create_app(&me(), Some("shop")).await.unwrap().id;
    let first = ops.push(app, with_release("first")).await;
    ops.promote(app, first.version).await.unwrap();
    let set = ops.set(app, "A", "1").await;
    ops.abandon(app, set.version, "its release command failed")
        .await
        .unwrap();
    assert!(ops.config_vars(app).await.unwrap().is_empty());
    let again = ops.retry_release(&me(), app, None).await.unwrap();
    assert_eq!(again.description, "Retry of v3: Set A config vars");
    ops.promote(app, again.version).await.unwrap();
    assert_eq!(ops.config_vars(app).await.unwrap()["A"], "1");
}

fn ran(n: u128) -> Run {
    Run {
        dyno: DynoId(n),
        name: format!("run.{}", 1000 + n).parse().unwrap(),
        command: "true".into(),
        user: "me".into(),
        version: 2,
        attached: false,
        terminal: false,
        at: hokku_model::Micros(n as i64),
        ended: None,
    }
}

#[tokio::test]
async fn the_newest_one_offs_that_ended_are_kept_and_all_that_run() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.running("shop", &["web"]).await.id;
    for n in 1..=230 {
        ops.begin_run(app, ran(n)).await.unwrap();
        if n != 7 {
            ops.end_run(app, DynoId(n), Exit::Code(3)).await.unwrap();
        }
    }
    let runs = ops.runs(app).await.unwrap();
    assert_eq!(runs[0].dyno, DynoId(230));
    assert_eq!(runs.iter().filter(|r| r.ended.is_some()).count(), 200);
    assert!(runs.iter().any(|r| r.dyno == DynoId(7)));
    ops.end_run(app, DynoId(230), Exit::Lost).await.unwrap();
    ops.end_lost_runs(&[DynoId(9)].into()).await.unwrap();
    let runs = ops.runs(app).await.unwrap();
    let end = |n| runs.iter().find(|r| r.dyno == DynoId(n)).unwrap().ended;
    assert_eq!(
        end(230).unwrap().1,
        Exit::Code(3),
        "only the first end counts"
    );
    assert_eq!(end(7).unwrap().1, Exit::Lost);
}

#[tokio::test]
async fn nothing_is_run_in_a_release_whose_slug_is_gone() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.running("shop", &["web"]).await.id;
    for content in ["second", "third", "fourth"] {
        let v = ops.push(app, slug(content, &["web"])).await.version;
        ops.promote(app, v).await.unwrap();
    }
    let first = ops.runnable_release(app, "v2").await.unwrap();
    let digest = first.slug.unwrap().digest;
    assert!(ops.mark_swept(app, &digest).await.unwrap());
    let e = ops.runnable_release(app, "v2").await.unwrap_err();
    assert!(
        e.to_string().contains("v2 was deleted to save space"),
        "{e}"
    );
    let e = ops.runnable_release(app, "v1").await.unwrap_err();
    assert!(e.to_string().contains("v1 has no slug"), "{e}");
    assert!(ops.runnable_release(app, "3").await.is_ok());
}
