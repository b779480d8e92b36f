//! HTTP/1.1 as bytes: heads, framing, chunks (RFC 9112). Strict where proxies get hurt, and the same in both directions.
//!
//! What it does: says where a head ends and whether it may pass (`scan`, `head`), how a body is framed (`framing`), and
//! takes bodies out of their framing (`body`, `chunk`). What it never does: read or write a socket.
//! Who calls it: `client`, `app`, `source`. Tests: beside the code, and against hyper's parser in `differential`.

pub(crate) mod body;
pub(crate) mod chunk;
#[cfg(test)]
mod differential;
pub(crate) mod framing;
pub(crate) mod head;
pub(crate) mod name;
pub(crate) mod scan;
