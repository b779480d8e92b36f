//! What is said when a server can't be asked.

use crate::fail::Fail;
use crate::server::Server;
use std::path::Path;

/// Nobody answers: who, why, and what to do.
pub fn unreachable(server: &Server, e: &reqwest::Error) -> Fail {
    let why = cause(e).to_string();
    let why = why.trim_end_matches('.');
    match server {
        Server::Socket { path, named: false } if !path.exists() => Fail::new(format!(
            "No server was chosen, and there is none on this machine (no socket {}).\nOn the server, start hokkud; from elsewhere, run: app login https://your-server",
            path.display()
        )),
        server if e.is_timeout() => Fail::new(format!(
            "{server} did not answer in time. Look whether hokkud is well there, then try again."
        )),
        Server::Socket { path, .. } => Fail::new(format!(
            "Can't reach hokkud at {}: {why}.\nStart hokkud{}, or choose a server with --host or app login.",
            path.display(),
            denied(path)
        )),
        server if why.contains("certificate") => Fail::new(format!(
            "Can't trust {server}: {why}.\nIf the certificate comes from an authority of your own, name its file: SSL_CERT_FILE=ca.pem app …"
        )),
        server => Fail::new(format!(
            "Can't reach {server}: {why}.\nLook whether hokkud runs there and the address is right (--host, HOKKU_URL, git remote or app login)."
        )),
    }
}

/// The server does not know who asks; `said` are its own words.
pub fn not_logged_in(server: &Server, said: Option<String>) -> String {
    match server {
        Server::Http { token: None, .. } => {
            format!(
                "{} wants a token, and none is stored or given.\nRun: app login {}",
                server, server
            )
        }
        Server::Http { .. } => {
            let said = said.unwrap_or_else(|| "unauthorized".into());
            format!(
                "{} does not accept the token: {said}\nRun: app login {}",
                server, server
            )
        }
        Server::Socket { .. } => said.unwrap_or_else(|| format!("{} refused this user.", server)),
    }
}

/// The error at the bottom.
pub fn cause(e: &reqwest::Error) -> &(dyn std::error::Error + 'static) {
    let mut cause: &(dyn std::error::Error + 'static) = e;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause
}

fn denied(path: &Path) -> &'static str {
    match std::os::unix::net::UnixStream::connect(path) {
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => " as this user or use sudo",
        _ => "",
    }
}
