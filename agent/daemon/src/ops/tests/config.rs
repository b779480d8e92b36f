use super::*;
use hokku_model::{api::ConfigVars, release::ReleaseStatus};
use proptest::prelude::*;

#[tokio::test]
async fn each_real_change_makes_a_release_and_no_other() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.create_app(&me(), Some("shop")).await.unwrap();
    for (changes, says) in [
        (
            patch(&[("FOO", Some("1")), ("BAR", Some(""))]),
            Some("Set BAR, FOO config vars"),
        ),
        (patch(&[("FOO", Some("1"))]), None),
        (patch(&[("NONE", None)]), None),
        (patch(&[]), None),
        (
            patch(&[("FOO", Some("2")), ("NONE", None)]),
            Some("Set FOO config vars"),
        ),
        (patch(&[("FOO", None)]), Some("Remove FOO config vars")),
        (
            patch(&[("BAR", None), ("HEROKU_X", Some("x"))]),
            Some("Set HEROKU_X; remove BAR config vars"),
        ),
    ] {
        let (_, release) = ops.patch_config(&me(), app.id, changes).await.unwrap();
        let description = release.as_ref().map(|r| r.description.as_str());
        assert_eq!(description, says);
        if let Some(r) = release {
            // Nothing to run yet, so it serves at once.
            assert_eq!(r.status, ReleaseStatus::Succeeded);
            assert_eq!(ops.app(app.id).await.unwrap().current, Some(r.version));
        }
    }
    let vars = ops.config_vars(app.id).await.unwrap();
    assert_eq!(
        vars.into_iter().collect::<Vec<_>>(),
        [("HEROKU_X".into(), "x".into())]
    );
    let old = ops.release_env(app.id, 2).await.unwrap();
    assert_eq!(old.len(), 2);
    assert_eq!(ops.releases(app.id).await.unwrap().len(), 5);
}

#[tokio::test]
async fn what_no_environment_can_hold_is_refused_whole() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.create_app(&me(), Some("shop")).await.unwrap();
    let big = "x".repeat(40_000);
    ops.set(app.id, "BIG", &big).await;
    let key = "K".repeat(257);
    for (bad, why) in [
        (patch(&[("OK", Some("1")), ("NOT-OK", Some("1"))]), "NOT-OK"),
        (patch(&[("1A", Some("1"))]), "1A"),
        (patch(&[("", Some("1"))]), "name of a config var"),
        (patch(&[("__A", None)]), "__A"),
        (patch(&[("A=B", Some("1"))]), "A=B"),
        (patch(&[(key.as_str(), Some("1"))]), "KKK"),
        (
            patch(&[("NUL", Some("a\0b"))]),
            "value of NUL holds a NUL byte",
        ),
        (patch(&[("BIG2", Some(&big))]), "65536 (64 kB)"),
    ] {
        let e = ops.patch_config(&me(), app.id, bad).await.unwrap_err();
        assert!(matches!(e, OpsError::Invalid { .. }), "{e:?}");
        assert!(e.to_string().contains(why), "{e}");
    }
    assert_eq!(ops.config_vars(app.id).await.unwrap().len(), 1);
    assert_eq!(ops.releases(app.id).await.unwrap().len(), 2);
    // Exactly full is fine.
    let rest = "x".repeat(65_536 - 40_003 - 1);
    ops.set(app.id, "R", &rest).await;
}

