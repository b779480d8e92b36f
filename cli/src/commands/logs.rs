//! The log of an app.

use crate::context::Context;
use crate::fail::Result;
use crate::follow;
use crate::output::Paint;
use clap::Args;
use hokku_model::api::LogSessionRequest;

/// Show the log of an app
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  $ app logs --tail\n  $ app logs -n 500 -p web\n  $ app logs -s heroku -d router"
)]
pub struct Logs {
    /// How many lines back, 1500 at most [default: 100]
    #[arg(short, long, value_parser = clap::value_parser!(u32).range(0..=1500))]
    num: Option<u32>,
    /// Stay, and show what comes
    #[arg(short, long)]
    tail: bool,
    /// Only dynos of this process type, such as web
    #[arg(short, long, value_name = "TYPE", alias = "ps")]
    process_type: Option<String>,
    /// Only this dyno, such as web.1 or router
    #[arg(
        short,
        long,
        value_name = "NAME",
        alias = "dyno",
        conflicts_with = "process_type"
    )]
    dyno_name: Option<String>,
    /// Only this source: app or heroku
    #[arg(short, long)]
    source: Option<String>,
    /// Colours even when the output is no terminal
    #[arg(long)]
    force_colors: bool,
    /// No colours
    #[arg(long, conflicts_with = "force_colors")]
    no_color: bool,
}

impl Logs {
    /// Prints the lines; with `--tail` until somebody stops it.
    pub fn run(self, cx: &Context) -> Result<()> {
        let (app, client) = cx.app()?;
        let request = LogSessionRequest {
            dyno: self.dyno_name.or(self.process_type),
            lines: self.num,
            source: self.source,
            tail: Some(self.tail),
        };
        let paint = if self.no_color || self.force_colors {
            Paint::always(self.force_colors)
        } else {
            Paint::stdout()
        };
        follow::follow(client, &app, request, paint)
    }
}
