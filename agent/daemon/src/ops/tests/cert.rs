use super::*;
use crate::ops::certificate::tests::{Chain, chain};
use hokku_model::route::CertTable;

fn pem(c: &Chain) -> String {
    format!("{}{}", c.leaf, c.middle)
}

async fn shop(place: &Place) -> App {
    let app = place.ops.create_app(&me(), Some("shop")).await.unwrap();
    place.ops.add_domain(&me(), app.id, "a.test").await.unwrap();
    place
        .ops
        .add_domain(&me(), app.id, "b.test/x")
        .await
        .unwrap();
    app
}

/// The table, whose version has to be the wish's and to have grown exactly when something changed.
async fn table(ops: &Ops, before: &CertTable) -> CertTable {
    let table = ops.cert_table().await.unwrap();
    assert_eq!(ops.desired().await.unwrap().certs, table.version);
    if table.certs != before.certs {
        assert!(table.version > before.version, "{before:?} {table:?}");
    }
    table
}

#[tokio::test]
async fn a_certificate_is_shown_for_the_hosts_of_its_app_alone() {
    let place = Place::new();
    let ops = &place.ops;
    let app = shop(&place).await;
    assert_eq!(ops.desired().await.unwrap().certs, 0, "nothing to send yet");
    let c = chain(
        &["a.test", "b.test", "other.test", "shop.localhost"],
        -1..90,
    );
    let given = ops
        .add_cert(&me(), app.id, &pem(&c), &c.key, &[])
        .await
        .unwrap();
    assert!(given.remarks.is_empty(), "{:?}", given.remarks);
    let t = table(ops, &CertTable::default()).await;
    assert_eq!(t.certs.len(), 1);
    assert_eq!(t.certs[0].names, ["shop.localhost", "a.test", "b.test"]);
    assert_eq!(
        (&t.certs[0].key, &t.certs[0].chain),
        (&c.key.replace('\r', ""), &given.endpoint.chain)
    );

    // Another app's name is not given away by its neighbour's certificate.
    let two = ops.create_app(&me(), Some("two")).await.unwrap();
    ops.add_domain(&me(), two.id, "other.test").await.unwrap();
    let t = table(ops, &t).await;
    assert!(!t.certs[0].names.contains(&"other.test".into()));

    ops.remove_domain(&me(), app.id, "a.test").await.unwrap();
    let t = table(ops, &t).await;
    assert_eq!(t.certs[0].names, ["shop.localhost", "b.test"]);
    ops.rename_app(&me(), app.id, "store").await.unwrap();
    let t = table(ops, &t).await;
    assert_eq!(t.certs[0].names, ["b.test"]);
    let name = given.endpoint.name;
    ops.remove_cert(&me(), app.id, &name).await.unwrap();
    assert!(table(ops, &t).await.certs.is_empty());
    let e = ops.remove_cert(&me(), app.id, &name).await.unwrap_err();
    assert!(matches!(e, OpsError::NotFound { .. }));
}

#[tokio::test]
async fn only_named_domains_and_warnings() {
    let place = Place::new();
    let ops = &place.ops;
    let app = shop(&place).await;
    let c = chain(&["*.test"], -1..90);
    let only = ["a.test".to_owned()];
    ops.add_cert(&me(), app.id, &pem(&c), &c.key, &only)
        .await
        .unwrap();
    let t = table(ops, &CertTable::default()).await;
    assert_eq!(t.certs[0].names, ["a.test"]);
    let strange = ["c.test".to_owned()];
    let e = ops
        .add_cert(&me(), app.id, &pem(&c), &c.key, &strange)
        .await
        .unwrap_err();
    assert!(e.to_string().contains("domains:add c.test"), "{e}");
    let o = chain(&["elsewhere.test"], -1..90);
    let given = ops
        .add_cert(&me(), app.id, &pem(&o), &o.key, &[])
        .await
        .unwrap();
    assert!(
        given.remarks[0].contains("not shown to anybody"),
        "{:?}",
        given.remarks
    );
    assert_eq!(ops.certs(app.id).await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_update_keeps_the_name_and_a_bad_one_changes_nothing() {
    let place = Place::new();
    let ops = &place.ops;
    let app = shop(&place).await;
    let (c, new) = (chain(&["a.test"], -1..90), chain(&["a.test"], -1..300));
    let first = ops
        .add_cert(&me(), app.id, &pem(&c), &c.key, &[])
        .await
        .unwrap()
        .endpoint;
    let t = table(ops, &CertTable::default()).await;
    let before = ops.store().generation();
    let e = ops
        .update_cert(&me(), app.id, &first.name, &pem(&new), &c.key)
        .await
        .unwrap_err();
    assert!(e.to_string().contains("does not belong"), "{e}");
    assert_eq!(ops.store().generation(), before);
    let second = ops
        .update_cert(&me(), app.id, &first.id, &pem(&new), &new.key)
        .await
        .unwrap()
        .endpoint;
    assert_eq!((&second.name, &second.id), (&first.name, &first.id));
    assert!(second.facts.expires_at > first.facts.expires_at);
    assert_eq!(table(ops, &t).await.certs[0].key, new.key.replace('\r', ""));
}

#[tokio::test]
async fn keys_are_sealed_and_survive_a_restart() {
    let place = Place::new();
    let app = shop(&place).await;
    let c = chain(&["a.test"], -1..90);
    place
        .ops
        .add_cert(&me(), app.id, &pem(&c), &c.key, &[])
        .await
        .unwrap();
    let place = place.reopen();
    let t = table(&place.ops, &CertTable::default()).await;
    assert_eq!(t.certs[0].key, c.key.replace('\r', ""));
    let secret = c.key.lines().nth(1).unwrap();
    for name in ["hokku.db", "hokku.db-wal"] {
        let bytes = std::fs::read(place.data().join(name)).unwrap_or_default();
        assert!(
            !bytes.windows(secret.len()).any(|w| w == secret.as_bytes()),
            "a private key stands in {name}"
        );
    }
}

#[tokio::test]
async fn certificates_go_with_their_app() {
    let place = Place::new();
    let app = shop(&place).await;
    let c = chain(&["a.test"], -1..90);
    place
        .ops
        .add_cert(&me(), app.id, &pem(&c), &c.key, &[])
        .await
        .unwrap();
    let t = table(&place.ops, &CertTable::default()).await;
    place.ops.destroy_app(&me(), app.id).await.unwrap();
    assert!(table(&place.ops, &t).await.certs.is_empty());
}
