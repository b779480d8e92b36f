//! What the targets have in common.

use hokku_router::fuzz::{Message, Read, Side, read};

/// The bytes, cut at places that the bytes themselves choose.
pub fn pieces(text: &[u8]) -> Vec<&[u8]> {
    let mut left = text;
    let mut seed = text
        .iter()
        .fold(text.len(), |n, b| n.wrapping_mul(31) ^ usize::from(*b));
    let mut all = Vec::new();
    while !left.is_empty() {
        let n = 1 + seed % left.len().min(17);
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1) >> 1;
        let (piece, rest) = left.split_at(n);
        all.push(piece);
        left = rest;
    }
    all
}

/// Reads the bytes whole and in pieces, which has to come to the same, and judges what was taken.
pub fn judge(side: Side, text: &[u8]) -> Read {
    let whole = read(side, [text]);
    let cut = read(side, pieces(text));
    assert_eq!(whole, cut, "it matters how the bytes are cut");
    for message in &whole.messages {
        sound(message);
        framed(side, message);
    }
    whole
}

/// Nothing that was taken can be read as anything else by a reader that is less strict.
fn sound(message: &Message) {
    let control = |b: &u8| matches!(b, 0..=8 | 10..=31 | 127);
    assert!(!message.first.iter().any(control));
    assert!(
        message
            .target
            .iter()
            .all(|b| *b > b' ' && *b != 127 && *b != b'#')
    );
    for (name, value) in message.fields.iter().chain(&message.trailers) {
        assert!(!name.is_empty() && name.iter().all(is_token));
        assert!(
            !value.iter().any(control),
            "{:?}",
            String::from_utf8_lossy(value)
        );
        for edge in [value.first(), value.last()] {
            assert!(
                !matches!(edge, Some(b' ' | b'\t')),
                "a blank is left at an edge"
            );
        }
    }
    assert!(message.fields.len() <= 1000);
    assert!(message.fields.iter().all(|f| f.0.len() <= 1000));
    for (name, _) in &message.trailers {
        let framing = [
            &b"content-length"[..],
            b"transfer-encoding",
            b"host",
            b"connection",
        ];
        assert!(
            !framing.contains(&&name[..]),
            "a trailer frames the message"
        );
    }
}

fn framed(side: Side, message: &Message) {
    let all = |wanted: &str| -> Vec<&[u8]> {
        let named = message
            .fields
            .iter()
            .filter(|f| f.0.eq_ignore_ascii_case(wanted.as_bytes()));
        named.map(|f| &f.1[..]).collect()
    };
    let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
    assert!(
        lengths.len() + codings.len() <= 1,
        "{lengths:?} {codings:?}"
    );
    assert!(
        codings
            .iter()
            .all(|c| c.eq_ignore_ascii_case(b"chunked") && message.minor == 1)
    );
    if side == Side::Client {
        assert!(all("host").len() <= 1);
    }
    let none =
        side == Side::App { to_head: true } || matches!(message.status, 100..200 | 204 | 304);
    if none {
        assert!(message.body.is_empty());
    } else if let [length] = lengths[..] {
        assert!(length.iter().all(u8::is_ascii_digit));
        let told: usize = std::str::from_utf8(length)
            .unwrap_or_default()
            .parse()
            .unwrap_or(usize::MAX);
        assert_eq!(message.body.len(), told);
    } else if codings.is_empty() && side == Side::Client {
        assert!(message.body.is_empty());
    }
}

fn is_token(b: &u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b)
}
