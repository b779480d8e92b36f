//! What an app wrote, made harmless for a terminal.

/// The line with its colours and tabs, and without what could steer the terminal otherwise (move, clear, set titles or
/// the clipboard, answer questions): each such byte becomes `?`.
pub fn steady(line: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.len());
    let mut at = 0;
    while at < line.len() {
        let rest = &line[at..];
        if let Some(n) = colour(rest) {
            out.extend_from_slice(&rest[..n]);
            at += n;
            continue;
        }
        match rest {
            // U+0080 to U+009F steer as the escapes do
            [0xC2, 0x80..=0x9F, ..] => {
                out.push(b'?');
                at += 2;
            }
            [b, ..] => {
                let steers = (*b < 0x20 && *b != b'\t') || *b == 0x7F;
                out.push(if steers { b'?' } else { *b });
                at += 1;
            }
            [] => break,
        }
    }
    out
}

/// The length of a colour's sequence at the start (`ESC [ 1;31 m`), if there is one.
fn colour(text: &[u8]) -> Option<usize> {
    let body = text.strip_prefix(b"\x1b[")?;
    let n = body
        .iter()
        .take_while(|b| b.is_ascii_digit() || b";:".contains(b))
        .count();
    (body.get(n) == Some(&b'm')).then_some(n + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_stay_and_orders_go() {
        for (from, to) in [
            ("plain äöü 漢字\ttab", "plain äöü 漢字\ttab"),
            ("\x1b[1;31mred\x1b[0m\x1b[m", "\x1b[1;31mred\x1b[0m\x1b[m"),
            ("\x1b[2J\x1b[H", "?[2J?[H"),
            ("\x1b]0;title\x07", "?]0;title?"),
            ("\x1b]52;c;eA==\x1b\\", "?]52;c;eA==?\\"),
            ("over\rwritten\x08", "over?written?"),
            ("\u{9b}2J\u{7f}", "?2J?"),
            ("\x1b[31", "?[31"),
            ("", ""),
        ] {
            assert_eq!(steady(from.as_bytes()), to.as_bytes(), "{from:?}");
        }
        assert_eq!(steady(b"\xff\xfe"), b"\xff\xfe");
    }
}
