//! A request's head as those see it who decide about it: rules, files, pages. Where the head came from (our own codec or
//! HTTP/2) is hidden behind [`Fields`].

use std::net::IpAddr;

/// The header fields of a message.
pub(crate) trait Fields {
    /// The first value of a field; `name` in lower case.
    fn get(&self, name: &str) -> Option<&[u8]>;
}

impl Fields for http::HeaderMap {
    fn get(&self, name: &str) -> Option<&[u8]> {
        http::HeaderMap::get(self, name).map(http::HeaderValue::as_bytes)
    }
}

/// What is asked, and by whom.
#[derive(Clone, Copy)]
#[allow(dead_code, reason = "the rooms that decide by it come next")]
pub(crate) struct Request<'a> {
    /// `GET`, and so on, as sent.
    pub method: &'a str,
    /// Lower case, without port and final dot.
    pub host: &'a str,
    /// Begins with `/`; as sent, that is still percent-encoded. Without the query.
    pub path: &'a str,
    /// What stands after `?`.
    pub query: Option<&'a str>,
    /// The client; behind a trusted load balancer the one it names.
    pub client: IpAddr,
    /// It came over TLS, to us or to a trusted load balancer.
    pub https: bool,
    /// The header fields.
    pub fields: &'a dyn Fields,
}
