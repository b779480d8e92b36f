//! What an answer to a health check means, in words for the owner of the app. No I/O.

use hokku_model::health::Ask;

/// Bytes of an answer's first line that are shown.
const SHOWN: usize = 160;

/// An answer, as far as it is judged.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The status.
    pub status: u16,
    /// The `Location` header.
    pub location: Option<&'a str>,
    /// The body, as much as was read.
    pub body: &'a str,
}

/// What was asked.
#[derive(Debug)]
pub struct Asked<'a> {
    /// Path and query.
    pub path: &'a str,
    /// The `Host` that was sent.
    pub host: &'a str,
    /// The headers that the check adds, by name.
    pub headers: &'a [(String, String)],
    /// What the body has to hold.
    pub content: Option<&'a str>,
}

impl<'a> Asked<'a> {
    /// What a check sends when `usual` is the app's own host; `None` when it is no HTTP check.
    pub fn by(ask: &'a Ask, usual: &'a str) -> Option<Asked<'a>> {
        let Ask::Http {
            path,
            content,
            headers,
        } = ask
        else {
            return None;
        };
        let own = headers.iter().find(|(n, _)| n.eq_ignore_ascii_case("host"));
        Some(Asked {
            path,
            host: own.map_or(usual, |(_, v)| v),
            headers,
            content: content.as_deref(),
        })
    }
}

/// Is it a good answer?
///
/// # Errors
/// Why not, and what to do: one or more sentences.
pub fn judge(asked: &Asked<'_>, answer: &Answer<'_>) -> Result<(), String> {
    let Asked { path, host, .. } = asked;
    let status = answer.status;
    let advice = match status {
        200..=299 => return content(asked, answer),
        300..=399 => match answer.location {
            Some(to) if leads_home(to, host) => return Ok(()),
            Some(to) => format!(
                "It leads to another host: {}. Redirects within {host} count as healthy; choose a path that is answered here.",
                line(to)
            ),
            None => "A redirect without a Location header leads nowhere.".into(),
        },
        400 if says(answer, &["ALLOWED_HOSTS", "DisallowedHost", "HTTP_HOST"])
            || says(answer, &["<h1>Bad Request (400)</h1>"]) =>
        {
            format!(
                "So Django refuses a Host that it does not know: add {host:?} to ALLOWED_HOSTS."
            )
        }
        400 | 421 => format!(
            "Many frameworks refuse a Host that they do not know: allow {host:?} (Django: add it to ALLOWED_HOSTS)."
        ),
        403 if says(answer, &["Blocked host"]) => {
            format!("So Rails refuses a Host that it does not know: config.hosts << {host:?}")
        }
        401 | 403 => {
            "The check sends no login: choose a path that needs none, or say it in httpHeaders."
                .into()
        }
        404 => {
            "There is nothing at this path: set \"path\" of the check to one that exists.".into()
        }
        405 => "The path takes no GET requests.".into(),
        500..=599 => "See the app's log for the reason.".into(),
        _ => String::new(),
    };
    let reason = http::StatusCode::from_u16(status)
        .ok()
        .and_then(|s| s.canonical_reason())
        .unwrap_or_default();
    let first = answer
        .body
        .lines()
        .map(str::trim)
        .find(|l| !l.is_empty())
        .map(|l| format!(", body: {:?}", line(l)))
        .unwrap_or_default();
    let more: Vec<&str> = asked.headers.iter().map(|(n, _)| n.as_str()).collect();
    let more = match more[..] {
        [] => String::new(),
        _ => format!(", {}", more.join(", ")),
    };
    let text = format!(
        "GET {path} with Host: {host}, X-Forwarded-Proto: https{more} was answered with {status} {reason}{first}. {advice}"
    );
    Err(text.trim_end().to_owned())
}

