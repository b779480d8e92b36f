//! The nouns as the Platform API shows them.

use super::{ApiState, fault::Result, link::To};
pub(super) use crate::sys::clock::rfc3339 as time;
use crate::{control::DynoView, ops::FormationLine};
use hokku_model::{
    AppId, ProcessType,
    api::{self, Ref, ReleaseRef, UserRef},
    app::App,
    dyno::DynoRecord,
    limits::{SIZES, Size, TypeLimits},
    release::{Build, BuildStatus, Release, ReleaseStatus},
};
use std::collections::{BTreeMap, BTreeSet};

/// The size of a type for which none was chosen: its dynos share the host.
pub(super) const SIZE: &str = "Basic";

/// How long output links hold, in seconds.
const LINK_TIME: i64 = 24 * 3600;

/// An id for what has none of its own: always the same for the same words.
pub(super) fn derived_id(words: &[&str]) -> String {
    let mut hash = blake3::Hasher::new();
    for word in words {
        hash.update(&(word.len() as u64).to_be_bytes());
        hash.update(word.as_bytes());
    }
    let mut id = [0; 16];
    id.copy_from_slice(&hash.finalize().as_bytes()[..16]);
    uuid::Builder::from_custom_bytes(id).into_uuid().to_string()
}

pub(super) fn user(email: &str) -> UserRef {
    UserRef {
        id: derived_id(&["user", email]),
        email: email.to_owned(),
    }
}

pub(super) fn app_ref(app: &App) -> Ref {
    named(&app.id.to_string(), app.name.as_str())
}

pub(super) fn named(id: &str, name: &str) -> Ref {
    Ref {
        id: id.to_owned(),
        name: Some(name.to_owned()),
    }
}

/// Something of which there is only this one, such as the region.
pub(super) fn constant(kind: &str, name: &str) -> Ref {
    named(&derived_id(&[kind, name]), name)
}

fn size_of(app: &App, kind: &ProcessType) -> &'static str {
    let size = app.limits.get(kind).and_then(|l| l.size.as_deref());
    size.and_then(Size::named).map_or(SIZE, |s| s.shown)
}

/// A one-off may have been given another size than its type's.
fn size_of_dyno(app: &App, dyno: &DynoRecord) -> &'static str {
    let is = |s: &&Size| {
        let of = TypeLimits {
            size: Some(s.name.into()),
            ..TypeLimits::default()
        };
        of.quota() == *dyno.quota
    };
    let own = SIZES.iter().find(is).filter(|_| dyno.oneoff);
    own.map_or_else(|| size_of(app, &dyno.name.kind), |s| s.shown)
}

impl ApiState {
    pub(super) async fn view_app(&self, app: &App) -> Result<api::App> {
        let current = match app.current {
            Some(version) => Some(self.ops.release(app.id, version).await?),
            None => None,
        };
        let slug = current.and_then(|r| r.slug);
        let stack = constant("stack", &self.config.now().build.stack);
        Ok(api::App {
            acm: self.ops.acm(app),
            created_at: time(app.created_at),
            id: app.id.to_string(),
            git_url: format!("{}/{}.git", self.config.now().api_url(), app.name),
            maintenance: app.maintenance,
            name: app.name.to_string(),
            owner: user(&self.owner(app).await),
            region: constant("region", "us"),
            released_at: app.released_at.map(time),
            repo_size: None,
            slug_size: slug.as_ref().map(|s| s.size),
            stack: stack.clone(),
            build_stack: stack,
            generation: constant("generation", "cedar"),
            buildpack_provided_description: slug.map(|s| s.buildpack),
            updated_at: time(app.updated_at),
            web_url: self.config.web_url(app.name.as_str()),
        })
    }

    /// Who made the app: the user of its first release.
    pub(super) async fn owner(&self, app: &App) -> String {
        match self.ops.release(app.id, 1).await {
            Ok(first) => first.user,
            Err(_) => "root".into(),
        }
    }

