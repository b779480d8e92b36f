//! The server, and this program.

use crate::context::Context;
use crate::fail::Result;
use crate::output;
use clap::Args;
use hokku_model::api;

/// Show how the server is
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app status\n  $ app status --json")]
pub struct Status {
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

impl Status {
    /// Prints the agent's version, its router and what its host can't do.
    pub fn run(self, cx: &Context) -> Result<()> {
        let client = cx.client()?;
        let status: api::Status = client.get(&["hokku", "status"])?;
        if self.json {
            return output::json(&status);
        }
        let router = if status.router_up {
            format!("up at {}", status.router.join(", "))
        } else {
            "down".to_owned()
        };
        let pairs = [
            ("Server", client.server().to_string()),
            ("Version", status.version.clone()),
            ("Router", router),
            ("Apps", status.apps.to_string()),
            ("Dynos", status.dynos.to_string()),
            (
                "Domain",
                format!("<app>.{} (port {})", status.apps_domain, status.web_port),
            ),
        ];
        output::print(&output::object(&pairs));
        for notice in &status.notices {
            output::warning(&output::clean(notice));
        }
        Ok(())
    }
}

/// Show the version of this program
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app version")]
pub struct Version {}

impl Version {
    /// Prints it as Heroku's tools do.
    pub fn run(self) -> Result<()> {
        output::line(&format!(
            "app/{} {}-{}",
            env!("CARGO_PKG_VERSION"),
            std::env::consts::OS,
            std::env::consts::ARCH
        ));
        Ok(())
    }
}
