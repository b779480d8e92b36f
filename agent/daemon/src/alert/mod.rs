//! Telling people that something went wrong: by a webhook, by mail.
//!
//! What it does: one attempt to deliver one message, bounded in time; says in words why it did not arrive.
//! What it never does: decide whether anybody is told, try again, keep anything. Addresses may hold secrets: they are in
//! no log and in no error.
//! Who calls it: `control/cron`. Where its tests are: beside the code, with real servers on loopback.

mod mail;
mod webhook;

pub use mail::mail;
pub use webhook::webhook;

use std::time::Duration;

/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is told.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Message {
    /// The same at each attempt.
    pub id: String,
    /// The app's name.
    pub app: String,
    /// `failed`, `ran-too-long`, `did-not-run`, `test`.
    pub event: String,
    /// The entry's name.
    pub entry: String,
    /// The run's number.
    pub run: u32,
    /// How it ended.
    pub status: String,
    /// Why it was started.
    pub trigger: String,
    /// The line that was run.
    pub command: String,
    /// RFC 3339.
    pub scheduled_at: Option<String>,
    /// RFC 3339.
    pub started_at: Option<String>,
    /// RFC 3339.
    pub ended_at: Option<String>,
    /// As a shell shows it.
    pub exit_code: Option<i32>,
    /// In words, one line.
    pub text: String,
    /// The last lines that it wrote.
    pub output: Vec<String>,
}

/// The host of an address, to be shown.
pub fn host(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, r)| r);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, h)| h);
    host.to_owned()
}

/// Can it be used?
///
/// # Errors
/// Why not, in words; nothing of the address but its scheme.
pub fn check(
    webhook: Option<&str>,
    email: Option<&hokku_model::cron::Email>,
) -> Result<(), String> {
    if let Some(url) = webhook {
        let good = reqwest::Url::parse(url)
            .is_ok_and(|u| matches!(u.scheme(), "http" | "https") && u.has_host());
        if !good || url.len() > 2048 {
            return Err("The webhook has to be a URL such as https://hooks.example.com/….".into());
        }
    }
    if let Some(email) = email {
        mail::check(email)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