fn content(asked: &Asked<'_>, answer: &Answer<'_>) -> Result<(), String> {
    match asked.content {
        Some(want) if !answer.body.contains(want) => Err(format!(
            "GET {} was answered with {}, and the body does not hold {want:?}: it begins with {:?}.",
            asked.path,
            answer.status,
            line(answer.body)
        )),
        _ => Ok(()),
    }
}

fn says(answer: &Answer<'_>, words: &[&str]) -> bool {
    words.iter().any(|w| answer.body.contains(w))
}

/// Does a Location stay on the host that was asked, whatever the scheme and port?
fn leads_home(to: &str, host: &str) -> bool {
    let name = |h: &str| -> String {
        let h = h.rsplit_once('@').map_or(h, |(_, h)| h);
        let end = match h.strip_prefix('[') {
            Some(_) => h.find(']').map_or(h.len(), |i| i + 1),
            None => h.find(':').unwrap_or(h.len()),
        };
        h[..end].trim_end_matches('.').to_ascii_lowercase()
    };
    let rest = match to.split_once("://") {
        Some((scheme, rest))
            if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") =>
        {
            rest
        }
        // relative to the request, or to its scheme
        _ => match to.strip_prefix("//") {
            Some(rest) => rest,
            None => return !to.split(['/', '?', '#']).next().unwrap_or("").contains(':'),
        },
    };
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or("");
    name(authority) == name(host)
}

/// The first line, short and clean.
fn line(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    first
        .chars()
        .filter(|c| !c.is_control())
        .take(SHOWN)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_what_they_mean() {
        // status, location, body; words of the refusal, or none
        let cases: &[(u16, Option<&str>, &str, Option<&str>)] = &[
            (200, None, "all ok", None),
            (204, None, "ok", None),
            (
                200,
                None,
                "down",
                Some("does not hold \"ok\": it begins with \"down\""),
            ),
            (301, Some("/login"), "", None),
            (302, Some("login?x=http://other"), "", None),
            (301, Some("https://Shop.test:443/"), "", None),
            (307, Some("//shop.test/a"), "", None),
            (
                301,
                Some("https://other.test/shop.test"),
                "",
                Some("leads to another host: https://other.test"),
            ),
            (
                301,
                Some("https://shop.test@evil.test/"),
                "",
                Some("leads to another host"),
            ),
            (302, Some("mailto:x"), "", Some("leads to another host")),
            (304, None, "", Some("leads nowhere")),
            (
                400,
                None,
                "<h1>Bad Request (400)</h1>",
                Some("add \"shop.test\" to ALLOWED_HOSTS."),
            ),
            (
                400,
                None,
                "Invalid HTTP_HOST header: 'shop.test'.",
                Some("So Django refuses"),
            ),
            (
                400,
                None,
                "no",
                Some(
                    "Host: shop.test, X-Forwarded-Proto: https, X-Key was answered with 400 Bad Request, body: \"no\"",
                ),
            ),
            (401, None, "", Some("The check sends no login")),
            (
                403,
                None,
                "<h2>Blocked hosts: shop.test</h2>",
                Some("config.hosts << \"shop.test\""),
            ),
            (404, None, "", Some("nothing at this path")),
            (
                503,
                None,
                "\n  sorry\nmore",
                Some("503 Service Unavailable, body: \"sorry\". See the app's log"),
            ),
        ];
        let headers = [("X-Key".to_owned(), "secret".to_owned())];
        for (status, location, body, want) in cases {
            let asked = Asked {
                path: "/up",
                host: "shop.test",
                headers: &headers,
                content: (*status == 200).then_some("ok"),
            };
            let answer = Answer {
                status: *status,
                location: *location,
                body,
            };
            match (judge(&asked, &answer), want) {
                (Ok(()), None) => {}
                (Err(e), Some(w)) if e.contains(w) && !e.contains("secret") => {}
                (got, want) => panic!("{status} {location:?} {body:?}: {got:?}, not {want:?}"),
            }
        }
    }
}
