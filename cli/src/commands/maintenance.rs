//! Maintenance mode: visitors see a page instead of the app.

use crate::context::Context;
use crate::fail::Result;
use crate::output::{self, Paint};
use crate::progress::Progress;
use clap::Args;
use hokku_model::api;
use reqwest::Method;

/// Show whether maintenance mode is on
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app maintenance")]
pub struct Show {
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

impl Show {
    /// Prints `on` or `off`.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let app: api::App = client.get(&["apps", &app])?;
        if self.json {
            return output::json(&serde_json::json!({ "maintenance": app.maintenance }));
        }
        output::line(if app.maintenance { "on" } else { "off" });
        Ok(())
    }
}

fn switch(cx: &Context, on: bool) -> Result<()> {
    let (app, client) = cx.app()?;
    let doing = if on { "Enabling" } else { "Disabling" };
    let progress = Progress::start(format!(
        "{doing} maintenance mode for {}",
        Paint::stderr().app(&app)
    ));
    let wanted = api::UpdateApp {
        name: None,
        maintenance: Some(on),
    };
    let _: api::App = client.send(Method::PATCH, &["apps", &app], &wanted)?;
    progress.done();
    Ok(())
}

/// Show visitors a maintenance page instead of the app
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app maintenance:on")]
pub struct On {}

impl On {
    /// Switches it on.
    pub fn run(self, cx: &Context) -> Result<()> {
        switch(cx, true)
    }
}

/// Show visitors the app again
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app maintenance:off")]
pub struct Off {}

impl Off {
    /// Switches it off.
    pub fn run(self, cx: &Context) -> Result<()> {
        switch(cx, false)
    }
}
