//! A chunked body, against a plain reading of RFC 9112, section 7.1, that sees all bytes at once.
#![no_main]
use hokku_router::fuzz::unchunk;

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let whole = unchunk([text]);
    assert_eq!(
        whole,
        unchunk(hokku_fuzz::pieces(text)),
        "it matters how the bytes are cut"
    );
    let Some((body, trailers, used)) = whole else {
        return;
    };
    let (wanted, lines, end) = plain(text).expect("it was taken, and is no chunked body");
    assert_eq!((&body, &trailers[..], used), (&wanted, lines, end));
});

fn line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.windows(2).position(|w| w == b"\r\n")?;
    let (line, rest) = (&text[..end], &text[end + 2..]);
    (!line.iter().any(|b| b"\r\n\0".contains(b))).then_some((line, rest))
}

fn plain(text: &[u8]) -> Option<(Vec<u8>, &[u8], usize)> {
    let (mut body, mut left) = (Vec::new(), text);
    loop {
        let (first, rest) = line(left)?;
        let digits = first.split(|b| *b == b';').next()?;
        let digits = std::str::from_utf8(digits).ok()?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let size = usize::from_str_radix(digits, 16).ok()?;
        left = rest;
        if size == 0 {
            break;
        }
        body.extend_from_slice(left.get(..size)?);
        left = left.get(size..)?.strip_prefix(b"\r\n")?;
    }
    let lines = left;
    loop {
        let (trailer, rest) = line(left)?;
        if trailer.is_empty() {
            return Some((
                body,
                &lines[..lines.len() - left.len()],
                text.len() - rest.len(),
            ));
        }
        left = rest;
    }
}
