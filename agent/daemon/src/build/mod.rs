//! Builds: from a checked-out source to a slug.
//!
//! What it does: lays out a folder, runs `hokku-buildpack drive` in it behind the same walls as a dyno, commits the
//! cache after success, reads the Procfile, packs the slug. What it never does: choose when to build, make a release,
//! trust what the build leaves behind beyond its shape.
//! Who calls it: `control`. Where its tests are: beside the code for the parts, end to end in `tests/`.

mod files;
mod folder;
mod mask;
mod sandbox;
mod types;

use crate::{config::Config, slug::Slugs};
use anyhow::Context;
use bytes::Bytes;
use folder::Folder;
use hokku_buildpacks::order::{Failure, Outcome};
use hokku_model::{
    AppId, AppName, BuildId, health::AppJson, release::Slug, said::Said, shim::Isolation,
};
use mask::Mask;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// One build.
#[derive(Debug)]
pub struct BuildOrder {
    /// Names its folder.
    pub build: BuildId,
    /// Whose.
    pub app: AppId,
    /// For messages.
    pub app_name: AppName,
    /// The user it runs as under root.
    pub uid: u32,
    /// Its walls.
    pub isolation: Isolation,
    /// The commit, 40 hex digits.
    pub commit: String,
    /// The checked-out source, on the file system of the data folder; it is consumed.
    pub source: PathBuf,
    /// Config vars.
    pub env: BTreeMap<String, String>,
    /// Chosen or pinned buildpacks; none: detect.
    pub buildpacks: Vec<String>,
    /// What the source's `hokku.toml` says of requests.
    pub routing: Said,
    /// What the source's `app.json` says of its dynos.
    pub app_json: AppJson,
}

/// A build that succeeded.
#[derive(Debug)]
pub struct Built {
    /// Its result, stored.
    pub slug: Slug,
    /// How long each part took, in order.
    pub timings: Vec<(String, Duration)>,
}

/// A build that did not.
#[derive(Debug)]
pub struct BuildFailed {
    /// For the pusher, in Heroku's form (` !     …`), lines without an end.
    pub message: String,
}

impl From<anyhow::Error> for BuildFailed {
    fn from(e: anyhow::Error) -> BuildFailed {
        BuildFailed {
            message: format!(" !     Push rejected: {e:#}"),
        }
    }
}

/// The handle; cheap to clone.
#[derive(Clone, Debug)]
pub struct Builder {
    config: Arc<Config>,
    slugs: Slugs,
    shim: PathBuf,
    buildpack: PathBuf,
}

impl Builder {
    /// Builds under `<data>/build` with caches under `<data>/cache`; what an earlier agent left there is ended and
    /// removed.
    ///
    /// # Errors
    /// A folder can't be made or cleaned.
    pub fn open(
        config: Arc<Config>,
        slugs: Slugs,
        shim: PathBuf,
        buildpack: PathBuf,
    ) -> anyhow::Result<Builder> {
        folder::clean(&config.data_dir)
            .context("what earlier builds left behind can't be removed")?;
        Ok(Builder {
            config,
            slugs,
            shim,
            buildpack,
        })
    }

    /// Deletes an app's cache. Blocking.
    pub fn forget(&self, app: AppId) {
        let _ = hokku_buildpacks::tree::remove(&folder::cache(&self.config.data_dir, app));
    }

