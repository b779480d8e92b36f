//! The one place where the rooms are wired together.

use crate::{
    api::{self, ApiState},
    build::Builder,
    config::Config,
    control::{self, Control, Ears, Hands},
    git::{self, Git},
    logs::Logs,
    ops::Ops,
    router::{self, Link},
    slug::Slugs,
    supervisor::Supervisor,
    sys,
};
use anyhow::{Context, bail};
use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
};

/// Runs the agent until SIGTERM or SIGINT. Dynos and the router live on.
///
/// # Errors
/// In words: the data folder can't be used, another agent has it, a port is taken, …
pub fn agent(config: Config) -> anyhow::Result<()> {
    sys::memory::settle();
    sys::journal::start();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(1 << 20)
        .enable_all()
        .build()
        .context("can't start the runtime")?;
    runtime.block_on(serve(config))
}

async fn serve(mut config: Config) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    lay(&config.data_dir)?;
    let _alone = alone(&config.data_dir)?;
    config.api_listen = sys::ports::again(config.api_listen, &config.data_dir.join("run/api.addr"));
    let listener = tokio::net::TcpListener::bind(config.api_listen)
        .await
        .with_context(|| {
            format!(
                "can't listen for the API on {}: is another agent running?",
                config.api_listen
            )
        })?;
    config.api_listen = listener.local_addr()?;
    let config = Arc::new(config);
    fs::write(
        config.data_dir.join("run/hokkud.pid"),
        std::process::id().to_string(),
    )?;

    let capability = sys::detect::detect(
        &program("hokku-shim")?,
        &config.data_dir.join("run/try"),
        config.first_uid,
    )
    .await?;
    for notice in &capability.notices {
        tracing::warn!("{notice}");
    }
    let ops = Ops::open(config.clone())?;
    give_up_pushes(&ops).await?;
    ops.write_authorized_keys().await?;
    let logs = Logs::open(
        config.data_dir.join("logs"),
        router::dir(&config).join("logs"),
    )?;
    let slugs = Slugs::open(config.data_dir.clone())?;
    let builder = Builder::open(
        config.clone(),
        slugs.clone(),
        program("hokku-shim")?,
        program("hokku-buildpack")?,
    )?;
    let (facts_tx, facts) = mpsc::channel(1024);
    let supervisor = Supervisor::new(
        config.data_dir.join("dynos"),
        program("hokku-shim")?,
        facts_tx,
    );
    let (link, reports) = Link::start(config.clone());
    let (orders_tx, orders) = mpsc::channel(256);
    let (stop, shutdown) = watch::channel(false);
    let handle = control::Handle::new(orders_tx, supervisor.clone(), logs.clone());
    let hands = Hands {
        config: config.clone(),
        ops: ops.clone(),
        supervisor,
        router: link,
        builder,
        slugs,
        logs,
        walls: capability.walls,
    };
    let ears = Ears {
        orders,
        facts,
        reports,
        bell: ops.bell(),
        shutdown: shutdown.clone(),
    };
    let control = tokio::spawn(Control::run(hands, ears));
    let program = std::env::current_exe().context("can't find the agent's own program file")?;
    let git = Git::new(config.clone(), ops.clone(), handle.clone(), program);
    let state = ApiState::new(config.clone(), ops, handle, capability.notices)
        .beside(git::routes(git.clone()));
    tokio::spawn(git::keep(git, shutdown.clone()));
    let api = tokio::spawn(api::serve(state, listener, shutdown));
    fs::write(
        config.data_dir.join("run/api.addr"),
        config.api_listen.to_string(),
    )?;
    tracing::info!(
        api = %config.api_listen,
        socket = %config.socket().display(),
        data = %config.data_dir.display(),
        "the agent is up after {} ms",
        began.elapsed().as_millis()
    );
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
        ended = control => return ended?.context("the loop ended"),
        ended = api => return ended?.context("the API ended"),
    }
    tracing::info!("the agent stops; dynos and the router live on");
    let _ = stop.send(true);
    tokio::time::sleep(Duration::from_millis(50)).await;
    Ok(())
}

