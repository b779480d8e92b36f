//! Where the agent's own log goes: journald with fields under systemd, else stderr.

use tracing_subscriber::{EnvFilter, layer::SubscriberExt, util::SubscriberInitExt};

/// Starts logging. `HOKKU_LOG` (or `RUST_LOG`) sets the level, such as `hokku_agent=debug`; `info` when absent.
pub fn start() {
    let filter = EnvFilter::try_from_env("HOKKU_LOG")
        .or_else(|_| EnvFilter::try_from_default_env())
        .unwrap_or_else(|_| EnvFilter::new("info"));
    let registry = tracing_subscriber::registry().with(filter);
    let journal = systemd_journal_logger::connected_to_journal()
        .then(systemd_journal_logger::JournalLog::new)
        .and_then(Result::ok);
    match journal {
        Some(log) => registry.with(Journal(log)).init(),
        None => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .with_writer(std::io::stderr)
                    .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
                    .with_target(false),
            )
            .init(),
    }
}

/// Hands lines of dynos to journald, each with `HOKKU_APP`, `HOKKU_DYNO`, `HOKKU_SOURCE` (`app` or `heroku`) and
/// `HOKKU_TIME`, the time when it was written.
pub struct Lines(systemd_journal_logger::JournalLog);

impl Lines {
    /// # Errors
    /// journald does not run here.
    pub fn open() -> std::io::Result<Lines> {
        systemd_journal_logger::JournalLog::new()
            .map(|log| Lines(log.with_syslog_identifier(String::new())))
    }

    /// Waits for journald when its socket is full; a line that it does not take is lost to it.
    pub fn send(&self, app: &str, line: &hokku_model::log::LogLine) {
        let identifier = format!("{app}/{}", line.dyno);
        let pairs: &[(&str, &str)] = &[
            ("SYSLOG_IDENTIFIER", &identifier),
            ("HOKKU_APP", app),
            ("HOKKU_DYNO", &line.dyno),
            ("HOKKU_SOURCE", &line.source),
            ("HOKKU_TIME", &line.time),
        ];
        let _ = self.0.journal_send(
            &log::Record::builder()
                .level(log::Level::Debug)
                .target("dyno")
                .key_values(&pairs)
                .args(format_args!("{}", line.text))
                .build(),
        );
    }
}

/// Hands events to journald, their fields as journal fields.
struct Journal(systemd_journal_logger::JournalLog);

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

/// The journal's names for what has one there already, so that one word finds all of an app.
fn journal_name(field: &'static str) -> &'static str {
    match field {
        "app" => "HOKKU_APP",
        "dyno" => "HOKKU_DYNO",
        other => other,
    }
}

impl tracing::field::Visit for Fields {
    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            name => self.others.push((journal_name(name), text)),
        }
    }
}

impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Journal {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let meta = event.metadata();
        let level = match *meta.level() {
            tracing::Level::ERROR => log::Level::Error,
            tracing::Level::WARN => log::Level::Warn,
            tracing::Level::INFO => log::Level::Info,
            tracing::Level::DEBUG => log::Level::Debug,
            tracing::Level::TRACE => log::Level::Trace,
        };
        let pairs: Vec<(&str, &str)> = fields
            .others
            .iter()
            .map(|(k, v)| (*k, v.as_str()))
            .collect();
        // A journal that can't be written to has nowhere to say so.
        let _ = self.0.journal_send(
            &log::Record::builder()
                .level(level)
                .target(meta.target())
                .module_path(meta.module_path())
                .file(meta.file())
                .line(meta.line())
                .key_values(&pairs)
                .args(format_args!("{}", fields.message))
                .build(),
        );
    }
}
