//! Domains: host names that lead to an app.

use crate::context::Context;
use crate::fail::{Fail, Result};
use crate::output::{self, Paint};
use crate::progress::Progress;
use clap::Args;
use hokku_model::api;
use reqwest::Method;
use std::time::{Duration, Instant};

/// How often `domains:wait` looks.
const LOOK: Duration = Duration::from_secs(2);

fn all(cx: &Context) -> Result<(String, Vec<api::Domain>)> {
    let (app, client) = cx.app()?;
    let domains = client.list(&["apps", &app, "domains"])?;
    Ok((app, domains))
}

/// List the domains of an app
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app domains")]
pub struct List {
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

impl List {
    /// Prints the app's own name, then the custom ones.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, domains) = all(cx)?;
        if self.json {
            return output::json(&domains);
        }
        let (own, custom): (Vec<_>, Vec<_>) = domains.iter().partition(|d| d.kind == "heroku");
        let title = format!("{} Domain", Paint::stdout().app(&app));
        let mut text = output::header(&title);
        for d in own {
            text.push_str(&format!("{}\n", output::clean(&d.hostname)));
        }
        if !custom.is_empty() {
            text.push('\n');
            let title = format!("{} Custom Domains", Paint::stdout().app(&app));
            text.push_str(&output::header(&title));
            let row = |a: &str, b: &str, c: &str, d: &str| [a, b, c, d].map(str::to_owned).to_vec();
            let mut rows = vec![row("Domain Name", "DNS Target", "SNI Endpoint", "ACM")];
            for d in custom {
                let cert = d.sni_endpoint.as_ref().and_then(|c| c.name.as_deref());
                rows.push(row(
                    &d.hostname,
                    d.cname.as_deref().unwrap_or_default(),
                    cert.unwrap_or("none"),
                    d.acm_status.as_deref().unwrap_or("off"),
                ));
            }
            text.push_str(&output::plain_table(&rows));
        }
        output::print(&text);
        Ok(())
    }
}

/// Make a host name lead to an app
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  $ app domains:add www.example.com\n  $ app domains:add '*.example.com'\n  $ app domains:add example.com/shop"
)]
pub struct Add {
    /// The name; a star for any first label, a path for a part of a site
    hostname: String,
    /// Show this certificate for it
    #[arg(short, long)]
    cert: Option<String>,
    /// Accepted as Heroku's; a domain takes effect at once
    #[arg(long, hide = true)]
    wait: bool,
}

impl Add {
    /// Adds it, and says where DNS has to point.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let progress = Progress::start(format!(
            "Adding {} to {}",
            self.hostname,
            Paint::stderr().app(&app)
        ));
        let wanted = api::CreateDomain {
            hostname: self.hostname,
            sni_endpoint: self.cert,
        };
        let domain: api::Domain = client.send(Method::POST, &["apps", &app, "domains"], &wanted)?;
        progress.done();
        let cname = domain.cname.unwrap_or_default();
        output::note(&format!(
            "It leads to the app from now on. Let DNS point {} at this server: a CNAME for {cname}, or an A record.",
            domain.hostname
        ));
        Ok(())
    }
}

/// Take a domain away from an app
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app domains:remove www.example.com")]
pub struct Remove {
    /// The name
    hostname: String,
}

impl Remove {
    /// Removes it.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let name = Paint::stderr().app(&app);
        let progress = Progress::start(format!("Removing {} from {name}", self.hostname));
        client.order(Method::DELETE, &["apps", &app, "domains", &self.hostname])?;
        progress.done();
        Ok(())
    }
}

/// Take all custom domains away from an app
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app domains:clear")]
pub struct Clear {}

impl Clear {
    /// Removes all.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let name = Paint::stderr().app(&app);
        let progress = Progress::start(format!("Removing all domains from {name}"));
        client.order(Method::DELETE, &["apps", &app, "domains"])?;
        progress.done();
        Ok(())
    }
}

/// Show one domain with its certificate
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app domains:info www.example.com")]
pub struct Info {
    /// The name
    hostname: String,
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

impl Info {
    /// Prints it.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let d: api::Domain = client.get(&["apps", &app, "domains", &self.hostname])?;
        if self.json {
            return output::json(&d);
        }
        let cert = d.sni_endpoint.and_then(|c| c.name);
        let mut pairs = vec![
            ("hostname", d.hostname),
            ("kind", d.kind),
            ("cname", d.cname.unwrap_or_default()),
            ("status", d.status),
            ("sni_endpoint", cert.unwrap_or_else(|| "none".into())),
            ("acm_status", d.acm_status.unwrap_or_else(|| "off".into())),
            ("created", crate::time::ago(&d.created_at)),
        ];
        if let Some(reason) = d.acm_status_reason {
            pairs.push(("reason", output::clean(&reason)));
        }
        output::print(&output::object(&pairs));
        Ok(())
    }
}

/// Wait until a domain, or all of an app, have their automatic certificates
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app domains:wait www.example.com")]
pub struct Wait {
    /// The name; all when absent
    hostname: Option<String>,
    /// Seconds to wait at most
    #[arg(long, default_value_t = 300)]
    timeout: u64,
}

impl Wait {
    /// For all domains, with the usual patience.
    pub fn all() -> Wait {
        Wait {
            hostname: None,
            timeout: 300,
        }
    }

    /// Looks again and again. Domains lead to the app at once, so that only certificates are waited for.
    pub fn run(self, cx: &Context) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(self.timeout);
        let progress = Progress::start("Waiting for the domains");
        loop {
            let (_, domains) = all(cx)?;
            let named = |d: &&api::Domain| self.hostname.as_ref().is_none_or(|h| *h == d.hostname);
            let mut of = domains.iter().filter(named).peekable();
            if let (None, Some(name)) = (of.peek(), &self.hostname) {
                return Err(Fail::usage(format!(
                    "{name} is no domain of the app. See: app domains"
                )));
            }
            let ready = |s: &Option<String>| s.as_deref().is_none_or(|s| s == "cert issued");
            let Some(open) = of.find(|d| !ready(&d.acm_status)) else {
                progress.done();
                return Ok(());
            };
            let status = open.acm_status.as_deref().unwrap_or_default();
            if status == "failed" || Instant::now() >= end {
                let why = open
                    .acm_status_reason
                    .as_deref()
                    .unwrap_or("it is under way");
                return Err(Fail::new(format!(
                    "{} has no certificate yet ({status}): {}",
                    open.hostname,
                    output::clean(why)
                )));
            }
            std::thread::sleep(LOOK);
        }
    }
}
