//! Certificates: given by hand, or got by the server itself.

use crate::context::Context;
use crate::fail::{Fail, Result};
use crate::output::{self, Paint};
use crate::progress::Progress;
use clap::Args;
use hokku_model::api;
use reqwest::Method;
use std::path::{Path, PathBuf};

/// Bytes of a file that is read as PEM.
const MOST: usize = 100 * 1024;

/// List the certificates of an app
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app certs")]
pub struct List {
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

impl List {
    /// Prints names, domains and ends; what the router refuses, with its reason.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let certs: Vec<api::SniEndpoint> = client.list(&["apps", &app, "sni-endpoints"])?;
        if self.json {
            return output::json(&certs);
        }
        if certs.is_empty() {
            output::line(&format!(
                "{app} has no certificates. Give one with: app certs:add CRT KEY, or let them be got with: app certs:auto:enable"
            ));
            return Ok(());
        }
        let row = |c: [&str; 6]| c.map(str::to_owned).to_vec();
        let mut rows = vec![row([
            "Name",
            "Common Name(s)",
            "Shown for",
            "Expires",
            "Trusted",
            "Type",
        ])];
        for c in &certs {
            let trusted = if c.ssl_cert.ca_signed {
                "True"
            } else {
                "False"
            };
            let kind = if c.ssl_cert.acm { "ACM" } else { "SNI" };
            let date = crate::time::date(&c.ssl_cert.expires_at);
            rows.push(row([
                &c.name,
                &c.ssl_cert.cert_domains.join(", "),
                &c.hosts.join(", "),
                &date,
                trusted,
                kind,
            ]));
        }
        output::print(&output::plain_table(&rows));
        for c in certs.iter().filter(|c| c.refused.is_some()) {
            let why = c.refused.as_deref().unwrap_or_default();
            output::warning(&format!(
                "The router does not use {}: {}",
                c.name,
                output::clean(why)
            ));
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<String> {
    let shown = path.display();
    let data = std::fs::read(path)
        .map_err(|e| Fail::usage(format!("The file {shown} can't be read: {e}.")))?;
    if data.len() > MOST {
        return Err(Fail::usage(format!(
            "{shown} is longer than {MOST} bytes: it is no PEM file of a certificate or key."
        )));
    }
    String::from_utf8(data).map_err(|_| {
        Fail::usage(format!(
            "{shown} is no text. Certificates and keys are taken as PEM; convert a DER file with: openssl x509 -inform der -in {shown} -out server.crt"
        ))
    })
}

/// The only certificate that people gave, when none is named.
fn one(cx: &Context, name: Option<String>) -> Result<String> {
    if let Some(name) = name {
        return Ok(name);
    }
    let (app, client) = cx.app()?;
    let certs: Vec<api::SniEndpoint> = client.list(&["apps", &app, "sni-endpoints"])?;
    let given: Vec<&api::SniEndpoint> = certs.iter().filter(|c| !c.ssl_cert.acm).collect();
    match given.as_slice() {
        [one] => Ok(one.name.clone()),
        [] => Err(Fail::usage(format!(
            "{app} has no certificate that was given by hand. See: app certs"
        ))),
        many => Err(Fail::usage(format!(
            "{app} has {} certificates. Name the one with --name; see: app certs",
            many.len()
        ))),
    }
}

fn told(cert: &api::SniEndpoint) {
    for w in &cert.warnings {
        output::warning(&output::clean(w));
    }
    output::line(&describe(cert));
}

fn describe(c: &api::SniEndpoint) -> String {
    let ssl = &c.ssl_cert;
    let signed = match ssl.self_signed {
        true => "SSL certificate is self signed.",
        false => "SSL certificate is signed by an authority.",
    };
    let clean = |t: &str| output::clean(t);
    let pairs = [
        ("Name", c.name.clone()),
        ("Common Name(s)", clean(&ssl.cert_domains.join(", "))),
        ("Shown for", clean(&c.hosts.join(", "))),
        ("Starts At", crate::time::date(&ssl.starts_at)),
        ("Expires At", crate::time::date(&ssl.expires_at)),
        ("Issuer", clean(&ssl.issuer)),
        ("Subject", clean(&ssl.subject)),
        ("SHA-256", ssl.fingerprint.clone()),
    ];
    format!("{}{signed}", output::object(&pairs))
}

/// Give an app a certificate with its private key
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  $ app certs:add server.crt server.key\n  $ app certs:add chain.pem server.key --domain www.example.com"
)]
pub struct Add {
    /// PEM file of the certificate and the chain behind it
    crt: PathBuf,
    /// PEM file of the private key, without a password
    key: PathBuf,
    /// Show it only for this domain of the app; may be repeated
    #[arg(long = "domain", value_name = "HOST")]
    domains: Vec<String>,
}

impl Add {
    /// Sends both and says what was found in them.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (certificate_chain, private_key) = (read(&self.crt)?, read(&self.key)?);
        let (app, client) = cx.app()?;
        let progress = Progress::start(format!(
            "Adding SSL certificate to {}",
            Paint::stderr().app(&app)
        ));
        let wanted = api::CreateSniEndpoint {
            certificate_chain,
            private_key,
            domains: self.domains,
        };
        let cert: api::SniEndpoint =
            client.send(Method::POST, &["apps", &app, "sni-endpoints"], &wanted)?;
        progress.done();
        told(&cert);
        Ok(())
    }
}

