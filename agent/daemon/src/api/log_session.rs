//! Log sessions: a request makes a link, and the link is read without a token.

use super::{
    ApiState,
    fault::{Fault, Result},
    input::Input,
    link::To,
    output::Base,
    view,
};
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use hokku_model::{
    Micros,
    api::{LogSession, LogSessionRequest},
    log::{LogFilter, LogLine},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::{convert::Infallible, time::Duration};

/// Lines given when nobody says how many, and at most (Heroku keeps 1500).
const USUAL: u32 = 100;
const MOST: u32 = 1500;

/// Seconds a link holds: a tail comes back to it after each break of its connection.
const ONCE: i64 = 300;
const TAIL: i64 = 24 * 3600;

/// A comment is sent after so much silence, so that no proxy on the way closes the connection.
const SILENCE: Duration = Duration::from_secs(20);

pub(super) async fn create(
    State(state): State<ApiState>,
    Path(app): Path<String>,
    Base(base): Base,
    Input(body): Input<LogSessionRequest>,
) -> Result<(StatusCode, Json<LogSession>)> {
    let app = state.ops.find_app(&app).await?;
    let tail = body.tail.unwrap_or(false);
    for (name, text) in [("dyno", &body.dyno), ("source", &body.source)] {
        if text.as_ref().is_some_and(|t| t.len() > 100) {
            return Err(Fault::invalid(format!(
                "The field {name:?} is too long: it names a dyno, a process type or a source."
            )));
        }
    }
    let to = To::Logs {
        app: app.id,
        dyno: body.dyno.filter(|d| !d.is_empty()),
        source: body.source.filter(|s| !s.is_empty()),
        lines: body.lines.unwrap_or(USUAL).min(MOST) as usize,
        tail,
    };
    let link = state.links.seal(to, if tail { TAIL } else { ONCE })?;
    let now = view::time(Micros::now());
    let session = LogSession {
        created_at: now.clone(),
        id: uuid::Uuid::new_v4().to_string(),
        logplex_url: format!("{base}/hokku/streams/{link}"),
        updated_at: now,
    };
    Ok((StatusCode::CREATED, Json(session)))
}

/// What a log link leads to, checked.
pub(super) struct Session {
    pub app: hokku_model::AppId,
    pub filter: LogFilter,
    pub lines: usize,
    pub tail: bool,
}

/// Answers a log link: server-sent events where they are asked for, plain lines else.
pub(super) async fn open(
    state: &ApiState,
    session: Session,
    headers: &HeaderMap,
) -> Result<Response> {
    state.ops.app(session.app).await?;
    let events = headers
        .get(header::ACCEPT)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|v| v.contains("text/event-stream"));
    let seen = headers
        .get("last-event-id")
        .and_then(|v| v.to_str().ok())
        .and_then(Seen::parse);
    // who comes back gets what was missed, as far as it is kept
    let lines = if seen.is_some() {
        MOST as usize
    } else {
        session.lines
    };
    let logs = state.control.logs();
    let rx = if session.tail {
        logs.tail(session.app, lines, session.filter).await
    } else {
        let recent = logs.recent(session.app, lines, session.filter).await;
        let (tx, rx) = tokio::sync::mpsc::channel(recent.len().max(1));
        for line in recent {
            let _ = tx.try_send(line);
        }
        rx
    };
    let mut count = Count::default();
    let lines = stream::unfold(rx, |mut rx| async move { Some((rx.recv().await?, rx)) });
    let (kind, body) = if events {
        let lines = lines.filter_map(move |line| {
            let id = count.next(&line);
            let old = seen.as_ref().is_some_and(|s| id.is_until(s));
            std::future::ready((!old).then(|| event(&id, &line)))
        });
        // a client that was sent everything waits this many milliseconds before it asks again, or ends
        let retry = stream::iter([Bytes::from_static(b"retry: 1\n\n")]);
        let body = Body::from_stream(ok(retry.chain(alive(lines, SILENCE))));
        ("text/event-stream; charset=utf-8", body)
    } else {
        let lines = lines.map(|line| Bytes::from(format!("{line}\n")));
        ("text/plain; charset=utf-8", Body::from_stream(ok(lines)))
    };
    let mut answer = body.into_response();
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // nginx in front must not gather lines
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(answer)
}

fn ok<S: Stream<Item = Bytes>>(s: S) -> impl Stream<Item = std::result::Result<Bytes, Infallible>> {
    s.map(Ok)
}

/// Puts a comment into every long silence.
fn alive(
    events: impl Stream<Item = Bytes> + Send,
    silence: Duration,
) -> impl Stream<Item = Bytes> + Send {
    stream::unfold(Box::pin(events), move |mut events| async move {
        match tokio::time::timeout(silence, events.next()).await {
            Ok(event) => Some((event?, events)),
            Err(_) => Some((Bytes::from_static(b": keep-alive\n\n"), events)),
        }
    })
}

fn event(id: &Seen, line: &LogLine) -> Bytes {
    // a carriage return would end the line of the event
    let text = line.to_string().replace('\r', " ");
    Bytes::from(format!("id: {}/{}\ndata: {text}\n\n", id.time, id.nth))
}

/// The id of an event: the line's time, and which of the lines of that time it is.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    time: String,
    nth: usize,
}

impl Seen {
    fn parse(text: &str) -> Option<Seen> {
        let (time, nth) = text.rsplit_once('/')?;
        Some(Seen {
            time: time.to_owned(),
            nth: nth.parse().ok()?,
        })
    }

    fn is_until(&self, last: &Seen) -> bool {
        (self.time.as_str(), self.nth) <= (last.time.as_str(), last.nth)
    }
}

#[derive(Default)]
struct Count {
    time: String,
    nth: usize,
}

impl Count {
    fn next(&mut self, line: &LogLine) -> Seen {
        if self.time == line.time {
            self.nth += 1;
        } else {
            (self.time, self.nth) = (line.time.clone(), 0);
        }
        Seen {
            time: self.time.clone(),
            nth: self.nth,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(time: &str, text: &str) -> LogLine {
        LogLine {
            time: time.into(),
            source: "app".into(),
            dyno: "web.1".into(),
            text: text.into(),
        }
    }

    #[test]
    fn events_have_ids_to_resume_by() {
        let mut count = Count::default();
        let ids: Vec<_> = ["t1", "t1", "t2"].map(|t| count.next(&line(t, ""))).into();
        let text = String::from_utf8(event(&ids[1], &line("t1", "50%\r100%")).to_vec()).unwrap();
        assert_eq!(text, "id: t1/1\ndata: t1 app[web.1]: 50% 100%\n\n");
        let last = Seen::parse("t1/1").unwrap();
        let old: Vec<_> = ids.iter().map(|i| i.is_until(&last)).collect();
        assert_eq!(old, [true, true, false]);
        assert_eq!(Seen::parse("x"), None);
    }

    #[tokio::test]
    async fn silence_is_filled() {
        let never = stream::pending::<Bytes>();
        let got: Vec<_> = alive(never, Duration::from_millis(1))
            .take(2)
            .collect()
            .await;
        assert_eq!(got[1], ": keep-alive\n\n");
    }
}
