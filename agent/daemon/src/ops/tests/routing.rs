use super::*;
use hokku_core::parse::hokku_toml;
use hokku_model::routing::laid_out;
use hokku_model::{
    routing::Routing,
    said::{RoutingPatch, RoutingRow, RoutingView},
};

fn said(path: Option<&str>, set: &[(&str, &str)], unset: &[&str]) -> RoutingPatch {
    RoutingPatch {
        path: path.map(String::from),
        set: set
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect(),
        unset: unset.iter().map(|k| k.to_string()).collect(),
    }
}

fn shown(rows: &[RoutingRow], key: &str) -> String {
    let of = |r: &RoutingRow| format!("{} ({})", r.value, r.source);
    rows.iter()
        .find(|r| r.key == key)
        .map(of)
        .unwrap_or_default()
}

impl Ops {
    /// Pushes a slug whose `hokku.toml` is this, and promotes it.
    async fn release_with(&self, app: AppId, content: &str, file: &str) -> u32 {
        let mut slug = slug(content, &["web"]);
        slug.routing = hokku_toml::parse(file).unwrap();
        let version = self.push(app, slug).await.version;
        self.promote(app, version).await.unwrap();
        version
    }

    async fn change(&self, app: AppId, patch: RoutingPatch) -> RoutingView {
        self.patch_routing(&me(), app, &patch).await.unwrap().0
    }

    async fn wished(&self, app: AppId) -> Routing {
        self.desired().await.unwrap().apps[&app].routing.clone()
    }
}

#[tokio::test]
async fn the_owner_speaks_over_the_file_at_once_and_without_a_release() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.running("shop", &["web"]).await.id;
    assert_eq!(ops.wished(app).await, Routing::default());
    let v = ops
        .release_with(app, "b", "[routing]\ntimeout = '10s'\ncompress = 'fast'\n[[routing.rules]]\npath = '/api'\ntimeout = '1m'\n")
        .await;
    assert_eq!(ops.wished(app).await.settings.first_byte_ms, Some(10_000));
    let bell = ops.bell();
    let releases = ops.releases(app).await.unwrap().len();

    let view = ops
        .change(app, said(None, &[("timeout", "20s")], &[]))
        .await;
    assert!(bell.has_changed().unwrap(), "the loop has to hear of it");
    assert_eq!(shown(&view.settings, "timeout"), "20s (app routing:set)");
    assert_eq!(
        shown(&view.settings, "compress"),
        format!("fast (hokku.toml of v{v})")
    );
    assert_eq!(shown(&view.settings, "idle_timeout"), "55s (default)");
    assert_eq!((view.app.as_str(), view.release), ("shop", Some(v)));
    ops.change(
        app,
        said(
            Some("/api/"),
            &[("compress", "off"), ("response_headers.X-A", "b")],
            &[],
        ),
    )
    .await;
    let view = ops
        .change(app, said(Some("/new"), &[("maintenance", "true")], &[]))
        .await;
    let paths: Vec<&str> = view.rules.iter().map(|r| r.path.as_str()).collect();
    assert_eq!(paths, ["/api", "/new"]);
    assert_eq!(
        shown(&view.rules[0].settings, "timeout"),
        format!("1m (hokku.toml of v{v})")
    );
    assert_eq!(
        shown(&view.rules[0].settings, "compress"),
        "off (app routing:set)"
    );
    let wished = ops.wished(app).await;
    assert_eq!(wished.settings.first_byte_ms, Some(20_000));
    assert_eq!(wished.rules[0].settings.response_headers.set["x-a"], "b");
    assert_eq!(wished.rules[1].settings.maintenance, Some(true));

    // it is stored, and stays over a new release
    let v = ops
        .release_with(app, "c", "[routing]\ntimeout = '5s'\n")
        .await;
    let place = place.reopen();
    let ops = &place.ops;
    let view = ops.routing(app).await.unwrap();
    assert_eq!(shown(&view.settings, "timeout"), "20s (app routing:set)");
    assert_eq!(shown(&view.settings, "compress"), "balanced (default)");
    let view = ops.change(app, said(None, &[], &["timeout"])).await;
    assert_eq!(
        shown(&view.settings, "timeout"),
        format!("5s (hokku.toml of v{v})")
    );
    ops.change(
        app,
        said(Some("/api"), &[], &["response_headers", "compress"]),
    )
    .await;
    let view = ops
        .change(app, said(Some("/new"), &[], &["maintenance"]))
        .await;
    assert!(view.rules.is_empty(), "a rule that says nothing is gone");
    assert_eq!(ops.releases(app).await.unwrap().len(), releases + 1);
}

#[tokio::test]
async fn nothing_new_changes_nothing() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.create_app(&me(), Some("shop")).await.unwrap().id;
    ops.change(app, said(None, &[("affinity", "true")], &[]))
        .await;
    let before = ops.app(app).await.unwrap();
    for patch in [
        said(None, &[("affinity", "true")], &[]),
        said(None, &[], &["timeout", "response_headers.x-a"]),
        said(Some("/x"), &[], &["timeout"]),
        said(None, &[], &[]),
    ] {
        let (_, changed) = ops.patch_routing(&me(), app, &patch).await.unwrap();
        assert!(!changed);
    }
    assert_eq!(ops.app(app).await.unwrap(), before);
}

