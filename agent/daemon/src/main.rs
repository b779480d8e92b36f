//! `hokkud`: the agent, the router and the small helpers of git, by the first word of the command line.

use clap::{Args, Parser, Subcommand};
use hokku_agent::{config::Config, git, run};
use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

/// hokku's deploy agent: builds, runs, supervises and routes the apps of one host.
#[derive(Parser)]
#[command(name = "hokkud", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
enum Command {
    /// Run the agent (the default)
    Serve(Serve),
    /// Run the data plane; started by the agent or by its unit
    Router(Router),
    /// Speak for git's hooks; run by git
    #[command(hide = true)]
    Hook {
        /// `pre-receive`
        name: String,
    },
    /// Speak git over SSH; run by sshd as a forced command
    #[command(hide = true)]
    Ssh {
        /// The agent's Unix socket
        #[arg(long)]
        socket: PathBuf,
        /// The id of the key that logged in
        #[arg(long)]
        key: String,
    },
    /// End the agent, the router and every dyno of a data folder
    StopAll {
        /// The data folder
        #[arg(long)]
        data_dir: PathBuf,
    },
    /// Read the settings and say what is wrong with them
    CheckConfig {
        /// The settings file
        #[arg(default_value = "/etc/hokku/hokku.toml")]
        file: PathBuf,
    },
}

/// Flags go over the settings file.
#[derive(Args, Default)]
struct Serve {
    /// Settings file; /etc/hokku/hokku.toml is read when it exists
    #[arg(long, env = "HOKKU_CONFIG")]
    config: Option<PathBuf>,
    /// Where state lives
    #[arg(long, env = "HOKKU_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Where the API and git over HTTP listen; port 0 picks a free one, written to <data>/run/api.addr
    #[arg(long)]
    api_listen: Option<SocketAddr>,
    /// Where the router takes requests; port 0 picks a free one, written to <data>/run/router.addr
    #[arg(long)]
    router_listen: Vec<SocketAddr>,
    /// Apps are reached at <name>.<this>
    #[arg(long)]
    apps_domain: Option<String>,
    /// The agent's Unix socket
    #[arg(long)]
    socket: Option<PathBuf>,
    /// First and last port for web dynos, such as 20000-29999
    #[arg(long, value_parser = ports)]
    dyno_ports: Option<(u16, u16)>,
}

#[derive(Args)]
struct Router {
    /// The router's folder: socket, snapshot, request logs
    #[arg(long)]
    dir: PathBuf,
    /// Where to take requests; needless for sockets of systemd's and of a router that is taken over from
    #[arg(long)]
    listen: Vec<SocketAddr>,
    /// Take the listening sockets over from the router that runs in this folder, if one does; it finishes what it has
    /// begun and ends. SIGUSR2 to a router starts another one like this
    #[arg(long)]
    take_over: bool,
    /// Run as this user once the ports are open
    #[arg(long)]
    uid: Option<u32>,
    /// Threads; one a core when absent
    #[arg(long)]
    threads: Option<usize>,
}

fn ports(text: &str) -> Result<(u16, u16), String> {
    let (a, b) = text
        .split_once('-')
        .ok_or("expected two ports with a dash between them, such as 20000-29999")?;
    let port = |s: &str| {
        s.trim()
            .parse::<u16>()
            .map_err(|_| format!("{s:?} is no port"))
    };
    let (a, b) = (port(a)?, port(b)?);
    if a == 0 || a > b {
        Err(format!("{a}-{b} is no range of ports"))
    } else {
        Ok((a, b))
    }
}

impl Serve {
    fn settings(self) -> anyhow::Result<Config> {
        let standard = PathBuf::from("/etc/hokku/hokku.toml");
        let mut config = match self.config {
            Some(file) => Config::load(&file)?,
            None if self.data_dir.is_none() && standard.exists() => Config::load(&standard)?,
            None => Config::default(),
        };
        if let Some(v) = self.data_dir {
            config.data_dir = std::path::absolute(v)?;
        }
        if let Some(v) = self.api_listen {
            config.api_listen = v;
        }
        if !self.router_listen.is_empty() {
            config.router_listen = self.router_listen;
        }
        if let Some(v) = self.apps_domain {
            config.apps_domain = v;
        }
        if self.socket.is_some() {
            config.socket = self.socket;
        }
        if let Some(v) = self.dyno_ports {
            config.dyno_ports = v;
        }
        Ok(config)
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(serve) => serve.settings().and_then(run::agent),
        Command::Router(r) => run::router(&r.dir, &r.listen, r.take_over, r.uid, r.threads),
        Command::Hook { name } => return git::hook::main(&name),
        Command::Ssh { socket, key } => return git::ssh::main(&socket, &key),
        Command::StopAll { data_dir } => run::stop_all(&data_dir),
        Command::CheckConfig { file } => {
            Config::load(&file).map(|_| println!("{} is valid", file.display()))
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("hokkud: {e:#}");
            ExitCode::FAILURE
        }
    }
}
