//! The agent's settings: a TOML file, over it flags and environment; every unknown key is refused.

mod live;
mod read;

pub use live::{Changes, Live};

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

/// All settings, with their defaults.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where state lives. Mode 0700.
    pub data_dir: PathBuf,
    /// The Unix socket for root and the agent's own user; no token needed there. Default `<data_dir>/run/hokkud.sock`.
    pub socket: Option<PathBuf>,
    /// Where the API and git over HTTP listen. Loopback unless TLS ends in front of it.
    pub api_listen: SocketAddr,
    /// How people reach the API, as shown in git URLs; default `http://<api_listen>`.
    pub api_url: Option<String>,
    /// Where the router takes requests.
    pub router_listen: Vec<SocketAddr>,
    /// Where Prometheus reads the router's figures (`GET /metrics`), as `127.0.0.1:9100`; a port alone is one of
    /// loopback's. They name apps, so nothing wider than a network of one's own. None: only over the Unix socket
    /// `<data_dir>/router/metrics.sock`.
    #[serde(deserialize_with = "local")]
    pub metrics_listen: Option<SocketAddr>,
    /// Where load balancers may ask about health by a port of its own; a port alone is one of loopback's. The router
    /// answers `/.well-known/hokku/health` on `router_listen` in any case.
    #[serde(deserialize_with = "local")]
    pub health_listen: Option<SocketAddr>,
    /// Where the router takes requests over TLS; nowhere by default.
    pub router_listen_tls: Vec<SocketAddr>,
    /// Apps are reached at `<name>.<apps_domain>`.
    pub apps_domain: String,
    /// The app that gets the requests for hosts that no app claims. Empty: none. Absent: the only app, if there is one.
    pub default_app: Option<String>,
    /// Networks whose `X-Forwarded-*` and PROXY headers are believed; those of load balancers. Nobody else's are.
    pub trusted_proxies: Vec<String>,
    /// Connections of trusted proxies begin with a PROXY header (v1 or v2), which is demanded then.
    pub proxy_protocol: bool,
    /// A further path at which the router tells load balancers its health, whatever the host.
    pub health_path: Option<String>,
    /// The app whose dynos decide about health; absent: all that run.
    pub health_app: Option<String>,
    /// Start and watch the router from here; off where it is a unit of its own.
    pub spawn_router: bool,
    /// Ports given to web dynos, first and last.
    pub dyno_ports: (u16, u16),
    /// First Unix user id of apps under root.
    pub first_uid: u32,
    /// The branches whose push is built.
    pub deploy_branches: Vec<String>,
    /// The user whose sshd forced command may speak git here; see `hokkud ssh`.
    pub git_user: Option<String>,
    /// The authorized_keys file that `app keys:add` keeps; none: keys are kept but not written out.
    pub authorized_keys: Option<PathBuf>,
    /// Seconds a web dyno has to give its first answer (Heroku: 60).
    pub boot_timeout: u64,
    /// Seconds from SIGTERM to SIGKILL (Heroku: 30).
    pub stop_grace: u64,
    /// Seconds that requests and WebSockets in flight have to end on a dyno that left the routes.
    pub drain_timeout: u64,
    /// Seconds that a release command may take (Heroku: 3600).
    pub release_timeout: u64,
    /// Seconds that a dyno above its soft memory limit was up at least before it is replaced, where its app asks for
    /// that (`limits:set --memory-restart`).
    pub memory_restart_after: u64,
    /// Builds.
    pub build: BuildConfig,
    /// Budgets in bytes for what may be deleted.
    pub retain: Retain,
    /// Certificates got by ACME.
    pub acme: AcmeConfig,
    /// What goes to journald besides the agent's own log.
    pub journal: JournalConfig,
    /// What a reload changed; see [`Config::now`].
    #[serde(skip)]
    pub live: Live,
}

/// Settings of what goes to journald.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JournalConfig {
    /// What dynos write and what the platform says of them, with the fields `HOKKU_APP` and `HOKKU_DYNO`.
    pub dynos: bool,
}

/// Settings of automatic certificates (RFC 8555).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AcmeConfig {
    /// The certificate authority's directory.
    pub directory: String,
    /// Where the authority may write to about certificates; none: nowhere.
    pub email: Option<String>,
    /// Its terms of service are agreed to. Without this nothing is ordered.
    pub agree: bool,
    /// PEM file of the roots that the directory's own certificate is checked with; absent: the system's.
    pub ca_file: Option<PathBuf>,
    /// The ways of proof, in the order in which they are tried; absent: those that [`Config::challenges`] says.
    pub challenges: Option<Vec<Challenge>>,
    /// For the custom domains of all apps, save where `certs:auto:disable` was said.
    pub all: bool,
}

