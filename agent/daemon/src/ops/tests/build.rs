use super::*;
use hokku_model::release::BuildStatus;

#[tokio::test]
async fn a_build_ends_once() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.create_app(&me(), Some("shop")).await.unwrap().id;
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let first = ops.begin_build(&me(), app, commit).await.unwrap();
    let second = ops.begin_build(&me(), app, commit).await.unwrap();
    let done = ops.end_build(first.id, Ok(2)).await.unwrap();
    assert_eq!(
        (done.status, done.release),
        (BuildStatus::Succeeded, Some(2))
    );
    assert!(done.ended_at.unwrap() >= done.created_at);
    let again = ops.end_build(first.id, Err("late".into())).await.unwrap();
    assert_eq!(again, done);
    let long = format!("{}end", "x".repeat(20_000));
    let failed = ops.end_build(second.id, Err(long)).await.unwrap();
    assert_eq!(failed.status, BuildStatus::Failed);
    assert!(failed.failure.len() == 16 * 1024 && failed.failure.ends_with("end"));
    let all = ops.builds(app).await.unwrap();
    assert_eq!(all, [failed, done.clone()]);
    let found = ops.find_build(app, &done.id.to_string()).await.unwrap();
    assert_eq!(found, done);
    for bad in ["x", "00000000-0000-0000-0000-000000000000"] {
        let e = ops.find_build(app, bad).await.unwrap_err();
        assert!(matches!(
            e,
            OpsError::NotFound {
                resource: "build",
                ..
            }
        ));
    }
    let e = ops.begin_build(&me(), app, "main; rm").await.unwrap_err();
    assert!(matches!(e, OpsError::Invalid { .. }));
}

#[tokio::test]
async fn builds_of_an_agent_that_died_are_ended_at_the_next_start() {
    let place = Place::new();
    let app = place.ops.create_app(&me(), Some("shop")).await.unwrap().id;
    let lost = place.ops.begin_build(&me(), app, "abc").await.unwrap();
    let place = place.reopen();
    assert_eq!(place.ops.end_lost_builds().await.unwrap(), 1);
    assert_eq!(place.ops.end_lost_builds().await.unwrap(), 0);
    let lost = place
        .ops
        .find_build(app, &lost.id.to_string())
        .await
        .unwrap();
    assert_eq!(lost.status, BuildStatus::Failed);
    assert!(lost.failure.contains("Push again"));
}
