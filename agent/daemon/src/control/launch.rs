//! From "start web.1 of v7" to the order for the supervisor: environment, command line, tree, output.

use super::{Command, Hands};
use crate::{
    config::Config,
    logs,
    supervisor::{Probe, StartOrder},
    sys::{boot, clock},
};
use anyhow::Context;
use hokku_model::{
    dyno::DynoRecord,
    shim::{AppTree, Limits, Output, ShimSpec},
};
use std::{collections::BTreeMap, time::Duration};

/// Processes and threads of all dynos of an app together: Heroku's bound for its large dynos. It ends a fork bomb, and
/// no program that means well.
const PROCESSES: u64 = 16_384;

/// Everything a start needs that the loop knows.
pub(super) struct Launch {
    pub record: DynoRecord,
    command: Command,
    env: BTreeMap<String, String>,
    output: Option<Output>,
    seconds: Option<u64>,
    /// To be written down before the start.
    pub run: Option<hokku_model::run::Run>,
}

impl Launch {
    /// A member of the formation.
    pub fn formation(record: DynoRecord) -> Launch {
        let command = Command::Line(record.command.clone());
        Launch {
            record,
            command,
            env: BTreeMap::new(),
            output: None,
            seconds: None,
            run: None,
        }
    }

    /// A one-off; `output` is where it goes when someone attaches.
    pub fn oneoff(
        record: DynoRecord,
        command: Command,
        env: BTreeMap<String, String>,
        output: Option<Output>,
        seconds: Option<u64>,
    ) -> Launch {
        Launch {
            record,
            command,
            env,
            output,
            seconds,
            run: None,
        }
    }

    /// The order for the supervisor. Unpacks the slug where its tree is gone.
    ///
    /// # Errors
    /// The slug is damaged or gone, the config vars can't be read.
    pub async fn order(self, hands: &Hands) -> anyhow::Result<StartOrder> {
        let record = self.record;
        let app = hands.ops.app(record.app).await?;
        let release = hands.ops.release_made(record.app, record.version).await?;
        let slug = release.slug.as_ref().context("the release has no slug")?;
        let tree = hands
            .slugs
            .unpacked(record.app, app.uid, &slug.digest)
            .await?;
        let mut env: BTreeMap<String, String> = [
            (
                "PATH",
                "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
            ),
            ("LANG", "C.UTF-8"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into();
        env.extend(hands.ops.release_env(record.app, record.version).await?);
        env.extend(self.env);
        env.extend(platform(&hands.config, &record, &release));
        let argv = match self.command {
            Command::Line(line) => boot::line(line),
            Command::Argv(words) => boot::argv(words),
        };
        let output = match self.output {
            Some(output) => output,
            None => Output::Log {
                file: hands.logs.dyno_file(record.app, record.id)?,
                source: format!("app[{}]", record.label()),
                max_bytes: logs::rotate_at(hands.config.now().retain.logs),
            },
        };
        let domain = app.domains.first().map(String::as_str);
        let probe = probe(&hands.config.now(), &record, domain, false);
        let spec = ShimSpec {
            dir: hands
                .config
                .data_dir
                .join("dynos")
                .join(record.id.to_string()),
            argv,
            env: env.into_iter().collect(),
            cwd: "/app".into(),
            isolation: hands.walls.of(app.uid),
            app: AppTree::Overlay { lower: vec![tree] },
            binds: vec![],
            output,
            limits: Limits {
                memory: record.quota.memory_soft.or(record.quota.memory),
                pids: Some(PROCESSES),
                nofile: Some(record.quota.files.unwrap_or(65_536)),
                cpu_weight: record.quota.cpu_weight,
                file_size: record.quota.disk,
                seconds: self.seconds,
                ..Limits::default()
            },
            hide: vec![hands.config.data_dir.clone()],
            hostname: record.name.to_string(),
        };
        Ok(StartOrder {
            record,
            spec,
            probe,
        })
    }
}

/// What the dyno is asked; nothing when there is nothing to ask. The Host is the app's first domain, or its default
/// one: frameworks refuse others.
pub(super) fn probe(
    settings: &Config,
    record: &DynoRecord,
    domain: Option<&str>,
    up: bool,
) -> Option<Probe> {
    let checks = record.care.checks.clone();
    if checks.is_empty() && (record.port.is_none() || up) {
        return None;
    }
    let host = domain.map(str::to_ascii_lowercase);
    Some(Probe {
        addr: record.port.map(|port| ([127, 0, 0, 1], port).into()),
        up,
        checks,
        app: record.app_name.to_string(),
        name: record.name.to_string(),
        host: host.unwrap_or_else(|| settings.default_host(record.app_name.as_str())),
        boot_limit: Duration::from_secs(settings.boot_timeout),
    })
}

/// What the platform itself tells a process (Dev Center "Dyno Metadata").
fn platform(
    config: &Config,
    record: &DynoRecord,
    release: &hokku_model::release::Release,
) -> Vec<(String, String)> {
    let commit = release
        .slug
        .as_ref()
        .map(|s| s.commit.clone())
        .unwrap_or_default();
    let mut vars = vec![
        ("HOME", "/app".to_owned()),
        ("DYNO", record.label()),
        ("HEROKU_APP_ID", record.app.to_string()),
        ("HEROKU_APP_NAME", record.app_name.to_string()),
        (
            "HEROKU_APP_DEFAULT_DOMAIN_NAME",
            config.default_host(record.app_name.as_str()),
        ),
        ("HEROKU_DYNO_ID", record.id.to_string()),
        ("HEROKU_RELEASE_VERSION", format!("v{}", record.version)),
        (
            "HEROKU_RELEASE_CREATED_AT",
            clock::rfc3339(release.created_at),
        ),
        ("HEROKU_SLUG_COMMIT", commit.clone()),
        ("HEROKU_SLUG_DESCRIPTION", release.description.clone()),
        ("HEROKU_BUILD_COMMIT", commit),
    ];
    if let Some(port) = record.port {
        vars.push(("PORT", port.to_string()));
    }
    vars.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
}
