//! What load balancers are told: whether this router can serve, whatever the Host header.
//!
//! What it does: answers [`HEALTH_PATH`] and the path of [`Front::health_path`] before any app is looked for, so that a
//! load balancer's `Host: 10.0.0.7:80` never reaches one. 200 when the app that is named has a dyno that takes requests,
//! or, when none is named, when all apps have one that should; 503 with the reason otherwise.
//! Who calls it: the serving threads for each request's path, and `plain` for the listener of its own.
//!
//! "Should": the app has a release that served and is to run. An app that is scaled to zero, was never deployed, or shows
//! its maintenance page on purpose is no reason to take a machine out of service. One that crashes is: another machine
//! may have it running, and where there is none, AWS' load balancers go on with all of them.
//!
//! Everybody can ask. So apps are named only to who named them first; the rest is numbers.

use crate::dyno::Dyno;
use crate::reply::{Own, Reply};
use crate::table::{App, Table};
use hokku_model::AppId;
use hokku_model::route::{AppState, Front, HEALTH_PATH};
use http::{HeaderValue, Method, Response, StatusCode, header};
use std::sync::Arc;

/// Which app is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which<'a> {
    All,
    Id(AppId),
    Name(&'a str),
}

/// The answer, if this path is one of health's; otherwise the request is an app's. `draining`: the router is about to end.
pub(crate) fn answer(
    table: &Table,
    front: &Front,
    draining: bool,
    method: &str,
    path: &str,
    query: Option<&str>,
) -> Option<Reply> {
    // nearly all requests end here
    if path != HEALTH_PATH && Some(path) != front.health_path.as_deref() {
        return None;
    }
    Some(report(table, front, draining, method, query))
}

