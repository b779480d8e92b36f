//! What becomes of a request before a dyno is chosen: the router answers by itself, or it is sent on, and how.

use crate::compress::{self, Asked};
use crate::files::{self, Served};
use crate::reply::Reply;
use crate::request::Request;
use crate::rules::{self, Check, Forward, Passed};
use crate::table::App;
use crate::thread::Ctx;
use hokku_model::code::{self, Code};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use std::sync::Arc;

/// What is to be done with a request.
pub(crate) enum Decision {
    /// The router answers by itself; compression saved so many bytes of it.
    Reply(Reply, u64),
    /// The router answers with a code's page.
    Refuse(Code),
    /// A password is to be verified first; then [`go_on`].
    Verify(Check),
    /// It is sent to the app.
    Forward(Effective),
}

/// How a request is sent on.
#[derive(Clone)]
pub(crate) struct Effective {
    /// The app.
    pub app: Arc<App>,
    /// What is in force for the path.
    pub settings: Arc<rules::Effective>,
    /// What the app sees in place of the request's target; begins with `/`.
    pub target: Option<String>,
}

/// Decides about one request. Replaced in tests.
pub(crate) type Decider = fn(&Ctx, &Arc<App>, &Request<'_>) -> Decision;

/// The router's own way.
pub(crate) fn decide(ctx: &Ctx, app: &Arc<App>, request: &Request<'_>) -> Decision {
    carry_out(ctx, app, request, rules::decide(app, request))
}

/// Decides about a request whose password was verified.
pub(crate) fn go_on(ctx: &Ctx, app: &Arc<App>, request: &Request<'_>, passed: &Passed) -> Decision {
    carry_out(ctx, app, request, rules::go_on(app, request, passed))
}

fn carry_out(
    ctx: &Ctx,
    app: &Arc<App>,
    request: &Request<'_>,
    decided: rules::Decision<'_>,
) -> Decision {
    match decided {
        rules::Decision::Reply(reply) => Decision::Reply(reply, 0),
        rules::Decision::Verify(check) => Decision::Verify(check),
        rules::Decision::Maintenance => Decision::Refuse(code::H80),
        rules::Decision::Forward(forward) => Decision::Forward(send_on(app, request, &forward)),
        rules::Decision::Files {
            files,
            rest,
            otherwise,
        } => match files::serve(&mut ctx.roots.borrow_mut(), files, &rest, request) {
            Served::Reply(reply) => {
                let (reply, saved) = finish(ctx, request, otherwise.settings, reply);
                Decision::Reply(reply, saved)
            }
            Served::Pass => Decision::Forward(send_on(app, request, &otherwise)),
            Served::Fail(code) => Decision::Refuse(code),
        },
    }
}

fn send_on(app: &Arc<App>, request: &Request<'_>, forward: &Forward<'_>) -> Effective {
    let target = (forward.path != request.path).then(|| match request.query {
        Some(query) => format!("{}?{query}", forward.path),
        None => forward.path.to_string(),
    });
    Effective {
        app: app.clone(),
        settings: forward.settings.clone(),
        target,
    }
}

/// Gives a file's answer what the path's settings say of answers, and compresses it.
fn finish(
    ctx: &Ctx,
    request: &Request<'_>,
    settings: &rules::Effective,
    mut reply: Reply,
) -> (Reply, u64) {
    let status = reply.status().as_u16();
    let headers = reply.headers_mut();
    if let Some(cache) = settings.cache_control(status)
        && !headers.contains_key(header::CACHE_CONTROL)
    {
        headers.insert(header::CACHE_CONTROL, cache.clone());
    }
    settings.response_headers.apply(headers);
    let method = if request.method == "HEAD" {
        Method::HEAD
    } else {
        Method::GET
    };
    let asked = Asked::of(&method, &told(request));
    let mut press = ctx.press.borrow_mut();
    compress::own(&mut press, &asked, settings.compress, reply)
}

/// What a request says about the encoding of its answer.
fn told(request: &Request<'_>) -> HeaderMap {
    let names: [HeaderName; 3] = [
        header::ACCEPT_ENCODING,
        header::CACHE_CONTROL,
        header::IF_NONE_MATCH,
    ];
    let value = |n: HeaderName| {
        let value = request.fields.get(n.as_str())?;
        Some((n, HeaderValue::from_bytes(value).ok()?))
    };
    names.into_iter().filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Own;
    use bytes::Bytes;
    use hokku_model::route::{AppRoutes, AppState, RouteTable, Target};
    use hokku_model::routing::{HeaderEdits, PathRule, Routing, Settings};
    use hokku_model::{AppId, DynoId};
    use std::io::{Read, Write};
    use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

    fn edits(set: &[(&str, &str)], remove: &[&str]) -> HeaderEdits {
        HeaderEdits {
            set: set
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            remove: remove.iter().map(|r| (*r).to_owned()).collect(),
        }
    }

    fn by_path(ctx: &Ctx, app: &Arc<App>, request: &Request<'_>) -> Decision {
        let (host, at) = (request.host, request.client.is_loopback());
        assert_eq!((host, at, request.https), ("a.test", true, false));
        assert_eq!(request.fields.get("user-agent"), Some(&b"test"[..]));
        match request.path {
            "/own" => Decision::Reply(
                http::Response::builder()
                    .status(418)
                    .header("x-a", "1")
                    .body(Own::Bytes(Bytes::from(format!(
                        "{} {:?}",
                        request.method, request.query
                    ))))
                    .unwrap(),
                0,
            ),
            "/file" => {
                let mut file = tempfile::tempfile().unwrap();
                file.write_all(&b"0123456789".repeat(100_000)).unwrap();
                Decision::Reply(
                    http::Response::new(Own::File {
                        file: Arc::new(file),
                        offset: 5,
                        len: 900_000,
                    }),
                    0,
                )
            }
            "/short" => Decision::Reply(
                http::Response::new(Own::File {
                    file: Arc::new(tempfile::tempfile().unwrap()),
                    offset: 0,
                    len: 10,
                }),
                0,
            ),
            "/empty" => Decision::Reply(
                http::Response::builder()
                    .status(304)
                    .body(Own::empty())
                    .unwrap(),
                0,
            ),
            _ => decide(ctx, app, request),
        }
    }

    /// Says what it was asked.
    fn backend() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut text = vec![0; 65536];
                let n = stream.read(&mut text).unwrap();
                let head = "HTTP/1.1 200 OK\r\nServer: secret\r\nX: y\r\nConnection: close\r\n\r\n";
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(&text[..n]).unwrap();
            }
        });
        addr
    }

    #[test]
    fn decisions_are_carried_out() {
        let dir = tempfile::tempdir().unwrap();
        let app = AppRoutes {
            hosts: vec!["a.test".into()],
            targets: vec![Target {
                dyno: DynoId(1),
                name: "web.1".parse().unwrap(),
                addr: backend().into(),
            }],
            routing: Routing {
                settings: Settings {
                    request_headers: edits(&[("x-env", "live")], &["user-agent"]),
                    response_headers: edits(&[("x-frame-options", "DENY")], &["server"]),
                    cache: Some("max-age=60".into()),
                    ..Settings::default()
                },
                rules: vec![PathRule {
                    path: "/x".into(),
                    settings: Settings {
                        rewrite: Some("/rewritten".into()),
                        ..Settings::default()
                    },
                }],
                ..Routing::default()
            },
            ..AppRoutes::new("app".parse().unwrap(), AppState::Running)
        };
        let table = RouteTable {
            version: 1,
            apps: [(AppId(1), app)].into(),
            ..RouteTable::default()
        };
        let file = |name: &str| dir.path().join(name);
        std::fs::write(file("routes.json"), serde_json::to_vec(&table).unwrap()).unwrap();
        let mut config = crate::Config::new(file("socket"), file("routes.json"), file("logs"));
        config.listen = vec!["127.0.0.1:0".parse().unwrap()];
        config.limits.stop = std::time::Duration::from_millis(200);
        let router = crate::start_deciding(config, by_path).unwrap();
        let ask = |first: &str| {
            let mut c = TcpStream::connect(router.listen()[0]).unwrap();
            let text = format!(
                "{first} HTTP/1.1\r\nHost: a.test\r\nUser-Agent: test\r\nConnection: close\r\n\r\n"
            );
            c.write_all(text.as_bytes()).unwrap();
            let mut all = Vec::new();
            c.read_to_end(&mut all).unwrap();
            // the other side is gone already, or not
            let _ = c.shutdown(Shutdown::Both);
            String::from_utf8(all).unwrap()
        };
        let own = ask("GET /own?q=1");
        assert!(
            own.starts_with("HTTP/1.1 418 I'm a teapot\r\nx-a: 1\r\ncontent-length: 15\r\n"),
            "{own}"
        );
        assert!(own.ends_with("\r\n\r\nGET Some(\"q=1\")"), "{own}");
        let own = ask("HEAD /own");
        assert!(
            own.contains("content-length: 9\r\n") && own.ends_with("\r\n\r\n"),
            "{own}"
        );

        let file = ask("GET /file");
        let (head, body) = file.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("content-length: 900000"), "{head}");
        assert!(body.len() == 900_000 && body.starts_with("5678901234"));
        let file = ask("HEAD /file");
        assert!(
            file.contains("content-length: 900000\r\n") && file.ends_with("\r\n\r\n"),
            "{file}"
        );
        let short = ask("GET /short");
        assert!(
            short.contains("content-length: 10\r\n") && short.ends_with("\r\n\r\n"),
            "broken off"
        );
        let empty = ask("GET /empty");
        assert!(
            empty.starts_with("HTTP/1.1 304 Not Modified\r\n") && !empty.contains("content-length"),
            "{empty}"
        );

        let edited = ask("GET /x?yes");
        let (head, seen) = edited.split_once("\r\n\r\n").unwrap();
        // the first line is the size of a chunk
        let (_, seen) = seen.split_once("\r\n").unwrap();
        assert!(
            seen.starts_with("GET /rewritten?yes HTTP/1.1\r\nHost: a.test\r\nx-env: live\r\n"),
            "{seen}"
        );
        assert!(!seen.contains("User-Agent"), "{seen}");
        assert!(
            head.contains("\r\nX: y\r\nx-frame-options: DENY\r\ncache-control: max-age=60\r\n"),
            "{head}"
        );
        assert!(!head.contains("secret"), "{head}");
        router.stop();
    }
}