/// Put another certificate and key in the place of one
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  $ app certs:update server.crt server.key --name calm-river-12345"
)]
pub struct Update {
    /// PEM file of the certificate and the chain behind it
    crt: PathBuf,
    /// PEM file of the private key, without a password
    key: PathBuf,
    /// Which one; may be left out when there is only one
    #[arg(long)]
    name: Option<String>,
    /// Accepted as Heroku's; nothing is asked
    #[arg(long, hide = true, value_name = "APP")]
    confirm: Option<String>,
}

impl Update {
    /// Sends both.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (certificate_chain, private_key) = (read(&self.crt)?, read(&self.key)?);
        let name = one(cx, self.name)?;
        let (app, client) = cx.app()?;
        let progress = Progress::start(format!(
            "Updating SSL certificate {name} for {}",
            Paint::stderr().app(&app)
        ));
        let wanted = api::CreateSniEndpoint {
            certificate_chain,
            private_key,
            domains: vec![],
        };
        let path = ["apps", &app, "sni-endpoints", &name];
        let cert: api::SniEndpoint = client.send(Method::PATCH, &path, &wanted)?;
        progress.done();
        told(&cert);
        Ok(())
    }
}

/// Remove a certificate
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app certs:remove --name calm-river-12345")]
pub struct Remove {
    /// Which one; may be left out when there is only one
    #[arg(long)]
    name: Option<String>,
    /// Accepted as Heroku's; nothing is asked
    #[arg(long, hide = true, value_name = "APP")]
    confirm: Option<String>,
}

impl Remove {
    /// Removes it.
    pub fn run(self, cx: &Context) -> Result<()> {
        let name = one(cx, self.name)?;
        let (app, client) = cx.app()?;
        let progress = Progress::start(format!(
            "Removing SSL certificate {name} from {}",
            Paint::stderr().app(&app)
        ));
        client.order(Method::DELETE, &["apps", &app, "sni-endpoints", &name])?;
        progress.done();
        Ok(())
    }
}

