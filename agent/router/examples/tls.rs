//! For measuring TLS: `tls` starts a router in a process of its own and prints what handshakes, idle connections and new
//! tables of certificates cost it. Times are CPU microseconds of the router (user and system) per connection.

use anyhow::Context;
use hokku_model::AppId;
use hokku_model::route::{AppRoutes, AppState, Cert, CertTable, RouteTable, RouterOrder};
use hokku_model::route::{RELEASE_PATH, RouterReport};
use hokku_router::control_client;
use rcgen::{CertificateParams, KeyPair};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio_rustls::rustls::{SupportedProtocolVersion, version};

const HANDSHAKES: usize = 4000;
const IDLE: usize = 4000;

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("router") => router(Path::new(&args[2])),
        _ => measure(),
    }
}

fn router(dir: &Path) -> anyhow::Result<()> {
    let mut config = hokku_router::Config::new(
        dir.join("router.sock"),
        dir.join("routes.json"),
        dir.join("logs"),
    );
    config.threads = 1;
    let bind = |name: &str| -> anyhow::Result<_> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        std::fs::write(dir.join(name), listener.local_addr()?.to_string())?;
        Ok(vec![listener])
    };
    config.listeners = bind("plain")?;
    config.listeners_tls = bind("tls")?;
    hokku_router::serve(config)
}

struct Rig {
    dir: tempfile::TempDir,
    child: Child,
    roots: RootCertStore,
    address: SocketAddr,
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Rig {
    fn start(rsa: bool) -> anyhow::Result<Rig> {
        let dir = tempfile::tempdir()?;
        let app = AppRoutes {
            hosts: vec!["a.test".into()],
            ..AppRoutes::new("app".parse()?, AppState::Running)
        };
        let table = RouteTable {
            version: 1,
            apps: [(AppId(1), app)].into(),
            ..RouteTable::default()
        };
        std::fs::write(dir.path().join("routes.json"), serde_json::to_vec(&table)?)?;
        let cert = if rsa {
            rsa_cert(dir.path())?
        } else {
            cert(1)?.remove(0)
        };
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(cert.chain.as_bytes())?)?;
        let certs = CertTable {
            version: 1,
            certs: vec![cert],
        };
        std::fs::write(dir.path().join("certs.json"), serde_json::to_vec(&certs)?)?;
        let child = Command::new(std::env::current_exe()?)
            .arg("router")
            .arg(dir.path())
            .spawn()?;
        while std::os::unix::net::UnixStream::connect(dir.path().join("router.sock")).is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let address = std::fs::read_to_string(dir.path().join("tls"))?.parse()?;
        Ok(Rig {
            dir,
            child,
            roots,
            address,
        })
    }

    /// CPU microseconds so far; the kernel counts in hundredths of a second.
    fn cpu(&self) -> anyhow::Result<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields = stat.rsplit(')').next().unwrap_or("").split_whitespace();
        let ticks: u64 = fields
            .skip(11)
            .take(2)
            .filter_map(|t| t.parse::<u64>().ok())
            .sum();
        Ok(ticks * 10_000)
    }

    fn rss_kb(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
        let digits = line.context("no VmRSS")?.trim().trim_end_matches(" kB");
        Ok(digits.parse()?)
    }

    fn connect(
        &self,
        config: &Arc<ClientConfig>,
    ) -> anyhow::Result<StreamOwned<ClientConnection, TcpStream>> {
        let connection = ClientConnection::new(config.clone(), ServerName::try_from("a.test")?)?;
        let socket = TcpStream::connect(self.address)?;
        socket.set_nodelay(true)?;
        Ok(StreamOwned::new(connection, socket))
    }

    fn ask(&self, config: &Arc<ClientConfig>) -> anyhow::Result<()> {
        let mut stream = self.connect(config)?;
        let ask =
            format!("GET {RELEASE_PATH} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        anyhow::ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Ok(())
    }

    fn handshakes(&self, what: &str, config: ClientConfig) -> anyhow::Result<()> {
        let config = Arc::new(config);
        self.ask(&config)?;
        let (cpu, begun) = (self.cpu()?, Instant::now());
        for _ in 0..HANDSHAKES {
            self.ask(&config)?;
        }
        let cpu = (self.cpu()? - cpu) / HANDSHAKES as u64;
        let rate = HANDSHAKES as f64 / begun.elapsed().as_secs_f64();
        println!("{what}: {cpu} us a connection with one request ({rate:.0}/s with one client)");
        Ok(())
    }
}

fn cert(n: usize) -> anyhow::Result<Vec<Cert>> {
    let key = KeyPair::generate()?;
    let make = |i: usize| {
        let names = vec![if n == 1 {
            "a.test".to_owned()
        } else {
            format!("host{i}.test")
        }];
        Ok(Cert {
            chain: CertificateParams::new(names.clone())?
                .self_signed(&key)?
                .pem(),
            names,
            key: key.serialize_pem(),
            challenge: false,
        })
    };
    (0..n).map(make).collect()
}