    /// Builds. Output goes to `lines` while it happens, with secrets masked.
    ///
    /// # Errors
    /// In words for the pusher; the cache and everything else is as it was.
    pub async fn run(
        &self,
        order: BuildOrder,
        lines: mpsc::Sender<Bytes>,
        cancel: CancellationToken,
    ) -> Result<Built, BuildFailed> {
        let data = self.config.data_dir.clone();
        let mut timings = vec![];
        let mut clock = Instant::now();
        let mut phase = |name: &str, timings: &mut Vec<(String, Duration)>| {
            timings.push((name.to_owned(), clock.elapsed()));
            clock = Instant::now();
        };
        let say = async |text: String| drop(lines.send(Bytes::from(text)).await);
        let order = Arc::new(order);
        let folder = {
            let order = order.clone();
            blocking(move || Folder::lay(&data, &order)).await?
        };
        for warning in &folder.warnings {
            say(format!(" !     {warning}\n")).await;
        }
        phase("prepare", &mut timings);
        let mut mask = Mask::new(&order.env);
        let end = sandbox::run(self, &order, &folder, &lines, &mut mask, &cancel).await?;
        let outcome = folder.outcome();
        self.judge(&order, &end, outcome.as_ref())?;
        let outcome = outcome.context("the build left no result behind")?;
        phase("build", &mut timings);

        say("-----> Discovering process types\n".into()).await;
        let types = types::discover(&outcome)?;
        for warning in &types.warnings {
            say(format!(" !     {warning}\n")).await;
        }
        say(types.declared()).await;
        let app_json = types.with_cron(&order.app_json)?;
        if !app_json.cron.is_empty() {
            let names: Vec<&str> = app_json.cron.iter().map(|e| e.name.as_str()).collect();
            say(format!("       Cron entries -> {}\n", names.join(", "))).await;
        }
        files::check(&folder.tree(), &order.routing.files_roots()).map_err(|e| BuildFailed {
            message: format!(" !     Push rejected: {}", e.replace('\n', "\n !     ")),
        })?;
        say("\n-----> Compressing...\n".into()).await;
        let stored = self.slugs.store(order.app, folder.tree()).await?;
        crate::sys::fault::point("slug-stored");
        say(format!("       Done: {}\n", size(stored.size))).await;
        {
            let folder = folder.clone();
            blocking(move || folder.commit_cache()).await?;
        }
        phase("slug", &mut timings);
        let slug = Slug {
            digest: stored.digest,
            size: stored.size,
            process_types: types.types,
            buildpack: outcome.language,
            commit: order.commit.clone(),
            buildpacks: outcome.buildpacks,
            routing: order.routing.clone(),
            app_json,
        };
        Ok(Built { slug, timings })
    }

    /// Did the build succeed? If not, why, in words.
    fn judge(
        &self,
        order: &BuildOrder,
        end: &sandbox::End,
        outcome: Option<&Outcome>,
    ) -> Result<(), BuildFailed> {
        let fail = |text: String| Err(BuildFailed { message: text });
        let limit = match self.config.now().build.timeout {
            s if s < 120 => format!("{s} seconds"),
            s => format!("{} minutes", s / 60),
        };
        match end {
            sandbox::End::Cancelled => {
                return fail(" !     Build cancelled: the pusher went away.".into());
            }
            sandbox::End::TimedOut => {
                return fail(format!(
                    " !     Push rejected, the build took longer than {limit} and was stopped (setting build.timeout)."
                ));
            }
            sandbox::End::OutOfMemory(most) => {
                return fail(format!(
                    " !     Push rejected, the build used more than {} of memory and was stopped (setting build.memory).",
                    size(*most)
                ));
            }
            sandbox::End::Exited(_) => {}
        }
        let rejected = |what: String| format!(" !     Push rejected, {what}");
        match outcome.and_then(|o| o.failure.as_ref().map(|f| (o, f))) {
            Some((_, Failure::Undetected { message })) => fail(rejected(message.clone())),
            Some((_, Failure::Buildpack { message })) => fail(rejected(message.clone())),
            Some((o, Failure::Compile { status })) => {
                let language = if o.language.is_empty() {
                    "the"
                } else {
                    &o.language
                };
                let room = self.slugs.free();
                let hint = match status {
                    137 => "\n !     It was killed: it may have run out of memory.".to_owned(),
                    _ if room < 64 << 20 => {
                        format!("\n !     The disk is full: {} are free.", size(room))
                    }
                    _ => String::new(),
                };
                fail(format!(
                    "{}{hint}",
                    rejected(format!("failed to compile {language} app."))
                ))
            }
            None => match end {
                sandbox::End::Exited(exit) if exit.status() != 0 => fail(rejected(format!(
                    "the build of {} ended with {exit}; {} are free on the disk.",
                    order.app_name,
                    size(self.slugs.free())
                ))),
                _ => Ok(()),
            },
        }
    }
}

/// Bytes as Heroku prints them: `34.4M`.
fn size(bytes: u64) -> String {
    match bytes {
        b if b < 1 << 20 => format!("{:.1}K", b as f64 / 1024.0),
        b if b < 10 << 30 => format!("{:.1}M", b as f64 / f64::from(1 << 20)),
        b => format!("{:.1}G", b as f64 / f64::from(1 << 30)),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .context("a task of the build ended by itself")?
}
