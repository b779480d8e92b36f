use super::*;
use hokku_model::{
    Micros,
    api::FormationUpdate,
    limits::{TypeLimits, parse_bytes},
};

fn memory(text: &str) -> TypeLimits {
    TypeLimits {
        memory: Some(parse_bytes(text).unwrap()),
        ..TypeLimits::default()
    }
}

async fn order_of(ops: &Ops, app: AppId, name: &str) -> Micros {
    let wish = &ops.desired().await.unwrap().apps[&app];
    wish.restarts.newest_for(&kind(name), 1)
}

#[tokio::test]
async fn limits_replace_the_dynos_of_their_type_and_make_no_release() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.running("shop", &["web", "worker"]).await;
    let (before, worker) = (app.current, order_of(ops, app.id, "worker").await);
    let set = |m: &'static str, unset: &'static [&'static str]| {
        let unset: Vec<String> = unset.iter().map(|u| (*u).to_owned()).collect();
        async move {
            let change = if m.is_empty() {
                TypeLimits::default()
            } else {
                memory(m)
            };
            ops.set_limits(&me(), app.id, "web", &change, &unset).await
        }
    };
    set("900M", &[]).await.unwrap();
    let first = order_of(ops, app.id, "web").await;
    assert!(first > Micros(0));
    assert_eq!(order_of(ops, app.id, "worker").await, worker);
    set("900M", &[]).await.unwrap();
    assert_eq!(order_of(ops, app.id, "web").await, first);
    let all = ops.limits(app.id).await.unwrap();
    let kinds: Vec<_> = all.iter().map(|(k, l)| (k.as_str(), l.memory)).collect();
    assert_eq!(kinds, [("web", Some(900 << 20)), ("worker", None)]);
    set("", &["all"]).await.unwrap();
    assert!(order_of(ops, app.id, "web").await > first);
    assert_eq!(ops.find_app("shop").await.unwrap().current, before);
    let e = set("1M", &[]).await.unwrap_err().to_string();
    assert_eq!(e, "The memory limit is out of range: give 16M to 1024G.");
    let e = set("", &["colour"]).await.unwrap_err().to_string();
    assert!(e.starts_with("There is no limit \"colour\""), "{e}");
}

#[tokio::test]
async fn a_size_given_with_a_scale_is_a_limit() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.running("shop", &["web"]).await.id;
    let sized = |size: &str| FormationUpdate {
        quantity: None,
        size: Some(size.into()),
        r#type: "web".into(),
    };
    let lines = ops
        .scale(&me(), app, &[sized("Standard-2X")])
        .await
        .unwrap();
    assert_eq!(lines[0].size, Some("Standard-2X"));
    assert!(order_of(ops, app, "web").await > Micros(0));
    let limits = ops.limits(app).await.unwrap().remove(0).1;
    assert_eq!(limits.quota().memory_soft, Some(1 << 30));
    let e = ops.scale(&me(), app, &[sized("huge")]).await.unwrap_err();
    assert!(
        e.to_string().starts_with("There is no dyno size \"huge\""),
        "{e}"
    );
    // one-offs have limits too, though no Procfile names them
    ops.set_limits(&me(), app, "run", &memory("1G"), &[])
        .await
        .unwrap();
    let e = ops.set_limits(&me(), app, "rum", &memory("1G"), &[]).await;
    assert!(e.unwrap_err().to_string().contains("rum"));
}