/// A way to prove that a name leads here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Challenge {
    /// A file below `/.well-known/acme-challenge/` on port 80 (RFC 8555, section 8.3).
    #[serde(rename = "http-01")]
    Http01,
    /// A certificate on port 443 (RFC 8737).
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
}

impl Default for AcmeConfig {
    fn default() -> AcmeConfig {
        AcmeConfig {
            directory: "https://acme-v02.api.letsencrypt.org/directory".into(),
            email: None,
            agree: false,
            ca_file: None,
            challenges: None,
            all: false,
        }
    }
}

/// Settings of builds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BuildConfig {
    /// Environment of every build: proxies, CA bundles, index URLs.
    pub env: BTreeMap<String, String>,
    /// Names of variables of the agent's own environment that builds get too.
    pub pass_env: Vec<String>,
    /// Seconds a build may take.
    pub timeout: u64,
    /// How many builds run at once.
    pub parallel: usize,
    /// Bytes of memory a build may use; 0 for four fifths of the machine's.
    pub memory: u64,
    /// A folder or URL with runtimes, asked before upstream.
    pub runtime_mirror: Option<String>,
    /// `heroku-22`, … as told to buildpacks.
    pub stack: String,
    /// Names of buildpacks, with the address or the folder of each; they go before the names that hokku knows.
    pub buildpacks: BTreeMap<String, String>,
}

/// Budgets.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retain {
    /// Slugs and unpacked releases of all apps, in bytes.
    pub slugs: u64,
    /// Logs of one app, in bytes.
    pub logs: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            data_dir: "/var/lib/hokku".into(),
            socket: None,
            api_listen: ([127, 0, 0, 1], 5080).into(),
            api_url: None,
            router_listen: vec![([0, 0, 0, 0], 80).into()],
            metrics_listen: None,
            health_listen: None,
            router_listen_tls: Vec::new(),
            apps_domain: "localhost".into(),
            default_app: None,
            trusted_proxies: hokku_model::route::Front::default().trusted,
            proxy_protocol: false,
            health_path: None,
            health_app: None,
            spawn_router: true,
            dyno_ports: (20_000, 29_999),
            first_uid: 200_000,
            deploy_branches: vec!["main".into(), "master".into()],
            git_user: None,
            authorized_keys: None,
            boot_timeout: 60,
            stop_grace: 30,
            drain_timeout: 30,
            release_timeout: 3600,
            memory_restart_after: 300,
            build: BuildConfig::default(),
            retain: Retain::default(),
            acme: AcmeConfig::default(),
            journal: JournalConfig::default(),
            live: Live::default(),
        }
    }
}

impl Default for BuildConfig {
    fn default() -> BuildConfig {
        BuildConfig {
            env: BTreeMap::new(),
            pass_env: [
                "SSL_CERT_FILE",
                "SSL_CERT_DIR",
                "REQUESTS_CA_BUNDLE",
                "NODE_EXTRA_CA_CERTS",
                "PIP_CERT",
                "CURL_CA_BUNDLE",
            ]
            .map(String::from)
            .to_vec(),
            timeout: 15 * 60,
            parallel: 2,
            memory: 0,
            runtime_mirror: None,
            stack: "heroku-22".into(),
            buildpacks: BTreeMap::new(),
        }
    }
}

impl Default for Retain {
    fn default() -> Retain {
        Retain {
            slugs: 10 << 30,
            logs: 64 << 20,
        }
    }
}

/// Reads an address; a port alone is one of loopback's.
///
/// # Errors
/// What was expected.
pub fn local_address(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix(':').unwrap_or(text);
    if let Ok(port) = port.parse::<u16>() {
        return Ok(([127, 0, 0, 1], port).into());
    }
    text.parse().map_err(|_| {
        format!("{text:?} is no address: expected one such as 127.0.0.1:9100, or a port")
    })
}

fn local<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = Option::<String>::deserialize(d)?;
    text.map(|t| local_address(&t).map_err(serde::de::Error::custom))
        .transpose()
}