#[tokio::test]
async fn what_can_not_be_is_refused_whole() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.running("shop", &["web"]).await.id;
    ops.release_with(
        app,
        "b",
        "[[routing.rules]]\npath = '/a'\nredirect = '/b'\n",
    )
    .await;
    let before = ops.app(app).await.unwrap();
    for (patch, why) in [
        (
            said(None, &[("affinity", "true"), ("timeout", "soon")], &[]),
            "not a duration",
        ),
        (
            said(None, &[("timout", "1s")], &[]),
            "Did you mean timeout?",
        ),
        (
            said(Some("/x"), &[("proto", "h2c")], &[]),
            "of the whole app",
        ),
        (
            said(Some("x"), &[("timeout", "1s")], &[]),
            "begin with \"/\"",
        ),
        (said(None, &[("files", "public")], &[]), "hokku.toml"),
        (
            said(None, &[("error_page", "https://x.test")], &[]),
            "config var ERROR_PAGE_URL",
        ),
        (said(None, &[], &["timout"]), "Did you mean timeout?"),
        (
            said(None, &[], &["response_headers.a\nb"]),
            "not the name of a header",
        ),
        (
            said(None, &[("basic_auth", "ann:secret")], &[]),
            "app routing:hash",
        ),
        (
            said(Some("/b"), &[("redirect", "/a")], &[]),
            "never ends: /a → /b → /a",
        ),
    ] {
        let e = ops.patch_routing(&me(), app, &patch).await.unwrap_err();
        assert!(matches!(e, OpsError::Invalid { .. }), "{e:?}");
        assert!(e.to_string().contains(why), "{e}");
    }
    for i in 0..hokku_toml::MAX_RULES {
        let path = format!("/r{i}");
        ops.change(app, said(Some(&path), &[("maintenance", "true")], &[]))
            .await;
    }
    let one_more = said(Some("/more"), &[("maintenance", "true")], &[]);
    let e = ops.patch_routing(&me(), app, &one_more).await.unwrap_err();
    assert!(e.to_string().contains("200 paths"), "{e}");
    assert!(before.routing.is_empty());
    let nobody = ops.patch_routing(&me(), AppId(7), &one_more).await;
    assert!(matches!(nobody, Err(OpsError::NotFound { .. })));
}

#[tokio::test]
async fn a_rollback_brings_its_rules_and_its_pages_back() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.running("shop", &["web"]).await.id;
    let old = ops
        .release_with(app, "b", "[routing]\ntimeout = '10s'\n")
        .await;
    let page = ops
        .set(app, "ERROR_PAGE_URL", "https://example.org/sorry")
        .await
        .version;
    assert_eq!(
        ops.wished(app).await.error_page,
        None,
        "a candidate does not count"
    );
    ops.promote(app, page).await.unwrap();
    assert_eq!(
        ops.wished(app).await.error_page.as_deref(),
        Some("https://example.org/sorry")
    );
    let bad = ops
        .set(app, "MAINTENANCE_PAGE_URL", "not a url")
        .await
        .version;
    ops.promote(app, bad).await.unwrap();
    ops.release_with(app, "c", "").await;
    assert_eq!(ops.wished(app).await.settings.first_byte_ms, None);
    let view = ops.routing(app).await.unwrap();
    assert_eq!(
        shown(&view.settings, "error_page"),
        "https://example.org/sorry (config var ERROR_PAGE_URL)"
    );
    assert!(
        view.notes[0].contains("MAINTENANCE_PAGE_URL is ignored"),
        "{:?}",
        view.notes
    );

    let back = ops
        .rollback(&me(), app, Some(&format!("v{old}")))
        .await
        .unwrap();
    ops.promote(app, back.version).await.unwrap();
    let view = ops.routing(app).await.unwrap();
    assert_eq!(
        shown(&view.settings, "timeout"),
        format!("10s (hokku.toml of v{})", back.version)
    );
    assert_eq!(shown(&view.settings, "error_page"), "");
    assert_eq!(ops.wished(app).await.settings.first_byte_ms, Some(10_000));
}

#[tokio::test]
async fn folders_are_where_they_are_published() {
    let place = Place::new();
    let ops = &place.ops;
    let app = ops.running("shop", &["web"]).await.id;
    let file = "[routing]\nfiles = 'public'\n[[routing.rules]]\npath = '/docs'\nfiles = { root = 'docs/site', fallback = '404.html' }\n";
    ops.release_with(app, "b", file).await;
    let digest = slug("b", &[]).digest;
    let laid = |root| laid_out(app, &digest, root).unwrap();
    let wished = ops.wished(app).await;
    let root = |s: &hokku_model::routing::Settings| s.files.as_ref().unwrap().root.clone();
    assert_eq!(root(&wished.settings), laid("public"));
    assert_eq!(root(&wished.rules[0].settings), laid("docs/site"));
    let view = ops.routing(app).await.unwrap();
    assert!(
        shown(&view.settings, "files").starts_with("{ root = \"public\""),
        "people see what they wrote"
    );
}