#[tokio::test]
async fn many_names_make_a_short_description() {
    let place = Place::new();
    let app = place.ops.create_app(&me(), Some("shop")).await.unwrap();
    let all: ConfigPatch = (0..500)
        .map(|i| (format!("K{i:03}"), Some("v".into())))
        .collect();
    let (_, release) = place.ops.patch_config(&me(), app.id, all).await.unwrap();
    let says = release.unwrap().description;
    assert!(
        says.starts_with("Set K000, K001, ") && says.ends_with("K019 and 480 more config vars"),
        "{says}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn values_come_back_byte_for_byte(values in proptest::collection::vec("([^\0]|\n|\r\n|'|\"|\\$HOME|\\\\| |é|🦀){0,40}", 1..6)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let place = Place::new();
            let app = place.ops.create_app(&me(), Some("shop")).await.unwrap();
            let want: ConfigVars = values.iter().enumerate().map(|(i, v)| (format!("K{i}"), v.clone())).collect();
            let all = want.iter().map(|(k, v)| (k.clone(), Some(v.clone()))).collect();
            let (given, release) = place.ops.patch_config(&me(), app.id, all).await.unwrap();
            assert_eq!(given, want);
            let place = place.reopen();
            assert_eq!(place.ops.config_vars(app.id).await.unwrap(), want);
            let version = release.unwrap().version;
            assert_eq!(place.ops.release_env(app.id, version).await.unwrap(), want);
        });
    }
}

#[tokio::test]
async fn no_file_of_the_store_holds_a_value() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.running("shop", &["web"]).await;
    let secret = "correct-horse-battery-staple";
    let r = ops.set(app.id, "PASSWORD", secret).await;
    // During a rollout the change is kept a second time.
    ops.push(app.id, slug("second", &["web"])).await;
    ops.promote(app.id, r.version + 1).await.unwrap();
    assert_eq!(ops.config_vars(app.id).await.unwrap()["PASSWORD"], secret);
    let mut names = 0;
    let mut key_seen = false;
    for f in std::fs::read_dir(place.data()).unwrap() {
        let bytes = std::fs::read(f.unwrap().path()).unwrap();
        let holds = |what: &[u8]| bytes.windows(what.len()).any(|w| w == what);
        assert!(!holds(secret.as_bytes()));
        key_seen |= holds(b"Set PASSWORD config vars");
        names += 1;
    }
    assert!(
        key_seen && names >= 4,
        "the test looks into the right files"
    );
}

#[tokio::test]
async fn a_value_moved_to_another_release_does_not_open() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.create_app(&me(), Some("shop")).await.unwrap();
    ops.set(app.id, "A", "1").await;
    ops.set(app.id, "A", "2").await;
    let sql = rusqlite::Connection::open(place.data().join("hokku.db")).unwrap();
    sql.execute_batch(
        "UPDATE history SET sealed = (SELECT sealed FROM history WHERE kind = 'release' AND seq = 2)
         WHERE kind = 'release' AND seq = 3",
    )
    .unwrap();
    assert_eq!(ops.release_env(app.id, 2).await.unwrap()["A"], "1");
    let e = ops.release_env(app.id, 3).await.unwrap_err();
    assert!(matches!(e, OpsError::Internal(_)), "{e:?}");
    assert!(e.to_string().contains("release 3"), "{e}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn forty_at_once_lose_no_change() {
    let place = Place::new();
    let app = place.ops.running("shop", &["web"]).await.id;
    let tasks: Vec<_> = (0..40)
        .map(|i| {
            let ops = place.ops.clone();
            tokio::spawn(async move {
                ops.set(app, &format!("K{i}"), &i.to_string()).await;
                if i % 10 == 0 {
                    ops.push(app, slug(&i.to_string(), &["web"])).await;
                }
            })
        })
        .collect();
    for t in tasks {
        t.await.unwrap();
    }
    let vars = place.ops.config_vars(app).await.unwrap();
    assert_eq!(vars.len(), 40);
    let all = place.ops.releases(app).await.unwrap();
    assert_eq!(all.len(), 2 + 40 + 4);
    let pending: Vec<u32> = all
        .iter()
        .filter(|r| r.status == ReleaseStatus::Pending)
        .map(|r| r.version)
        .collect();
    assert_eq!(pending, [46]);
    assert_eq!(place.ops.release_env(app, 46).await.unwrap(), vars);
}