impl Config {
    /// Looks at what the types can't say.
    ///
    /// # Errors
    /// The setting, what is wrong with it, and what is expected.
    pub fn check(&self) -> anyhow::Result<()> {
        use anyhow::{bail, ensure};
        for (key, name) in [
            ("default_app", &self.default_app),
            ("health_app", &self.health_app),
        ] {
            let Some(name) = name.as_deref().filter(|n| !n.is_empty()) else {
                continue;
            };
            if let Err(e) = name.parse::<hokku_model::AppName>() {
                bail!("{key} has to be the name of an app: {e}");
            }
        }
        self.sizes()?;
        self.trusted()?;
        ensure!(
            !self.proxy_protocol || !self.trusted_proxies.is_empty(),
            "proxy_protocol is on and trusted_proxies is empty: name the networks whose PROXY headers are to be believed"
        );
        if let Some(path) = &self.health_path {
            ensure!(
                path.starts_with('/')
                    && path
                        .bytes()
                        .all(|b| b.is_ascii_graphic() && !b"?#".contains(&b)),
                "health_path is {path:?}: expected a path such as \"/health\", without a query"
            );
        }
        let acme = &self.acme;
        ensure!(
            acme.directory.starts_with("https://"),
            "acme.directory is {:?}: expected an https:// address",
            acme.directory
        );
        ensure!(
            acme.challenges.as_ref().is_none_or(|all| !all.is_empty()),
            "acme.challenges is empty: expected \"http-01\", \"tls-alpn-01\", or both"
        );
        if let Some(email) = &acme.email {
            ensure!(
                email.contains('@') && email.bytes().all(|b| b.is_ascii_graphic()),
                "acme.email is {email:?}: expected an address such as \"ops@example.org\""
            );
        }
        Ok(())
    }

