//! An agent's edges with a real store in a temporary folder, and a small loop that answers pushes and runs by order of
//! the test.
#![allow(dead_code)]

pub mod http;

use hokku_agent::{
    api::{self, ApiState},
    config::Config,
    control::{self, DynoView, Order, PushMessage, PushOrder},
    git::{self, Git},
    logs::Logs,
    ops::{Actor, Ops},
    supervisor::Supervisor,
};
use hokku_model::AppId;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::sync::{Notify, mpsc, watch};

/// What the loop has seen and is told.
#[derive(Default)]
pub struct Loop {
    pub pushes: Mutex<Vec<Seen>>,
    pub runs: Mutex<Vec<control::OneoffOrder>>,
    pub stopped: Mutex<Vec<hokku_model::DynoId>>,
    pub dynos: Mutex<Vec<DynoView>>,
    pub go: Notify,
    pub cancelled: Notify,
}

/// A push that reached the loop.
#[derive(Clone, Debug)]
pub struct Seen {
    pub app: AppId,
    pub user: String,
    pub commit: String,
    pub order: String,
}

pub struct World {
    pub dir: tempfile::TempDir,
    pub config: Arc<Config>,
    pub ops: Ops,
    pub addr: SocketAddr,
    pub control: Arc<Loop>,
    pub logs: Logs,
    stop: watch::Sender<bool>,
    pub served: Option<tokio::task::JoinHandle<anyhow::Result<()>>>,
}

