//! The answers the router gives by itself when there is none of an app's: a page, JSON or plain text.
//!
//! An app may name a page of its own (Heroku's `ERROR_PAGE_URL` and `MAINTENANCE_PAGE_URL`). It is shown as Heroku shows
//! it, in a frame of a page with the failed request's own status: the router fetches nothing.

use crate::reply::{Own, Reply};
use hokku_model::code::{self, Code};
use hokku_model::routing::Routing;
use http::{HeaderValue, Response, StatusCode, header};
use std::fmt::Write;

/// What the body is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Html,
    Json,
    Text,
}

impl Form {
    /// What the client ranks highest in `Accept`; a page where it says nothing, or likes them equally.
    fn of(accept: Option<&[u8]>) -> Form {
        let (mut json, mut html, mut text) = (0u16, 0u16, 0u16);
        for item in accept.unwrap_or_default().split(|b| *b == b',') {
            let mut parts = item.split(|b| *b == b';').map(<[u8]>::trim_ascii);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let place = match &kind[..] {
                b"application/json" => &mut json,
                k if k.starts_with(b"application/") && k.ends_with(b"+json") => &mut json,
                b"text/html" | b"application/xhtml+xml" => &mut html,
                b"text/plain" => &mut text,
                _ => continue,
            };
            let weight = parts
                .filter_map(|p| std::str::from_utf8(p).ok())
                .find_map(|p| p.strip_prefix("q="))
                .and_then(|q| q.parse::<f32>().ok())
                .filter(|q| q.is_finite())
                .unwrap_or(1.0);
            *place = (*place).max((weight.clamp(0.0, 1.0) * 1000.0) as u16);
        }
        if json > html && json >= text {
            Form::Json
        } else if text > html {
            Form::Text
        } else {
            Form::Html
        }
    }
}

/// Which of an app's own pages may stand in for this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Custom {
    /// None: the request was at fault, or there is no app.
    Never,
    Error,
    Maintenance,
}

/// One page.
pub(crate) struct Page {
    pub status: StatusCode,
    id: &'static str,
    title: &'static str,
    text: String,
    custom: Custom,
}

impl Page {
    /// The page of a Heroku code. `app` is its name.
    pub fn of_code(c: Code, app: &str) -> Page {
        let broken = format!(
            "An error occurred in the application and the page could not be served. If you are the application's \
             owner, look at its logs: app logs --tail -a {app}"
        );
        let busy =
            || "Too many people are asking at once. Please try again in a moment.".to_owned();
        let (title, text, custom) = match c {
            code::H80 => (
                "Offline for maintenance",
                "This application is undergoing maintenance right now. Please check back later."
                    .to_owned(),
                Custom::Maintenance,
            ),
            code::H81 => (
                "Nothing here yet",
                format!("No release of {app} has been deployed yet. Push one with: git push"),
                Custom::Never,
            ),
            code::H14 => (
                "Application stopped",
                format!("{app} runs no web process. Start one with: app ps:scale web=1"),
                Custom::Error,
            ),
            code::H11 | code::H22 => ("Too busy", busy(), Custom::Error),
            code::H12 | code::H15 | code::H19 => (
                "The application takes too long",
                format!(
                    "{app} did not answer in time. Its owner finds more with: app logs --tail -a {app}"
                ),
                Custom::Error,
            ),
            code::H20 => (
                "The application is starting",
                format!("{app} has not started in time. Please try again in a moment."),
                Custom::Error,
            ),
            code::H26 => (
                "Request not understood",
                "The request was not formed as it has to be.".to_owned(),
                Custom::Never,
            ),
            code::H31 => (
                "Misdirected request",
                "This connection was made for another host name. Please try again.".to_owned(),
                Custom::Never,
            ),
            code::H99 => (
                "Not ready",
                "The router cannot serve this right now. Please try again in a moment.".to_owned(),
                Custom::Error,
            ),
            // H10, H13, H17, H18, H21, H24, H25, H27, H28, H34: the application's side, whatever it is
            _ => ("Application error", broken, Custom::Error),
        };
        Page {
            status: StatusCode::from_u16(c.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE),
            id: c.code,
            title,
            text,
            custom,
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
            custom: Custom::Never,
        }
    }

