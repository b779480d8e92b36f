//! `onFailure` of a check (Dokku's schema): a command inside the dyno, or a URL that is told.
//!
//! The URL is asked from inside the dyno too, by curl: what an app may not reach, its `app.json` shall not reach either.

use super::{Fact, Probe, Supervisor, command};
use hokku_model::{
    DynoId,
    health::{Check, OnFailure},
};
use serde_json::json;
use std::time::Duration;

/// The longest that it may take; the check's own time limit where that is shorter.
const LIMIT: Duration = Duration::from_secs(30);

/// Carries it out and says in the app's log how that went. `text` is what was wrong.
pub async fn carry_out(owner: &Supervisor, dyno: DynoId, probe: &Probe, check: &Check, text: &str) {
    let Some(wanted) = &check.on_failure else {
        return;
    };
    let limit = LIMIT.min(Duration::from_millis(check.timeout_ms.max(1000)));
    let purpose = check.purpose.as_str();
    let (shown, argv, input) = match wanted {
        OnFailure::Command { argv } => (shell_words::join(argv), argv.clone(), vec![]),
        OnFailure::Url { url } => {
            let told = json!({
                "app": probe.app, "dyno": probe.name, "check": check.name, "type": purpose, "error": text,
            });
            let header = "content-type: application/json";
            let seconds = limit.as_secs().max(1).to_string();
            let argv = [
                "curl",
                "-fsS",
                "-o",
                "/dev/null",
                "--max-time",
                &seconds,
                "-H",
                header,
                "--data-binary",
                "@-",
                "--",
                url,
            ];
            let argv = argv.map(String::from).to_vec();
            (format!("POST {url}"), argv, told.to_string().into_bytes())
        }
    };
    let env = [
        ("HOKKU_CHECK_NAME", check.name.as_str()),
        ("HOKKU_CHECK_TYPE", purpose),
        ("HOKKU_CHECK_ERROR", text),
    ];
    let env = env
        .map(|(k, v)| (k.to_owned(), v.replace('\0', " ")))
        .to_vec();
    let ran = command::run(owner, dyno, argv, env, input, limit).await;
    let went = match ran {
        Ok(ran) => {
            let how = match ran.exit {
                Some(exit) => format!("ended with {exit}."),
                None => format!(
                    "did not end within {} s and was killed.",
                    limit.as_secs_f64()
                ),
            };
            format!("{how}{}", command::said(&ran.output))
        }
        Err(why) => format!("can't be run: {why}"),
    };
    let text = format!(
        "onFailure of the {purpose} check {:?}: `{shown}` {went}",
        check.name
    );
    owner.report(Fact::Said { dyno, text }).await;
}
