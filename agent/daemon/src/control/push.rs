//! One push, from the commit to the release that the router serves, with everything the pusher sees.
//!
//! The point of no return is the commit of `Promote`: before it a crash anywhere leaves the old release serving.

use super::{Hands, Internal, PushMessage, PushOrder, Sight, files, queue::short};
use crate::{build::BuildOrder, ops::Actor};
use anyhow::{Context, bail};
use bytes::Bytes;
use hokku_model::{
    app::App,
    health::AppJson,
    release::{Release, ReleaseStatus},
    route::RELEASE_PATH,
    said::Said,
};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::Command,
    sync::mpsc,
};
use tokio_util::sync::CancellationToken;

/// Builds and rolls out; always ends with `End`.
pub(super) async fn push(
    hands: Hands,
    order: PushOrder,
    to: mpsc::Sender<PushMessage>,
    events: &mpsc::Sender<Internal>,
) {
    let mut talk = Talk {
        to,
        phases: vec![],
        started: Instant::now(),
        mark: Instant::now(),
    };
    let scratch = hands
        .config
        .data_dir
        .join("build")
        .join(uuid::Uuid::now_v7().to_string());
    let accepted = match run(&hands, &order, &mut talk, &scratch, events).await {
        Ok(()) => true,
        Err(Rejected::Said) => false,
        Err(Rejected::Because(e)) => {
            talk.say(format!(" !     Push rejected: {e:#}\n")).await;
            false
        }
    };
    let _ = tokio::fs::remove_dir_all(&scratch).await;
    let _ = talk.to.send(PushMessage::End { accepted }).await;
}