    /// The request itself is at fault.
    pub fn refusal(status: StatusCode, text: &str) -> Page {
        Page {
            status,
            id: "bad_request",
            title: "Request not understood",
            text: text.into(),
            custom: Custom::Never,
        }
    }

    /// There is no such file.
    pub fn no_such_file() -> Page {
        Page {
            status: StatusCode::NOT_FOUND,
            id: "not_found",
            title: "Not found",
            text: "There is nothing at this address.".into(),
            custom: Custom::Never,
        }
    }

    /// The app's own page that stands in for this one, if it named one.
    pub fn custom_url<'a>(&self, routing: &'a Routing) -> Option<&'a str> {
        match self.custom {
            Custom::Never => None,
            Custom::Error => routing.error_page.as_deref(),
            Custom::Maintenance => routing.maintenance_page.as_deref(),
        }
    }

    /// Head and body, never stored by caches. `accept`: the request's header. `custom_url`: shown in place of the page's
    /// own text, if it is an http or https URL and the client takes HTML.
    pub fn render(&self, accept: Option<&[u8]>, custom_url: Option<&str>) -> Reply {
        let (kind, body) = match Form::of(accept) {
            Form::Json => {
                let doc = serde_json::json!({ "id": self.id, "message": self.text, "status": self.status.as_u16() });
                ("application/json", format!("{doc}\n"))
            }
            Form::Text => {
                let text = format!("{}: {} ({})\n", self.title, self.text, self.id);
                ("text/plain; charset=utf-8", text)
            }
            Form::Html => {
                let body = custom_url
                    .filter(|url| is_web(url))
                    .map_or_else(|| self.html(), |url| self.frame(url));
                ("text/html; charset=utf-8", body)
            }
        };
        let mut reply = Response::new(Own::Bytes(body.into()));
        *reply.status_mut() = self.status;
        let headers = reply.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        let never = HeaderValue::from_static("no-cache, no-store");
        headers.insert(header::CACHE_CONTROL, never);
        reply
    }

    fn html(&self) -> String {
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width, initial-scale=1\"><title>{title}</title><style>\
             :root{{color-scheme:light dark}}body{{font:16px/1.5 system-ui,sans-serif;max-width:36em;\
             margin:15vh auto;padding:0 1em}}small{{opacity:.6}}</style></head>\
             <body><h1>{title}</h1><p>{text}</p><p><small>{id}</small></p></body></html>\n",
            title = escaped(self.title),
            text = escaped(&self.text),
            id = escaped(self.id)
        )
    }

    fn frame(&self, url: &str) -> String {
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width, initial-scale=1\"><title>{title}</title><style>html,body,iframe{{\
             margin:0;border:0;height:100%;width:100%;overflow:hidden}}iframe{{display:block}}</style></head>\
             <body><iframe src=\"{url}\" title=\"{title}\"></iframe></body></html>\n",
            title = escaped(self.title),
            url = escaped(url),
        )
    }
}