fn rsa_cert(dir: &Path) -> anyhow::Result<Cert> {
    let args = "req -x509 -newkey rsa:2048 -nodes -keyout key -out pem -days 50 -subj /CN=x \
                -addext subjectAltName=DNS:a.test -addext basicConstraints=critical,CA:FALSE";
    let made = Command::new("openssl")
        .args(args.split_whitespace())
        .current_dir(dir)
        .output()?;
    anyhow::ensure!(made.status.success(), "openssl made no certificate");
    Ok(Cert {
        names: vec!["a.test".into()],
        chain: std::fs::read_to_string(dir.join("pem"))?,
        key: std::fs::read_to_string(dir.join("key"))?,
        challenge: false,
    })
}

fn client(
    rig: &Rig,
    version: &'static SupportedProtocolVersion,
    kx: &'static dyn SupportedKxGroup,
) -> anyhow::Result<ClientConfig> {
    let provider = CryptoProvider {
        kx_groups: vec![kx],
        ..aws_lc_rs::default_provider()
    };
    Ok(ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])?
        .with_root_certificates(rig.roots.clone())
        .with_no_client_auth())
}

fn measure() -> anyhow::Result<()> {
    println!(
        "a TLS stream is {} bytes, without its buffers",
        size_of::<tokio_rustls::server::TlsStream<tokio::net::TcpStream>>()
    );
    idle()?;
    for (kind, rsa) in [("ECDSA P-256", false), ("RSA 2048", true)] {
        let rig = Rig::start(rsa)?;
        for (name, version, kx) in [
            ("1.3 X25519", &version::TLS13, aws_lc_rs::kx_group::X25519),
            (
                "1.3 X25519MLKEM768",
                &version::TLS13,
                aws_lc_rs::kx_group::X25519MLKEM768,
            ),
            ("1.2 X25519", &version::TLS12, aws_lc_rs::kx_group::X25519),
        ] {
            for how in ["full", "resumed"] {
                let mut config = client(&rig, version, kx)?;
                if how == "full" {
                    config.resumption = Resumption::disabled();
                }
                rig.handshakes(&format!("{kind}, TLS {name}, {how}"), config)?;
            }
        }
    }
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(swaps())
}

/// Connections that have asked once and are silent now.
fn idle() -> anyhow::Result<()> {
    let rig = Rig::start(false)?;
    let config = Arc::new(client(&rig, &version::TLS13, aws_lc_rs::kx_group::X25519)?);
    held(&rig, "TLS", || rig.connect(&config))?;
    let rig = Rig::start(false)?;
    let plain = std::fs::read_to_string(rig.dir.path().join("plain"))?;
    held(&rig, "plain", || Ok(TcpStream::connect(&plain)?))
}

fn held<S: Read + Write>(
    rig: &Rig,
    what: &str,
    connect: impl Fn() -> anyhow::Result<S>,
) -> anyhow::Result<()> {
    let open = |n: usize| -> anyhow::Result<Vec<S>> {
        let ask = format!("GET {RELEASE_PATH} HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let one = |_| {
            let mut stream = connect()?;
            stream.write_all(ask.as_bytes())?;
            let mut answer = [0; 4096];
            let n = stream.read(&mut answer)?;
            anyhow::ensure!(answer[..n].starts_with(b"HTTP/1.1 200"), "no answer");
            Ok(stream)
        };
        (0..n).map(one).collect()
    };
    let _first = open(200)?;
    let before = rig.rss_kb()?;
    let held = open(IDLE)?;
    let each = (rig.rss_kb()?.saturating_sub(before)) as f64 / held.len() as f64;
    println!("{} idle {what} connections: {each:.1} KB each", held.len());
    Ok(())
}

/// From the order to the report: JSON, reading and checking, publishing.
async fn swaps() -> anyhow::Result<()> {
    for n in [1000, 10_000] {
        let rig = Rig::start(false)?;
        let (mut to, mut from) =
            control_client::connect(&rig.dir.path().join("router.sock")).await?;
        from.recv().await?;
        let mut certs = cert(n)?;
        for (version, what) in [(2, "all new"), (3, "none new"), (4, "one new")] {
            if version == 4 {
                certs[0] = cert(1)?.remove(0);
            }
            let table = CertTable {
                version,
                certs: certs.clone(),
            };
            let line = serde_json::to_vec(&table)?.len() / 1024;
            let (cpu, begun) = (rig.cpu()?, Instant::now());
            to.send(&RouterOrder::Certs { certs: table }).await?;
            let report = from.recv().await?.context("the router is gone")?;
            let wall = begun.elapsed().as_millis();
            anyhow::ensure!(
                report
                    == RouterReport::CertsApplied {
                        version,
                        refused: vec![]
                    },
                "{report:?}"
            );
            let cpu = (rig.cpu()? - cpu) / 1000;
            println!(
                "{n} certificates, {what}: {wall} ms, {cpu} ms CPU, {line} KB, RSS {} KB",
                rig.rss_kb()?
            );
        }
    }
    Ok(())
}
