//! What may be pushed: git's hook asks here before a ref moves.

use super::{
    Git, Push, Refused, child,
    frames::Frame,
    hook::GIT_ENV,
    repository,
    tunnel::{Peer, whose},
};
use crate::control::{PushMessage, PushOrder};
use ::http::{HeaderMap, StatusCode};
use axum::{
    Extension,
    body::{Body, Bytes},
    extract::State,
    response::{IntoResponse, Response},
};
use futures_util::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use tokio::{net::unix::UCred, sync::mpsc};

/// Carries the one-time secret of the push.
pub(super) const PUSH_HEADER: &str = "hokku-push";

/// Bytes of the hook's question.
const MAX_QUESTION: usize = 32 << 20;

/// What the hook asks.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HookRequest {
    /// The refs that the push is about to move.
    pub refs: Vec<PushedRef>,
    /// Git's variables, which lead to the pushed objects.
    pub env: Vec<(String, String)>,
}

/// One ref of a push.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct PushedRef {
    /// 40 zeros when it is new.
    pub old: String,
    /// 40 zeros when it is deleted.
    pub new: String,
    /// `refs/heads/main`
    pub name: String,
}

/// What becomes of a push.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// Build this commit; this deploy branch moves if it serves.
    Build { commit: String, branch: String },
    /// Take it, and say so.
    Take,
    /// Refuse it: the reason, in lines.
    Refuse(String),
}

/// 256 random bits as hex.
///
/// # Errors
/// The kernel gives none.
pub(super) fn secret() -> Result<String, Refused> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|e| Refused::internal(&anyhow::anyhow!("no random bytes: {e}")))?;
    Ok(data_encoding::HEXLOWER.encode(&bytes))
}

/// Judges a push: one deploy branch is built, none is deleted, the rest is taken as it is. All or nothing, as git's
/// pre-receive hook is. The second part is what to say beforehand.
fn judge(refs: &[PushedRef], deploy_branches: &[String]) -> (Verdict, String) {
    let gone = |r: &PushedRef| r.new.bytes().all(|b| b == b'0');
    let deploy = |r: &PushedRef| {
        r.name
            .strip_prefix("refs/heads/")
            .filter(|b| deploy_branches.iter().any(|d| d == b))
            .map(str::to_owned)
    };
    let named: Vec<(&PushedRef, String)> = refs
        .iter()
        .filter_map(|r| Some((r, deploy(r)?)))
        .collect();
    let first = deploy_branches.first().map_or("main", String::as_str);
    let skipped = format!("Pushed to non-{first} branch, skipping build.\n");
    if let Some((_, branch)) = named.iter().find(|(r, _)| gone(r)) {
        let why = format!(
            "The branch {branch} is what is deployed from, so it can't be deleted.\n\
             To stop the app, scale it to zero; to remove it, destroy it.\n"
        );
        return (Verdict::Refuse(why), String::new());
    }
    match named.as_slice() {
        [] => (
            Verdict::Take,
            if refs.iter().all(gone) { String::new() } else { skipped },
        ),
        [(r, branch)] => {
            let also = refs
                .iter()
                .any(|o| o != *r && o.name.starts_with("refs/heads/") && !gone(o));
            (
                Verdict::Build {
                    commit: r.new.clone(),
                    branch: branch.clone(),
                },
                if also { skipped } else { String::new() },
            )
        }
        several => {
            let names: Vec<_> = several.iter().map(|(_, b)| b.as_str()).collect();
            let why = format!(
                "This push moves {} at once, and each of them is deployed from.\nPush one of them.\n",
                names.join(" and ")
            );
            (Verdict::Refuse(why), String::new())
        }
    }
}

pub(super) async fn pre_receive(
    State(git): State<Git>,
    peer: Option<Extension<UCred>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let forbidden = || {
        Refused::new(
            StatusCode::FORBIDDEN,
            "The agent does not know this push. Push through the agent, over HTTP or SSH",
        )
    };
    if !peer.is_some_and(|Extension(p)| whose(git.config(), &p) == Peer::Trusted) {
        return Err(forbidden());
    }
    let push = headers
        .get(PUSH_HEADER)
        .and_then(|v| v.to_str().ok())
        .and_then(|secret| git.lock().remove(secret))
        .ok_or_else(forbidden)?;
    let body = axum::body::to_bytes(body, MAX_QUESTION)
        .await
        .map_err(|_| Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "This push has too many refs"))?;
    let mut asked: HookRequest = serde_json::from_slice(&body)
        .map_err(|e| Refused::new(StatusCode::BAD_REQUEST, format!("Not a hook's question: {e}")))?;
    asked.env.retain(|(k, _)| GIT_ENV.contains(&k.as_str()));
    let (verdict, intro) = judge(&asked.refs, &git.config().deploy_branches);
    let intro = stream::iter((!intro.is_empty()).then(|| Frame::Output(intro.into())));
    let frames = match verdict {
        Verdict::Take => intro.chain(stream::iter([Frame::End(0)])).boxed(),
        Verdict::Refuse(why) => intro.chain(refusal(&why, &push)).boxed(),
        Verdict::Build { commit, branch } => match child::object_type(&git, &asked.env, &commit).await {
            Ok(kind) if kind == "commit" => {
                let order = PushOrder {
                    app: push.app,
                    user: push.user.clone(),
                    commit,
                    repository: push.repository.clone(),
                    git_env: asked.env,
                };
                let messages = git.inner.control.push(order).await;
                intro.chain(follow(messages, push, branch)).boxed()
            }
            Ok(kind) => {
                let why = format!(
                    "What was pushed to {branch} is a {kind}, not a commit.\n\
                     Push the commit behind it: git push <remote> '<name>^{{}}:{branch}'\n"
                );
                intro.chain(refusal(&why, &push)).boxed()
            }
            Err(e) => return Err(Refused::internal(&e)),
        },
    };
    let body = frames.map(|f| Ok::<Bytes, Infallible>(f.encode()));
    Ok(Body::from_stream(body).into_response())
}

