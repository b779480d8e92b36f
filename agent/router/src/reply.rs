//! Answers that the router gives by itself.

use bytes::Bytes;
use std::fs::File;
use std::sync::Arc;

/// An answer of the router's own. `Content-Length` is put in where it is sent, and the body is left out for `HEAD`.
pub(crate) type Reply = http::Response<Own>;

/// The body of such an answer.
#[derive(Clone, Debug)]
pub(crate) enum Own {
    /// In memory.
    Bytes(Bytes),
    /// A part of a file, read as the client takes it.
    #[allow(dead_code, reason = "the rooms that answer by themselves come next")]
    File {
        /// Open for reading; shared, so only read at a position.
        file: Arc<File>,
        /// First byte.
        offset: u64,
        /// Number of bytes.
        len: u64,
    },
}

impl Own {
    /// Nothing.
    #[allow(dead_code, reason = "the rooms that answer by themselves come next")]
    pub fn empty() -> Own {
        Own::Bytes(Bytes::new())
    }

    /// Bytes to send.
    pub fn len(&self) -> u64 {
        match self {
            Own::Bytes(bytes) => bytes.len() as u64,
            Own::File { len, .. } => *len,
        }
    }
}
