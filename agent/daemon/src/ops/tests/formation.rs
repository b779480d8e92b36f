use super::*;
use hokku_model::{
    DynoName, Micros,
    api::{FormationUpdate, Quantity},
};

fn to(kind: &str, quantity: &str) -> FormationUpdate {
    FormationUpdate {
        quantity: Some(Quantity::Text(quantity.into())),
        size: None,
        r#type: kind.into(),
    }
}

async fn counts(ops: &Ops, app: AppId) -> Vec<(String, u32)> {
    let lines = ops.formation(app).await.unwrap();
    lines
        .into_iter()
        .map(|l| (l.kind.to_string(), l.quantity))
        .collect()
}

#[tokio::test]
async fn the_first_deploy_runs_one_web_dyno() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.create_app(&me(), Some("shop")).await.unwrap().id;
    let e = ops.scale(&me(), app, &[to("web", "1")]).await.unwrap_err();
    assert_eq!(
        e.to_string(),
        "Couldn't find that process type (web). Nothing has been deployed to shop yet; push it first."
    );
    ops.push(app, slug("a", &["web", "worker", "release"]))
        .await;
    assert_eq!(
        counts(ops, app).await,
        [("web".into(), 1), ("worker".into(), 0)]
    );
    let wish = ops.desired().await.unwrap().apps[&app].clone();
    assert_eq!(wish.formation, [(kind("web"), 1)].into());
    assert_eq!(wish.candidate.unwrap().version, 2);
}

#[tokio::test]
async fn scaling_is_all_or_nothing() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.running("shop", &["web", "worker", "clock"]).await.id;
    let lines = ops
        .scale(
            &me(),
            app,
            &[to("web", "3"), to("worker", "+2"), to("web", "-1")],
        )
        .await
        .unwrap();
    let shown: Vec<_> = lines
        .iter()
        .map(|l| (l.kind.as_str(), l.quantity, l.command.as_str()))
        .collect();
    assert_eq!(shown, [("web", 2, "run web"), ("worker", 2, "run worker")]);

    for (bad, why) in [
        (
            to("wroker", "1"),
            "Couldn't find that process type (wroker). Did you mean worker?",
        ),
        (
            to("release", "1"),
            "Couldn't find that process type (release).",
        ),
        (
            to("no such", "1"),
            "Couldn't find that process type (no such).",
        ),
        (to("worker", "101"), "from 0 to 100"),
        (to("worker", "-3"), "(now 2)"),
        (to("worker", "+99"), "from 0 to 100"),
        (to("worker", "many"), "many"),
        (to("worker", ""), "from 0 to 100"),
        (to("worker", "+-1"), "from 0 to 100"),
        (to("worker", "99999999999"), "from 0 to 100"),
    ] {
        let e = ops
            .scale(&me(), app, &[to("web", "5"), bad])
            .await
            .unwrap_err();
        assert!(e.to_string().contains(why), "{e}");
    }
    assert_eq!(
        counts(ops, app).await,
        [("clock".into(), 0), ("web".into(), 2), ("worker".into(), 2)]
    );
    let number = FormationUpdate {
        quantity: Some(Quantity::Number(0)),
        size: Some("Basic".into()),
        r#type: "web".into(),
    };
    ops.scale(&me(), app, &[number]).await.unwrap();
    assert_eq!(counts(ops, app).await[1], ("web".into(), 0));
    // A deploy does not bring it back.
    let r = ops.push(app, slug("b", &["web", "worker", "clock"])).await;
    ops.promote(app, r.version).await.unwrap();
    assert_eq!(counts(ops, app).await[1], ("web".into(), 0));
}

#[tokio::test]
async fn types_that_vanish_leave_with_the_promotion() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.running("shop", &["web", "worker"]).await.id;
    ops.scale(&me(), app, &[to("worker", "2")]).await.unwrap();
    let restart = Restart::Type(kind("worker"));
    ops.restart(&me(), app, restart).await.unwrap();
    let done = ops
        .release_from_build(&me(), app, slug("b", &["web", "jobs"]), "abc")
        .await
        .unwrap();
    assert_eq!(done.vanished, [kind("worker")]);
    // While it is rolled out, the old workers work on, and both can be scaled.
    assert_eq!(ops.app(app).await.unwrap().formation[&kind("worker")], 2);
    ops.scale(&me(), app, &[to("worker", "1"), to("jobs", "1")])
        .await
        .unwrap();
    ops.promote(app, done.release.version).await.unwrap();
    assert_eq!(
        counts(ops, app).await,
        [("jobs".into(), 1), ("web".into(), 1)]
    );
    let app = ops.app(app).await.unwrap();
    assert_eq!(app.restarts, Default::default());
}

#[tokio::test]
async fn restarts_name_what_they_replace() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.running("shop", &["web", "worker"]).await.id;
    ops.scale(&me(), app, &[to("web", "2"), to("worker", "1")])
        .await
        .unwrap();
    let newest = async |t: &str, i| ops.app(app).await.unwrap().restarts.newest_for(&kind(t), i);
    let dyno = |t: &str, i| Restart::Dyno(DynoName::new(kind(t), i));

    ops.restart(&me(), app, dyno("web", 2)).await.unwrap();
    assert_eq!(newest("web", 1).await, Micros(0));
    let one = newest("web", 2).await;
    assert!(one > Micros(0));
    ops.restart(&me(), app, Restart::Type(kind("web")))
        .await
        .unwrap();
    assert!(newest("web", 2).await > one);
    assert_eq!(newest("worker", 1).await, Micros(0));
    let web = newest("web", 1).await;
    ops.restart(&me(), app, Restart::All).await.unwrap();
    assert!(newest("web", 1).await > web && newest("worker", 1).await > web);
    let r = ops.app(app).await.unwrap().restarts;
    assert!(r.by_type.is_empty() && r.by_dyno.is_empty());

    for (bad, why) in [
        (dyno("web", 3), "(web.3)"),
        (dyno("run", 1), "(run.1)"),
        (Restart::Type(kind("wob")), "Did you mean web?"),
    ] {
        let e = ops.restart(&me(), app, bad).await.unwrap_err();
        assert!(matches!(e, OpsError::NotFound { .. }), "{e:?}");
        assert!(e.to_string().contains(why), "{e}");
    }
}