enum Rejected {
    /// The pusher has been told.
    Said,
    /// Tell the pusher.
    Because(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Rejected {
    fn from(e: E) -> Rejected {
        Rejected::Because(e.into())
    }
}

async fn run(
    hands: &Hands,
    order: &PushOrder,
    talk: &mut Talk,
    scratch: &Path,
    events: &mpsc::Sender<Internal>,
) -> Result<(), Rejected> {
    let actor = Actor::new(&order.user).skipping_phase(order.skip_phase);
    let app = hands.ops.app(order.app).await?;
    let log = |text: String| hands.logs.write(app.id, "app", "api", &text);
    crate::sys::fault::point("push-received");
    talk.say("Compressing source files... done.\nBuilding source:\n\n")
        .await;
    let source = checkout(order, scratch).await?;
    let routing = match super::hokku_toml::read(&source).await {
        Ok(said) => said,
        Err(text) => {
            log(format!(
                "Push of {} rejected: its hokku.toml can't be used",
                short(&order.commit)
            ));
            talk.say(format!(
                "{text} !     Push rejected, hokku.toml can't be used; nothing was changed.\n"
            ))
            .await;
            return Err(Rejected::Said);
        }
    };
    let app_json = match super::app_json::read(&source).await {
        Ok((app_json, said)) => {
            talk.say(said).await;
            app_json
        }
        Err(text) => {
            log(format!(
                "Push of {} rejected: its app.json can't be used",
                short(&order.commit)
            ));
            talk.say(format!(
                "{text} !     Push rejected, app.json can't be used; nothing was changed.\n"
            ))
            .await;
            return Err(Rejected::Said);
        }
    };
    talk.phase("checkout");
    crate::sys::fault::point("checked-out");

    let build = hands.ops.begin_build(&actor, app.id, &order.commit).await?;
    log(format!("Build started by user {}", order.user));
    let said = (routing, app_json);
    let ended = self::build(hands, order, talk, &app, build.id, source, said).await;
    let built = match ended {
        Ok(built) => built,
        Err(message) => {
            log(format!(
                "Build failed -- check your build output by pushing again ({})",
                short(&order.commit)
            ));
            hands.ops.end_build(build.id, Err(message.clone())).await?;
            if !message.is_empty() {
                talk.say(format!("{}\n", message.trim_end())).await;
            }
            talk.say(" !     Push failed\n").await;
            return Err(Rejected::Said);
        }
    };
    let _ = events.send(Internal::Built(app.id)).await;
    talk.phases.extend(built.timings);
    talk.mark = Instant::now();
    log("Build succeeded".into());
    crate::sys::fault::point("built");

    // before the release is: the router is told of them with the promotion
    let roots = built.slug.routing.files_roots();
    if let Err(e) = files::lay(hands, app.id, &built.slug.digest, &roots).await {
        let message =
            format!(" !     The files that the router is to serve can't be laid out: {e:#}");
        hands.ops.end_build(build.id, Err(message.clone())).await?;
        talk.say(format!("{message}\n !     Push failed\n")).await;
        return Err(Rejected::Said);
    }
    let deployed = hands
        .ops
        .release_from_build(&actor, app.id, built.slug, &order.commit)
        .await?;
    let release = deployed.release;
    for kind in &deployed.vanished {
        let text = format!(" !     The Procfile no longer has {kind}: its dynos are stopped.\n");
        talk.say(text).await;
    }
    hands.ops.end_build(build.id, Ok(release.version)).await?;
    log(format!(
        "Deploy {} by user {}",
        short(&order.commit),
        order.user
    ));
    log(format!(
        "Release v{} created by user {}",
        release.version, order.user
    ));
    crate::sys::fault::point("released");
    talk.say("-----> Launching...\n").await;
    if !release.phase.is_empty() {
        talk.say(" !     Release command declared: this new release will not be available until the command succeeds.\n").await;
    }
    let (release, passed) = rollout(hands, talk, &app, &release).await;
    if let Some(passed) = passed {
        let took = passed.duration_since(talk.mark);
        talk.phases.push(("release".to_owned(), took));
        talk.mark = passed;
    }
    if release.status != ReleaseStatus::Succeeded {
        failed(hands, talk, &app, &release).await;
        return Err(Rejected::Said);
    }
    talk.phase("boot");
    let served = served(hands, &app, release.version).await?;
    talk.phase("route");
    crate::sys::fault::point("routed");
    let url = hands.config.web_url(app.name.as_str());
    let wait = served.map_or(
        "no web process runs, so the router serves nothing of it",
        |()| "served by the router",
    );
    talk.say(format!(
        "       Released v{} ({wait})\n       {url} deployed to hokku\n\n",
        release.version
    ))
    .await;
    let phases = talk.summary();
    talk.say(format!("-----> {phases}\nVerifying deploy... done.\n"))
        .await;
    Ok(())
}

/// Checks the commit out of git's quarantine into `<scratch>/source`.
async fn checkout(order: &PushOrder, scratch: &Path) -> anyhow::Result<PathBuf> {
    let source = scratch.join("source");
    tokio::fs::create_dir_all(&source)
        .await
        .with_context(|| format!("can't make {}", source.display()))?;
    let mut git = Command::new("git");
    git.env_clear()
        .envs(std::env::var_os("PATH").map(|p| ("PATH", p)));
    git.envs(
        order
            .git_env
            .iter()
            .filter(|(k, _)| k.starts_with("GIT_"))
            .map(|(k, v)| (k, v)),
    );
    git.env("GIT_DIR", &order.repository)
        .env("GIT_WORK_TREE", &source)
        .env("GIT_INDEX_FILE", scratch.join("index"));
    git.env("GIT_CONFIG_NOSYSTEM", "1").env("HOME", scratch);
    git.args([
        "-c",
        "core.fsync=none",
        "-c",
        "advice.detachedHead=false",
        "checkout",
        "--quiet",
        "--force",
        &order.commit,
        "--",
        ".",
    ]);
    git.current_dir(&source).kill_on_drop(true);
    let out = git
        .output()
        .await
        .context("can't run git; is it installed?")?;
    if !out.status.success() {
        bail!(
            "git can't check out {}: {}",
            short(&order.commit),
            String::from_utf8_lossy(&out.stderr).trim()
        );
    }
    Ok(source)
}

/// Runs the build and passes its output on while it happens. A pusher who goes away cancels it.
async fn build(
    hands: &Hands,
    order: &PushOrder,
    talk: &Talk,
    app: &App,
    build: hokku_model::BuildId,
    source: PathBuf,
    (routing, app_json): (Said, AppJson),
) -> Result<crate::build::Built, String> {
    let env = hands
        .ops
        .config_vars(app.id)
        .await
        .map_err(|e| format!(" !     {e}"))?;
    let cancel = CancellationToken::new();
    let (lines, mut rx) = mpsc::channel::<Bytes>(64);
    let work = hands.builder.run(
        BuildOrder {
            build,
            app: app.id,
            app_name: app.name.clone(),
            uid: app.uid,
            isolation: hands.walls.of(app.uid),
            commit: order.commit.clone(),
            source,
            env,
            buildpacks: app.buildpacks.clone(),
            routing,
            app_json,
        },
        lines,
        cancel.clone(),
    );
    let to = talk.to.clone();
    let pass = async move {
        while let Some(bytes) = rx.recv().await {
            let _ = to.send(PushMessage::Output(bytes)).await;
        }
    };
    let gone = async {
        talk.to.closed().await;
        cancel.cancel();
        std::future::pending::<()>().await
    };
    let result = tokio::select! {
        (result, ()) = async { tokio::join!(work, pass) } => result,
        () = gone => unreachable!("the other branch never ends"),
    };
    result.map_err(|e| e.message)
}

/// Shows the release phase while it happens; comes back when it is over.
async fn phase(hands: &Hands, talk: &Talk, app: &App, release: &Release) {
    if release.phase.is_empty() {
        return;
    }
    let mut sights = super::watch(
        hands.ops.clone(),
        hands.logs.clone(),
        app.id,
        release.version,
    );
    let mut well = None;
    let mut waiting = tokio::time::interval(Duration::from_secs(5));
    waiting.tick().await;
    let mut begun = false;
    loop {
        let sight = tokio::select! {
            sight = sights.recv() => sight,
            _ = waiting.tick(), if !begun => {
                let busy = match hands.ops.app(app.id).await {
                    Ok(App { phase: Some(c), .. }) if c.version != release.version => c,
                    _ => continue,
                };
                let (name, version) = (busy.name, busy.version);
                talk.say(format!("       Waiting: the release command of v{version} ({name}) still runs\n")).await;
                continue;
            }
        };
        match sight {
            Some(Sight::Begins(step)) => {
                begun = true;
                talk.say(format!("Running {step} command...\n\n")).await;
            }
            Some(Sight::Output(bytes)) => {
                let _ = talk.to.send(PushMessage::Output(bytes)).await;
            }
            Some(Sight::Ended(outcome)) => well = Some(outcome.is_ok()),
            None => break,
        }
    }
    // None: another release took its place before it began
    if let Some(well) = well {
        let end = if well { "done" } else { "failed" };
        talk.say(format!("Waiting for release.... {end}.\n")).await;
    }
}

/// Waits for the end of the rollout, with a line every five seconds. The second part is when a release phase was over.
async fn rollout(
    hands: &Hands,
    talk: &Talk,
    app: &App,
    release: &Release,
) -> (Release, Option<Instant>) {
    let end = hands.ops.wait_release_end(app.id, release.version);
    tokio::pin!(end);
    let phase = phase(hands, talk, app, release);
    tokio::pin!(phase);
    let mut begun = Instant::now();
    let (mut gone, mut passed) = (false, false);
    loop {
        tokio::select! {
            biased;
            () = &mut phase, if !passed => {
                passed = true;
                begun = Instant::now();
            }
            // what the commands wrote is told first
            ended = &mut end, if passed || gone => {
                let ended = ended.unwrap_or_else(|e| Release {
                    status: ReleaseStatus::Failed, failure: e.to_string(), ..release.clone()
                });
                return (ended, (!release.phase.is_empty()).then_some(begun));
            }
            () = talk.to.closed(), if !gone => {
                // Git's branch can't move any more, so the release shall not serve either. Too late if it is promoted.
                gone = true;
                let reason = "the pusher went away before it was up; push again";
                if let Err(e) = hands.ops.abandon(app.id, release.version, reason).await {
                    tracing::warn!(app = %app.name, "a push without a pusher can't be given up: {e}");
                }
            }
            () = tokio::time::sleep(Duration::from_secs(5)), if passed => {
                let seconds = begun.elapsed().as_secs();
                talk.say(format!("       Waiting for v{} to answer on its port ({seconds} s)\n", release.version)).await;
            }
        }
    }
}

/// Tells why, with the last lines that the new release's dynos wrote.
async fn failed(hands: &Hands, talk: &Talk, app: &App, release: &Release) {
    talk.say(format!(
        " !     Release v{} failed: {}\n",
        release.version, release.failure
    ))
    .await;
    // Its output was shown while it ran.
    let phase_failed = !release.phase.is_empty() && {
        let ran = hands.ops.phase(app.id, release.version).await;
        ran.is_ok_and(|r| r.iter().any(|r| matches!(r.ended, Some((_, Err(_))))))
    };
    let new = hands
        .candidates
        .last_lines(&hands.logs, app.id, release.version)
        .await;
    if !new.is_empty() && !phase_failed {
        talk.say(" !     The last lines of its log:\n").await;
        for line in &new {
            talk.say(format!(
                "       {}[{}]: {}\n",
                line.source, line.dyno, line.text
            ))
            .await;
        }
    }
    let serves = match app.current {
        Some(v) if v > 1 => format!("v{v} keeps serving"),
        _ => "nothing else was deployed before".into(),
    };
    talk.say(format!(" !     Push rejected to {}; {serves}.\n", app.name))
        .await;
}

/// Asks through the router which release it serves, until it is this one. `None`: the app has no web process.
async fn served(hands: &Hands, app: &App, version: u32) -> anyhow::Result<Option<()>> {
    let formation = hands.ops.formation(app.id).await?;
    if !formation
        .iter()
        .any(|line| line.kind.is_web() && line.quantity > 0)
    {
        return Ok(None);
    }
    let addr = hands.config.router_addr().context("the router is not up")?;
    let addr = std::net::SocketAddr::from(([127, 0, 0, 1], addr.port()));
    let host = hands.config.default_host(app.name.as_str());
    let wanted = format!("\"release\":\"v{version}\"");
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let said = ask(addr, &host).await.unwrap_or_else(|e| e.to_string());
        if said.contains(&wanted) {
            return Ok(Some(()));
        }
        // A newer release may have taken over meanwhile; then that one is served, and this one was.
        if hands.ops.app(app.id).await?.current != Some(version) {
            return Ok(Some(()));
        }
        if Instant::now() > deadline {
            bail!(
                "the router does not serve v{version} after 10 s; it says: {}",
                said.lines().last().unwrap_or_default()
            );
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn ask(addr: std::net::SocketAddr, host: &str) -> anyhow::Result<String> {
    let asking = async {
        let mut wire = tokio::net::TcpStream::connect(addr).await?;
        let request =
            format!("GET {RELEASE_PATH} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        wire.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        wire.take(16 * 1024).read_to_string(&mut answer).await?;
        Ok(answer)
    };
    tokio::time::timeout(Duration::from_secs(2), asking)
        .await
        .context("the router did not answer within 2 s")?
}

/// The pusher's end, and the clock.
struct Talk {
    to: mpsc::Sender<PushMessage>,
    phases: Vec<(String, Duration)>,
    started: Instant,
    mark: Instant,
}

impl Talk {
    async fn say(&self, text: impl Into<String>) {
        let _ = self.to.send(PushMessage::Output(text.into().into())).await;
    }

    /// Ends a phase that began where the last one ended.
    fn phase(&mut self, name: &str) {
        self.phases.push((name.to_owned(), self.mark.elapsed()));
        self.mark = Instant::now();
    }

    fn summary(&self) -> String {
        let parts: Vec<_> = self
            .phases
            .iter()
            .map(|(n, d)| format!("{n} {:.2} s", d.as_secs_f64()))
            .collect();
        format!(
            "{}; {:.2} s in all",
            parts.join(", "),
            self.started.elapsed().as_secs_f64()
        )
    }
}
