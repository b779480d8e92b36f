//! What becomes of a request.

use super::auth::{Check, Known, Passed};
use super::effective::Effective;
use super::target::visible;
use super::{Rules, answer};
use crate::path::{self, with_normal};
use crate::reply::Reply;
use crate::request::Request;
use crate::table::App;
use hokku_model::route::{AppState, HEALTH_PATH};
use hokku_model::routing::Files;
use http::header::AUTHORIZATION;
use http::{HeaderValue, StatusCode};
use std::borrow::Cow;
use std::sync::Arc;

/// ACME's HTTP-01 (RFC 8555, section 8.3) comes over plain HTTP.
const CHALLENGES: &str = "/.well-known/acme-challenge/";

/// What becomes of a request. [`Rules::hsts`] goes into every answer, whatever it is.
pub(crate) enum Decision<'a> {
    /// This is the answer.
    Reply(Reply),
    /// Wait for [`Check::verdict`]; if it passed, [`go_on`].
    Verify(Check),
    /// The page of maintenance mode (H80).
    Maintenance,
    /// A file of a folder.
    Files {
        /// The folder.
        files: &'a Files,
        /// What is looked up in it: still percent-encoded, empty or beginning with a slash, without dot segments.
        rest: Cow<'a, str>,
        /// Settings for the answer; and for the app, where [`Files::pass`] lets it answer.
        otherwise: Forward<'a>,
    },
    /// Ask the app.
    Forward(Forward<'a>),
}

/// How the app is asked.
pub(crate) struct Forward<'a> {
    /// What is in force for the path.
    pub settings: &'a Arc<Effective>,
    /// What the app sees, without the query: as sent, unless it was rewritten or a rule's look at it resolved dot
    /// segments.
    pub path: Cow<'a, str>,
}

/// Decides. Allocates nothing for an app without rules.
pub(crate) fn decide<'a>(app: &'a App, request: &Request<'a>) -> Decision<'a> {
    after(app, request, None)
}

/// Decides about a request whose password was verified by the same app's rules.
pub(crate) fn go_on<'a>(app: &'a App, request: &Request<'a>, passed: &Passed) -> Decision<'a> {
    after(app, request, Some(passed))
}

fn after<'a>(app: &'a App, request: &Request<'a>, passed: Option<&Passed>) -> Decision<'a> {
    let rules: &'a Rules = &app.rules;
    let Some((settings, path)) = rules.settings(request.path) else {
        return Decision::Reply(answer::unclear_path());
    };
    if let Some(allow) = &settings.allow
        && !allow.contains(request.client)
    {
        return Decision::Reply(answer::not_allowed());
    }
    if rules.routing.https_only && !request.https && !is_plain_by_right(app, &path) {
        return Decision::Reply(to_https(request, &path));
    }
    if let (Some(auth), None) = (&settings.auth, passed) {
        match auth.check(request.fields.get(AUTHORIZATION.as_str()), request.client) {
            Known::Passed => {}
            Known::Reply(reply) => return Decision::Reply(reply),
            Known::Verify(check) => return Decision::Verify(check),
        }
    }
    if app.state == AppState::Maintenance || settings.maintenance {
        return Decision::Maintenance;
    }
    if let Some(redirect) = &settings.redirect
        && let Some(location) = redirect.location(&path, request.query)
    {
        return Decision::Reply(answer::redirect(redirect.status, location));
    }
    let rewritten = settings.rewrite.as_ref().map(|r| r.apply(&path));
    let rest = settings.files.as_ref().map(|f| (&f.files, f.rest(&path)));
    let forward = Forward {
        settings,
        path: rewritten.map_or(path, Cow::Owned),
    };
    match rest {
        Some((files, rest)) => Decision::Files {
            files,
            rest,
            otherwise: forward,
        },
        None => Decision::Forward(forward),
    }
}

impl Rules {
    /// The settings of a path, and the path with its dot segments resolved. Nothing when it can be read in several ways.
    pub(super) fn settings<'a>(
        &'a self,
        path: &'a str,
    ) -> Option<(&'a Arc<Effective>, Cow<'a, str>)> {
        if !self.by_path {
            return Some((&self.root, Cow::Borrowed(path)));
        }
        with_normal(path, |n| {
            let path = if n.dots {
                Cow::Owned(path::without_dots(path))
            } else {
                Cow::Borrowed(path)
            };
            let settings = self.below.find(n.text).unwrap_or(&self.root);
            (!n.unclear).then_some((settings, path))
        })
    }
}

fn is_plain_by_right(app: &App, path: &str) -> bool {
    let token = |t: &str| {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        !t.is_empty() && t.bytes().all(fits)
    };
    path == HEALTH_PATH
        || Some(path) == app.health_path.as_deref()
        || path.strip_prefix(CHALLENGES).is_some_and(token)
}

fn to_https(request: &Request<'_>, path: &str) -> Reply {
    // "*" is what OPTIONS asks of a whole server
    let path = if path.starts_with('/') { path } else { "/" };
    let mut to = format!("https://{}{}", request.host, visible(path));
    if let Some(query) = request.query {
        to.push('?');
        to.push_str(&visible(query));
    }
    match HeaderValue::try_from(to) {
        Ok(location) => answer::redirect(StatusCode::PERMANENT_REDIRECT, location),
        // a host that cannot stand in a header was not routed here
        Err(_) => answer::unclear_path(),
    }
}
