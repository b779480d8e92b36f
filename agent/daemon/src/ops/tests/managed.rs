use super::*;
use crate::ops::certificate::tests::chain;
use hokku_model::{Micros, cert::Managed};

fn agreed() -> Place {
    Place::with(|c| c.acme.agree = true)
}

async fn names(ops: &Ops) -> Vec<Managed> {
    ops.managed().await.unwrap()
}

async fn hosts(ops: &Ops) -> Vec<String> {
    names(ops).await.into_iter().map(|m| m.host).collect()
}

#[tokio::test]
async fn names_are_managed_while_their_domain_and_the_wish_last() {
    let place = agreed();
    let ops = &place.ops;
    let app = ops.create_app(&me(), Some("shop")).await.unwrap();
    ops.add_domain(&me(), app.id, "a.test").await.unwrap();
    assert!(hosts(ops).await.is_empty(), "it is off");
    ops.set_acm(&me(), app.id, true).await.unwrap();
    for host in ["b.test/x", "*.c.test", "a.test/y"] {
        ops.add_domain(&me(), app.id, host).await.unwrap();
    }
    assert_eq!(hosts(ops).await, ["a.test", "b.test"]);
    ops.remove_domain(&me(), app.id, "a.test").await.unwrap();
    assert_eq!(hosts(ops).await.len(), 2, "a.test/y still needs it");
    ops.remove_domain(&me(), app.id, "a.test/y").await.unwrap();
    assert_eq!(hosts(ops).await, ["b.test"]);
    ops.set_acm(&me(), app.id, false).await.unwrap();
    assert!(hosts(ops).await.is_empty());
}

#[tokio::test]
async fn nothing_is_switched_on_without_agreement_to_the_terms() {
    let place = Place::new();
    let app = place.ops.create_app(&me(), Some("shop")).await.unwrap();
    let e = place.ops.set_acm(&me(), app.id, true).await.unwrap_err();
    assert!(e.to_string().contains("agree = true"), "{e}");
    let all = Place::with(|c| {
        c.acme.agree = true;
        c.acme.all = true;
    });
    let app = all.ops.create_app(&me(), Some("shop")).await.unwrap();
    all.ops.add_domain(&me(), app.id, "a.test").await.unwrap();
    assert_eq!(hosts(&all.ops).await, ["a.test"]);
    all.ops.set_acm(&me(), app.id, false).await.unwrap();
    assert!(hosts(&all.ops).await.is_empty());
}

#[tokio::test]
async fn an_order_goes_on_after_a_restart_with_its_own_key() {
    let place = agreed();
    let app = place.ops.create_app(&me(), Some("shop")).await.unwrap();
    place.ops.set_acm(&me(), app.id, true).await.unwrap();
    place.ops.add_domain(&me(), app.id, "a.test").await.unwrap();
    let c = chain(&["a.test"], -1..90);
    let (order, key) = place.ops.begin_order("a.test", &c.key).await.unwrap();
    assert_eq!((order.url.as_deref(), key.as_str()), (None, c.key.as_str()));
    place
        .ops
        .order_made("a.test", order.since, "https://ca/1")
        .await
        .unwrap();
    place
        .ops
        .put_answer("a.test", order.since, "token", "token.thumb")
        .await
        .unwrap();
    let version = place
        .ops
        .put_proof("a.test", order.since, &c.leaf, &c.key)
        .await
        .unwrap();

    let place = place.reopen();
    let ops = &place.ops;
    let desired = ops.desired().await.unwrap();
    assert_eq!(desired.front.challenges["token"], "token.thumb");
    assert_eq!(desired.certs, version);
    let table = ops.cert_table().await.unwrap();
    assert!(table.certs[0].challenge && table.certs[0].names == ["a.test"]);
    // Another key is not taken while the order lives.
    let (again, key) = ops.begin_order("a.test", "other").await.unwrap();
    assert_eq!(
        (again.url.as_deref(), again.since),
        (Some("https://ca/1"), order.since)
    );
    assert_eq!(key.as_str(), c.key);

    let made = ops
        .order_done("a.test", order.since, &format!("{}{}", c.leaf, c.middle))
        .await
        .unwrap();
    assert!(made.acm && made.only == ["a.test"]);
    let table = ops.cert_table().await.unwrap();
    assert_eq!(
        (table.certs.len(), table.certs[0].challenge),
        (1, false),
        "the proof is gone"
    );
    assert_eq!(table.certs[0].key, c.key);
    assert!(ops.desired().await.unwrap().front.challenges.is_empty());
    let m = &names(ops).await[0];
    assert_eq!(m.issued.as_ref().unwrap().endpoint, made.name);
    assert!(m.order.is_none() && m.trouble.is_none());
    // What an order that is over writes is refused.
    assert!(
        ops.put_answer("a.test", order.since, "t", "a")
            .await
            .is_err()
    );
    assert!(
        ops.order_done("a.test", order.since, &c.leaf)
            .await
            .is_err()
    );

    // A renewal takes the place of the old one.
    let (order, _) = ops.begin_order("a.test", &c.key).await.unwrap();
    let renewed = ops
        .order_done("a.test", order.since, &c.leaf)
        .await
        .unwrap();
    assert_eq!((renewed.name, renewed.id), (made.name.clone(), made.id));
    let e = ops
        .remove_cert(&me(), app.id, &made.name)
        .await
        .unwrap_err();
    assert!(e.to_string().contains("certs:auto:disable"), "{e}");
    ops.set_acm(&me(), app.id, false).await.unwrap();
    assert!(ops.cert_table().await.unwrap().certs.is_empty());
}

