//! What becomes of a request before a dyno is chosen: the router answers by itself, or it is sent on, and how.

use crate::reply::Reply;
use crate::request::Request;
use crate::table::App;
use crate::thread::Ctx;
use hokku_model::routing::Settings;
use std::sync::Arc;

/// What is to be done with a request.
pub(crate) enum Decision {
    /// The router answers by itself.
    #[allow(
        dead_code,
        reason = "rules, files and pages come next; the tests decide so"
    )]
    Reply(Reply),
    /// It is sent to the app.
    Forward(Effective),
}

/// How a request is sent on.
#[derive(Clone)]
pub(crate) struct Effective {
    /// Whose settings count where `merged` is not said.
    pub app: Arc<App>,
    /// The settings for this path, where they differ from the app's.
    pub merged: Option<Arc<Settings>>,
    /// What the app sees in place of the request's target; begins with `/`.
    pub target: Option<String>,
}

impl Effective {
    /// As the app says for all paths.
    pub fn plain(app: &Arc<App>) -> Effective {
        Effective {
            app: app.clone(),
            merged: None,
            target: None,
        }
    }

    /// The settings that count.
    pub fn settings(&self) -> &Settings {
        self.merged.as_deref().unwrap_or(&self.app.routing.settings)
    }
}

/// Decides about one request. Replaced in tests.
pub(crate) type Decider = fn(&Ctx, &Arc<App>, &Request<'_>) -> Decision;

/// The router's own way.
pub(crate) fn decide(_ctx: &Ctx, app: &Arc<App>, _request: &Request<'_>) -> Decision {
    Decision::Forward(Effective::plain(app))
}