    fn sizes(&self) -> anyhow::Result<()> {
        use anyhow::ensure;
        let data = &self.data_dir;
        ensure!(
            data.is_absolute(),
            "data_dir is {data:?}: expected a path from the root, such as \"/var/lib/hokku\""
        );
        let (first, last) = self.dyno_ports;
        ensure!(
            first > 0 && first <= last,
            "dyno_ports is [{first}, {last}]: expected the first and the last port of a range"
        );
        let uid = self.first_uid;
        ensure!(
            (1000..=u32::MAX / 2).contains(&uid),
            "first_uid is {uid}: expected a user id from 1000 up that no person and no service has"
        );
        ensure!(
            !self.deploy_branches.is_empty(),
            "deploy_branches is empty: no push would be built; expected one such as \"main\""
        );
        for (key, seconds) in [
            ("boot_timeout", self.boot_timeout),
            ("build.timeout", self.build.timeout),
        ] {
            ensure!(seconds > 0, "{key} is 0: expected seconds");
        }
        ensure!(
            self.build.parallel > 0,
            "build.parallel is 0: no push would ever be built"
        );
        let domain = &self.apps_domain;
        ensure!(
            !domain.is_empty()
                && domain
                    .split('.')
                    .all(|l| !l.is_empty()
                        && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')),
            "apps_domain is {domain:?}: expected a host name such as \"apps.example.org\""
        );
        if let Some(url) = &self.api_url {
            ensure!(
                url.starts_with("https://") || url.starts_with("http://"),
                "api_url is {url:?}: expected an address such as \"https://hokku.example.org\""
            );
        }
        Ok(())
    }

    /// The ways to prove to the certificate authority that a name leads here, in the order in which they are tried: those
    /// of `acme.challenges`, else over HTTP, and over TLS where the router listens for it.
    pub fn challenges(&self) -> Vec<Challenge> {
        let usual = || match self.router_listen_tls.is_empty() {
            true => vec![Challenge::Http01],
            false => vec![Challenge::Http01, Challenge::TlsAlpn01],
        };
        self.acme.challenges.clone().unwrap_or_else(usual)
    }

    /// The networks of `trusted_proxies`; a single address counts as a network of one.
    ///
    /// # Errors
    /// One that is neither.
    pub fn trusted(&self) -> anyhow::Result<Vec<String>> {
        let one = |text: &String| {
            let text = text.trim();
            let net = text.parse::<ipnet::IpNet>().ok().or_else(|| {
                let ip: std::net::IpAddr = text.parse().ok()?;
                Some(ipnet::IpNet::from(ip))
            });
            net.map(|n| n.trunc().to_string()).ok_or_else(|| {
                anyhow::anyhow!(
                    "trusted_proxies has {text:?}: expected networks such as \"10.0.0.0/8\" or addresses such as \"192.0.2.7\""
                )
            })
        };
        self.trusted_proxies.iter().map(one).collect()
    }

    /// The Unix socket's path.
    pub fn socket(&self) -> PathBuf {
        self.socket
            .clone()
            .unwrap_or_else(|| self.data_dir.join("run/hokkud.sock"))
    }

    /// The URL that people use for the API and git, without a slash at the end.
    pub fn api_url(&self) -> String {
        self.api_url.as_deref().map_or_else(
            || format!("http://{}", self.api_listen),
            |u| u.trim_end_matches('/').to_owned(),
        )
    }

    /// The URL of an app's web page.
    pub fn web_url(&self, app: &str) -> String {
        let port = self.router_port();
        let port = if port == 80 {
            String::new()
        } else {
            format!(":{port}")
        };
        format!("http://{app}.{}{port}/", self.apps_domain)
    }

    /// The first port at which the router takes requests; where the settings say 0, the one it was given.
    pub fn router_port(&self) -> u16 {
        match self.router_listen.first().map_or(80, SocketAddr::port) {
            0 => self.router_addr().map_or(0, |a| a.port()),
            port => port,
        }
    }

    /// Where the router takes requests, as it last said itself; `None` before it ever came up.
    pub fn router_addr(&self) -> Option<SocketAddr> {
        let told = std::fs::read_to_string(self.router_addr_file()).ok()?;
        told.trim().parse().ok()
    }

    /// The file in which that stands, for scripts too.
    pub fn router_addr_file(&self) -> PathBuf {
        self.data_dir.join("run/router.addr")
    }

    /// The host name that always leads to an app.
    pub fn default_host(&self, app: &str) -> String {
        format!("{app}.{}", self.apps_domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_refused_with_their_place() {
        let dir = tempfile::tempdir().unwrap();
        let p = dir.path().join("hokku.toml");
        std::fs::write(&p, "apps_domain = \"x.org\"\nboot_timout = 3\n").unwrap();
        let e = format!("{:#}", Config::load(&p).unwrap_err());
        assert!(e.contains("boot_timout") && e.contains("line 2"), "{e}");
    }

    #[test]
    fn a_port_alone_is_one_of_loopbacks() {
        let read = |text: &str| toml::from_str::<Config>(text).map(|c| c.metrics_listen);
        let some = |a: &str| Some(a.parse().unwrap());
        assert_eq!(
            read("metrics_listen = \"9100\"").unwrap(),
            some("127.0.0.1:9100")
        );
        assert_eq!(
            read("metrics_listen = \":9100\"").unwrap(),
            some("127.0.0.1:9100")
        );
        assert_eq!(
            read("metrics_listen = \"10.0.0.1:9\"").unwrap(),
            some("10.0.0.1:9")
        );
        assert_eq!(read("").unwrap(), None);
        let e = read("metrics_listen = \"here\"").unwrap_err().to_string();
        assert!(e.contains("\"here\" is no address"), "{e}");
    }

    #[test]
    fn settings_about_the_front_are_checked() {
        let bad = |text: &str| {
            let dir = tempfile::tempdir().unwrap();
            let p = dir.path().join("hokku.toml");
            std::fs::write(&p, text).unwrap();
            format!("{:#}", Config::load(&p).unwrap_err())
        };
        for (text, say) in [
            ("trusted_proxies = [\"10.0.0.0/33\"]", "10.0.0.0/33"),
            ("trusted_proxies = [\"lb.example.org\"]", "networks such as"),
            (
                "trusted_proxies = []\nproxy_protocol = true",
                "trusted_proxies is empty",
            ),
            ("health_path = \"health\"", "health_path"),
            ("health_path = \"/h?x\"", "without a query"),
            ("default_app = \"My App\"", "default_app"),
            ("[acme]\ndirectory = \"http://x\"", "https://"),
            ("[acme]\nchallenges = []", "http-01"),
            ("[acme]\nchallenges = [\"dns-01\"]", "dns-01"),
        ] {
            let e = bad(text);
            assert!(e.contains(say), "{text}: {e}");
        }
        let c = Config {
            trusted_proxies: vec!["10.1.2.3/8".into(), "::1".into(), "192.0.2.7".into()],
            ..Config::default()
        };
        assert_eq!(
            c.trusted().unwrap(),
            ["10.0.0.0/8", "::1/128", "192.0.2.7/32"]
        );
        Config::default().check().unwrap();
    }

    #[test]
    fn names_are_proven_over_tls_only_where_the_router_listens_for_it() {
        let ways = |text: &str| toml::from_str::<Config>(text).unwrap().challenges();
        assert_eq!(ways(""), [Challenge::Http01]);
        assert_eq!(
            ways("router_listen_tls = [\"0.0.0.0:443\"]"),
            [Challenge::Http01, Challenge::TlsAlpn01]
        );
        assert_eq!(
            ways("[acme]\nchallenges = [\"tls-alpn-01\"]"),
            [Challenge::TlsAlpn01]
        );
    }

    #[test]
    fn the_default_round_trips() {
        let text = toml::to_string(&Config::default()).unwrap();
        let again: Config = toml::from_str(&text).unwrap();
        assert_eq!(again.web_url("a"), "http://a.localhost/");
    }
}
