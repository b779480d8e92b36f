//! What an app's routing says about a request, compiled once and looked up per request.
//!
//! What it does: [`compile`] makes [`Rules`] of a `Routing`; [`decide`] says what becomes of a request: a reply, a
//! password to verify, the maintenance page, a file, or the app with the settings of its path. What it never does: send
//! anything, read files, render the pages of Heroku's codes; fail. What cannot be used is left out with a warning, and
//! what would then stand open is closed instead.
//! Who calls it: the register of tables compiles, the data path decides. Tests: beside the code.
//!
//! **Which rule counts.** Each key is taken from the longest prefix that says it, at last from the app's own settings: a
//! rule for `/admin/reports` that only sets a timeout stays behind the password of `/admin`. Header edits are taken name
//! by name in the same way.
//!
//! **Order of the checks**, each before anything that would tell more: a path that can be read in several ways (400);
//! the allow list (403); HTTPS (308), so that no password is asked for in the open; the password (401); maintenance;
//! redirect; files; the app.

mod answer;
mod auth;
mod compile;
mod decide;
mod effective;
mod target;
mod verifier;

#[cfg(test)]
mod tests;

pub(crate) use auth::{Check, Passed};
pub(crate) use compile::compile;
pub(crate) use decide::{Decision, Forward, decide, go_on};
pub(crate) use effective::{Edits, Effective};
pub(crate) use verifier::Verifier;

use crate::prefix::Prefixes;
use hokku_model::routing::Routing;
use http::HeaderValue;
use std::sync::Arc;

/// One app's routing, ready for use.
pub(crate) struct Rules {
    routing: Arc<Routing>,
    hsts: Option<HeaderValue>,
    /// For paths without a rule.
    root: Arc<Effective>,
    below: Prefixes<Arc<Effective>>,
    /// Does a path have to be looked at?
    by_path: bool,
}

impl Rules {
    /// What it was made of.
    pub fn routing(&self) -> &Arc<Routing> {
        &self.routing
    }

    /// `Strict-Transport-Security`, which belongs to every answer to this app's clients over TLS (`https`), whoever gives
    /// it, and replaces the app's own. None: the header is the app's business.
    pub fn hsts(&self, https: bool) -> Option<&HeaderValue> {
        self.hsts.as_ref().filter(|_| https)
    }
}
