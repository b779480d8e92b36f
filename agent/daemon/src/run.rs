//! The one place where the rooms are wired together.

mod reload;

use crate::{
    acme::{self, Acme},
    api::{self, ApiState},
    autoscale,
    build::Builder,
    config::Config,
    control::{self, Control, Ears, Hands},
    git::{self, Git},
    logs::{Logs, journal},
    ops::Ops,
    router::{self, Link},
    slug::Slugs,
    supervisor::Supervisor,
    sys::{
        self,
        detect::Walls,
        fence::{Fence, Wanted},
    },
};
use anyhow::{Context, bail};
use hokku_model::cert::Served;
use std::{
    collections::BTreeMap,
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

/// Gives the settings as file, flags and environment say them now.
pub type ReadSettings = Box<dyn Fn() -> anyhow::Result<Config> + Send + Sync>;

/// Runs the agent until SIGTERM or SIGINT. Dynos and the router live on. At SIGHUP `read` gives the settings anew.
///
/// # Errors
/// In words: the data folder can't be used, another agent has it, a port is taken, …
pub fn agent(config: Config, read: ReadSettings) -> anyhow::Result<()> {
    sys::memory::settle();
    sys::journal::start();
    sys::cgroup::settle();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(1 << 20)
        .enable_all()
        .build()
        .context("can't start the runtime")?;
    runtime.block_on(serve(config, read))
}

async fn serve(mut config: Config, read: ReadSettings) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let reload = reload::Reload::new(&config, read)?;
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

    let mut capability = sys::detect::detect(
        &program("hokku-shim")?,
        &config.data_dir.join("run/try"),
        config.first_uid,
    )
    .await?;
    capability.notices.extend(sys::cgroup::notices());
    for notice in &capability.notices {
        tracing::warn!("{notice}");
    }
    let ops = Ops::open(config.clone())?;
    give_up_pushes(&ops).await?;
    ops.write_authorized_keys().await?;
    ops.sync_managed().await?;
    tell_front(&config, &ops).await?;
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
    let fence = fence(&config, &ops, capability.walls).await?;
    let no_fence = fence.missing().map(str::to_owned);
    // without root another notice says it already
    if capability.walls == Walls::Root
        && let Some(why) = &no_fence
    {
        tracing::warn!("{why}");
        capability.notices.push(why.clone());
    }
    let (facts_tx, facts) = mpsc::channel(1024);
    let supervisor = Supervisor::new(
        config.data_dir.join("dynos"),
        program("hokku-shim")?,
        facts_tx,
    );
    let (link, reports) = Link::start(config.clone());
    let (orders_tx, orders) = mpsc::channel(256);
    let (stop, shutdown) = watch::channel(false);
    let candidates = control::Candidates::default();
    let handle = control::Handle::new(
        orders_tx,
        supervisor.clone(),
        logs.clone(),
        candidates.clone(),
    );
    tokio::spawn(reload.keep(config.clone(), handle.clone()));
    tokio::spawn(journal::forward(
        logs.clone(),
        config.clone(),
        names(ops.clone()),
        shutdown.clone(),
    ));
    tokio::spawn(watchdog(handle.clone()));
    let (served_tx, served) = watch::channel(Served::default());
    let hands = Hands {
        served: served_tx,
        config: config.clone(),
        ops: ops.clone(),
        supervisor,
        router: link,
        builder,
        slugs,
        logs,
        fence,
        walls: capability.walls,
        candidates,
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
    tokio::spawn(acme::keep(
        Acme::new(config.clone(), ops.clone(), served.clone()),
        shutdown.clone(),
    ));
    let (scaled_tx, scaled) = watch::channel(autoscale::Told::default());
    tokio::spawn(autoscale::keep(
        autoscale::Room::new(config.clone(), ops.clone(), handle.clone(), scaled_tx),
        shutdown.clone(),
    ));
    let state = ApiState::new(config.clone(), ops, handle, capability.notices)
        .watching(served)
        .scaled(scaled)
        .without_fence(no_fence)
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

/// A sign of life goes to systemd only while the loop turns.
async fn watchdog(control: control::Handle) {
    sys::watchdog::keep(|| {
        let control = control.clone();
        async move { control.turns().await }
    })
    .await;
}

/// The apps by their ids, whose lines go to the journal.
fn names(ops: Ops) -> impl Fn() -> journal::Names + Send + 'static {
    move || {
        let ops = ops.clone();
        Box::pin(async move {
            let apps = ops.apps().await.unwrap_or_default();
            apps.into_iter()
                .map(|a| (a.id, a.name.to_string()))
                .collect()
        })
    }
}

/// The fence in the network, up before the first dyno is started.
async fn fence(config: &Config, ops: &Ops, walls: Walls) -> anyhow::Result<Fence> {
    if walls != Walls::Root {
        return Ok(Fence::none(
            "All apps have the agent's own user, so the network can't tell them apart: each can reach the instance's \
             metadata service and the others' ports",
        ));
    }
    let apps = ops.apps().await?;
    let first = Wanted {
        first_uid: config.first_uid,
        apps: apps.iter().map(|a| a.uid).collect(),
        imds: apps
            .iter()
            .filter(|a| a.fence.imds)
            .map(|a| a.uid)
            .collect(),
        private: BTreeMap::new(),
    };
    Ok(Fence::start(&config.data_dir, first).await)
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

/// Says whose word about clients is believed, and which apps the settings name in vain.
async fn tell_front(settings: &Config, ops: &Ops) -> anyhow::Result<()> {
    let trusted = match settings.trusted()? {
        none if none.is_empty() => "nobody".to_owned(),
        some => some.join(", "),
    };
    let proxy = match settings.proxy_protocol {
        true => " and has to send a PROXY header",
        false => "",
    };
    tracing::info!("X-Forwarded-* headers are believed from {trusted}{proxy}");
    for (key, name) in [
        ("default_app", &settings.default_app),
        ("health_app", &settings.health_app),
    ] {
        let Some(name) = name.as_deref().filter(|n| !n.is_empty()) else {
            continue;
        };
        if !ops.apps().await?.iter().any(|a| a.name.as_str() == name) {
            tracing::warn!("{key} is {name}, and there is no app of that name yet");
        }
    }
    Ok(())
}

/// A program that is installed beside this one.
///
/// # Errors
/// It is not there.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
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

/// What a router is started with.
pub struct RouterOptions<'a> {
    /// Its folder: sockets, snapshot, request logs.
    pub dir: &'a Path,
    /// Where to take requests.
    pub listen: &'a [SocketAddr],
    /// Where to take them over TLS.
    pub listen_tls: &'a [SocketAddr],
    /// Where figures are read over TCP.
    pub metrics: Option<SocketAddr>,
    /// Where load balancers ask about health by a port of its own.
    pub health: Option<SocketAddr>,
    /// Take over from the router that runs in the folder.
    pub take_over: bool,
    /// The user to become once the ports are open.
    pub uid: Option<u32>,
    /// Serving threads; `None`: one per processor.
    pub threads: Option<usize>,
}

/// Runs the data plane, on sockets of systemd's, of the router it takes over from, or of its own.
///
/// # Errors
/// The ports are taken, the folder can't be used.
pub fn router(options: RouterOptions) -> anyhow::Result<()> {
    let RouterOptions {
        dir,
        listen,
        listen_tls,
        metrics,
        health,
        take_over,
        uid,
        threads,
    } = options;
    sys::journal::start();
    let inherited = router::inherited().context("the sockets of systemd can't be used")?;
    let (listeners_tls, listeners): (Vec<_>, Vec<_>) =
        inherited.into_iter().partition(|(_, is_tls)| *is_tls);
    let bare = |all: Vec<(std::net::TcpListener, bool)>| all.into_iter().map(|(l, _)| l).collect();
    let (listeners_tls, listeners) = (bare(listeners_tls), bare(listeners));
    let (listeners, wanted) = sockets(listeners, listen, take_over)?;
    let (listeners_tls, wanted_tls) = sockets(listeners_tls, listen_tls, take_over)?;
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
    (config.listeners, config.listeners_tls) = (listeners, listeners_tls);
    (config.listen, config.listen_tls) = (wanted, wanted_tls);
    config.take_over = take_over;
    config.metrics = Some("metrics.sock".into());
    config.metrics_listen = metrics;
    config.health_listen = health;
    if let Some(threads) = threads {
        config.threads = threads;
    }
    let addresses = |flag, all: &[SocketAddr]| {
        let all = all.iter().map(move |a| (flag, a.to_string()));
        all.collect::<Vec<_>>()
    };
    let mut flags = addresses("--listen", listen);
    flags.extend(addresses("--listen-tls", listen_tls));
    flags.extend(addresses("--metrics", metrics.as_slice()));
    flags.extend(addresses("--health", health.as_slice()));
    flags.extend(threads.map(|n| ("--threads", n.to_string())));
    config.heir = Some(router::heir(program, &flags));
    hokku_router::serve(config)
}

/// Ends everything that belongs to a data folder: the agent, then every dyno, then the router.
///
/// # Errors
/// Something can't be ended.
pub fn stop_all(data: &Path) -> anyhow::Result<()> {
    sys::stop::everything(data)
}

/// Binds the addresses that are not among the sockets given. Also gives those that the other router has to give; port 0
/// stands for the port that it has.
fn sockets(
    mut given: Vec<std::net::TcpListener>,
    addresses: &[SocketAddr],
    take_over: bool,
) -> anyhow::Result<(Vec<std::net::TcpListener>, Vec<SocketAddr>)> {
    let known: Vec<_> = given.iter().flat_map(|l| l.local_addr()).collect();
    let (mut theirs, own): (Vec<SocketAddr>, Vec<_>) = addresses
        .iter()
        .filter(|a| !known.contains(a))
        .partition(|a| take_over && a.port() == 0);
    for a in own {
        match std::net::TcpListener::bind(a) {
            Ok(l) => given.push(l),
            Err(e) if take_over && e.kind() == std::io::ErrorKind::AddrInUse => theirs.push(a),
            Err(e) => return Err(e).with_context(|| format!("can't take requests on {a}")),
        }
    }
    Ok((given, theirs))
}
