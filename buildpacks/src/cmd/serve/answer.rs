//! From a path to a file, and from a file to an answer.

use super::http::{Request, reason};
use hokku_buildpacks::site::Site;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Mutex,
    time::{SystemTime, UNIX_EPOCH},
};

/// An answer before it is sent.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

/// What is sent.
#[derive(Debug)]
pub enum Body {
    Text(String),
    File { file: File, from: u64, len: u64 },
}

impl Body {
    pub fn len(&self) -> u64 {
        match self {
            Body::Text(t) => t.len() as u64,
            Body::File { len, .. } => *len,
        }
    }
}

/// A page for a status without a file.
pub fn plain(status: u16) -> Answer {
    let text = format!(
        "<!doctype html><title>{status}</title><h1>{}</h1>\n",
        reason(status)
    );
    Answer {
        status,
        headers: vec![("Content-Type".into(), "text/html; charset=utf-8".into())],
        body: Body::Text(text),
    }
}

fn redirect(status: u16, to: &str) -> Answer {
    let mut a = plain(status);
    // a name in the file system may hold anything
    let to: String = to.chars().filter(|c| !c.is_control()).collect();
    a.headers.push(("Location".into(), to));
    a
}

/// A host without its port.
fn name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

/// What is served.
pub struct Served {
    root: PathBuf,
    site: Site,
    /// Start of this process, for files whose own time says nothing.
    started: i64,
    /// The one host that pages are shown for.
    canonical: Option<String>,
    /// Hashes of contents by file, length and time.
    tags: Mutex<BTreeMap<Tag, String>>,
}

type Tag = (u64, u64, i64, i64);
const MAX_TAGS: usize = 10_000;

