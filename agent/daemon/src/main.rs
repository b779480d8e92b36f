//! `hokkud`: the agent, the router and the small helpers of git, by the first word of the command line.

use clap::{Args, Parser, Subcommand};
use hokku_agent::{config::Config, doctor, git, run};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

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
    /// Say what is right and wrong on this host, and what to do about it
    ///
    /// Exit status: 1 when a check has failed. Nothing is changed.
    #[command(
        after_help = "Example:\n  $ sudo hokkud doctor\n  $ sudo hokkud doctor --json | jq '.[] | select(.verdict != \"ok\")'"
    )]
    Doctor {
        /// The settings file
        #[arg(long, default_value = "/etc/hokku/hokku.toml")]
        config: PathBuf,
        /// Print JSON: a list of name, verdict (ok, warn, fail), says, fix
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of the hokku.toml of apps
    Schema,
}

/// Flags go over the settings file.
#[derive(Args, Clone, Default)]
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
    /// Where the router takes requests over TLS
    #[arg(long)]
    router_listen_tls: Vec<SocketAddr>,
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
    /// Where to take requests over TLS
    #[arg(long)]
    listen_tls: Vec<SocketAddr>,
    /// Take the listening sockets over from the router that runs in this folder, if one does; it finishes what it has
    /// begun and ends. SIGUSR2 to a router starts another one like this
    #[arg(long)]
    take_over: bool,
    /// Run as this user once the ports are open
    #[arg(long)]
    uid: Option<u32>,
    /// Where Prometheus reads figures over TCP; a port alone is one of loopback's
    #[arg(long, value_parser = hokku_agent::config::local_address)]
    metrics: Option<SocketAddr>,
    /// Where load balancers may ask about health, besides the ports that take requests
    #[arg(long, value_parser = hokku_agent::config::local_address)]
    health: Option<SocketAddr>,
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
        if !self.router_listen_tls.is_empty() {
            config.router_listen_tls = self.router_listen_tls;
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
        config.check()?;
        Ok(config)
    }
}

fn diagnose(config: &Path, json: bool) -> ExitCode {
    let all = match doctor::examine(config, run::program) {
        Ok(all) => all,
        Err(e) => {
            eprintln!("hokkud: {e:#}");
            return ExitCode::FAILURE;
        }
    };
    match json {
        true => println!("{}", serde_json::to_string_pretty(&all).unwrap_or_default()),
        false => print!("{}", doctor::render(&all)),
    }
    match doctor::has_failed(&all) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(serve) => {
            let again = serve.clone();
            let read = move || again.clone().settings();
            serve
                .settings()
                .and_then(|config| run::agent(config, Box::new(read)))
        }
        Command::Router(r) => run::router(run::RouterOptions {
            dir: &r.dir,
            listen: &r.listen,
            listen_tls: &r.listen_tls,
            metrics: r.metrics,
            health: r.health,
            take_over: r.take_over,
            uid: r.uid,
            threads: r.threads,
        }),
        Command::Hook { name } => return git::hook::main(&name),
        Command::Ssh { socket, key } => return git::ssh::main(&socket, &key),
        Command::StopAll { data_dir } => run::stop_all(&data_dir),
        Command::Schema => {
            print!("{}", hokku_core::parse::hokku_toml::SCHEMA);
            Ok(())
        }
        Command::Doctor { config, json } => return diagnose(&config, json),
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