/// The lines that Heroku's scripts look for, with the reason in front.
fn refusal(why: &str, push: &Push) -> impl Stream<Item = Frame> + Send + use<> {
    let mut text: String = why.lines().map(|l| format!(" !     {l}\n")).collect();
    text.push_str(&format!(" !\n !\tPush rejected to {}.\n", push.name));
    stream::iter([Frame::Output(text.into()), Frame::End(1)])
}

/// What the loop says, as frames. Dropping the stream drops the receiver, which cancels a build that waits or runs.
fn follow(
    messages: mpsc::Receiver<PushMessage>,
    push: Push,
    branch: String,
) -> impl Stream<Item = Frame> + Send {
    stream::unfold(Some((messages, push, branch)), |state| async move {
        let (mut messages, push, branch) = state?;
        match messages.recv().await {
            Some(PushMessage::Output(b)) => {
                Some((Frame::Output(b), Some((messages, push, branch))))
            }
            Some(PushMessage::End { accepted: true }) => {
                let at = push.repository.clone();
                let head =
                    tokio::task::spawn_blocking(move || repository::set_head(&at, &branch)).await;
                if let Ok(Err(e)) = head {
                    tracing::warn!("a clone of {} may check out the wrong branch: {e:#}", push.name);
                }
                Some((Frame::End(0), None))
            }
            Some(PushMessage::End { accepted: false }) => Some((Frame::End(1), None)),
            // no end frame: the hook says that the agent is gone
            None => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NONE: &str = "0000000000000000000000000000000000000000";
    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn r(name: &str, new: &str) -> PushedRef {
        PushedRef {
            old: NONE.into(),
            new: new.into(),
            name: name.into(),
        }
    }

    #[test]
    fn verdicts() {
        let branches = ["main".to_owned(), "master".to_owned()];
        let build = |b: &str| Verdict::Build {
            commit: A.into(),
            branch: b.into(),
        };
        let skip = "Pushed to non-main branch, skipping build.\n";
        for (refs, verdict, said) in [
            (vec![r("refs/heads/main", A)], build("main"), ""),
            (vec![r("refs/heads/master", A)], build("master"), ""),
            (vec![r("refs/heads/x", A)], Verdict::Take, skip),
            (vec![r("refs/tags/main", A)], Verdict::Take, skip),
            (vec![r("refs/heads/x", NONE)], Verdict::Take, ""),
            (
                vec![r("refs/heads/main", A), r("refs/tags/v1", A)],
                build("main"),
                "",
            ),
            (
                vec![r("refs/heads/x/main", A), r("refs/heads/main", A)],
                build("main"),
                skip,
            ),
        ] {
            assert_eq!(judge(&refs, &branches), (verdict, said.to_owned()), "{refs:?}");
        }
        for refs in [
            vec![r("refs/heads/main", NONE)],
            vec![r("refs/heads/main", NONE), r("refs/heads/master", A)],
            vec![r("refs/heads/main", A), r("refs/heads/master", A)],
        ] {
            assert!(matches!(judge(&refs, &branches).0, Verdict::Refuse(_)), "{refs:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_built_but_a_deploy_branch(
            refs in proptest::collection::vec(("refs/(heads|tags)/(main|master|x)", prop_oneof![Just(A), Just(NONE)]), 0..5),
        ) {
            let refs: Vec<_> = refs.iter().map(|(n, c)| r(n, c)).collect();
            if let Verdict::Build { branch, commit } = judge(&refs, &["main".into(), "master".into()]).0 {
                let found = refs.iter().any(|r| r.name == format!("refs/heads/{branch}") && r.new == commit);
                prop_assert!(found);
            }
        }
    }
}
