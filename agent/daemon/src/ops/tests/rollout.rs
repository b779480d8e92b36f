use super::*;
use hokku_model::release::ReleaseStatus::{Failed, Pending, Succeeded};

#[tokio::test]
async fn a_push_is_a_candidate_until_it_is_promoted() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.create_app(&me(), Some("shop")).await.unwrap().id;
    let r = ops.push(app, slug("a", &["web"])).await;
    assert_eq!((r.version, r.status), (2, Pending));
    assert_eq!(r.description, "Deploy 1a2b3c4d");
    let record = ops.app(app).await.unwrap();
    assert_eq!((record.current, record.candidate), (Some(1), Some(2)));
    for _ in 0..2 {
        let r = ops.promote(app, 2).await.unwrap();
        assert_eq!(r.status, Succeeded);
    }
    let record = ops.app(app).await.unwrap();
    assert_eq!((record.current, record.candidate), (Some(2), None));
    let e = ops.abandon(app, 2, "late").await.unwrap_err();
    assert!(e.to_string().contains("it was promoted"), "{e}");

    let r = ops.push(app, slug("b", &["web"])).await;
    for reason in ["web.1 exited", "again"] {
        let r = ops.abandon(app, r.version, reason).await.unwrap();
        assert_eq!((r.status, r.failure.as_str()), (Failed, "web.1 exited"));
    }
    let e = ops.promote(app, 3).await.unwrap_err();
    assert!(e.to_string().contains("it failed: web.1 exited"), "{e}");
    let record = ops.app(app).await.unwrap();
    assert_eq!((record.current, record.candidate), (Some(2), None));
    let e = ops.promote(app, 9).await.unwrap_err();
    assert!(matches!(
        e,
        OpsError::NotFound {
            resource: "release",
            ..
        }
    ));
}

#[tokio::test]
async fn releases_are_found_by_number_and_id() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.running("shop", &["web"]).await.id;
    let two = ops.release(app, 2).await.unwrap();
    for spec in ["v2", "2", &two.id.to_string()] {
        assert_eq!(ops.find_release(app, spec).await.unwrap(), two);
    }
    for bad in ["", "v", "v9", "vv2", "+2", "-2", "two", "99999999999"] {
        let e = ops.find_release(app, bad).await.unwrap_err();
        assert!(
            matches!(
                e,
                OpsError::NotFound {
                    resource: "release",
                    ..
                }
            ),
            "{bad}"
        );
    }
}

#[tokio::test]
async fn a_newer_push_supersedes() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.running("shop", &["web"]).await.id;
    ops.push(app, slug("b", &["web"])).await;
    let waiting = tokio::spawn({
        let ops = ops.clone();
        async move { ops.wait_release_end(app, 3).await }
    });
    ops.push(app, slug("c", &["web"])).await;
    let lost = waiting.await.unwrap().unwrap();
    assert_eq!((lost.version, lost.status), (3, Failed));
    assert_eq!(lost.failure, "superseded by v4");
    let e = ops.promote(app, 3).await.unwrap_err();
    assert!(e.to_string().contains("superseded by v4"), "{e}");
    ops.promote(app, 4).await.unwrap();
}

#[tokio::test]
async fn a_config_change_during_a_push_takes_the_push_along() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.running("shop", &["web"]).await.id;
    ops.push(app, slug("b", &["web"])).await;
    let waiting = tokio::spawn({
        let ops = ops.clone();
        async move { ops.wait_release_end(app, 3).await }
    });
    let r = ops.set(app, "A", "1").await;
    assert_eq!(r.slug.unwrap().digest, slug("b", &[]).digest);
    ops.promote(app, 4).await.unwrap();
    let end = waiting.await.unwrap().unwrap();
    assert_eq!((end.version, end.status), (4, Succeeded));
    assert_eq!(ops.release_env(app, 4).await.unwrap()["A"], "1");
}

#[tokio::test]
async fn a_bad_push_does_not_take_a_config_change_with_it() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.running("shop", &["web"]).await.id;
    // Before and during the push.
    ops.set(app, "A", "1").await;
    ops.push(app, slug("bad", &["web"])).await;
    ops.set(app, "B", "2").await;
    let failed = ops.abandon(app, 5, "web.1 exited").await.unwrap();
    assert!(
        failed.failure.starts_with("web.1 exited. "),
        "{}",
        failed.failure
    );
    assert!(failed.failure.contains("v6"), "{}", failed.failure);
    let retry = ops.release(app, 6).await.unwrap();
    assert_eq!(retry.status, Pending);
    assert_eq!(retry.description, "Set A, B config vars");
    assert_eq!(retry.slug.unwrap().digest, slug("first", &[]).digest);
    assert_eq!(ops.config_vars(app).await.unwrap().len(), 2);
    // Now it can only be the change itself.
    ops.abandon(app, 6, "web.1 exited.").await.unwrap();
    let record = ops.app(app).await.unwrap();
    assert_eq!((record.current, record.candidate), (Some(2), None));
    assert_eq!(ops.config_vars(app).await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_bad_first_push_leaves_the_config() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.create_app(&me(), Some("shop")).await.unwrap().id;
    ops.push(app, slug("bad", &["web"])).await;
    ops.set(app, "A", "1").await;
    ops.abandon(app, 3, "web.1 exited").await.unwrap();
    let record = ops.app(app).await.unwrap();
    assert_eq!((record.current, record.candidate), (Some(4), None));
    assert_eq!(ops.config_vars(app).await.unwrap()["A"], "1");
}

