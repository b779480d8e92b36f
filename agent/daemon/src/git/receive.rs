//! What may be pushed: git's hook asks here before a ref moves.

use super::{Git, Push, Refused, child, frames::Frame, hook::GIT_ENV, repository, tunnel::trusted};
use crate::{
    control::{PushMessage, PushOrder},
    ops::Actor,
};
use ::http::{HeaderMap, StatusCode};
use axum::{
    Extension,
    body::{Body, Bytes},
    extract::State,
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use std::{convert::Infallible, sync::PoisonError, time::Duration};
use tokio::{net::unix::UCred, sync::mpsc};

/// Carries the one-time secret of the push.
pub(super) const PUSH_HEADER: &str = "hokku-push";

/// Bytes of the hook's question.
const MAX_QUESTION: usize = 32 << 20;

/// The push option that leaves the release phase out.
const SKIP_PHASE: &str = "skip-release-phase";

/// How long an accepted push waits for the git of an earlier one to end, which takes it some milliseconds.
const SETTLE: Duration = Duration::from_secs(10);

/// What the hook asks.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HookRequest {
    /// The refs that the push is about to move.
    pub refs: Vec<PushedRef>,
    /// Git's variables, which lead to the pushed objects.
    pub env: Vec<(String, String)>,
    /// What was given with `git push -o`.
    #[serde(default)]
    pub options: Vec<String>,
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
    /// Build this commit of a deploy branch; the branch moves if it serves.
    Build(PushedRef),
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
    let named: Vec<(&PushedRef, String)> =
        refs.iter().filter_map(|r| Some((r, deploy(r)?))).collect();
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
            if refs.iter().all(gone) {
                String::new()
            } else {
                skipped
            },
        ),
        [(r, _)] => {
            let also = refs
                .iter()
                .any(|o| o != *r && o.name.starts_with("refs/heads/") && !gone(o));
            (
                Verdict::Build((*r).clone()),
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
    actor: Option<Extension<Actor>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let forbidden = || {
        Refused::new(
            StatusCode::FORBIDDEN,
            "The agent does not know this push. Push through the agent, over HTTP or SSH",
        )
    };
    if !trusted(&peer, &actor) {
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
    let mut asked: HookRequest = serde_json::from_slice(&body).map_err(|e| {
        Refused::new(
            StatusCode::BAD_REQUEST,
            format!("Not a hook's question: {e}"),
        )
    })?;
    asked.env.retain(|(k, _)| GIT_ENV.contains(&k.as_str()));
    let (verdict, intro) = judge(&asked.refs, &git.config().now().deploy_branches);
    let (to, from) = mpsc::channel::<Frame>(64);
    tokio::spawn(async move {
        let said = async {
            if !intro.is_empty() {
                to.send(Frame::Output(intro.into())).await.ok()?;
            }
            let end = match verdict {
                Verdict::Take => Frame::End(0),
                Verdict::Refuse(why) => refuse(&to, &push, &why).await?,
                Verdict::Build(moved) => {
                    deploy(&git, &push, &moved, asked.env, &asked.options, &to).await?
                }
            };
            to.send(end).await.ok()
        };
        tokio::select! {
            _ = said => {}
            // the hook is gone, and with it everything that was done for it
            () = to.closed() => {}
        }
    });
    let frames = stream::unfold(
        from,
        |mut from| async move { Some((from.recv().await?, from)) },
    );
    let body = frames.map(|f| Ok::<Bytes, Infallible>(f.encode()));
    Ok(Body::from_stream(body).into_response())
}

/// Says why, with the lines in front of and behind it that scripts know from Heroku.
async fn refuse(to: &mpsc::Sender<Frame>, push: &Push, why: &str) -> Option<Frame> {
    let mut text: String = why.lines().map(|l| format!(" !     {l}\n")).collect();
    text.push_str(&format!(" !\n !\tPush rejected to {}.\n", push.name));
    to.send(Frame::Output(text.into())).await.ok()?;
    Some(Frame::End(1))
}

/// Has the loop build and roll out, and passes on what it says. Dropping this future cancels a build that waits or
/// runs. `None`: there is no end to tell; the hook says that the agent is gone.
async fn deploy(
    git: &Git,
    push: &Push,
    moved: &PushedRef,
    git_env: Vec<(String, String)>,
    options: &[String],
    to: &mpsc::Sender<Frame>,
) -> Option<Frame> {
    if let Some(other) = options.iter().find(|o| *o != SKIP_PHASE) {
        let shown: String = other.chars().filter(|c| !c.is_control()).take(60).collect();
        let why = format!(
            "There is no push option {shown:?}. The one that there is: git push -o {SKIP_PHASE}\n"
        );
        return refuse(to, push, &why).await;
    }
    let branch = moved.name.strip_prefix("refs/heads/")?;
    match child::object_type(git, &git_env, &moved.new).await {
        Ok(kind) if kind == "commit" => {}
        Ok(kind) => {
            let why = format!(
                "What was pushed to {branch} is a {kind}, not a commit.\n\
                 Push the commit behind it: git push <remote> '<name>^{{}}:{branch}'\n"
            );
            return refuse(to, push, &why).await;
        }
        Err(e) => {
            tracing::error!("a push can't be looked at: {e:#}");
            return refuse(
                to,
                push,
                "The agent can't read what was pushed; its log has the reason.",
            )
            .await;
        }
    }
    let order = PushOrder {
        app: push.app,
        user: push.user.clone(),
        commit: moved.new.clone(),
        repository: push.repository.clone(),
        git_env,
        skip_phase: options.iter().any(|o| o == SKIP_PHASE),
    };
    let mut messages = git.inner.control.push(order).await;
    loop {
        match messages.recv().await? {
            PushMessage::Output(bytes) => to.send(Frame::Output(bytes)).await.ok()?,
            PushMessage::End { accepted: false } => return Some(Frame::End(1)),
            PushMessage::End { accepted: true } => break,
        }
    }
    settle(git, push, branch, &moved.old, to).await;
    Some(Frame::End(0))
}

/// Readies the repository for git's last step. From here until this git has ended no other accepted push of the app
/// comes so far.
async fn settle(git: &Git, push: &Push, branch: &str, old: &str, to: &mpsc::Sender<Frame>) {
    let gate = git.gate(push.app).lock_owned();
    match tokio::time::timeout(SETTLE, gate).await {
        Ok(gate) => *push.gate.lock().unwrap_or_else(PoisonError::into_inner) = Some(gate),
        Err(_) => tracing::warn!("an earlier push of {} has not ended yet", push.name),
    }
    let (at, name, old) = (push.repository.clone(), branch.to_owned(), old.to_owned());
    let settled = tokio::task::spawn_blocking(move || repository::settle(&at, &name, &old)).await;
    match settled {
        Ok(Ok(None)) => {}
        Ok(Ok(Some(was))) => {
            let was = was.get(..8).unwrap_or_default();
            let line = format!(
                " !     Another push had moved {branch} to {was} meanwhile; this one takes its place.\n"
            );
            let _ = to.send(Frame::Output(line.into())).await;
        }
        Ok(Err(e)) => tracing::warn!("the repository of {} can't be readied: {e:#}", push.name),
        Err(e) => tracing::warn!("the repository of {} can't be readied: {e}", push.name),
    }
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
        let build = |b: &str| Verdict::Build(r(&format!("refs/heads/{b}"), A));
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
            assert_eq!(
                judge(&refs, &branches),
                (verdict, said.to_owned()),
                "{refs:?}"
            );
        }
        for refs in [
            vec![r("refs/heads/main", NONE)],
            vec![r("refs/heads/main", NONE), r("refs/heads/master", A)],
            vec![r("refs/heads/main", A), r("refs/heads/master", A)],
        ] {
            assert!(
                matches!(judge(&refs, &branches).0, Verdict::Refuse(_)),
                "{refs:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn nothing_is_built_but_a_deploy_branch(
            refs in proptest::collection::vec(("refs/(heads|tags)/(main|master|x)", prop_oneof![Just(A), Just(NONE)]), 0..5),
        ) {
            let refs: Vec<_> = refs.iter().map(|(n, c)| r(n, c)).collect();
            if let Verdict::Build(r) = judge(&refs, &["main".into(), "master".into()]).0 {
                prop_assert!(refs.contains(&r) && r.new == A);
                prop_assert!(["refs/heads/main", "refs/heads/master"].contains(&r.name.as_str()));
            }
        }
    }
}