impl Served {
    /// For the app in this folder.
    ///
    /// # Errors
    /// The root folder is not there.
    pub fn new(app: &Path, site: Site) -> anyhow::Result<Served> {
        use anyhow::Context;
        let root = app.join(&site.root);
        let root = root
            .canonicalize()
            .with_context(|| format!("the folder {} can't be served", root.display()))?;
        let canonical = site.canonical_host.as_deref().and_then(|h| {
            match h.strip_prefix("${").and_then(|h| h.strip_suffix('}')) {
                Some(name) => std::env::var(name).ok().filter(|v| !v.is_empty()),
                None => Some(h.to_owned()),
            }
        });
        let started = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_secs() as i64);
        Ok(Served {
            root,
            site,
            started,
            canonical,
            tags: Mutex::default(),
        })
    }

    /// Answers a request.
    pub fn answer(&self, r: &Request) -> Answer {
        if !r.method_allowed {
            let mut a = plain(405);
            a.headers.push(("Allow".into(), "GET, HEAD".into()));
            return a;
        }
        let (raw, query) = r
            .path
            .split_once('?')
            .map_or((r.path.as_str(), ""), |(p, q)| (p, q));
        let Some(path) = decode(raw) else {
            return plain(400);
        };
        let mut answer = self.choose(r, &path, raw, query);
        for (glob, headers) in &self.site.headers {
            if glob_matches(glob, &path) {
                for (k, v) in headers {
                    answer
                        .headers
                        .retain(|(name, _)| !name.eq_ignore_ascii_case(k));
                    answer.headers.push((k.clone(), v.clone()));
                }
            }
        }
        answer
    }

    fn choose(&self, r: &Request, path: &str, raw: &str, query: &str) -> Answer {
        let query = if query.is_empty() {
            String::new()
        } else {
            format!("?{query}")
        };
        let asked = r.header("host").unwrap_or_default();
        if let Some(host) = &self.canonical
            && !asked.is_empty()
            && !name(asked).eq_ignore_ascii_case(name(host))
        {
            let https = self.site.https_only
                || r.header("x-forwarded-proto")
                    .is_some_and(|p| p.eq_ignore_ascii_case("https"));
            let scheme = if https { "https" } else { "http" };
            return redirect(301, &format!("{scheme}://{host}{raw}{query}"));
        }
        if self.site.https_only
            && r.header("x-forwarded-proto")
                .is_some_and(|p| p.eq_ignore_ascii_case("http"))
        {
            let host = r.header("host").unwrap_or_default();
            return redirect(301, &format!("https://{host}{raw}{query}"));
        }
        let exact = self.site.redirects.get(path).or_else(|| {
            self.site
                .redirects
                .iter()
                .find(|(g, _)| g.contains('*') && glob_matches(g, path))
                .map(|(_, to)| to)
        });
        if let Some(to) = exact {
            return redirect(to.status.unwrap_or(301), &to.url);
        }
        let Some(found) = self.find(path) else {
            return self.missing(r);
        };
        match found {
            Found::File(file) => self.file(r, &file, 200),
            // two slashes at the front would name another host
            Found::Folder => redirect(301, &format!("/{}/{query}", raw.trim_matches('/'))),
            Found::Nothing => {
                let mut routes: Vec<_> = self
                    .site
                    .routes
                    .iter()
                    .filter(|(g, _)| glob_matches(g, path))
                    .collect();
                routes.sort_by_key(|(g, _)| std::cmp::Reverse(g.len()));
                for (_, target) in routes {
                    if let Some(Found::File(file)) =
                        self.find(&format!("/{}", target.trim_start_matches('/')))
                    {
                        return self.file(r, &file, 200);
                    }
                }
                self.missing(r)
            }
        }
    }

    fn missing(&self, r: &Request) -> Answer {
        let page = self.site.error_page.as_deref().unwrap_or("404.html");
        match self.find(&format!("/{}", page.trim_start_matches('/'))) {
            Some(Found::File(file)) => self.file(r, &file, 404),
            _ => plain(404),
        }
    }

    /// The file for a decoded path. `None`: it may not be named at all.
    fn find(&self, path: &str) -> Option<Found> {
        let mut full = self.root.clone();
        for part in path.split('/').filter(|p| !p.is_empty() && *p != ".") {
            // `.well-known` is made to be public, other names with a dot are not
            if part == ".." || (part.starts_with('.') && part != ".well-known") {
                return None;
            }
            full.push(part);
        }
        let folder = path.ends_with('/');
        match self.inside(&full) {
            Some((real, true)) if folder => match self.inside(&real.join("index.html")) {
                Some((index, false)) => Some(Found::File(index)),
                _ => Some(Found::Nothing),
            },
            Some((real, true)) => {
                match (self.inside(&real.join("index.html")), self.clean(&full)) {
                    (_, Some(page)) => Some(Found::File(page)),
                    (Some((_, false)), None) => Some(Found::Folder),
                    _ => Some(Found::Nothing),
                }
            }
            Some((real, false)) if !folder => Some(Found::File(real)),
            _ if !folder => Some(self.clean(&full).map_or(Found::Nothing, Found::File)),
            _ => Some(Found::Nothing),
        }
    }

    fn clean(&self, full: &Path) -> Option<PathBuf> {
        if !self.site.clean_urls || full == self.root {
            return None;
        }
        let mut name = full.file_name()?.to_owned();
        name.push(".html");
        self.inside(&full.with_file_name(name))
            .filter(|(_, folder)| !folder)
            .map(|(p, _)| p)
    }

    /// The real path, and whether it is a folder, when it exists and lies in the root even after following links.
    fn inside(&self, path: &Path) -> Option<(PathBuf, bool)> {
        let real = path.canonicalize().ok()?;
        let meta = fs::metadata(&real).ok()?;
        (real.starts_with(&self.root) && (meta.is_dir() || meta.is_file()))
            .then(|| (real, meta.is_dir()))
    }

    fn file(&self, r: &Request, path: &Path, status: u16) -> Answer {
        let (Ok(file), Ok(meta)) = (File::open(path), fs::metadata(path)) else {
            return plain(404);
        };
        let len = meta.len();
        // a slug that was unpacked has files of one fixed, old time
        let modified = if meta.mtime() < 320_000_000 {
            self.started
        } else {
            meta.mtime()
        };
        let date = http_date(modified);
        let tag = self.tag(&file, &meta);
        let mut headers: Vec<(String, String)> = vec![
            ("Content-Type".into(), content_type(path).into()),
            ("ETag".into(), tag.clone()),
            ("Last-Modified".into(), date.clone()),
            (
                "Cache-Control".into(),
                "public, max-age=0, must-revalidate".into(),
            ),
            ("X-Content-Type-Options".into(), "nosniff".into()),
        ];
        let whole = |status: u16, headers: Vec<(String, String)>, from: u64, n: u64| Answer {
            status,
            headers,
            body: file
                .try_clone()
                .map_or(Body::Text(String::new()), |file| Body::File {
                    file,
                    from,
                    len: n,
                }),
        };
        if status != 200 {
            return whole(status, headers, 0, len);
        }
        let fresh = match r.header("if-none-match") {
            Some(tags) => {
                tags.trim() == "*"
                    || tags
                        .split(',')
                        .any(|t| t.trim().trim_start_matches("W/") == tag)
            }
            // exactly, because a roll back goes back in time
            None => r.header("if-modified-since").is_some_and(|d| d == date),
        };
        if fresh {
            headers.retain(|(k, _)| k != "Content-Type");
            return Answer {
                status: 304,
                headers,
                body: Body::Text(String::new()),
            };
        }
        headers.push(("Accept-Ranges".into(), "bytes".into()));
        let same = r.header("if-range").is_none_or(|v| v == tag || v == date);
        match r
            .header("range")
            .filter(|_| same)
            .and_then(|h| range(h, len))
        {
            Some(Ok((from, to))) => {
                headers.push(("Content-Range".into(), format!("bytes {from}-{to}/{len}")));
                whole(206, headers, from, to - from + 1)
            }
            Some(Err(())) => {
                let mut a = plain(416);
                a.headers
                    .push(("Content-Range".into(), format!("bytes */{len}")));
                a
            }
            None => whole(200, headers, 0, len),
        }
    }

    fn tag(&self, file: &File, meta: &fs::Metadata) -> String {
        let key = (meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec());
        let known =
            |t: &Mutex<BTreeMap<Tag, String>>| t.lock().ok().and_then(|t| t.get(&key).cloned());
        if let Some(t) = known(&self.tags) {
            return t;
        }
        let mut h = blake3::Hasher::new();
        let mut buf = vec![0; 64 * 1024];
        if let Ok(mut f) = file.try_clone() {
            while let Ok(n @ 1..) = f.read(&mut buf) {
                h.update(&buf[..n]);
            }
        }
        let tag = format!("\"{}\"", &h.finalize().to_hex()[..20]);
        if let Ok(mut t) = self.tags.lock() {
            if t.len() >= MAX_TAGS {
                t.clear();
            }
            t.insert(key, tag.clone());
        }
        tag
    }
}

