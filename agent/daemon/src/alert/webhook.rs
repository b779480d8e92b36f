//! By a POST of JSON.

use super::{Message, PATIENCE};
use anyhow::{Context, bail};

/// Delivers it; any answer of 2xx counts. Redirects are not followed.
///
/// # Errors
/// In words, without the address.
pub async fn webhook(url: &str, message: &Message) -> anyhow::Result<()> {
    let client = reqwest::Client::builder()
        .timeout(PATIENCE)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("hokku/", env!("CARGO_PKG_VERSION")))
        .build()
        .context("no HTTP client can be made")?;
    let answer = client.post(url).json(message).send().await;
    // an address is often the secret itself
    let answer = answer.map_err(reqwest::Error::without_url)?;
    if !answer.status().is_success() {
        bail!("the webhook answered {}", answer.status());
    }
    Ok(())
}
