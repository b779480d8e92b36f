//! Names and certificates of the apps, as the agent knows them.

use super::{
    Check, Ground, ask,
    domain::{Leads, follow},
};
use hokku_model::api;
use jiff::Timestamp;

/// The most names that are followed.
const MOST_NAMES: usize = 64;

/// Days before its end at which a certificate is told of; automatic ones are renewed before.
const SOON: i64 = 21;

pub(super) fn checks(g: &Ground) -> Vec<Check> {
    let domain = apps_domain(g);
    let Ok(_) = &g.status else {
        return vec![domain];
    };
    let socket = g.config.socket();
    let apps: Vec<api::App> = match ask::get(&socket, "/apps") {
        Ok(apps) => apps,
        Err(e) => {
            return vec![
                domain,
                Check::warn("domains", super::sentence(&e), "journalctl -u hokkud -n 50"),
            ];
        }
    };
    let mut names = vec![];
    let mut certs = vec![];
    for app in apps {
        let domains: Vec<api::Domain> =
            ask::get(&socket, &format!("/apps/{}/domains", app.name)).unwrap_or_default();
        names.extend(
            domains
                .into_iter()
                .filter(|d| d.kind == "custom")
                .map(|d| d.hostname),
        );
        let found: Vec<api::SniEndpoint> =
            ask::get(&socket, &format!("/apps/{}/sni-endpoints", app.name)).unwrap_or_default();
        certs.extend(found.into_iter().map(|c| (app.name.clone(), c)));
    }
    vec![
        domain,
        domains(g, names),
        certificates(&certs, Timestamp::now()),
    ]
}

fn port(g: &Ground) -> u16 {
    g.status.as_ref().map_or(80, |s| s.web_port)
}

/// Any name below the apps' domain leads here.
fn apps_domain(g: &Ground) -> Check {
    let name = &g.config.apps_domain;
    if name == "localhost" || name.ends_with(".localhost") {
        return Check::warn(
            "apps-domain",
            "apps_domain is localhost, so apps are reached from this machine alone, unless they have domains of their own.",
            "Point *.apps.example.org at this machine, say apps_domain = \"apps.example.org\" in /etc/hokku/hokku.toml, then: systemctl restart hokkud",
        );
    }
    let any = format!("hokku-doctor.{name}");
    let found = follow(std::slice::from_ref(&any), port(g));
    match found.into_iter().next().map(|f| f.1) {
        Some(Leads::Here(at)) => Check::ok(
            "apps-domain",
            format!("*.{name} leads here ({}).", list(&at)),
        ),
        Some(Leads::Elsewhere(at)) => Check::fail(
            "apps-domain",
            format!(
                "{any} leads to {}, which is not this machine and takes no requests.",
                list(&at)
            ),
            format!(
                "Correct the DNS record *.{name}: it has to have this machine's public address"
            ),
        ),
        _ => Check::fail(
            "apps-domain",
            format!("{any} leads nowhere: apps can't be reached by their names."),
            format!("Make a DNS record *.{name} with this machine's public address"),
        ),
    }
}

fn list(all: &[std::net::IpAddr]) -> String {
    all.iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

fn domains(g: &Ground, mut names: Vec<String>) -> Check {
    names.iter_mut().for_each(|n| {
        *n = n
            .split('/')
            .next()
            .unwrap_or_default()
            .replace('*', "hokku-doctor")
    });
    names.sort();
    names.dedup();
    let count = names.len();
    names.truncate(MOST_NAMES);
    let wrong: Vec<_> = follow(&names, port(g))
        .into_iter()
        .filter_map(|(name, leads)| match leads {
            Leads::Here(_) => None,
            Leads::Elsewhere(at) => Some(format!("{name} leads to {}", list(&at))),
            Leads::Nowhere(why) => Some(format!("{name} leads nowhere ({why})")),
        })
        .collect();
    match wrong.is_empty() {
        true if count > MOST_NAMES => Check::ok(
            "domains",
            format!("The first {MOST_NAMES} of {count} domains of apps lead here."),
        ),
        true => Check::ok("domains", format!("All {count} domains of apps lead here.")),
        false => Check::warn(
            "domains",
            format!("{}.", wrong.join("; ")),
            "Point their DNS records at this machine (app domains shows the target), or: app domains:remove NAME",
        ),
    }
}

fn certificates(all: &[(String, api::SniEndpoint)], now: Timestamp) -> Check {
    let mut ended = vec![];
    let mut soon = vec![];
    let mut refused = vec![];
    for (app, cert) in all {
        let name = format!(
            "{} of {app} ({})",
            cert.name,
            cert.ssl_cert.cert_domains.join(", ")
        );
        if let Some(why) = &cert.refused {
            refused.push(format!("the router can't use {name}: {why}"));
        }
        let Ok(end) = cert.ssl_cert.expires_at.parse::<Timestamp>() else {
            continue;
        };
        let days = (end.as_second() - now.as_second()).div_euclid(86_400);
        match days {
            d if d < 0 => ended.push(format!("{name} ended on {}", end.strftime("%Y-%m-%d"))),
            d if d < SOON => soon.push(format!("{name} ends on {}", end.strftime("%Y-%m-%d"))),
            _ => {}
        }
    }
    let fix = "app certs:update with a new one, or app certs:auto:refresh where it is automatic";
    let wrong = [ended, refused].concat();
    if !wrong.is_empty() {
        return Check::fail("certificates", format!("{}.", wrong.join("; ")), fix);
    }
    if !soon.is_empty() {
        return Check::warn("certificates", format!("{}.", soon.join("; ")), fix);
    }
    Check::ok(
        "certificates",
        format!(
            "None of {} certificates ends within {SOON} days.",
            all.len()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn certificates_are_told_before_they_end() {
        let cert = |end: &str, refused: Option<&str>| {
            let mut c = api::SniEndpoint {
                name: "tuna".into(),
                refused: refused.map(String::from),
                ..Default::default()
            };
            c.ssl_cert.expires_at = end.into();
            c.ssl_cert.cert_domains = vec!["shop.example.org".into()];
            vec![("shop".to_owned(), c)]
        };
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        for (end, refused, verdict, says) in [
            ("2027-11-21T12:00:00Z", None, Verdict::Ok, "None of 1"),
            (
                "2026-12-01T12:00:00Z",
                None,
                Verdict::Warn,
                "tuna of shop (shop.example.org) ends on 2026-12-01",
            ),
            (
                "2026-11-20T12:00:00Z",
                None,
                Verdict::Fail,
                "ended on 2026-11-20",
            ),
            (
                "2027-11-21T12:00:00Z",
                Some("the key is another's"),
                Verdict::Fail,
                "the key is another's",
            ),
        ] {
            let c = certificates(&cert(end, refused), now);
            assert_eq!(c.verdict, verdict, "{c:?}");
            assert!(c.says.contains(says), "{c:?}");
        }
    }
}
