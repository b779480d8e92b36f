//! Domains: host names that lead to an app besides its own.

use super::{Actor, Ops, OpsError, Result, app, cert, managed};
use crate::{config::Config, store::Tx};
use hokku_model::{AppId, Micros, app::App};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// One document per domain, by its host: nobody else can have it.
const DOMAIN: &str = "domain";

/// Domains of one app (Dev Center "Custom Domain Names": 1,000).
const MOST: usize = 1000;

/// Bytes of a path prefix.
const LONGEST_PATH: usize = 200;

/// A custom domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// `www.example.com`, `*.example.com`, `example.com/shop`; lower case, ASCII.
    pub host: String,
    /// Whose.
    pub app: AppId,
    /// When added.
    pub created_at: Micros,
}

/// The host name of a domain, without a path prefix.
pub(super) fn name_of(host: &str) -> &str {
    host.split('/').next().unwrap_or(host)
}

fn missing(host: &str) -> OpsError {
    let shown: String = host.chars().take(253).collect();
    OpsError::not_found("domain", format!("Couldn't find that domain: {shown}."))
}

/// Removes what an app that goes away has; to be called before it is deleted.
pub(super) fn forget(tx: &Tx, app: &App) -> Result<()> {
    for host in &app.domains {
        tx.delete(DOMAIN, host)?;
    }
    Ok(())
}

impl Ops {
    /// Makes a host name lead to an app; at once, without a restart.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when it is no name, belongs to another app, or is one that apps have anyway; `Conflict`
    /// when the app has 1,000.
    pub async fn add_domain(&self, actor: &Actor, app: AppId, host: &str) -> Result<Domain> {
        let host = parse(host)?;
        self.not_ours(&host)?;
        let (name, domain) = self
            .store()
            .write(|tx| {
                let mut app = app::load(tx, app)?;
                if let Some(there) = tx.get::<Domain>(DOMAIN, &host)? {
                    let other = app::load(tx, there.body.app)?.body.name;
                    return Err(OpsError::invalid(if there.body.app == app.body.id {
                        format!("{host} is already a domain of {other}.")
                    } else {
                        format!(
                            "{host} is a domain of the app {other}. Remove it there first: app domains:remove {host} -a {other}"
                        )
                    }));
                }
                if app.body.domains.len() >= MOST {
                    return Err(OpsError::conflict(format!(
                        "{} has {MOST} domains already; remove one that is not used any more.",
                        app.body.name
                    )));
                }
                let domain = Domain {
                    host: host.clone(),
                    app: app.body.id,
                    created_at: Micros::now(),
                };
                tx.insert(DOMAIN, &host, &domain)?;
                app.body.domains.push(host.clone());
                app::save(tx, &mut app)?;
                cert::touch(tx)?;
                managed::sync(tx, self.config())?;
                Ok((app.body.name, domain))
            })
            .await?;
        tracing::info!(app = %name, domain = %domain.host, user = %actor.user, "domain added");
        Ok(domain)
    }

    /// An app's custom domains, in the order they were added.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn domains(&self, app: AppId) -> Result<Vec<Domain>> {
        self.store()
            .read(|tx| {
                let app = app::load(tx, app)?.body;
                let mut all = vec![];
                for host in &app.domains {
                    let doc = tx.get::<Domain>(DOMAIN, host)?;
                    all.push(doc.map_or_else(
                        || Domain {
                            host: host.clone(),
                            app: app.id,
                            created_at: app.created_at,
                        },
                        |d| d.body,
                    ));
                }
                Ok(all)
            })
            .await
    }

    /// Takes a domain away from an app, with the certificate that the agent got for it.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn remove_domain(&self, actor: &Actor, app: AppId, host: &str) -> Result<Domain> {
        // What is stored is canonical; what can't be parsed can't be there.
        let host = parse(host).map_err(|_| missing(host))?;
        let removed = self.remove_domains(actor, app, Some(&host)).await?;
        removed.into_iter().next().ok_or_else(|| missing(&host))
    }

    /// Takes all custom domains away from an app.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn clear_domains(&self, actor: &Actor, app: AppId) -> Result<Vec<Domain>> {
        self.remove_domains(actor, app, None).await
    }

    async fn remove_domains(
        &self,
        actor: &Actor,
        app: AppId,
        only: Option<&str>,
    ) -> Result<Vec<Domain>> {
        let (name, removed) = self
            .store()
            .write::<_, OpsError>(|tx| {
                let mut app = app::load(tx, app)?;
                let mut removed = vec![];
                for host in std::mem::take(&mut app.body.domains) {
                    if only.is_some_and(|o| o != host) {
                        app.body.domains.push(host);
                        continue;
                    }
                    let doc = tx.get::<Domain>(DOMAIN, &host)?;
                    tx.delete(DOMAIN, &host)?;
                    let created_at = doc.map_or(app.body.created_at, |d| d.body.created_at);
                    removed.push(Domain {
                        app: app.body.id,
                        host,
                        created_at,
                    });
                }
                if !removed.is_empty() {
                    app::save(tx, &mut app)?;
                    cert::touch(tx)?;
                    managed::sync(tx, self.config())?;
                }
                Ok((app.body.name, removed))
            })
            .await?;
        for d in &removed {
            tracing::info!(app = %name, domain = %d.host, user = %actor.user, "domain removed");
        }
        Ok(removed)
    }

    /// Names that some app has, or may get, without asking.
    fn not_ours(&self, host: &str) -> Result<()> {
        let config: &Config = self.config();
        let (domain, name) = (config.apps_domain.to_ascii_lowercase(), name_of(host));
        let label = match name.strip_suffix(&domain) {
            Some("") => "",
            Some(rest) => match rest.strip_suffix('.') {
                Some(label) if !label.contains('.') => label,
                _ => return Ok(()),
            },
            None => return Ok(()),
        };
        Err(OpsError::invalid(match label {
            "" => format!(
                "{domain} is the domain under which apps get their own names; it can't be a domain of one."
            ),
            _ => format!(
                "{name} is a name below {domain}, where each app has its own: <app>.{domain}. Rename the app instead: app apps:rename"
            ),
        }))
    }
}