enum Found {
    File(PathBuf),
    /// A folder named without its slash.
    Folder,
    Nothing,
}

/// `%41` to `A`; `None` for wrong escapes, NUL, backslashes and what does not begin with a slash.
fn decode(raw: &str) -> Option<String> {
    if !raw.starts_with('/') {
        return None;
    }
    let mut out = vec![];
    let mut bytes = raw.bytes();
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let mut digit = || (bytes.next()? as char).to_digit(16);
            out.push((digit()? * 16 + digit()?) as u8);
        } else {
            out.push(b);
        }
    }
    let s = String::from_utf8(out).ok()?;
    (!s.contains(['\0', '\\'])).then_some(s)
}

/// `*` within one segment, `**` across segments.
fn glob_matches(glob: &str, path: &str) -> bool {
    fn go(g: &[u8], p: &[u8], budget: &mut u32) -> bool {
        // a glob of many stars may not cost more than this
        if *budget == 0 {
            return false;
        }
        *budget -= 1;
        match g {
            [] => p.is_empty(),
            [b'*', b'*', rest @ ..] => {
                let rest_after_slash = rest.strip_prefix(b"/").unwrap_or(rest);
                (0..=p.len()).any(|i| {
                    go(rest, &p[i..], budget) || (i == 0 && go(rest_after_slash, p, budget))
                })
            }
            [b'*', rest @ ..] => {
                let end = p.iter().position(|b| *b == b'/').unwrap_or(p.len());
                (0..=end).any(|i| go(rest, &p[i..], budget))
            }
            [g0, rest @ ..] => p.first() == Some(g0) && go(rest, &p[1..], budget),
        }
    }
    go(glob.as_bytes(), path.as_bytes(), &mut 20_000)
}

/// One range of bytes; `None` for none, several, or another unit (then the whole is sent); an error when it lies outside.
fn range(header: &str, len: u64) -> Option<Result<(u64, u64), ()>> {
    let spec = header.trim().strip_prefix("bytes=")?.trim();
    let (from, to) = spec.split_once('-')?;
    let number = |s: &str| -> Option<u64> {
        (!s.is_empty() && s.bytes().all(|b| b.is_ascii_digit())).then(|| s.parse().ok())?
    };
    if spec.contains(',') {
        return None;
    }
    Some(match (from.is_empty(), to.is_empty()) {
        (true, _) => match number(to)? {
            0 => Err(()),
            _ if len == 0 => Err(()),
            n => Ok((len.saturating_sub(n), len - 1)),
        },
        (false, true) => {
            let f = number(from)?;
            if f < len { Ok((f, len - 1)) } else { Err(()) }
        }
        (false, false) => {
            let (f, t) = (number(from)?, number(to)?);
            if f > t {
                return None;
            }
            if f < len {
                Ok((f, t.min(len - 1)))
            } else {
                Err(())
            }
        }
    })
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn http_date(seconds: i64) -> String {
    let days = seconds.div_euclid(86_400);
    let s = seconds.rem_euclid(86_400);
    // civil date from days since 1970-01-01, by eras of 400 years that begin in March
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (d, m) = (
        doy - (153 * mp + 2) / 5 + 1,
        if mp < 10 { mp + 3 } else { mp - 9 },
    );
    let y = yoe + era * 400 + i64::from(m <= 2);
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (day, month) = (DAYS[days.rem_euclid(7) as usize], MONTHS[(m - 1) as usize]);
    format!(
        "{day}, {d:02} {month} {y:04} {:02}:{:02}:{:02} GMT",
        s / 3600,
        s / 60 % 60,
        s % 60
    )
}

fn content_type(path: &Path) -> &'static str {
    let ext = path
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default()
        .to_ascii_lowercase();
    match ext.as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" | "cjs" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "xml" => "application/xml",
        "rss" => "application/rss+xml",
        "atom" => "application/atom+xml",
        "txt" | "text" | "log" => "text/plain; charset=utf-8",
        "md" | "markdown" => "text/markdown; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "ics" => "text/calendar; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "apng" => "image/apng",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/x-icon",
        "bmp" => "image/bmp",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "otf" => "font/otf",
        "mp3" => "audio/mpeg",
        "ogg" | "oga" => "audio/ogg",
        "wav" => "audio/wav",
        "m4a" => "audio/mp4",
        "mp4" | "m4v" => "video/mp4",
        "webm" => "video/webm",
        "ogv" => "video/ogg",
        "mov" => "video/quicktime",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "gz" | "tgz" => "application/gzip",
        "wasm" => "application/wasm",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