/// The answer whatever the path: for a listener that serves nothing else.
pub(crate) fn report(
    table: &Table,
    front: &Front,
    draining: bool,
    method: &str,
    query: Option<&str>,
) -> Reply {
    if method != Method::GET.as_str() && method != Method::HEAD.as_str() {
        let mut reply = Response::new(Own::empty());
        *reply.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        let allow = HeaderValue::from_static("GET, HEAD");
        reply.headers_mut().insert(header::ALLOW, allow);
        return reply;
    }
    let named = query.and_then(|q| q.split('&').find_map(|p| p.strip_prefix("app=")));
    let which = match (named, front.health_app) {
        (Some(name), _) => Which::Name(name),
        (None, Some(id)) => Which::Id(id),
        (None, None) => Which::All,
    };
    let (status, said) = judge(table, draining, which);
    let doc = match &said {
        Ok(word) => serde_json::json!({ "status": word, "table": table.version }),
        Err(reason) => {
            serde_json::json!({ "status": "unavailable", "reason": reason, "table": table.version })
        }
    };
    let mut reply = Response::new(Own::Bytes(format!("{doc}\n").into()));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    let kind = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

type Said = Result<&'static str, String>;

fn judge(table: &Table, draining: bool, which: Which<'_>) -> (StatusCode, Said) {
    let down = |reason: String| (StatusCode::SERVICE_UNAVAILABLE, Err(reason));
    if draining {
        return down(
            "the router is about to end: what is in flight finishes, nothing new comes".into(),
        );
    }
    if table.version == 0 {
        return down("the router has no route table yet".into());
    }
    match which {
        Which::All => all(&table.apps),
        Which::Id(id) => match table.apps.iter().find(|a| a.id == id) {
            Some(app) => one(app),
            None => down("the app that health is asked of is not there any more".into()),
        },
        Which::Name(name) => match table.apps.iter().find(|a| a.name.as_str() == name) {
            Some(app) => one(app),
            None => (
                StatusCode::NOT_FOUND,
                Err("there is no app of this name".into()),
            ),
        },
    }
}

fn all(apps: &[Arc<App>]) -> (StatusCode, Said) {
    let due = |a: &&Arc<App>| {
        a.release.is_some() && matches!(a.state, AppState::Running | AppState::Crashed)
    };
    let (wanted, without) = apps
        .iter()
        .filter(due)
        .fold((0, 0), |(wanted, without), app| {
            (wanted + 1, without + usize::from(!has_dyno(app)))
        });
    if without == 0 {
        return (StatusCode::OK, Ok("ok"));
    }
    let reason =
        format!("{without} of {wanted} apps that should run have no dyno that takes requests");
    (StatusCode::SERVICE_UNAVAILABLE, Err(reason))
}

fn one(app: &App) -> (StatusCode, Said) {
    let reason = match app.state {
        // the router answers with a page on purpose; to fail over would show another one
        AppState::Maintenance => return (StatusCode::OK, Ok("maintenance")),
        _ if has_dyno(app) => return (StatusCode::OK, Ok("ok")),
        AppState::Running => "no dyno takes requests yet",
        AppState::Blank => "nothing was deployed yet",
        AppState::Stopped => "it is scaled to zero",
        AppState::Crashed => "its dynos crashed",
    };
    let reason = format!("{}: {reason}", app.name);
    (StatusCode::SERVICE_UNAVAILABLE, Err(reason))
}

fn has_dyno(app: &App) -> bool {
    app.targets.iter().any(|d| is_usable(d))
}

fn is_usable(dyno: &Dyno) -> bool {
    !dyno.is_closed() && !dyno.is_quarantined()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::table::Register;
    use hokku_model::DynoId;
    use hokku_model::route::{AppRoutes, RouteTable, Target};
    use std::time::Duration;

    fn table(apps: &[(&str, AppState, Option<u32>, u32)]) -> Table {
        let apps = apps
            .iter()
            .enumerate()
            .map(|(n, (name, state, release, dynos))| {
                let target = |d: u32| Target {
                    dyno: DynoId((n as u128) << 8 | u128::from(d)),
                    name: "web.1".parse().unwrap(),
                    addr: "127.0.0.1:9".parse().unwrap(),
                };
                let app = AppRoutes {
                    hosts: vec![format!("{name}.test")],
                    release: *release,
                    targets: (0..*dynos).map(target).collect(),
                    ..AppRoutes::new(name.parse().unwrap(), *state)
                };
                (AppId(n as u128), app)
            });
        let routes = RouteTable {
            version: 3,
            apps: apps.collect(),
            ..RouteTable::default()
        };
        Register::new(
            Arc::default(),
            crate::affinity::Key::fresh(),
            Metrics::new(),
        )
        .build(&routes)
    }

    fn ask(table: &Table, front: &Front, query: Option<&str>) -> (u16, serde_json::Value) {
        let reply = answer(table, front, false, "GET", HEALTH_PATH, query).unwrap();
        let Own::Bytes(body) = reply.body() else {
            panic!("a file")
        };
        (
            reply.status().as_u16(),
            serde_json::from_slice(body).unwrap(),
        )
    }

    #[test]
    fn all_apps_that_should_run_need_a_dyno() {
        use AppState::{Blank, Crashed, Maintenance, Running, Stopped};
        let front = Front::default();
        for (apps, status) in [
            (&[][..], 200),
            (
                &[("one", Running, Some(1), 2), ("two", Running, Some(4), 1)],
                200,
            ),
            (
                &[("one", Running, Some(1), 2), ("two", Running, Some(4), 0)],
                503,
            ),
            (
                &[("one", Running, Some(1), 1), ("two", Crashed, Some(4), 0)],
                503,
            ),
            (
                &[("one", Running, Some(1), 1), ("new", Running, None, 0)],
                200,
            ),
            (
                &[("one", Running, Some(1), 1), ("two", Stopped, Some(1), 0)],
                200,
            ),
            (
                &[("one", Blank, None, 0), ("two", Maintenance, Some(1), 0)],
                200,
            ),
        ] {
            let (got, doc) = ask(&table(apps), &front, None);
            assert_eq!(got, status, "{apps:?} {doc}");
            assert_eq!(doc["table"], 3);
        }
        let (_, doc) = ask(&table(&[("secret", Running, Some(1), 0)]), &front, None);
        assert_eq!(
            doc["reason"],
            "1 of 1 apps that should run have no dyno that takes requests"
        );
    }

    #[test]
    fn one_app_is_asked_about_by_name_or_by_the_settings() {
        use AppState::{Maintenance, Running, Stopped};
        let t = table(&[
            ("good", Running, Some(1), 1),
            ("off", Stopped, Some(1), 0),
            ("shut", Maintenance, Some(1), 0),
        ]);
        let front = Front::default();
        assert_eq!(ask(&t, &front, Some("app=good")).0, 200);
        assert_eq!(ask(&t, &front, Some("x=1&app=off")).0, 503);
        assert_eq!(
            ask(&t, &front, Some("app=off")).1["reason"],
            "off: it is scaled to zero"
        );
        assert_eq!(ask(&t, &front, Some("app=shut")).1["status"], "maintenance");
        assert_eq!(ask(&t, &front, Some("app=none")).0, 404);
        let of = |n| Front {
            health_app: Some(AppId(n)),
            ..Front::default()
        };
        assert_eq!([0, 1, 9].map(|n| ask(&t, &of(n), None).0), [200, 503, 503]);
    }

    #[test]
    fn draining_quarantine_and_an_empty_start_say_no() {
        let t = table(&[("one", AppState::Running, Some(1), 1)]);
        let front = Front::default();
        let reply = answer(&t, &front, true, "HEAD", HEALTH_PATH, None).unwrap();
        assert_eq!(reply.status(), 503);
        t.apps[0].targets[0].quarantine(Duration::from_secs(60));
        assert_eq!(ask(&t, &front, None).0, 503);
        t.apps[0].targets[0].release_from_quarantine();
        assert_eq!(ask(&t, &front, None).0, 200);
        t.apps[0].targets[0].close();
        assert_eq!(ask(&t, &front, None).0, 503);
        assert_eq!(ask(&Table::default(), &front, None).0, 503);
    }

    #[test]
    fn only_its_paths_and_methods() {
        let t = table(&[]);
        let front = Front {
            health_path: Some("/ping".into()),
            ..Front::default()
        };
        let status = |method, path| {
            answer(&t, &front, false, method, path, None).map(|r| r.status().as_u16())
        };
        assert_eq!(status("GET", "/ping"), Some(200));
        assert_eq!(status("HEAD", HEALTH_PATH), Some(200));
        assert_eq!(status("POST", "/ping"), Some(405));
        for other in ["/", "/ping/", "/pin", "/.well-known/hokku/release", ""] {
            assert_eq!(status("GET", other), None, "{other}");
        }
    }
}
