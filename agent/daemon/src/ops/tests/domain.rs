use super::*;
use hokku_core::desired::Desired;

async fn hosts(ops: &Ops, app: AppId) -> Vec<String> {
    ops.desired().await.unwrap().apps[&app].hosts.clone()
}

#[tokio::test]
async fn a_domain_leads_to_its_app_until_it_is_removed() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.create_app(&me(), Some("shop")).await.unwrap();
    let bell = ops.bell();
    let d = ops
        .add_domain(&me(), app.id, "WWW.Bücher.example.")
        .await
        .unwrap();
    assert_eq!(d.host, "www.xn--bcher-kva.example");
    assert!(bell.has_changed().unwrap(), "the loop hears of it");
    ops.add_domain(&me(), app.id, "*.example.com")
        .await
        .unwrap();
    ops.add_domain(&me(), app.id, "example.com/shop/")
        .await
        .unwrap();
    let want = [
        "shop.localhost",
        "www.xn--bcher-kva.example",
        "*.example.com",
        "example.com/shop",
    ];
    assert_eq!(hosts(ops, app.id).await, want);

    let gone = ops
        .remove_domain(&me(), app.id, "www.bücher.example")
        .await
        .unwrap();
    assert_eq!(gone, d);
    let e = ops
        .remove_domain(&me(), app.id, "www.bücher.example")
        .await
        .unwrap_err();
    assert!(
        matches!(
            e,
            OpsError::NotFound {
                resource: "domain",
                ..
            }
        ),
        "{e}"
    );
    assert_eq!(hosts(ops, app.id).await.len(), 3);
    assert_eq!(ops.clear_domains(&me(), app.id).await.unwrap().len(), 2);
    assert_eq!(hosts(ops, app.id).await, ["shop.localhost"]);
}

#[tokio::test]
async fn a_domain_belongs_to_one_app_and_a_refusal_changes_nothing() {
    let place = Place::new();
    let ops = &place.ops;
    let a = ops.create_app(&me(), Some("one")).await.unwrap();
    let b = ops.create_app(&me(), Some("two")).await.unwrap();
    ops.add_domain(&me(), a.id, "example.com").await.unwrap();
    let before = ops.store().generation();
    let e = ops
        .add_domain(&me(), b.id, "Example.com.")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        e.contains("the app one") && e.contains("domains:remove example.com -a one"),
        "{e}"
    );
    let e = ops
        .add_domain(&me(), a.id, "example.com")
        .await
        .unwrap_err()
        .to_string();
    assert!(e.contains("already"), "{e}");
    for (host, why) in [
        ("two.localhost", "apps:rename"),
        ("new.localhost", "apps:rename"),
        ("*.localhost", "two labels"),
        ("two.localhost/x", "apps:rename"),
        ("localhost", "two labels"),
    ] {
        let e = ops
            .add_domain(&me(), a.id, host)
            .await
            .unwrap_err()
            .to_string();
        assert!(e.contains(why), "{host}: {e}");
    }
    assert_eq!(ops.store().generation(), before);
    ops.add_domain(&me(), b.id, "a.b.localhost").await.unwrap();
    // What goes with its app is free again.
    ops.destroy_app(&me(), a.id).await.unwrap();
    ops.add_domain(&me(), b.id, "example.com").await.unwrap();
}

#[tokio::test]
async fn the_default_app_is_the_named_or_the_only_one() {
    let default = async |ops: &Ops| -> Option<AppId> {
        let d: Arc<Desired> = ops.desired().await.unwrap();
        d.default_app
    };
    let place = Place::new();
    let ops = &place.ops;
    assert_eq!(default(ops).await, None);
    let a = ops.create_app(&me(), Some("one")).await.unwrap();
    assert_eq!(default(ops).await, Some(a.id));
    let b = ops.create_app(&me(), Some("two")).await.unwrap();
    assert_eq!(default(ops).await, None);

    let named = Place::with(|c| c.default_app = Some("two".into()));
    let a = named.ops.create_app(&me(), Some("one")).await.unwrap();
    assert_eq!(
        default(&named.ops).await,
        None,
        "it is not there yet: {a:?} {b:?}"
    );
    let b = named.ops.create_app(&me(), Some("two")).await.unwrap();
    assert_eq!(default(&named.ops).await, Some(b.id));

    let none = Place::with(|c| c.default_app = Some(String::new()));
    none.ops.create_app(&me(), Some("one")).await.unwrap();
    assert_eq!(default(&none.ops).await, None);
}

#[tokio::test]
async fn what_stands_in_front_reaches_the_router() {
    let place = Place::with(|c| {
        c.trusted_proxies = vec!["10.0.0.1/8".into()];
        c.proxy_protocol = true;
        c.health_path = Some("/up".into());
        c.health_app = Some("one".into());
    });
    let a = place.ops.create_app(&me(), Some("one")).await.unwrap();
    let front = place.ops.desired().await.unwrap().front.clone();
    assert_eq!(front.trusted, ["10.0.0.0/8"]);
    assert!(front.proxy_protocol);
    assert_eq!(
        (front.health_path.as_deref(), front.health_app),
        (Some("/up"), Some(a.id))
    );
}
