use super::*;
use hokku_model::TokenId;

#[tokio::test]
async fn a_token_counts_until_it_is_revoked() {
    let place = Place::new();
    let ops = &place.ops;
    assert_eq!(ops.verify_token("hku_x").await.unwrap(), None);
    let (a, secret_a) = ops.create_token("a@x.org", "laptop").await.unwrap();
    let (b, secret_b) = ops.create_token("b@x.org", "CI").await.unwrap();
    assert!(secret_a.starts_with("hku_") && secret_a.len() == 4 + 43);
    assert_eq!(
        ops.verify_token(&secret_a).await.unwrap().as_deref(),
        Some("a@x.org")
    );
    assert_eq!(
        ops.verify_token(&secret_b).await.unwrap().as_deref(),
        Some("b@x.org")
    );
    for bad in [
        "",
        "hku_",
        &secret_a[..46],
        &format!("{secret_a}x"),
        &"x".repeat(100_000),
    ] {
        assert_eq!(ops.verify_token(bad).await.unwrap(), None);
    }
    let mine = ops.tokens("a@x.org").await.unwrap();
    assert_eq!(mine, std::slice::from_ref(&a));
    let e = ops.revoke_token("a@x.org", b.id).await.unwrap_err();
    assert!(
        matches!(e, OpsError::NotFound { .. }),
        "not one's own: {e:?}"
    );
    let e = ops.revoke_token("a@x.org", TokenId(1)).await.unwrap_err();
    assert!(matches!(e, OpsError::NotFound { .. }));
    ops.revoke_token("a@x.org", a.id).await.unwrap();
    assert_eq!(ops.verify_token(&secret_a).await.unwrap(), None);

    let db = std::fs::read(place.data().join("hokku.db-wal")).unwrap();
    let plain = secret_b.as_bytes();
    assert!(!db.windows(plain.len()).any(|w| w == plain));
    let place = place.reopen();
    let user = place.ops.verify_token(&secret_b).await.unwrap();
    assert_eq!(user.as_deref(), Some("b@x.org"));
    for (user, description) in [("", "x"), ("a\nb", "x"), ("a", ""), ("a", "x\u{1b}[0m")] {
        let e = place.ops.create_token(user, description).await.unwrap_err();
        assert!(matches!(e, OpsError::Invalid { .. }));
    }
}
