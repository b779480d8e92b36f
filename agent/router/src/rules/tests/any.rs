//! What holds for any routing and request.

use super::*;
use proptest::prelude::*;

fn some_settings() -> impl Strategy<Value = Settings> {
    let text = "[/$a.%2f;é\\\\ -]{0,8}";
    let edits = || {
        (
            proptest::collection::btree_map("[a-c -]{0,3}", "[ -~\n]{0,4}", 0..3),
            proptest::collection::vec("[a-c ]{0,3}", 0..2),
        )
    };
    (
        (
            proptest::option::of(0u64..3),
            proptest::option::of(text),
            proptest::option::weighted(0.1, (text, 299u16..310)),
            proptest::option::of(text),
            proptest::option::of(text),
        ),
        (
            // few guards, so that many requests come as far as the app
            proptest::option::weighted(0.1, "[0-9./a:]{0,9}"),
            proptest::option::weighted(0.1, any::<bool>()),
            edits(),
            proptest::bool::weighted(0.1),
        ),
    )
        .prop_map(
            |((ms, cache, redirect, rewrite, root), (allow, maintenance, edits, auth))| Settings {
                first_byte_ms: ms,
                cache,
                redirect: redirect.map(|(to, status)| Redirect { to, status }),
                rewrite,
                files: root.map(|r| Files {
                    root: r,
                    index: "index.html".into(),
                    fallback: None,
                    pass: false,
                }),
                allow: allow.into_iter().collect(),
                maintenance,
                response_headers: HeaderEdits {
                    set: edits.0,
                    remove: edits.1,
                },
                auth: if auth { password().auth } else { None },
                ..Settings::default()
            },
        )
}

fn some_routing() -> impl Strategy<Value = Routing> {
    let rules = proptest::collection::vec(("[/ab.%2f;]{0,8}", some_settings()), 0..5);
    (some_settings(), rules, any::<bool>()).prop_map(|(settings, all, https_only)| Routing {
        https_only,
        settings,
        rules: all
            .into_iter()
            .map(|(path, settings)| PathRule { path, settings })
            .collect(),
        ..Routing::default()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_routing_compiles_and_decides(
        routing in some_routing(),
        path in "[/ab.%2ef;\\\\é]{0,16}",
        query in proptest::option::of("\\PC{0,8}"),
        authorization in proptest::collection::vec(1u8..=255, 0..12),
        client: [u8; 4],
    ) {
        let app = app(routing);
        let mut fields = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(&authorization) {
            fields.insert("authorization", value);
        }
        let request = Request { query: query.as_deref(), client: client.into(), ..get(&path, &fields) };
        match decide(&app, &request) {
            Decision::Forward(f) | Decision::Files { otherwise: f, .. } => {
                prop_assert!(f.path == path || f.path.starts_with('/'));
                // what the app gets is what was decided on
                if f.settings.rewrite.is_none() {
                    let again = app.rules.settings(&f.path).map(|(settings, _)| settings);
                    prop_assert!(again.is_some_and(|s| std::ptr::eq(s, f.settings)));
                }
            }
            Decision::Reply(reply) => prop_assert!(matches!(reply.status().as_u16(), 301..=308 | 400 | 401 | 403)),
            Decision::Verify(_) | Decision::Maintenance => {}
        }
    }
}
