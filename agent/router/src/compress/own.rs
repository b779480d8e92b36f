//! Compression of the router's own answers: files of a release that have no compressed form beside them.

use super::press::Press;
use super::rules::{self, Asked, Kind};
use super::{TURN, WHOLE_MAX};
use crate::reply::{Own, Reply};
use bytes::Bytes;
use hokku_model::routing::Compress;
use http::header::CONTENT_LENGTH;
use std::os::unix::fs::FileExt;

/// Compresses a reply as an app's answer would be, when it is short enough to be in memory for a moment (256 KB). Also
/// tells how many bytes that saved. A file that cannot be read is left to whoever sends it.
pub(crate) fn own(
    press: &mut Press,
    asked: &Asked,
    setting: Compress,
    mut reply: Reply,
) -> (Reply, u64) {
    if setting == Compress::Off {
        return (reply, 0);
    }
    let (status, length) = (reply.status(), reply.body().len());
    let wanted = match rules::judge(asked, status, reply.headers_mut(), Some(length)) {
        Kind::Leave => return (reply, 0),
        Kind::Vary => {
            rules::vary(reply.headers_mut());
            return (reply, 0);
        }
        Kind::Compress { wanted, .. } => wanted,
    };
    rules::vary(reply.headers_mut());
    // one turn's work; the rest goes out as it is
    if length > WHOLE_MAX.max(TURN) as u64 {
        return (reply, 0);
    }
    let Some(body) = read(reply.body(), length) else {
        return (reply, 0);
    };
    let Some((encoding, made)) = press.whole(wanted, setting, &body) else {
        return (reply, 0);
    };
    rules::encoded(reply.headers_mut(), encoding);
    reply
        .headers_mut()
        .insert(CONTENT_LENGTH, made.len().into());
    let saved = length - made.len() as u64;
    *reply.body_mut() = Own::Bytes(made);
    (reply, saved)
}

fn read(own: &Own, length: u64) -> Option<Bytes> {
    match own {
        Own::Bytes(bytes) => Some(bytes.clone()),
        Own::File { file, offset, .. } => {
            let mut bytes = vec![0; usize::try_from(length).ok()?];
            file.read_exact_at(&mut bytes, *offset).ok()?;
            Some(bytes.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, Method, Response};
    use std::io::{Read, Write};
    use std::sync::Arc;

    #[test]
    fn files_and_pages_are_compressed_like_an_apps_answers() {
        let mut press = Press::new();
        let text = "body { color: #336699; }\n".repeat(400);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let file = Arc::new(file);
        let mut headers = HeaderMap::new();
        headers.insert("accept-encoding", "gzip".parse().unwrap());
        let asked = Asked::of(&Method::GET, &headers);
        let reply = || {
            let own = Own::File {
                file: file.clone(),
                offset: 0,
                len: text.len() as u64,
            };
            let mut reply = Response::new(own);
            reply
                .headers_mut()
                .insert("content-type", "text/css".parse().unwrap());
            reply
                .headers_mut()
                .insert("etag", "\"v1\"".parse().unwrap());
            reply
        };
        let (made, saved) = own(&mut press, &asked, Compress::Balanced, reply());
        let Own::Bytes(bytes) = made.body() else {
            panic!("still a file")
        };
        assert_eq!(saved, (text.len() - bytes.len()) as u64);
        assert_eq!(made.headers()["content-encoding"], "gzip");
        assert_eq!(made.headers()["content-length"], bytes.len().to_string());
        assert_eq!(
            (&made.headers()["etag"], &made.headers()["vary"]),
            (
                &"W/\"v1\"".parse().unwrap(),
                &"Accept-Encoding".parse().unwrap()
            )
        );
        let mut plain = String::new();
        flate2::read::GzDecoder::new(&bytes[..])
            .read_to_string(&mut plain)
            .unwrap();
        assert_eq!(plain, text);
        let (left, saved) = own(&mut press, &asked, Compress::Off, reply());
        assert!(saved == 0 && matches!(left.body(), Own::File { .. }));
        let mut part = reply();
        *part.status_mut() = http::StatusCode::PARTIAL_CONTENT;
        assert_eq!(own(&mut press, &asked, Compress::Small, part).1, 0);
    }
}
