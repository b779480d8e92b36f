//! Who asks: root and the agent's own user on the Unix socket, else the holder of a token.

use super::{ApiState, fault::Fault};
use crate::ops::Actor;
use axum::{
    Extension,
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::Engine;
use http::{HeaderMap, StatusCode, header};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::net::unix::UCred;

/// Where a request over TCP came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remote(pub IpAddr);

/// Slows down those who try tokens: each wrong one costs its sender more time, up to two seconds, until a minute has
/// passed without one. Right tokens are never delayed.
#[derive(Default)]
pub(super) struct Doorman {
    wrong: Mutex<HashMap<Option<IpAddr>, (u32, Instant)>>,
}

const FORGET: Duration = Duration::from_secs(60);
const MOST_DELAY: Duration = Duration::from_secs(2);
const MOST_REMEMBERED: usize = 4096;

impl Doorman {
    /// Notes a wrong token and says how long its sender has to wait.
    fn note(&self, from: Option<IpAddr>, now: Instant) -> Duration {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.len() >= MOST_REMEMBERED {
            wrong.retain(|_, (_, last)| now.duration_since(*last) < FORGET);
            if wrong.len() >= MOST_REMEMBERED {
                return MOST_DELAY;
            }
        }
        let entry = wrong.entry(from).or_insert((0, now));
        if now.duration_since(entry.1) >= FORGET {
            entry.0 = 0;
        }
        *entry = (entry.0.saturating_add(1), now);
        (Duration::from_millis(50) * 2u32.pow(entry.0.min(10) - 1)).min(MOST_DELAY)
    }
}

/// Puts the [`Actor`] into the request where there is one. A token that is wrong is refused at once, whatever it was
/// meant for.
pub(super) async fn recognise(
    State(state): State<ApiState>,
    mut request: Request,
    next: Next,
) -> Response {
    let trusted = request
        .extensions()
        .get::<UCred>()
        .is_some_and(|peer| peer.uid() == 0 || peer.uid() == nix::unistd::geteuid().as_raw());
    let actor = match token(request.headers()) {
        Some(token) => match state.ops.verify_token(&token).await {
            Ok(Some(user)) => Some(Actor::new(user)),
            Ok(None) => {
                let from = request.extensions().get::<Remote>().map(|r| r.0);
                let wait = state.doorman.note(from, Instant::now());
                tokio::time::sleep(wait).await;
                return refuse(
                    request.uri().path(),
                    "Invalid credentials provided: this token is not known here, or was revoked.",
                );
            }
            Err(e) => return Fault::from(e).into_response(),
        },
        None => trusted.then(Actor::root),
    };
    if let Some(actor) = actor {
        request.extensions_mut().insert(actor);
    }
    next.run(request).await
}

/// Lets nobody pass who is not known.
pub(super) async fn require(
    actor: Option<Extension<Actor>>,
    request: Request,
    next: Next,
) -> Response {
    match actor {
        Some(_) => next.run(request).await,
        None => refuse(
            request.uri().path(),
            "Invalid credentials provided: send an API token, as Bearer or as the password of Basic.",
        ),
    }
}

fn refuse(path: &str, message: &str) -> Response {
    let mut answer = Fault::new(StatusCode::UNAUTHORIZED, message).into_response();
    // git asks its user again only when it is told so
    let scheme = if path.contains(".git/") {
        "Basic realm=\"hokku: any user name, an API token as password\""
    } else {
        "Bearer realm=\"hokku\""
    };
    answer.headers_mut().insert(
        header::WWW_AUTHENTICATE,
        http::HeaderValue::from_static(scheme),
    );
    answer
}

/// The token of `Bearer <token>`, or the password of `Basic`; the user name there may be anything.
fn token(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let plain = base64::engine::general_purpose::STANDARD
        .decode(rest)
        .ok()
        .and_then(|b| String::from_utf8(b).ok())
        .unwrap_or_default();
    Some(
        plain
            .split_once(':')
            .map_or(plain.clone(), |(_, p)| p.to_owned()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_in_three_dresses() {
        let of = |v: &str| {
            let mut h = HeaderMap::new();
            h.insert(header::AUTHORIZATION, v.parse().unwrap());
            token(&h)
        };
        let b64 = |s: &str| base64::engine::general_purpose::STANDARD.encode(s);
        assert_eq!(of("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(
            of(&format!("Basic {}", b64(":abc"))).as_deref(),
            Some("abc")
        );
        assert_eq!(
            of(&format!("basic {}", b64("a@b:abc"))).as_deref(),
            Some("abc")
        );
        assert_eq!(of("Basic %%%").as_deref(), Some(""));
        assert_eq!(of("Digest x"), None);
    }

    #[test]
    fn wrong_tokens_cost_more_and_more_time_until_a_quiet_minute() {
        let door = Doorman::default();
        let (a, b) = (Some([1, 2, 3, 4].into()), Some([1, 2, 3, 5].into()));
        let now = Instant::now();
        assert_eq!(door.note(a, now), Duration::from_millis(50));
        assert_eq!(door.note(a, now), Duration::from_millis(100));
        assert_eq!(door.note(b, now), Duration::from_millis(50));
        for _ in 0..1000 {
            door.note(a, now);
        }
        assert_eq!(door.note(a, now), MOST_DELAY);
        assert_eq!(door.note(a, now + FORGET), Duration::from_millis(50));
    }
}
