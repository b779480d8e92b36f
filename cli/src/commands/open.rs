//! The app in a browser.

use crate::context::Context;
use crate::fail::Result;
use crate::output;
use clap::Args;
use hokku_model::api;
use std::process::{Command, Stdio};
use url::Url;

/// Open the app in a browser; print its address where there is none
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app open\n  $ app open /login --app shop")]
pub struct Open {
    /// A path in the app
    path: Option<String>,
}

impl Open {
    /// Starts the browser, or prints the address.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let app: api::App = client.get(&["apps", &app])?;
        let url = address(&app.web_url, self.path.as_deref());
        if !start_browser(&url) {
            output::line(&url);
        }
        Ok(())
    }
}

fn address(web_url: &str, path: Option<&str>) -> String {
    let Ok(mut url) = web_url.parse::<Url>() else {
        return web_url.to_owned();
    };
    if let Some(path) = path {
        let (path, query) = path
            .split_once('?')
            .map_or((path, None), |(p, q)| (p, Some(q)));
        url.set_path(path);
        url.set_query(query);
    }
    url.to_string()
}

fn start_browser(url: &str) -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
    let program = match set("BROWSER") {
        Some(browser) => browser,
        None if cfg!(target_os = "macos") => "open".into(),
        None if set("DISPLAY").or_else(|| set("WAYLAND_DISPLAY")).is_some() => "xdg-open".into(),
        None => return false,
    };
    let status = Command::new(program)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|s| s.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(
            address("http://shop.localhost:8080/", None),
            "http://shop.localhost:8080/"
        );
        assert_eq!(
            address("http://shop.localhost:8080/", Some("/a b?x=1")),
            "http://shop.localhost:8080/a%20b?x=1"
        );
        assert_eq!(
            address("http://shop.localhost/", Some("//evil.example/")),
            "http://shop.localhost//evil.example/"
        );
    }
}
