//! A certificate authority that speaks ACME: Pebble, with its DNS, and certificates made by openssl.

use super::eventually;
use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Pebble and its mock DNS, which answers 127.0.0.1 for every name unless told otherwise.
pub struct Authority {
    dir: tempfile::TempDir,
    acme: u16,
    management: u16,
    names: u16,
    tls: u16,
    children: Vec<Child>,
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it has one").port()
}

fn openssl(dir: &Path, args: &[&str]) {
    let done = Command::new("openssl").args(args).current_dir(dir).output();
    let done = done.expect("openssl is installed: .ci/deps test");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "openssl {args:?}: {said}");
}

/// Makes `<name>.crt` and `<name>.key` in `dir`, signed by itself, for these hosts.
pub fn certificate(dir: &Path, name: &str, hosts: &[&str], days: i32) -> (PathBuf, PathBuf) {
    let (crt, key) = (format!("{name}.crt"), format!("{name}.key"));
    let alt: Vec<String> = hosts.iter().map(|h| format!("DNS:{h}")).collect();
    let alt = format!("subjectAltName={}", alt.join(","));
    let (cn, days) = (format!("/CN={name}"), days.to_string());
    openssl(
        dir,
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            &cn,
            "-addext",
            &alt,
            "-days",
            &days,
            "-keyout",
            &key,
            "-out",
            &crt,
        ],
    );
    (dir.join(crt), dir.join(key))
}

impl Authority {
    /// Chooses ports and makes the certificate of the directory itself; nothing runs yet.
    pub fn prepare() -> Authority {
        let dir = tempfile::tempdir().expect("a temporary directory");
        certificate(dir.path(), "root", &["root.invalid"], 2);
        let request = [
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/CN=pebble",
            "-keyout",
            "pebble.key",
            "-out",
            "pebble.csr",
        ];
        openssl(dir.path(), &request);
        fs::write(
            dir.path().join("ext"),
            "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n",
        )
        .expect("it is ours");
        let sign = [
            "x509",
            "-req",
            "-in",
            "pebble.csr",
            "-CA",
            "root.crt",
            "-CAkey",
            "root.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            "ext",
            "-out",
            "pebble.crt",
        ];
        openssl(dir.path(), &sign);
        Authority {
            dir,
            acme: free_port(),
            management: free_port(),
            names: free_port(),
            tls: free_port(),
            children: vec![],
        }
    }

    /// The `[acme]` table of the agent's settings.
    pub fn settings(&self) -> String {
        format!(
            "[acme]\nagree = true\nemail = \"ops@example.org\"\ndirectory = \"https://127.0.0.1:{}/dir\"\nca_file = {:?}\n",
            self.acme,
            self.dir.path().join("root.crt")
        )
    }

    /// Where it looks for proofs by TLS.
    pub fn tls_port(&self) -> u16 {
        self.tls
    }

    /// Starts both. Proofs by HTTP are looked for on `http`; certificates live `seconds`.
    ///
    /// # Panics
    /// Pebble is not installed, or does not come up.
    pub fn start(&mut self, http: u16, seconds: u64) {
        let dns = free_port();
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{}", self.acme),
            "managementListenAddress": format!("127.0.0.1:{}", self.management),
            "certificate": self.dir.path().join("pebble.crt"),
            "privateKey": self.dir.path().join("pebble.key"),
            "httpPort": http,
            "tlsPort": self.tls,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "certificateValidityPeriod": seconds,
        }});
        let file = self.dir.path().join("config.json");
        fs::write(&file, config.to_string()).expect("it is ours");
        let log = |name: &str| fs::File::create(self.dir.path().join(name)).expect("it is ours");
        let mut names = Command::new("pebble-challtestsrv");
        names.args([
            "-defaultIPv6",
            "",
            "-http01",
            "",
            "-https01",
            "",
            "-tlsalpn01",
            "",
        ]);
        names.args(["-dns01", &format!("127.0.0.1:{dns}")]);
        names.args(["-management", &format!("127.0.0.1:{}", self.names)]);
        let mut pebble = Command::new("pebble");
        pebble.args([
            "-config",
            &file.to_string_lossy(),
            "-dnsserver",
            &format!("127.0.0.1:{dns}"),
        ]);
        // No random pauses, and nonces that are refused now and then, as Pebble does on its own.
        pebble.env("PEBBLE_VA_NOSLEEP", "1");
        let children = [(&mut names, "names.log"), (&mut pebble, "pebble.log")].map(|(c, name)| {
            let out = log(name);
            c.stdin(Stdio::null())
                .stdout(out.try_clone().expect("a descriptor"))
                .stderr(out)
                .spawn()
                .expect("pebble is installed: .ci/deps acme")
        });
        self.children.extend(children);
        for port in [self.acme, self.management, self.names] {
            eventually("the authority answers", 20, || {
                TcpStream::connect(("127.0.0.1", port)).ok()
            });
        }
    }

    /// Lets a name lead somewhere else.
    pub fn point(&self, host: &str, address: &str) {
        let host = format!("{host}.");
        self.tell("clear-a", &serde_json::json!({ "host": host }));
        let new = serde_json::json!({ "host": host, "addresses": [address] });
        self.tell("add-a", &new);
    }

    fn tell(&self, what: &str, body: &serde_json::Value) {
        let url = format!("http://127.0.0.1:{}/{what}", self.names);
        let done = Command::new("curl")
            .args(["-sf", "-d", &body.to_string(), &url])
            .status();
        assert!(done.expect("curl is installed").success(), "{what}");
    }

    /// A file with the root of the certificates that it issues.
    pub fn issuing_root(&self) -> PathBuf {
        let to = self.dir.path().join("issuing-root.pem");
        let done = Command::new("curl")
            .arg("-sfo")
            .arg(&to)
            .arg("--cacert")
            .arg(self.dir.path().join("root.crt"))
            .arg(format!("https://127.0.0.1:{}/roots/0", self.management))
            .status();
        assert!(done.expect("curl is installed").success());
        to
    }

    /// What Pebble has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("pebble.log")).unwrap_or_default()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the authority's log\n{}", self.log());
        }
        for c in &mut self.children {
            let _ = c.kill();
            let _ = c.wait();
        }
    }
}