#[tokio::test]
async fn rollback_repeats_slug_and_config() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.create_app(&me(), Some("shop")).await.unwrap().id;
    let e = ops.rollback(&me(), app, None).await.unwrap_err();
    assert!(e.to_string().contains("no release of shop before"), "{e}");
    ops.set(app, "A", "old").await;
    ops.push(app, slug("a", &["web"])).await;
    ops.promote(app, 3).await.unwrap();
    let e = ops.rollback(&me(), app, None).await.unwrap_err();
    assert!(matches!(e, OpsError::Conflict { .. }), "{e:?}");
    ops.push(app, slug("b", &["web"])).await;
    ops.promote(app, 4).await.unwrap();
    let r = ops.set(app, "A", "new").await;
    ops.promote(app, r.version).await.unwrap();
    ops.push(app, slug("bad", &["web"])).await;
    ops.abandon(app, 6, "crashed").await.unwrap();
    let targets = ops.rollback_targets(app).await.unwrap();
    assert_eq!(targets.into_iter().collect::<Vec<_>>(), [3, 4, 5]);

    for (spec, why) in [
        ("v5", "v5 is the current release"),
        ("v6", "v6 failed and never served (crashed)"),
        ("v2", "v2 has no slug"),
        ("v17", "Couldn't find that release (v17)"),
    ] {
        let e = ops.rollback(&me(), app, Some(spec)).await.unwrap_err();
        assert!(e.to_string().contains(why), "{e}");
    }
    let r = ops.rollback(&me(), app, Some("v3")).await.unwrap();
    assert_eq!((r.version, r.status), (7, Pending));
    assert_eq!(r.description, "Rollback to v3");
    assert_eq!(r.slug.as_ref().unwrap().digest, slug("a", &[]).digest);
    assert_eq!(ops.config_vars(app).await.unwrap()["A"], "old");
    let e = ops.rollback(&me(), app, Some("7")).await.unwrap_err();
    assert!(e.to_string().contains("is being rolled out now"), "{e}");
    ops.promote(app, 7).await.unwrap();
    // Without a version: to the one before.
    let r = ops.rollback(&me(), app, None).await.unwrap();
    assert_eq!(r.description, "Rollback to v5");
    assert_eq!(ops.config_vars(app).await.unwrap()["A"], "new");
}

#[tokio::test]
async fn going_back_to_current_stops_a_rollout() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.running("shop", &["web"]).await.id;
    ops.push(app, slug("slow", &["web"])).await;
    let r = ops.rollback(&me(), app, Some("v2")).await.unwrap();
    assert_eq!(r.version, 4);
    assert_eq!(
        ops.release(app, 3).await.unwrap().failure,
        "superseded by v4"
    );
}

#[tokio::test]
async fn a_failed_rollback_changes_nothing_and_loses_nothing() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.running("shop", &["web"]).await.id;
    ops.push(app, slug("b", &["web"])).await;
    ops.promote(app, 3).await.unwrap();
    ops.set(app, "A", "1").await;
    ops.promote(app, 4).await.unwrap();
    let r = ops.rollback(&me(), app, Some("v2")).await.unwrap();
    let b = ops.set(app, "B", "2").await;
    assert_eq!(
        ops.config_vars(app)
            .await
            .unwrap()
            .into_keys()
            .collect::<Vec<_>>(),
        ["B"]
    );
    assert_eq!((r.version, b.version), (5, 6));
    ops.abandon(app, 6, "crashed").await.unwrap();
    let vars = ops.config_vars(app).await.unwrap();
    assert_eq!(vars.into_keys().collect::<Vec<_>>(), ["A", "B"]);
    assert_eq!(ops.app(app).await.unwrap().candidate, Some(7));
}

#[tokio::test]
async fn who_waits_is_told_of_the_end_of_the_app_too() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.running("shop", &["web"]).await.id;
    let done = ops.wait_release_end(app, 2).await.unwrap();
    assert_eq!(done.status, Succeeded);
    ops.push(app, slug("b", &["web"])).await;
    let waiting = tokio::spawn({
        let ops = ops.clone();
        async move { ops.wait_release_end(app, 3).await }
    });
    tokio::task::yield_now().await;
    ops.destroy_app(&me(), app).await.unwrap();
    let e = waiting.await.unwrap().unwrap_err();
    assert!(matches!(
        e,
        OpsError::NotFound {
            resource: "app",
            ..
        }
    ));
}

#[tokio::test]
async fn desired_is_made_once_per_generation() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.running("shop", &["web", "worker"]).await.id;
    let a = ops.desired().await.unwrap();
    let b = ops.desired().await.unwrap();
    assert!(Arc::ptr_eq(&a, &b));
    let mut bell = ops.bell();
    bell.mark_unchanged();
    ops.push(app, slug("b", &["web"])).await;
    assert!(bell.has_changed().unwrap());
    let c = ops.desired().await.unwrap();
    assert!(c.generation > b.generation);
    let wish = &c.apps[&app];
    assert_eq!(wish.current.as_ref().unwrap().version, 2);
    assert_eq!(wish.current.as_ref().unwrap().process_types.len(), 2);
    assert_eq!(
        wish.candidate.as_ref().unwrap().slug,
        Some(slug("b", &[]).digest)
    );
    let place = place.reopen();
    assert_eq!(*place.ops.desired().await.unwrap(), *c);
}
