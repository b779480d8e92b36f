use super::*;

fn digest(content: &str) -> hokku_model::release::SlugDigest {
    slug(content, &[]).digest
}

#[tokio::test]
async fn current_candidate_and_the_one_before_stay() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.running("shop", &["web"]).await.id;
    for content in ["b", "c", "d"] {
        let r = ops.push(app, slug(content, &["web"])).await;
        ops.promote(app, r.version).await.unwrap();
    }
    let r = ops.set(app, "A", "1").await;
    ops.promote(app, r.version).await.unwrap();
    let bad = ops.push(app, slug("bad", &["web"])).await;
    ops.abandon(app, bad.version, "crashed").await.unwrap();
    ops.push(app, slug("e", &["web"])).await;

    let kept = ops.kept_slugs().await.unwrap();
    let want = ["c", "d", "e"].map(|c| (app, digest(c)));
    assert_eq!(kept, want.into());
    let order: Vec<_> = ops
        .sweepable_slugs()
        .await
        .unwrap()
        .into_iter()
        .map(|s| s.1)
        .collect();
    assert_eq!(order, ["first", "b", "bad"].map(digest));

    for (content, may) in [
        ("d", false),
        ("c", false),
        ("e", false),
        ("b", true),
        ("b", true),
    ] {
        let done = ops.mark_swept(app, &digest(content)).await.unwrap();
        assert_eq!(done, may, "{content}");
    }
    let order: Vec<_> = ops
        .sweepable_slugs()
        .await
        .unwrap()
        .into_iter()
        .map(|s| s.1)
        .collect();
    assert_eq!(order, ["first", "bad"].map(digest));
    assert!(!ops.rollback_targets(app).await.unwrap().contains(&3));
    let e = ops.rollback(&me(), app, Some("v3")).await.unwrap_err();
    assert!(e.to_string().contains("was deleted to save space"), "{e}");

    // Built again, it is there again.
    ops.push(app, slug("b", &["web"])).await;
    assert!(ops.rollback_targets(app).await.unwrap().contains(&3));
}

#[tokio::test]
async fn a_destroyed_app_keeps_nothing() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.running("shop", &["web"]).await.id;
    assert!(!ops.mark_swept(app, &digest("first")).await.unwrap());
    ops.destroy_app(&me(), app).await.unwrap();
    assert!(ops.kept_slugs().await.unwrap().is_empty());
    assert!(ops.sweepable_slugs().await.unwrap().is_empty());
    assert!(ops.mark_swept(app, &digest("first")).await.unwrap());
}