impl World {
    pub async fn new() -> World {
        World::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut Config)) -> World {
        let dir = tempfile::tempdir().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = Config {
            data_dir: dir.path().join("data"),
            socket: Some(dir.path().join("s")),
            api_listen: listener.local_addr().unwrap(),
            ..Config::default()
        };
        change(&mut config);
        let config = Arc::new(config);
        let ops = Ops::open(config.clone()).unwrap();
        let logs = Logs::open(dir.path().join("logs"), dir.path().join("router")).unwrap();
        let (orders, rx) = mpsc::channel(64);
        let supervisor = Supervisor::new(
            dir.path().join("dynos"),
            "/nonexistent".into(),
            mpsc::channel(64).0,
        );
        let handle = control::Handle::new(
            orders,
            supervisor,
            logs.clone(),
            control::Candidates::default(),
        );
        let control = Arc::new(Loop::default());
        tokio::spawn(answer(control.clone(), rx));
        let (stop, shutdown) = watch::channel(false);
        let program = PathBuf::from(env!("CARGO_BIN_EXE_hokkud"));
        let git = Git::new(config.clone(), ops.clone(), handle.clone(), program);
        tokio::spawn(git::keep(git.clone(), shutdown.clone()));
        let state = ApiState::new(
            config.clone(),
            ops.clone(),
            handle,
            vec!["no cgroups".into()],
        )
        .beside(git::routes(git));
        let served = tokio::spawn(api::serve(state, listener, shutdown));
        let socket = config.socket();
        until("the socket is there", || socket.exists()).await;
        World {
            addr: config.api_listen,
            dir,
            config,
            ops,
            control,
            logs,
            stop,
            served: Some(served),
        }
    }

    pub async fn app(&self, name: &str) -> hokku_model::app::App {
        self.ops
            .create_app(&Actor::root(), Some(name))
            .await
            .unwrap()
    }

    pub async fn token(&self, user: &str) -> String {
        self.ops.create_token(user, "test").await.unwrap().1
    }

    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn pushed(&self) -> Vec<Seen> {
        self.control.pushes.lock().unwrap().clone()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

async fn answer(control: Arc<Loop>, mut orders: mpsc::Receiver<Order>) {
    while let Some(order) = orders.recv().await {
        let control = control.clone();
        match order {
            Order::Push(order, to) => {
                tokio::spawn(push(control, order, to));
            }
            Order::Run(order, answer) => {
                let index = 1000 + control.runs.lock().unwrap().len() as u32;
                let record = record(&order, index);
                control.runs.lock().unwrap().push(order);
                let _ = answer.send(Ok(record));
            }
            Order::Dynos(app, answer) => {
                let mut dynos = control.dynos.lock().unwrap().clone();
                dynos.retain(|d| app.is_none_or(|a| a == d.record.app));
                let _ = answer.send(dynos);
            }
            Order::Why(_, _, answer) => drop(answer),
            Order::Stop(dyno) => control.stopped.lock().unwrap().push(dyno),
            #[allow(unreachable_patterns)]
            _ => {}
        }
    }
}

fn record(order: &control::OneoffOrder, index: u32) -> hokku_model::dyno::DynoRecord {
    hokku_model::dyno::DynoRecord {
        id: hokku_model::DynoId(u128::from(index)),
        name: hokku_model::DynoName::new(order.kind.clone(), index),
        app: order.app,
        app_name: "myapp".parse().unwrap(),
        version: 1,
        slug: None,
        port: None,
        command: "it".into(),
        started_at: hokku_model::Micros::now(),
        oneoff: true,
        purpose: Default::default(),
        quota: Default::default(),
        care: Default::default(),
    }
}

/// Does what the file `order` of the pushed commit says; reading it shows that the quarantine is visible.
async fn push(control: Arc<Loop>, order: PushOrder, to: mpsc::Sender<PushMessage>) {
    let out = tokio::process::Command::new("git")
        .envs(order.git_env.iter().map(|(k, v)| (k, v)))
        .args(["cat-file", "blob", &format!("{}:order", order.commit)])
        .output()
        .await
        .unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let what = String::from_utf8(out.stdout).unwrap().trim().to_owned();
    control.pushes.lock().unwrap().push(Seen {
        app: order.app,
        user: order.user.clone(),
        commit: order.commit.clone(),
        order: what.clone(),
    });
    let say = async |text: &str| {
        let _ = to.send(PushMessage::Output(text.to_owned().into())).await;
    };
    match what.as_str() {
        "ok" => say("-----> Building\n").await,
        "fail" => {
            say(" !     Push rejected, failed to compile App app.\n").await;
            let _ = to.send(PushMessage::End { accepted: false }).await;
            return;
        }
        "wait" => {
            say("-----> first\n").await;
            control.go.notified().await;
            say("-----> second\n").await;
        }
        "hang" => {
            say("-----> hanging\n").await;
            to.closed().await;
            control.cancelled.notify_one();
            return;
        }
        "die" => {
            say("-----> dying\n").await;
            return;
        }
        other => panic!("order {other:?}"),
    }
    let _ = to.send(PushMessage::End { accepted: true }).await;
}

/// Looks again and again until it is so, for ten seconds.
pub async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !so() {
        assert!(Instant::now() < end, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A git work tree of a user with nothing but this in the way of settings.
pub struct Tree {
    pub at: PathBuf,
    pub env: Vec<(String, String)>,
}

impl Tree {
    pub async fn new(at: PathBuf) -> Tree {
        std::fs::create_dir_all(&at).unwrap();
        let tree = Tree { at, env: vec![] };
        tree.ok(&["init", "-q", "-b", "main"]).await;
        tree
    }

    pub fn command(&self, args: &[&str]) -> tokio::process::Command {
        let mut c = tokio::process::Command::new("git");
        c.env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", &self.at)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_AUTHOR_NAME", "a")
            .env("GIT_AUTHOR_EMAIL", "a@b")
            .env("GIT_COMMITTER_NAME", "a")
            .env("GIT_COMMITTER_EMAIL", "a@b")
            .envs(self.env.iter().cloned())
            .current_dir(&self.at)
            .kill_on_drop(true)
            .args(args);
        c
    }

    /// Exit status, and both outputs together.
    pub async fn run(&self, args: &[&str]) -> (i32, String) {
        let run = self.command(args).output();
        let out = tokio::time::timeout(Duration::from_secs(30), run)
            .await
            .unwrap_or_else(|_| panic!("git {args:?} hangs"))
            .unwrap();
        let text = [out.stdout, out.stderr].concat();
        (
            out.status.code().unwrap_or(-1),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }

    pub async fn ok(&self, args: &[&str]) -> String {
        let (code, text) = self.run(args).await;
        assert_eq!(code, 0, "git {args:?}: {text}");
        text.trim().to_owned()
    }

    pub async fn commit(&self, order: &str) -> String {
        std::fs::write(self.at.join("order"), order).unwrap();
        std::fs::write(self.at.join("salt"), uuid::Uuid::new_v4().to_string()).unwrap();
        self.ok(&["add", "-A"]).await;
        self.ok(&["commit", "-q", "-m", order]).await;
        self.ok(&["rev-parse", "HEAD"]).await
    }
}

pub fn exists(path: &Path) -> bool {
    path.exists()
}
