//! A folder of the release, served by the router itself.
//!
//! What it does: finds the file of a request's path (`path`, `root`), prefers a compressed form that lies beside it
//! (`app.js.br`, `.zst`, `.gz`), answers conditions (`condition`) and ranges (`range`). What it never does: leave the
//! folder, follow a symlink, list a folder, hold a long file in memory, write.
//! Who calls it: the data path, for paths whose rule has `files`. The agent puts the folder there when a slug is placed
//! (`slug/public.rs` in the daemon). Tests: beside the code.
//!
//! The system calls here block the serving thread: one `openat2` and one `fstat` on a folder that is kept open, and one
//! `openat2` for each compressed form that is looked for. Names and inodes of what is served are in the kernel's caches,
//! where they cost about a microsecond each; handing them to another thread would cost more. The first look-up after a
//! start may wait for the disk, once for each file.

mod condition;
mod kind;
mod path;
mod range;
mod root;

pub(crate) use root::Roots;

use crate::compress::{Accepted, Encoding};
use crate::page::Page;
use crate::reply::{Own, Reply};
use crate::request::Request;
use condition::Outcome;
use hokku_model::code::{self, Code};
use hokku_model::routing::Files;
use http::header::{self, HeaderName};
use http::{HeaderValue, Response, StatusCode};
use nix::sys::stat::FileStat;
use range::Part;
use root::Entry;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Up to so many bytes are read at once; they go out in one piece with the head.
const SMALL: u64 = 16 * 1024;
/// Forms that may lie beside a file, the smallest first.
const BESIDE: [(Encoding, &[u8]); 3] = [
    (Encoding::Brotli, b".br"),
    (Encoding::Zstd, b".zst"),
    (Encoding::Gzip, b".gz"),
];
/// Times before 1980 are made up by whatever packed the file.
const FIRST_TIME: i64 = 315_619_200;

/// What became of a request.
pub(crate) enum Served {
    /// This is the answer.
    Reply(Reply),
    /// There is no such file: the app is to be asked.
    Pass,
    /// The machine has run out of something, or its disk is broken.
    Fail(Code),
}

/// Answers a request from a folder. `rest`: what follows the rule's prefix in the request's path, as sent.
pub(crate) fn serve(roots: &mut Roots, files: &Files, rest: &str, request: &Request<'_>) -> Served {
    if !matches!(request.method, "GET" | "HEAD") {
        return if files.pass {
            Served::Pass
        } else {
            Served::Reply(not_allowed())
        };
    }
    match look(roots, files, rest, request) {
        Ok(Some(reply)) => Served::Reply(reply),
        Ok(None) if files.pass => Served::Pass,
        Ok(None) => {
            let accept = request.fields.get("accept");
            Served::Reply(Page::no_such_file().render(accept, None))
        }
        Err(e) => {
            tracing::warn!("a file in {} cannot be read: {e}", files.root);
            Served::Fail(code::H99)
        }
    }
}

fn look(
    roots: &mut Roots,
    files: &Files,
    rest: &str,
    request: &Request<'_>,
) -> nix::Result<Option<Reply>> {
    let Some(wanted) = path::relative(rest) else {
        return Ok(None);
    };
    let mut name = wanted.name;
    // `/assets` without a slash names the folder as well, and its pages need the slash
    let mut as_folder = wanted.folder && request.path.ends_with('/');
    if !as_folder {
        match roots.find(&files.root, &name)? {
            Entry::File(file, stat) if !wanted.folder => {
                return best(roots, files, name, file, stat, request).map(Some);
            }
            Entry::Folder => match to_folder(request) {
                Some(reply) => return Ok(Some(reply)),
                None => as_folder = false,
            },
            Entry::File(..) | Entry::Nothing => {}
        }
    }
    if as_folder {
        if name == b"." {
            name.clear();
        } else {
            name.push(b'/');
        }
        name.extend_from_slice(files.index.as_bytes());
        if let Entry::File(file, stat) = roots.find(&files.root, &name)? {
            return best(roots, files, name, file, stat, request).map(Some);
        }
    }
    let Some(fallback) = &files.fallback else {
        return Ok(None);
    };
    let name = fallback.trim_start_matches('/').as_bytes().to_vec();
    match roots.find(&files.root, &name)? {
        Entry::File(file, stat) => best(roots, files, name, file, stat, request).map(Some),
        Entry::Folder | Entry::Nothing => Ok(None),
    }
}

/// The file, or a compressed form that lies beside it and that the client takes.
fn best(
    roots: &mut Roots,
    files: &Files,
    mut name: Vec<u8>,
    mut file: File,
    mut stat: FileStat,
    request: &Request<'_>,
) -> nix::Result<Reply> {
    let kind = kind::of(&name);
    let varies = crate::compress::is_compressible(kind.as_bytes());
    let mut encoding = None;
    if varies && let Some(value) = request.fields.get("accept-encoding") {
        let accepted = Accepted::of([value].into_iter());
        let mut left: Vec<Encoding> = BESIDE.iter().map(|(e, _)| *e).collect();
        let plain = name.len();
        while let Some(next) = accepted.choose(&left) {
            let ending = BESIDE
                .iter()
                .find(|(e, _)| *e == next)
                .map_or(&b""[..], |(_, s)| s);
            name.extend_from_slice(ending);
            if let Entry::File(f, s) = roots.find(&files.root, &name)? {
                (file, stat, encoding) = (f, s, Some(next));
                break;
            }
            name.truncate(plain);
            left.retain(|e| *e != next);
        }
    }
    let found = Found {
        tag: tag(&files.root, &name, &stat),
        modified: u64::try_from(stat.st_mtime)
            .ok()
            .filter(|_| stat.st_mtime >= FIRST_TIME),
        size: u64::try_from(stat.st_size).unwrap_or(0),
        file,
        kind,
        encoding,
        varies,
    };
    Ok(found.answer(request))
}