/// The canonical form of what people write: lower case, punycode, without a dot or slash at the end.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(text: &str) -> Result<String> {
    let text = text.trim();
    let shown: String = text.chars().take(80).collect();
    let bad = |why: &str| Err(OpsError::invalid(format!("{shown:?} is no domain: {why}.")));
    if text.is_empty() {
        return bad("it is empty");
    }
    if text.contains("://") {
        return bad("write the name alone, without http:// or https://");
    }
    let (name, path) = match text.find('/') {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    if name.starts_with('[') || name.parse::<IpAddr>().is_ok() {
        return bad("an address is no name; requests for it go to the default app");
    }
    if name.contains(':') {
        return bad("a domain has no port");
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let (star, rest) = match name.strip_prefix("*.") {
        Some(rest) => ("*.", rest),
        None => ("", name),
    };
    if rest.contains('*') {
        return bad("a star can only stand for the whole first label, as in *.example.com");
    }
    let Ok(ascii) = idna::domain_to_ascii_strict(rest) else {
        return bad(
            "expected letters, digits and dashes between dots, 63 to a label and 253 in all",
        );
    };
    if ascii.len() + star.len() > 253 {
        return bad("it is longer than 253 characters");
    }
    if !ascii.contains('.') {
        return bad("expected at least two labels, as in example.com");
    }
    let last = ascii.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return bad("its last label is a number");
    }
    let path = path.trim_end_matches('/');
    if path.len() > LONGEST_PATH {
        return bad("its path is longer than 200 characters");
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()+,;=:@".contains(&b);
    let odd = |s: &str| s.is_empty() || s == "." || s == ".." || !s.bytes().all(plain);
    if path.split('/').skip(1).any(odd) {
        return bad(
            "its path may have letters, digits and -._~!$&'()+,;=:@ between single slashes",
        );
    }
    Ok(format!("{star}{ascii}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_brought_into_one_form() {
        for (typed, meant) in [
            ("Example.COM", "example.com"),
            (" www.example.com. ", "www.example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("*.Example.com", "*.example.com"),
            ("example.com/shop/", "example.com/shop"),
            ("example.com/", "example.com"),
            ("example.com/a/b_c", "example.com/a/b_c"),
        ] {
            assert_eq!(parse(typed).unwrap(), meant, "{typed}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused_in_words() {
        for (typed, why) in [
            ("", "empty"),
            ("https://example.com", "without http"),
            ("example.com:80", "no port"),
            ("192.0.2.7", "address"),
            ("[::1]", "address"),
            ("shop", "two labels"),
            ("a.*.com", "star"),
            ("*.*.com", "star"),
            ("*", "star"),
            ("a_b.com", "letters"),
            ("-a.com", "letters"),
            ("a..com", "letters"),
            ("example.123", "number"),
            ("example.com/a//b", "slashes"),
            ("example.com/../b", "slashes"),
            ("example.com/a?b", "path"),
            (&format!("{}.com", "a".repeat(64)), "63"),
            (&format!("example.com/{}", "a".repeat(300)), "longer"),
        ] {
            let e = parse(typed).unwrap_err().to_string();
            assert!(e.contains(why), "{typed}: {e}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_the_form_is_stable(s in ".{0,60}", t in "[a-zA-Zü*.]{1,20}\\.[a-z]{2,4}(/[a-z./]{0,8})?") {
            for s in [s, t] {
                if let Ok(host) = parse(&s) {
                    prop_assert_eq!(parse(&host).unwrap(), host);
                }
            }
        }
    }
}
