//! What an app may reach in the network, and who may reach it.

use crate::context::Context;
use crate::fail::{Fail, Result};
use crate::output::{self, Paint};
use crate::progress::Progress;
use clap::Args;
use hokku_model::fence::{FencePatch, FenceView};
use reqwest::Method;

/// Show what an app may reach, and who may reach it
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app isolation")]
pub struct Show {
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

impl Show {
    /// Prints both settings.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let view: FenceView = client.get(&["hokku", "apps", &app, "isolation"])?;
        if self.json {
            return output::json(&view);
        }
        let word = |on| if on { "on" } else { "off" };
        output::print(&format!(
            "{}{}",
            output::header(&format!("{app} Isolation")),
            output::object(&[
                ("imds", word(view.fence.imds)),
                ("private", word(view.fence.private)),
            ])
        ));
        warn(&view);
        Ok(())
    }
}

/// Allow the instance's metadata (imds), or keep other apps from the app's ports (private)
#[derive(Args, Debug)]
#[command(
    after_help = "imds=on lets the app's processes reach 169.254.169.254, and with it the credentials of the instance's role.\n\
                  private=on lets only the router, root and the app itself connect to the ports of its dynos.\n\n\
                  Example:\n  $ app isolation:set private=on\n  $ app isolation:set imds=on"
)]
pub struct Set {
    /// imds=on|off, private=on|off
    #[arg(required = true, value_name = "NAME=on|off")]
    settings: Vec<String>,
}

impl Set {
    /// Changes what is named.
    pub fn run(self, cx: &Context) -> Result<()> {
        let patch = patch(&self.settings)?;
        let (app, client) = cx.app()?;
        let progress = Progress::start(format!(
            "Setting isolation of {}",
            Paint::stderr().app(&app)
        ));
        let path = ["hokku", "apps", &app, "isolation"];
        let view: FenceView = client.send(Method::PATCH, &path, &patch)?;
        progress.done();
        warn(&view);
        Ok(())
    }
}

fn warn(view: &FenceView) {
    if let Some(why) = &view.missing {
        output::warning(&format!("It has no effect on this server: {why}."));
    }
}

fn patch(settings: &[String]) -> Result<FencePatch> {
    let mut patch = FencePatch::default();
    for s in settings {
        let bad = || {
            Fail::usage(format!(
                "{s} is no setting. Settings are imds=on, imds=off, private=on and private=off."
            ))
        };
        let (name, value) = s.split_once('=').ok_or_else(bad)?;
        let on = match value {
            "on" | "true" | "1" => true,
            "off" | "false" | "0" => false,
            _ => return Err(bad()),
        };
        match name {
            "imds" => patch.imds = Some(on),
            "private" => patch.private = Some(on),
            _ => return Err(bad()),
        }
    }
    Ok(patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_or_refused() {
        let read = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
            patch(&words)
        };
        let p = read(&["imds=on", "private=off"]).unwrap();
        assert_eq!((p.imds, p.private), (Some(true), Some(false)));
        assert_eq!(read(&["private=1"]).unwrap().imds, None);
        for bad in ["imds", "imds=maybe", "ports=on", "=on"] {
            assert!(read(&[bad]).err().unwrap().text.contains("private=on"));
        }
    }
}