/// Makes the data folder. The folders below it are each closed to everyone else.
fn lay(data: &Path) -> anyhow::Result<()> {
    let hint = "; run as root, or name a folder of your own with --data-dir";
    fs::create_dir_all(data)
        .with_context(|| format!("can't make the data folder {}{hint}", data.display()))?;
    fs::set_permissions(data, fs::Permissions::from_mode(0o711))
        .with_context(|| format!("the data folder {} is not ours{hint}", data.display()))?;
    for sub in ["run", "dynos", "build", "git", "logs", "router"] {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(data.join(sub))?;
    }
    // The socket checks its peers by itself; they have to reach it.
    fs::set_permissions(data.join("run"), fs::Permissions::from_mode(0o711))?;
    Ok(())
}

/// One agent a data folder: the lock is the kernel's and ends with the process.
fn alone(data: &Path) -> anyhow::Result<fs::File> {
    let path = data.join("run/hokkud.lock");
    let file = fs::File::create(&path).with_context(|| format!("can't make {}", path.display()))?;
    if file.try_lock().is_err() {
        bail!(
            "another agent is running with the data folder {}; stop it first",
            data.display()
        );
    }
    Ok(file)
}

/// A push that was under way when the agent ended was not accepted, so what it left pending is given up. Rollouts of
/// other kinds (config, rollback) were accepted and go on.
async fn give_up_pushes(ops: &Ops) -> anyhow::Result<()> {
    ops.end_lost_builds().await?;
    for app in ops.apps().await? {
        let Some(version) = app.candidate else {
            continue;
        };
        let release = ops.release(app.id, version).await?;
        if release.description.starts_with("Deploy ") {
            let reason = "the agent was stopped before the release was up; push again";
            ops.abandon(app.id, version, reason).await?;
            tracing::warn!(app = %app.name, version, "a push that was cut off is given up");
        }
    }
    Ok(())
}

/// A program that is installed beside this one.
fn program(name: &str) -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe().context("can't find the agent's own program file")?;
    let beside = here.with_file_name(name);
    if !beside.exists() {
        bail!(
            "{} is missing: it has to lie beside {}",
            beside.display(),
            here.display()
        );
    }
    Ok(beside)
}

/// Runs the data plane, on sockets of systemd's, of the router it takes over from, or of its own.
///
/// # Errors
/// The ports are taken, the folder can't be used.
pub fn router(
    dir: &Path,
    listen: &[SocketAddr],
    take_over: bool,
    uid: Option<u32>,
    threads: Option<usize>,
) -> anyhow::Result<()> {
    sys::journal::start();
    let mut listeners = router::inherited().context("the sockets of systemd can't be used")?;
    let given: Vec<_> = listeners.iter().flat_map(|l| l.local_addr()).collect();
    // Port 0 stands for the port that the other router has.
    let (theirs, own): (Vec<SocketAddr>, Vec<_>) = listen
        .iter()
        .filter(|a| !given.contains(a))
        .partition(|a| take_over && a.port() == 0);
    let mut wanted = theirs;
    for a in own {
        match std::net::TcpListener::bind(a) {
            Ok(l) => listeners.push(l),
            Err(e) if take_over && e.kind() == std::io::ErrorKind::AddrInUse => wanted.push(a),
            Err(e) => return Err(e).with_context(|| format!("can't take requests on {a}")),
        }
    }
    let program = std::env::current_exe().context("can't find the router's own program file")?;
    // Paths are relative from here on: the folders above are closed to the router's own user.
    std::env::set_current_dir(dir).with_context(|| format!("can't enter {}", dir.display()))?;
    if let Some(uid) = uid {
        let id = nix::unistd::Uid::from_raw(uid);
        let group = nix::unistd::Gid::from_raw(uid);
        nix::unistd::setgroups(&[]).context("can't drop root's groups")?;
        nix::unistd::setresgid(group, group, group).context("can't become the router's group")?;
        nix::unistd::setresuid(id, id, id).context("can't become the router's user")?;
    }
    let mut config =
        hokku_router::Config::new("router.sock".into(), "routes.json".into(), "logs".into());
    config.listeners = listeners;
    config.listen = wanted;
    config.take_over = take_over;
    if let Some(threads) = threads {
        config.threads = threads;
    }
    config.heir = Some(router::heir(program, listen, threads));
    hokku_router::serve(config)
}

/// Ends everything that belongs to a data folder: the agent, then every dyno, then the router.
///
/// # Errors
/// Something can't be ended.
pub fn stop_all(data: &Path) -> anyhow::Result<()> {
    sys::stop::everything(data)
}
