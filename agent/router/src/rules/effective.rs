//! The settings of one path, merged.

use super::auth::Auth;
use super::target::{Redirect, Rewrite, Served};
use crate::nets::Nets;
use hokku_model::routing::Compress;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::sync::Arc;
use std::time::Duration;

/// What is in force for a path. `None`: the router's own limit.
#[derive(Clone, Default)]
pub(crate) struct Effective {
    /// To the first byte of the answer (H12).
    pub first_byte: Option<Duration>,
    /// Without a byte in either direction after that (H15, H28).
    pub idle: Option<Duration>,
    /// Bytes of a request's body (413).
    pub body_limit: Option<u64>,
    /// Bytes a second that a client has to send or take.
    pub min_rate: Option<u32>,
    /// Whether, and how hard, answers are compressed.
    pub compress: Compress,
    /// Changes to the request's headers, before the router's own are put in.
    pub request_headers: Edits,
    /// Changes to the answer's headers.
    pub response_headers: Edits,
    pub(super) cache: Option<HeaderValue>,
    pub(super) allow: Option<Arc<Nets>>,
    pub(super) auth: Option<Arc<Auth>>,
    pub(super) redirect: Option<Arc<Redirect>>,
    pub(super) rewrite: Option<Arc<Rewrite>>,
    pub(super) files: Option<Arc<Served>>,
    pub(super) maintenance: bool,
}

impl Effective {
    /// The `Cache-Control` to add to an answer of this status that has none.
    pub fn cache_control(&self, status: u16) -> Option<&HeaderValue> {
        let fits = matches!(status, 200 | 203 | 206 | 301 | 304 | 308 | 404);
        self.cache.as_ref().filter(|_| fits)
    }
}

/// Headers to remove and to set; no name is in both.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Edits {
    /// Each replaces all values of its name.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Removed.
    pub remove: Vec<HeaderName>,
}

impl Edits {
    /// Nothing to do?
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }

    /// Changes headers.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name.clone(), value.clone());
        }
    }

    /// A narrower rule's word about a name: its value, or that it goes. Replaces what a wider one said.
    pub(super) fn say(&mut self, name: HeaderName, value: Option<HeaderValue>) {
        self.set.retain(|(n, _)| *n != name);
        self.remove.retain(|n| *n != name);
        match value {
            Some(value) => self.set.push((name, value)),
            None => self.remove.push(name),
        }
    }
}