    pub(super) fn view_formation(&self, app: &App, line: &FormationLine) -> api::Formation {
        api::Formation {
            app: app_ref(app),
            command: line.command.clone(),
            created_at: time(app.created_at),
            id: derived_id(&["formation", &app.id.to_string(), line.kind.as_str()]),
            quantity: line.quantity,
            size: line.size.unwrap_or(SIZE).into(),
            r#type: line.kind.to_string(),
            updated_at: time(app.updated_at),
        }
    }

    pub(super) async fn view_dynos(&self, app: &App, dynos: &[DynoView]) -> Vec<api::Dyno> {
        let versions: BTreeSet<u32> = dynos.iter().map(|d| d.record.version).collect();
        let mut releases = BTreeMap::new();
        for version in versions {
            let id = match self.ops.release(app.id, version).await {
                Ok(r) => r.id.to_string(),
                Err(_) => String::new(),
            };
            releases.insert(version, ReleaseRef { id, version });
        }
        let one = |d: &DynoView| api::Dyno {
            app: app_ref(app),
            attach_url: None,
            command: d.record.command.clone(),
            created_at: time(d.record.started_at),
            id: d.record.id.to_string(),
            name: d.record.name.to_string(),
            release: releases.get(&d.record.version).cloned().unwrap_or_default(),
            size: size_of_dyno(app, &d.record).into(),
            state: d.state.into(),
            r#type: d.record.name.kind.to_string(),
            updated_at: time(d.since),
            explanation: d.why.clone(),
            pid: d.pid,
        };
        dynos.iter().map(one).collect()
    }

    /// `base` is the URL by which the client reached the agent.
    pub(super) fn view_release(
        &self,
        app: &App,
        release: &Release,
        eligible: &BTreeSet<u32>,
        base: &str,
    ) -> Result<api::Release> {
        let has_command = !release.phase.is_empty();
        let output_stream_url = if has_command || !release.failure.is_empty() {
            let to = To::Release {
                app: app.id,
                version: release.version,
            };
            Some(self.stream_url(base, to)?)
        } else {
            None
        };
        Ok(api::Release {
            addon_plan_names: vec![],
            app: app_ref(app),
            created_at: time(release.created_at),
            current: app.current == Some(release.version),
            description: release.description.clone(),
            eligible_for_rollback: eligible.contains(&release.version),
            id: release.id.to_string(),
            output_stream_url,
            slug: release.slug.as_ref().map(|s| Ref {
                id: s.digest.to_string(),
                name: None,
            }),
            status: match release.status {
                ReleaseStatus::Pending => "pending",
                ReleaseStatus::Succeeded => "succeeded",
                ReleaseStatus::Failed => "failed",
            }
            .into(),
            updated_at: time(release.created_at),
            user: user(&release.user),
            version: release.version,
            commit: release
                .slug
                .as_ref()
                .map(|s| s.commit.clone())
                .unwrap_or_default(),
            failure: release.failure.clone(),
            release_command: has_command,
        })
    }

    pub(super) async fn view_build(
        &self,
        app: &App,
        build: &Build,
        base: &str,
    ) -> Result<api::Build> {
        let release = match build.release {
            Some(version) => match self.ops.release(app.id, version).await {
                Ok(r) => Some(Ref {
                    id: r.id.to_string(),
                    name: None,
                }),
                Err(_) => None,
            },
            None => None,
        };
        Ok(api::Build {
            app: app_ref(app),
            created_at: time(build.created_at),
            id: build.id.to_string(),
            output_stream_url: self.stream_url(
                base,
                To::Build {
                    app: app.id,
                    build: build.id,
                },
            )?,
            release,
            status: match build.status {
                BuildStatus::Pending => "pending",
                BuildStatus::Succeeded => "succeeded",
                BuildStatus::Failed => "failed",
            }
            .into(),
            updated_at: time(build.ended_at.unwrap_or(build.created_at)),
            user: user(&build.user),
            commit: build.commit.clone(),
        })
    }

    fn stream_url(&self, base: &str, to: To) -> Result<String> {
        Ok(format!(
            "{base}/hokku/streams/{}",
            self.links.seal(to, LINK_TIME)?
        ))
    }

    /// A line of the app's log about what somebody did.
    pub(super) fn note(&self, app: AppId, text: &str) {
        self.control.logs().write(app, "app", "api", text);
    }
}
