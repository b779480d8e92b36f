use super::*;
use hokku_model::release::ReleaseStatus;

#[tokio::test]
async fn a_new_app_has_its_first_release_and_runs_nothing() {
    let place = Place::new();
    let app = place.ops.create_app(&me(), Some("shop")).await.unwrap();
    assert_eq!((app.current, app.candidate), (Some(1), None));
    let all = place.ops.releases(app.id).await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].description, "Initial release");
    assert_eq!(all[0].user, "me@example.org");
    assert_eq!(all[0].status, ReleaseStatus::Succeeded);
    let desired = place.ops.desired().await.unwrap();
    let wish = &desired.apps[&app.id];
    assert_eq!(wish.current.as_ref().unwrap().slug, None);
    assert_eq!(wish.hosts, ["shop.localhost"]);
}

#[tokio::test]
async fn names_are_unique_found_changed_and_given_free() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.create_app(&me(), Some("shop")).await.unwrap();
    for name in ["shop", "Shop!", ""] {
        let e = ops.create_app(&me(), Some(name)).await.unwrap_err();
        assert!(matches!(e, OpsError::Invalid { .. }), "{e:?}");
    }
    let made_up = ops.create_app(&me(), None).await.unwrap();
    assert_ne!(made_up.name, app.name);
    for by in ["shop".to_owned(), app.id.to_string()] {
        assert_eq!(ops.find_app(&by).await.unwrap().id, app.id);
    }
    let taken = made_up.name.to_string();
    let e = ops.rename_app(&me(), app.id, &taken).await.unwrap_err();
    assert!(e.to_string().contains("already taken"), "{e}");
    ops.rename_app(&me(), app.id, "store").await.unwrap();
    ops.rename_app(&me(), app.id, "store").await.unwrap();
    let e = ops.find_app("shop").await.unwrap_err();
    assert_eq!(e.to_string(), "Couldn't find that app.");
    assert_eq!(ops.find_app("store").await.unwrap().id, app.id);
    ops.create_app(&me(), Some("shop")).await.unwrap();
    let hosts = ops.desired().await.unwrap().apps[&app.id].hosts.clone();
    assert_eq!(hosts, ["store.localhost"]);
}

#[tokio::test]
async fn a_user_id_is_never_given_twice() {
    let mut place = Place::new();
    let first = place.ops.create_app(&me(), None).await.unwrap();
    assert_eq!(first.uid, 200_000);
    for n in 1..4 {
        let app = place.ops.create_app(&me(), None).await.unwrap();
        assert_eq!(app.uid, 200_000 + n);
        place.ops.destroy_app(&me(), app.id).await.unwrap();
        place = place.reopen();
    }
}

#[tokio::test]
async fn app1_and_app10_never_touch_each_other() {
    let place = Place::new();
    let ops = &place.ops;
    let one = ops.running("app1", &["web"]).await;
    let ten = ops.running("app10", &["web", "worker"]).await;
    ops.set(one.id, "A", "one").await;
    let r = ops.set(ten.id, "A", "ten").await;
    ops.promote(ten.id, r.version).await.unwrap();
    let build = ops.begin_build(&me(), ten.id, "abc").await.unwrap();
    ops.mark_swept(ten.id, &slug("old", &[]).digest)
        .await
        .unwrap();
    let before = (
        ops.app(ten.id).await.unwrap(),
        ops.releases(ten.id).await.unwrap(),
        ops.desired().await.unwrap().apps[&ten.id].clone(),
    );
    let other = ops.releases(one.id).await.unwrap()[0].id.to_string();
    let e = ops.find_release(ten.id, &other).await.unwrap_err();
    assert!(matches!(
        e,
        OpsError::NotFound {
            resource: "release",
            ..
        }
    ));
    let e = ops.find_build(one.id, &build.id.to_string()).await;
    assert!(matches!(
        e,
        Err(OpsError::NotFound {
            resource: "build",
            ..
        })
    ));

    ops.destroy_app(&me(), one.id).await.unwrap();
    let after = (
        ops.app(ten.id).await.unwrap(),
        ops.releases(ten.id).await.unwrap(),
        ops.desired().await.unwrap().apps[&ten.id].clone(),
    );
    assert_eq!(before, after);
    assert_eq!(ops.config_vars(ten.id).await.unwrap()["A"], "ten");
    assert_eq!(ops.builds(ten.id).await.unwrap().len(), 1);
    let gone: [Option<OpsError>; 5] = [
        ops.app(one.id).await.err(),
        ops.releases(one.id).await.err(),
        ops.config_vars(one.id).await.err(),
        ops.promote(one.id, 3).await.err(),
        ops.destroy_app(&me(), one.id).await.err(),
    ];
    for e in gone {
        assert!(matches!(
            e,
            Some(OpsError::NotFound {
                resource: "app",
                ..
            })
        ));
    }
    let again = ops.create_app(&me(), Some("app1")).await.unwrap();
    assert_eq!(ops.config_vars(again.id).await.unwrap().len(), 0);
    assert_eq!(ops.releases(again.id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn maintenance_and_buildpacks_are_kept() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.create_app(&me(), Some("shop")).await.unwrap();
    ops.set_maintenance(&me(), app.id, true).await.unwrap();
    assert!(ops.desired().await.unwrap().apps[&app.id].maintenance);
    let packs = vec!["nodejs".to_owned(), "https://example.org/x.git".to_owned()];
    ops.set_buildpacks(&me(), app.id, packs.clone())
        .await
        .unwrap();
    for bad in [
        vec!["a b".into()],
        vec![String::new()],
        vec!["x".into(); 21],
    ] {
        let e = ops.set_buildpacks(&me(), app.id, bad).await.unwrap_err();
        assert!(matches!(e, OpsError::Invalid { .. }), "{e:?}");
    }
    ops.push(app.id, slug("x", &["web"])).await;
    assert_eq!(ops.app(app.id).await.unwrap().buildpacks, packs);
    ops.set_buildpacks(&me(), app.id, vec![]).await.unwrap();
    ops.push(app.id, slug("y", &["web"])).await;
    assert_eq!(ops.app(app.id).await.unwrap().buildpacks, ["python"]);
}
