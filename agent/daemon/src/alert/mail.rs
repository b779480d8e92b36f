//! By SMTP.

use super::{Message, PATIENCE};
use anyhow::Context;
use hokku_model::cron::Email;
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Tokio1Executor,
    message::{Mailbox, header},
};

/// Can the addresses be used?
pub(super) fn check(email: &Email) -> Result<(), String> {
    for (what, address) in [("reader", &email.to), ("sender", &email.from)] {
        if address.parse::<Mailbox>().is_err() {
            return Err(format!(
                "The address of the {what} is no mail address: expected something like ops@example.com."
            ));
        }
    }
    transport(&email.smtp).map(drop).map_err(|_| {
        "The mail server has to be a URL: smtps://user:password@host, smtp://host:587?tls=required, or smtp://host:25 without TLS. Characters such as @ and / in a password are written as %40 and %2F.".into()
    })
}

fn transport(url: &str) -> anyhow::Result<AsyncSmtpTransport<Tokio1Executor>> {
    let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url);
    // its error may repeat the address
    let builder =
        builder.map_err(|_| anyhow::anyhow!("the mail server's address can't be used"))?;
    Ok(builder.timeout(Some(PATIENCE)).build())
}

/// Delivers it to the server, which takes it from there.
///
/// # Errors
/// In words, without the password.
pub async fn mail(email: &Email, message: &Message) -> anyhow::Result<()> {
    let mut text = format!("{}\n\n", message.text);
    let pairs = [
        ("App", Some(message.app.clone())),
        (
            "Entry",
            Some(format!("{} (run {})", message.entry, message.run)),
        ),
        ("Command", Some(message.command.clone())),
        ("Scheduled", message.scheduled_at.clone()),
        ("Started", message.started_at.clone()),
        ("Ended", message.ended_at.clone()),
        ("Exit status", message.exit_code.map(|c| c.to_string())),
    ];
    for (name, value) in pairs {
        if let Some(value) = value.filter(|v| !v.is_empty()) {
            text.push_str(&format!("{name}: {value}\n"));
        }
    }
    if !message.output.is_empty() {
        text.push_str("\nThe last lines it wrote:\n\n");
        text.extend(message.output.iter().map(|l| format!("  {l}\n")));
    }
    text.push_str(&format!(
        "\nMore: app cron:history {0} -a {1}; app cron:logs {0} -a {1}\n",
        message.entry, message.app
    ));
    let subject = format!("[{}] cron {} {}", message.app, message.entry, message.event);
    let mail = lettre::Message::builder()
        .from(email.from.parse().context("the sender's address")?)
        .to(email.to.parse().context("the reader's address")?)
        .subject(subject)
        .message_id(Some(format!("<{}@hokku>", message.id)))
        .header(header::ContentType::TEXT_PLAIN)
        .body(text)
        .context("the mail can't be put together")?;
    let transport = transport(&email.smtp)?;
    let sending = tokio::time::timeout(PATIENCE * 2, transport.send(mail));
    let sent = sending.await.context("the mail server was too slow")?;
    sent.map(drop).context("the mail server did not take it")
}