/// Show one certificate
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app certs:info --name calm-river-12345")]
pub struct Info {
    /// Which one; may be left out when there is only one
    #[arg(long)]
    name: Option<String>,
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

impl Info {
    /// Prints what it says. The private key is never shown.
    pub fn run(self, cx: &Context) -> Result<()> {
        let name = one(cx, self.name)?;
        let (app, client) = cx.app()?;
        let cert: api::SniEndpoint = client.get(&["apps", &app, "sni-endpoints", &name])?;
        if self.json {
            return output::json(&cert);
        }
        output::line(&describe(&cert));
        if let Some(why) = &cert.refused {
            output::warning(&format!(
                "The router does not use it: {}",
                output::clean(why)
            ));
        }
        Ok(())
    }
}

/// Show whether certificates are got automatically, and how each domain stands
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app certs:auto")]
pub struct Auto {
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

impl Auto {
    /// Prints state and reason of each domain.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let acm: api::Acm = client.get(&["apps", &app, "acm"])?;
        if self.json {
            return output::json(&acm);
        }
        let word = if acm.acm { "enabled" } else { "disabled" };
        output::print(&output::header(&format!(
            "Automatic Certificate Management is {word} on {}",
            Paint::stdout().app(&app)
        )));
        if acm.acm && !acm.agreed {
            output::warning(&format!(
                "Nothing is ordered: the server's settings have not agreed to the terms of {}.",
                acm.directory
            ));
        }
        if !acm.acm {
            output::line("Switch it on with: app certs:auto:enable");
            return Ok(());
        }
        if acm.domains.is_empty() {
            output::line("The app has no custom domains. Add one with: app domains:add");
            return Ok(());
        }
        let row = |c: [&str; 5]| c.map(str::to_owned).to_vec();
        let mut rows = vec![row([
            "Domain",
            "Status",
            "Expires",
            "Next attempt",
            "Reason",
        ])];
        for d in &acm.domains {
            let date = |t: &Option<String>| t.as_deref().map(crate::time::date).unwrap_or_default();
            rows.push(row([
                &d.hostname,
                &d.status,
                &date(&d.expires_at),
                &date(&d.next_attempt_at),
                d.reason.as_deref().unwrap_or_default(),
            ]));
        }
        output::print(&output::plain_table(&rows));
        Ok(())
    }
}

fn switch(cx: &Context, method: Method, doing: &str) -> Result<()> {
    let (app, client) = cx.app()?;
    let name = Paint::stderr().app(&app);
    let progress = Progress::start(format!(
        "{doing} Automatic Certificate Management for {name}"
    ));
    client.order(method, &["apps", &app, "acm"])?;
    progress.done();
    Ok(())
}

/// Let certificates for the app's custom domains be got and renewed automatically
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app certs:auto:enable")]
pub struct AutoEnable {
    /// Wait until all domains have theirs
    #[arg(long)]
    wait: bool,
}

impl AutoEnable {
    /// Switches it on.
    pub fn run(self, cx: &Context) -> Result<()> {
        switch(cx, Method::POST, "Enabling")?;
        if self.wait {
            return super::domains::Wait::all().run(cx);
        }
        output::note("See how the domains stand with: app certs:auto");
        Ok(())
    }
}

/// No longer get certificates automatically, and remove those that were got
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app certs:auto:disable")]
pub struct AutoDisable {
    /// Accepted as Heroku's; nothing is asked
    #[arg(long, hide = true, value_name = "APP")]
    confirm: Option<String>,
}

impl AutoDisable {
    /// Switches it off.
    pub fn run(self, cx: &Context) -> Result<()> {
        switch(cx, Method::DELETE, "Disabling")
    }
}

/// Get the certificates anew, at once
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app certs:auto:refresh")]
pub struct AutoRefresh {}

impl AutoRefresh {
    /// Asks for it.
    pub fn run(self, cx: &Context) -> Result<()> {
        switch(cx, Method::PATCH, "Refreshing")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_pem_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server.crt");
        let say = |data: &[u8]| {
            std::fs::write(&path, data).unwrap();
            read(&path).map_err(|e| e.text)
        };
        assert_eq!(say(b"x\n"), Ok("x\n".into()));
        assert!(
            say(&[0x30, 0x82, 0xff])
                .unwrap_err()
                .contains("openssl x509 -inform der")
        );
        assert!(say(&vec![b'x'; MOST + 1]).unwrap_err().contains("longer"));
        assert!(read(&dir.path().join("no")).is_err());
    }
}
