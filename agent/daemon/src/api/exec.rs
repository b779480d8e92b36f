//! The WebSocket of `app ps:exec`: a command inside a dyno that runs. The client's first message says which.

use super::{
    ApiState, attach, dyno,
    fault::{Fault, Result},
};
use crate::{control::DynoView, ops::Actor, sys::boot};
use axum::{
    Extension,
    extract::{
        Path, State,
        ws::{Message, WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    response::Response,
};
use futures_util::{SinkExt, StreamExt};
use hokku_model::{
    AppId,
    api::AttachMessage,
    exec::{ExecOrder, ExecRequest},
};
use http::StatusCode;
use std::time::Duration;
use tokio::time::timeout;

/// The client has this long to say what it wants.
const FIRST_WORDS: Duration = Duration::from_secs(20);

/// From the client's hang-up to SIGKILL: Heroku's grace for every stop.
const GRACE_MS: u64 = 30_000;

/// Characters of a command that the app's log gets.
const SHOWN: usize = 100;

/// The most rows or columns of a terminal.
const MOST_CELLS: u16 = 4096;

pub(super) async fn open(
    State(state): State<ApiState>,
    Extension(actor): Extension<Actor>,
    Path((app, which)): Path<(String, String)>,
    socket: std::result::Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response> {
    let app = state.ops.find_app(&app).await?;
    let found = dyno::find(&state, &app, &which).await?;
    let dyno = choose(found)?;
    let socket = socket.map_err(|_| {
        let text = "To run a command in a dyno, open this path as a WebSocket.";
        Fault::new(StatusCode::UPGRADE_REQUIRED, text)
    })?;
    let serve = move |socket| serve(state, app.id, actor, dyno, socket);
    Ok(socket
        .max_message_size(attach::MAX_MESSAGE)
        .max_frame_size(attach::MAX_MESSAGE)
        .on_upgrade(serve))
}

/// Of the dynos of one name, the one of the newest release that runs; one that is up before one that starts.
fn choose(mut dynos: Vec<DynoView>) -> Result<DynoView> {
    dynos.sort_by_key(|d| (d.pid != 0, d.state == "up", d.record.version));
    match dynos.pop() {
        Some(d) if d.pid != 0 => Ok(d),
        Some(d) => Err(Fault::new(
            StatusCode::CONFLICT,
            format!(
                "{} does not run ({}), so no command can be run in it. {}",
                d.record.name, d.state, d.why
            ),
        )),
        None => Err(Fault::not_found("dyno", "There is no such dyno.")),
    }
}

async fn serve(state: ApiState, app: AppId, actor: Actor, dyno: DynoView, mut socket: WebSocket) {
    let Ok(Some(Ok(Message::Text(text)))) = timeout(FIRST_WORDS, socket.recv()).await else {
        return;
    };
    let started = match serde_json::from_str(text.as_str()) {
        Ok(AttachMessage::Exec { order }) => {
            let shown = shown(&order);
            match order_of(order) {
                Ok(order) => match state.control.exec(dyno.record.id, &order).await {
                    Ok(conn) => Ok((conn, shown)),
                    Err(e) => Err(format!("{e:#}")),
                },
                Err(text) => Err(text),
            }
        }
        _ => Err("The first message has to say what to run.".into()),
    };
    let first = match &started {
        Ok(_) => AttachMessage::Started,
        Err(text) => AttachMessage::Refused { text: text.clone() },
    };
    let Ok(first) = serde_json::to_string(&first) else {
        return;
    };
    let (mut to_client, from_client) = socket.split();
    if to_client.send(Message::Text(first.into())).await.is_err() {
        return;
    }
    match started {
        Ok((conn, shown)) => {
            let name = &dyno.record.name;
            let line = format!("Running `{shown}` in {name} by user {}", actor.user);
            state.note(app, &line);
            attach::carry(to_client, from_client, conn).await;
        }
        Err(_) => {
            let _ = to_client.send(Message::Close(None)).await;
        }
    }
}

/// The command for the app's log: its beginning, on one line.
fn shown(request: &ExecRequest) -> String {
    let whole = match &request.argv {
        Some(argv) => shell_words::join(argv),
        None => request.command.clone(),
    };
    let line = whole.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut shown: String = line.take(SHOWN).collect();
    if whole.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

fn order_of(request: ExecRequest) -> std::result::Result<ExecOrder, String> {
    let words = match request.argv {
        Some(argv) if argv.first().is_none_or(String::is_empty) => {
            return Err("The field \"argv\" names no program: its first word is missing.".into());
        }
        Some(argv) if request.bare => argv,
        Some(argv) => boot::argv(argv),
        None if request.command.trim().is_empty() => {
            return Err("Say what to run, in the field \"command\".".into());
        }
        None if request.bare => ["bash", "-c"]
            .map(String::from)
            .into_iter()
            .chain([request.command])
            .collect(),
        None => boot::line(request.command),
    };
    let cells = |n: u16| n.clamp(1, MOST_CELLS);
    let order = ExecOrder {
        argv: words,
        env: request.env.into_iter().collect(),
        pty: request.tty.map(|(rows, cols)| (cells(rows), cells(cols))),
        grace_ms: GRACE_MS,
        check: false,
    };
    order.fault().map_or(Ok(order), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_becomes_an_order_or_is_refused_in_words() {
        let of = |r: ExecRequest| order_of(r).map(|o| o.argv);
        let argv = |words: &[&str], bare| ExecRequest {
            argv: Some(words.iter().map(|w| (*w).into()).collect()),
            bare,
            ..ExecRequest::default()
        };
        assert_eq!(of(argv(&["ls", "a b"], true)).unwrap(), ["ls", "a b"]);
        assert_eq!(
            of(argv(&["ls", "a b"], false)).unwrap()[4..],
            ["argv", "ls", "a b"]
        );
        let line = ExecRequest {
            command: "ls | wc".into(),
            tty: Some((0, 60_000)),
            ..ExecRequest::default()
        };
        let order = order_of(line).unwrap();
        assert_eq!(order.argv[4..], ["line", "ls | wc"]);
        assert_eq!((order.pty, order.check), (Some((1, MOST_CELLS)), false));
        assert_eq!(shown(&argv(&["a\nb"], true)), "'a b'");
        assert_eq!(
            shown(&argv(&["x".repeat(200).as_str()], true))
                .chars()
                .count(),
            SHOWN + 1
        );
        assert!(of(ExecRequest::default()).unwrap_err().contains("command"));
        assert!(of(argv(&[], true)).unwrap_err().contains("argv"));
        assert!(of(argv(&["a\0"], true)).unwrap_err().contains("NUL"));
        let mut bad = argv(&["ls"], true);
        bad.env.insert("A=B".into(), "1".into());
        assert!(of(bad).unwrap_err().contains("A=B"));
    }
}