#[tokio::test]
async fn failures_are_kept_with_their_reason_and_a_refresh_starts_anew() {
    let place = agreed();
    let ops = &place.ops;
    let app = ops.create_app(&me(), Some("shop")).await.unwrap();
    ops.set_acm(&me(), app.id, true).await.unwrap();
    ops.add_domain(&me(), app.id, "a.test").await.unwrap();
    let (order, _) = ops.begin_order("a.test", "key").await.unwrap();
    ops.put_answer("a.test", order.since, "token", "x")
        .await
        .unwrap();
    ops.order_failed("a.test", "slow", None, true)
        .await
        .unwrap();
    assert!(names(ops).await[0].order.is_some());
    ops.order_failed("a.test", "no", None, false).await.unwrap();
    let m = names(ops).await.remove(0);
    let trouble = m.trouble.clone().unwrap();
    assert_eq!((trouble.failures, trouble.reason.as_str()), (2, "no"));
    assert!(m.order.is_none());
    assert!(ops.desired().await.unwrap().front.challenges.is_empty());
    assert!(hokku_core::acme::due(&m) > trouble.at);
    ops.refresh_acm(&me(), app.id).await.unwrap();
    let m = names(ops).await.remove(0);
    assert!(m.trouble.is_none() && hokku_core::acme::due(&m) <= Micros::now());
    // What the server asked to wait for is not jumped.
    let later = Micros::now().plus(std::time::Duration::from_secs(600));
    ops.order_failed("a.test", "too many", Some(later), true)
        .await
        .unwrap();
    ops.refresh_acm(&me(), app.id).await.unwrap();
    assert_eq!(hokku_core::acme::due(&names(ops).await[0]), later);
    ops.remove_domain(&me(), app.id, "a.test").await.unwrap();
    ops.order_failed("a.test", "late", None, true)
        .await
        .unwrap();
    assert!(names(ops).await.is_empty());
}

#[tokio::test]
async fn the_account_key_is_made_once_per_directory() {
    let place = agreed();
    let (key, id) = place.ops.acme_account("https://ca", "first").await.unwrap();
    assert_eq!((key.as_str(), id), ("first", None));
    place
        .ops
        .set_acme_account("https://ca", Some("https://ca/7"))
        .await
        .unwrap();
    let place = place.reopen();
    let (key, id) = place
        .ops
        .acme_account("https://ca", "second")
        .await
        .unwrap();
    assert_eq!(
        (key.as_str(), id.as_deref()),
        ("first", Some("https://ca/7"))
    );
    assert_eq!(
        place.ops.acme_account("https://o", "x").await.unwrap().1,
        None
    );
}
