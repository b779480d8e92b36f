//! The header lines of a message that is sent on, in the form its protocol needs.

use crate::buffers;
use crate::http1::head::{Field, Head};
use crate::http1::name::known;
use crate::rules::Edits;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Lines being put together.
pub(crate) enum Outgoing {
    /// Bytes of an HTTP/1.1 head, from its first line on.
    Text(Vec<u8>),
    /// Fields for HTTP/2.
    Map(HeaderMap),
}

impl Outgoing {
    /// An HTTP/1.1 head that begins with this line, given in parts.
    #[inline]
    pub fn text<const N: usize>(first: [&[u8]; N]) -> Outgoing {
        let mut text = buffers::text();
        for part in first {
            text.extend_from_slice(part);
        }
        text.extend_from_slice(b"\r\n");
        Outgoing::Text(text)
    }

    /// Adds a line. The name is in lower case, and both come from heads that were read or from the router itself.
    #[inline]
    pub fn put(&mut self, name: &str, value: &[u8]) {
        match self {
            Outgoing::Text(text) => {
                text.extend_from_slice(name.as_bytes());
                text.extend_from_slice(b": ");
                text.extend_from_slice(value);
                text.extend_from_slice(b"\r\n");
            }
            Outgoing::Map(map) => append(map, name.as_bytes(), value),
        }
    }

    /// Adds a line with a number.
    pub fn put_number(&mut self, name: &str, n: u64) {
        self.put(name, itoa::Buffer::new().format(n).as_bytes());
    }

    /// Adds the lines of another head but for those of these [`Known::bit`]s.
    pub fn copy_but(&mut self, head: &Head, dropped: u64) {
        match self {
            Outgoing::Text(text) => head.copy_lines(text, |known, _| known.bit() & dropped == 0),
            Outgoing::Map(_) => self.copy(head, |f| f.known.bit() & dropped == 0),
        }
    }

    /// Adds the lines of another head that are to be kept.
    pub fn copy(&mut self, head: &Head, mut keep: impl FnMut(&Field<'_>) -> bool) {
        match self {
            Outgoing::Text(text) => head.copy_lines(text, |_, i| keep(&head.line(i))),
            Outgoing::Map(map) => {
                for f in head.fields().filter(|f| keep(f)) {
                    append(map, f.name, f.value);
                }
            }
        }
    }

    /// Adds what an app's settings set, where that is allowed and well-formed.
    pub fn put_edits(&mut self, edits: &Edits) {
        for (name, value) in &edits.set {
            if known(name.as_str().as_bytes()).is_settable() {
                self.put(name.as_str(), value.as_bytes());
            }
        }
    }
}

/// Do an app's settings replace or remove this field?
pub(crate) fn is_edited(edits: &Edits, f: &Field<'_>) -> bool {
    if edits.is_empty() || !f.known.is_settable() {
        return false;
    }
    let set = edits.set.iter().map(|(n, _)| n);
    let mut names = edits.remove.iter().chain(set);
    names.any(|n| n.as_str().as_bytes().eq_ignore_ascii_case(f.name))
}

fn append(map: &mut HeaderMap, name: &[u8], value: &[u8]) {
    // what was read from a head is well-formed; what is not is left out rather than sent on
    if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
        map.append(name, value);
    }
}