/// A file to send.
struct Found {
    file: File,
    size: u64,
    /// Strong, with its quotes.
    tag: String,
    /// Seconds since 1970.
    modified: Option<u64>,
    kind: &'static str,
    encoding: Option<Encoding>,
    /// Another client may get another form.
    varies: bool,
}

impl Found {
    fn answer(self, request: &Request<'_>) -> Reply {
        match condition::outcome(request.fields, &self.tag, self.modified) {
            Outcome::Send => {}
            Outcome::NotModified => return self.bare(StatusCode::NOT_MODIFIED),
            Outcome::Failed => return self.bare(StatusCode::PRECONDITION_FAILED),
        }
        let part = match request.fields.get("range") {
            Some(value)
                if request.method == "GET"
                    && condition::range_counts(request.fields, &self.tag, self.modified) =>
            {
                range::part(value, self.size)
            }
            _ => Part::Whole,
        };
        let (status, offset, len) = match part {
            Part::Whole => (StatusCode::OK, 0, self.size),
            Part::Piece(offset, len) => (StatusCode::PARTIAL_CONTENT, offset, len),
            Part::Beyond => {
                let mut reply = self.bare(StatusCode::RANGE_NOT_SATISFIABLE);
                let size = format!("bytes */{}", self.size);
                put(&mut reply, header::CONTENT_RANGE, &size);
                return reply;
            }
        };
        let mut reply = self.bare(status);
        put(&mut reply, header::CONTENT_TYPE, self.kind);
        put(&mut reply, header::ACCEPT_RANGES, "bytes");
        if let Some(encoding) = self.encoding {
            put(&mut reply, header::CONTENT_ENCODING, encoding.name());
        }
        if status == StatusCode::PARTIAL_CONTENT {
            let range = format!("bytes {offset}-{}/{}", offset + len - 1, self.size);
            put(&mut reply, header::CONTENT_RANGE, &range);
        }
        *reply.body_mut() = self.body(offset, len, request.method);
        reply
    }

    fn body(self, offset: u64, len: u64, method: &str) -> Own {
        if method == "GET" && len <= SMALL {
            let mut bytes = vec![0; len as usize];
            if self.file.read_exact_at(&mut bytes, offset).is_ok() {
                return Own::Bytes(bytes.into());
            }
            // whoever sends it finds the same fault, and knows what to do with the connection
        }
        Own::File {
            file: Arc::new(self.file),
            offset,
            len,
        }
    }

    /// What every answer about this file says.
    fn bare(&self, status: StatusCode) -> Reply {
        let mut reply = Response::new(Own::empty());
        *reply.status_mut() = status;
        put(&mut reply, header::ETAG, &self.tag);
        if let Some(seconds) = self.modified {
            put(&mut reply, header::LAST_MODIFIED, &condition::date(seconds));
        }
        if self.varies {
            put(&mut reply, header::VARY, "Accept-Encoding");
        }
        reply
    }
}

fn put(reply: &mut Reply, name: HeaderName, value: &str) {
    // all of our making, and visible ASCII
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().insert(name, value);
    }
}

/// The files of a slug never change, so its digest and the name in it say which bytes these are; on every machine the same.
/// Of a folder that belongs to no slug, inode, size and time have to do.
fn tag(root: &str, name: &[u8], stat: &FileStat) -> String {
    let is_digest = |p: &str| p.len() == 64 && p.bytes().all(|b| b.is_ascii_hexdigit());
    let mut parts = root.split('/');
    match parts.find(|p| is_digest(p)) {
        Some(digest) => {
            // FNV-1a, 64 bit: short, and the same everywhere and always
            let mut hash = 0xcbf2_9ce4_8422_2325u64;
            let below = parts.flat_map(|p| p.bytes().chain(*b"/"));
            for b in below.chain(name.iter().copied()) {
                hash = (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3);
            }
            format!("\"{}-{hash:016x}\"", &digest[..16])
        }
        None => format!(
            "\"{:x}-{:x}-{:x}.{:x}\"",
            stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec
        ),
    }
}

/// `/docs` is a folder: its pages' links count from `/docs/`. `None` when that could be taken for another host.
fn to_folder(request: &Request<'_>) -> Option<Reply> {
    if request.path.starts_with("//") || request.path.contains('\\') {
        return None;
    }
    let query = request.query.map_or(String::new(), |q| format!("?{q}"));
    let mut reply = Response::new(Own::empty());
    *reply.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let location = HeaderValue::from_str(&format!("{}/{query}", request.path)).ok()?;
    reply.headers_mut().insert(header::LOCATION, location);
    Some(reply)
}

fn not_allowed() -> Reply {
    let page = Page::refusal(
        StatusCode::METHOD_NOT_ALLOWED,
        "Files can be read, no more.",
    );
    let mut reply = page.render(None, None);
    put(&mut reply, header::ALLOW, "GET, HEAD");
    reply
}

#[cfg(test)]
mod tests;
