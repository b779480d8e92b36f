//! Why a dyno stands as it does, and what comes next.

use crate::context::Context;
use crate::fail::{Fail, Result};
use crate::{output, time};
use clap::Args;
use hokku_model::api;
use hokku_model::name::DynoName;

/// Explain why a dyno is in its state, what it waits for, and what comes next
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  $ app ps:why web.1\n  $ app ps:why worker.2 --json")]
pub struct Why {
    /// The dyno, as `app ps` names it
    #[arg(value_name = "DYNO")]
    dyno: String,
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

impl Why {
    /// Prints the explanation of each dyno of the name.
    pub fn run(self, cx: &Context) -> Result<()> {
        if self.dyno.parse::<DynoName>().is_err() {
            let text = format!("{:?} is no name of a dyno, such as web.1.", self.dyno);
            return Err(Fail::usage(text));
        }
        let (app, client) = cx.app()?;
        let path = ["hokku", "apps", &app, "dynos", &self.dyno, "why"];
        let said: Vec<api::Why> = client.get(&path)?;
        if self.json {
            return output::json(&said);
        }
        for why in &said {
            output::print(&text(why, time::ago));
        }
        Ok(())
    }
}

fn text(why: &api::Why, when: impl Fn(&str) -> String) -> String {
    let since = why.since.as_deref().map(&when).unwrap_or_default();
    let release = match why.release {
        0 => String::new(),
        v => format!(" (v{v})"),
    };
    let mut text = format!("{}{release}: {} {since}", why.name, why.state);
    text.truncate(text.trim_end().len());
    text.push('\n');
    let mut add = |title: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!("    {title:<11}{}\n", output::clean(value)));
        }
    };
    add("Why:", &why.because);
    add("Waits for:", &why.waits_for);
    let at = why.next_at.as_deref().filter(|_| !why.next.is_empty());
    match at {
        Some(at) => add("Next:", &format!("{} (at {at} at the latest)", why.next)),
        None => add("Next:", &why.next),
    }
    for check in &why.checks {
        add("Check:", check);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation() {
        let why = api::Why {
            name: "web.1".into(),
            release: 3,
            state: "stopping".into(),
            since: Some("x".into()),
            because: "v4 serves.".into(),
            waits_for: "its processes to exit".into(),
            next: "it gets SIGKILL".into(),
            next_at: Some("12:00".into()),
            checks: vec!["up (liveness): passes".into()],
            ..api::Why::default()
        };
        assert_eq!(
            text(&why, |_| "T".into()),
            "web.1 (v3): stopping T\n    Why:       v4 serves.\n    Waits for: its processes to exit\n    \
             Next:      it gets SIGKILL (at 12:00 at the latest)\n    Check:     up (liveness): passes\n"
        );
    }
}
