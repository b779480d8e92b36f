use super::*;
use crate::parse::hokku_toml::parse;
use hokku_model::routing::{Compress, Proto};

const DRAIN: Duration = Duration::from_secs(30);

fn merged(file: &str, owner: &str) -> Merged {
    let (file, owner) = (parse(file).unwrap(), parse(owner).unwrap());
    merge(Sources {
        file: Some((&file, 12)),
        owner: &owner,
        error_page: None,
        maintenance_page: None,
    })
}

fn shown(rows: &[RoutingRow], key: &str) -> String {
    let of = |r: &RoutingRow| format!("{} ({})", r.value, r.source);
    rows.iter()
        .find(|r| r.key == key)
        .map(of)
        .unwrap_or_default()
}

#[test]
fn nobody_says_anything() {
    let merged = merged("", "");
    assert_eq!(merged.routing(), Routing::default());
    let (rows, rules) = merged.rows(DRAIN, false);
    assert!(rules.is_empty() && rows.iter().all(|r| r.source == "default"));
    for (key, is) in [
        ("proto", "http1 (default)"),
        ("timeout", "30s (default)"),
        ("idle_timeout", "55s (default)"),
        ("websocket_drain", "30s (default)"),
        ("hsts", "none (default)"),
        ("compress", "balanced (default)"),
        ("cache", ""),
    ] {
        assert_eq!(shown(&rows, key), is);
    }
}

#[test]
fn the_owner_goes_over_the_file_key_by_key() {
    let merged = merged(
        "[routing]\nproto = 'h2c'\nhsts = '1d'\ntimeout = '10s'\nresponse_headers = { A = '1', B = '2' }\n\
         [[routing.rules]]\npath = '/api'\ntimeout = '1m'\ncompress = 'off'\n",
        "[routing]\nhsts = false\ntimeout = '20s'\nresponse_headers = { B = false, C = '3' }\n\
         [[routing.rules]]\npath = '/api'\ntimeout = '2m'\n[[routing.rules]]\npath = '/new'\nmaintenance = true\n",
    );
    let r = merged.routing();
    assert_eq!((r.proto, r.hsts), (Proto::H2c, None));
    assert_eq!(r.settings.first_byte_ms, Some(20_000));
    let headers = &r.settings.response_headers;
    assert_eq!(
        headers.set,
        BTreeMap::from([("a".into(), "1".into()), ("c".into(), "3".into())])
    );
    assert_eq!(headers.remove, ["b"]);
    assert_eq!(r.rules.len(), 2);
    assert_eq!(r.rules[0].path, "/api");
    assert_eq!(r.rules[0].settings.first_byte_ms, Some(120_000));
    assert_eq!(r.rules[0].settings.compress, Some(Compress::Off));
    assert_eq!(r.rules[1].settings.maintenance, Some(true));
    let (rows, rules) = merged.rows(DRAIN, false);
    for (key, is) in [
        ("proto", "h2c (hokku.toml of v12)"),
        ("hsts", "none (app routing:set)"),
        ("timeout", "20s (app routing:set)"),
        ("response_headers.a", "\"1\" (hokku.toml of v12)"),
        ("response_headers.b", "false (app routing:set)"),
        ("affinity", "false (default)"),
    ] {
        assert_eq!(shown(&rows, key), is);
    }
    assert_eq!(shown(&rules[0].settings, "timeout"), "2m (app routing:set)");
    assert_eq!(
        shown(&rules[0].settings, "compress"),
        "off (hokku.toml of v12)"
    );
    let order: Vec<&str> = rows.iter().map(|r| r.key.as_str()).collect();
    let headers = order
        .iter()
        .position(|k| *k == "response_headers.a")
        .unwrap();
    assert!(order[headers + 1] == "response_headers.b" && order[0] == "proto");
}

/// Each key that a file can say arrives in what the router is told.
#[test]
fn every_key_arrives() {
    let example = include_str!("../../../packaging/deb/app-hokku.toml");
    let r = merged(example, "").routing();
    let untouched = Routing::default();
    assert!(r.affinity && r.https_only);
    assert_eq!(
        (r.hsts, r.connections, r.queue_ms, r.drain_ms),
        (Some(31_536_000), Some(500), Some(10_000), Some(7_200_000))
    );
    assert_eq!(r.proto, untouched.proto);
    let all: Vec<&Settings> = std::iter::once(&r.settings)
        .chain(r.rules.iter().map(|r| &r.settings))
        .collect();
    let has = |f: &dyn Fn(&Settings) -> bool| assert!(all.iter().any(|s| f(s)));
    has(&|s| s.first_byte_ms == Some(30_000));
    has(&|s| s.idle_ms == Some(55_000));
    has(&|s| s.body_limit == Some(10_000_000));
    has(&|s| s.min_rate == Some(1000));
    has(&|s| s.compress == Some(Compress::Off));
    has(&|s| {
        s.request_headers.remove == ["x-debug"] && s.request_headers.set["x-tenant"] == "main"
    });
    has(&|s| s.response_headers.remove == ["server"]);
    has(&|s| s.cache.is_some());
    has(&|s| s.redirect.as_ref().is_some_and(|r| r.status == 301));
    has(&|s| s.rewrite.as_deref() == Some("/v2"));
    has(&|s| s.auth.as_ref().is_some_and(|a| a.realm == "Staff"));
    has(&|s| s.allow == ["203.0.113.0/24", "2001:db8::/32"]);
    has(&|s| {
        s.files
            .as_ref()
            .is_some_and(|f| f.root == "docs/site" && !f.pass)
    });
    has(&|s| s.maintenance == Some(true));
}

#[test]
fn pages_come_from_config_vars() {
    let owner = Said::default();
    let merged = merge(Sources {
        file: None,
        owner: &owner,
        error_page: Some("https://example.org/sorry.html"),
        maintenance_page: Some("file:///etc/passwd"),
    });
    let r = merged.routing();
    assert_eq!(
        r.error_page.as_deref(),
        Some("https://example.org/sorry.html")
    );
    assert_eq!(r.maintenance_page, None);
    assert!(merged.notes.len() == 1 && merged.notes[0].contains(MAINTENANCE_PAGE));
    let (rows, _) = merged.rows(DRAIN, false);
    assert_eq!(
        shown(&rows, "error_page"),
        "https://example.org/sorry.html (config var ERROR_PAGE_URL)"
    );
}

#[test]
fn maintenance_mode_is_shown() {
    let (rows, _) = merged("[routing]\nmaintenance = false", "").rows(DRAIN, true);
    assert_eq!(shown(&rows, "maintenance"), "true (app maintenance:on)");
}

#[test]
fn two_sources_can_make_a_circle() {
    let a = "[[routing.rules]]\npath = '/a'\nredirect = '/b'\n";
    let b = "[[routing.rules]]\npath = '/b'\nredirect = '/a'\n";
    assert_eq!(merged(a, "").endless(), None);
    assert_eq!(merged(a, b).endless().as_deref(), Some("/a → /b → /a"));
}