/// A frame of another kind of URL could run a script.
fn is_web(url: &str) -> bool {
    let begins = |s: &str| {
        url.get(..s.len())
            .is_some_and(|u| u.eq_ignore_ascii_case(s))
    };
    (begins("https://") || begins("http://")) && !url.bytes().any(|b| b <= b' ' || b == 0x7f)
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' | '<' | '>' | '"' | '\'' => {
                // writing to a String cannot fail
                let _ = write!(out, "&#{};", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(reply: &Reply) -> String {
        match reply.body() {
            Own::Bytes(b) => String::from_utf8(b.to_vec()).unwrap(),
            Own::File { .. } => panic!("a file"),
        }
    }

    #[test]
    fn accept() {
        for (accept, form) in [
            ("*/*", Form::Html),
            ("", Form::Html),
            ("application/json", Form::Json),
            ("text/html, application/json;q=0.9", Form::Html),
            ("application/json, text/html;q=0.9", Form::Json),
            ("application/vnd.heroku+json; version=3", Form::Json),
            ("application/json;q=nonsense", Form::Json),
            ("application/json;q=NaN", Form::Json),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Form::Html),
            ("text/plain", Form::Text),
            ("text/plain, application/json", Form::Json),
            ("Text/Plain, text/html;q=0.1", Form::Text),
            ("text/plain;q=0", Form::Html),
            ("image/svg+xml, \u{e9}", Form::Html),
        ] {
            assert_eq!(Form::of(Some(accept.as_bytes())), form, "{accept}");
        }
        assert_eq!(Form::of(None), Form::Html);
    }

    const ALL: [Code; 24] = [
        code::H10,
        code::H11,
        code::H12,
        code::H13,
        code::H14,
        code::H15,
        code::H17,
        code::H18,
        code::H19,
        code::H20,
        code::H21,
        code::H22,
        code::H24,
        code::H25,
        code::H26,
        code::H27,
        code::H28,
        code::H31,
        code::H34,
        code::H80,
        code::H81,
        code::H82,
        code::H83,
        code::H99,
    ];

    #[test]
    fn each_code_has_a_page_in_each_form() {
        for c in ALL {
            let page = Page::of_code(c, "my-app");
            let html = page.render(Some(b"text/html"), None);
            assert_eq!(html.status().as_u16(), c.status, "{}", c.code);
            assert_eq!(html.headers()["cache-control"], "no-cache, no-store");
            let text = body(&html);
            assert!(text.contains(c.code) && text.len() < 2000, "{}", c.code);
            assert!(
                !text.contains("src=") && !text.contains("href="),
                "{}",
                c.code
            );
            let json = page.render(Some(b"application/json"), Some("https://x.test/"));
            let doc: serde_json::Value = serde_json::from_str(&body(&json)).unwrap();
            assert_eq!(
                (&doc["id"], &doc["status"]),
                (&c.code.into(), &c.status.into())
            );
            let plain = page.render(Some(b"text/plain"), Some("https://x.test/"));
            assert!(body(&plain).ends_with(&format!("({})\n", c.code)));
            assert!(
                plain.headers()["content-type"]
                    .to_str()
                    .unwrap()
                    .starts_with("text/plain")
            );
        }
    }

    #[test]
    fn an_own_page_is_framed_with_the_same_status() {
        let routing = Routing {
            error_page: Some("https://s3.test/error.html?a=1&b=\"><script>".into()),
            maintenance_page: Some("HTTP://s3.test/maintenance".into()),
            ..Routing::default()
        };
        let page = Page::of_code(code::H10, "my-app");
        let reply = page.render(None, page.custom_url(&routing));
        assert_eq!(reply.status(), 503);
        assert_eq!(reply.headers()["cache-control"], "no-cache, no-store");
        let text = body(&reply);
        assert!(
            text.contains(
                "<iframe src=\"https://s3.test/error.html?a=1&#38;b=&#34;&#62;&#60;script&#62;\""
            ),
            "{text}"
        );
        let page = Page::of_code(code::H80, "my-app");
        let text = body(&page.render(None, page.custom_url(&routing)));
        assert!(text.contains("<iframe src=\"HTTP://s3.test/maintenance\""));
        for page in [
            Page::of_code(code::H26, "my-app"),
            Page::of_code(code::H81, "my-app"),
            Page::no_such_app(),
            Page::no_such_file(),
        ] {
            assert_eq!(page.custom_url(&routing), None);
        }
        for bad in [
            "javascript:alert(1)",
            "data:text/html,x",
            "//x.test",
            "https://x.test/a b",
            "",
        ] {
            let text = body(&Page::of_code(code::H10, "a").render(None, Some(bad)));
            assert!(!text.contains("iframe"), "{bad}");
        }
    }

    #[test]
    fn names_cannot_break_out() {
        let text = body(&Page::of_code(code::H14, "<script>'&").render(None, None));
        assert!(
            text.contains("&#60;script&#62;&#39;&#38;") && !text.contains("<script>"),
            "{text}"
        );
    }
}
