//! The answers the router gives by itself: small pages, HTML or JSON.

use bytes::Bytes;
use hokku_model::code::{self, Code};
use http::{HeaderValue, Response, StatusCode, header};

/// Does the client rank JSON above HTML in `Accept`?
pub(crate) fn wants_json(accept: Option<&HeaderValue>) -> bool {
    let (mut json, mut html) = (0u32, 0u32);
    for item in accept
        .and_then(|a| a.to_str().ok())
        .unwrap_or("")
        .split(',')
    {
        let mut parts = item.split(';').map(str::trim);
        let kind = parts.next().unwrap_or("");
        let q = parts
            .find_map(|p| p.strip_prefix("q="))
            .and_then(|q| q.parse::<f32>().ok())
            .unwrap_or(1.0);
        let q = (q.clamp(0.0, 1.0) * 1000.0) as u32;
        if kind.eq_ignore_ascii_case("application/json") || kind.ends_with("+json") {
            json = json.max(q);
        } else if kind.eq_ignore_ascii_case("text/html")
            || kind.eq_ignore_ascii_case("application/xhtml+xml")
        {
            html = html.max(q);
        }
    }
    json > html
}

/// One page.
pub(crate) struct Page {
    pub status: StatusCode,
    id: &'static str,
    title: &'static str,
    text: String,
}

impl Page {
    /// The page of a Heroku code. `app` is its name.
    pub fn of_code(c: Code, app: &str) -> Page {
        let (title, text) = if c == code::H80 {
            (
                "Offline for maintenance",
                "This application is undergoing maintenance right now. Please check back later."
                    .to_owned(),
            )
        } else if c == code::H81 {
            (
                "Nothing here yet",
                format!("No release of {app} has been deployed yet. Push one with: git push"),
            )
        } else if c == code::H14 {
            (
                "Application stopped",
                format!("{app} runs no web process. Start one with: app ps:scale web=1"),
            )
        } else if c == code::H99 {
            (
                "Not ready",
                "The router has no routing table yet. Please try again in a moment.".to_owned(),
            )
        } else {
            (
                "Application error",
                format!(
                    "An error occurred in the application and the page could not be served. If you are the \
                     application's owner, look at its logs: app logs --tail -a {app}"
                ),
            )
        };
        Page {
            status: StatusCode::from_u16(c.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
            id: c.code,
            title,
            text,
        }
    }

    /// No app has this host name.
    pub fn no_such_app() -> Page {
        Page {
            status: StatusCode::NOT_FOUND,
            id: "no_such_app",
            title: "No such app",
            text: "There is no app at this address. Check the host name, and whether the domain was added to an app."
                .into(),
        }
    }

    /// The request itself is at fault.
    pub fn refusal(status: StatusCode, text: &str) -> Page {
        Page {
            status,
            id: "bad_request",
            title: "Request not understood",
            text: text.into(),
        }
    }

    /// Head and body. Never stored by caches.
    pub fn render(&self, json: bool) -> Response<Bytes> {
        let (kind, body) = if json {
            let doc = serde_json::json!({ "id": self.id, "message": self.text, "status": self.status.as_u16() });
            ("application/json", doc.to_string())
        } else {
            (
                "text/html; charset=utf-8",
                format!(
                    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
                     content=\"width=device-width\"><title>{title}</title><style>body{{font:16px/1.5 sans-serif;\
                     max-width:36em;margin:15vh auto;padding:0 1em;color:#333}}small{{color:#888}}</style></head>\
                     <body><h1>{title}</h1><p>{text}</p><p><small>{id}</small></p></body></html>\n",
                    title = self.title,
                    text = self.text,
                    id = self.id
                ),
            )
        };
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-cache, no-store"),
        );
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept() {
        for (accept, json) in [
            ("*/*", false),
            ("", false),
            ("application/json", true),
            ("text/html, application/json;q=0.9", false),
            ("application/json, text/html;q=0.9", true),
            ("application/vnd.heroku+json; version=3", true),
            ("application/json;q=nonsense", true),
            ("text/html,application/xhtml+xml,*/*;q=0.8", false),
        ] {
            assert_eq!(
                wants_json(Some(&HeaderValue::from_str(accept).unwrap())),
                json,
                "{accept}"
            );
        }
    }

    #[test]
    fn pages_name_their_code() {
        for c in [
            code::H10,
            code::H12,
            code::H14,
            code::H80,
            code::H81,
            code::H99,
        ] {
            let page = Page::of_code(c, "my-app");
            let html = page.render(false);
            assert_eq!(html.status().as_u16(), c.status);
            assert!(String::from_utf8_lossy(html.body()).contains(c.code));
            let json: serde_json::Value = serde_json::from_slice(page.render(true).body()).unwrap();
            assert_eq!(json["id"], c.code);
        }
    }
}
