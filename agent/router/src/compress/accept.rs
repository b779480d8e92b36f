//! What a client takes, from its `Accept-Encoding` (RFC 9110, section 12.5.3).

use super::Encoding;

/// Quality in thousandths; 0 is "not acceptable".
type Quality = u16;

/// What a client said; `None`: nothing about it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Accepted {
    encodings: [Option<Quality>; Encoding::ALL],
    identity: Option<Quality>,
    rest: Option<Quality>,
}

impl Accepted {
    /// Reads the lines of the header; none when the client sent none.
    pub fn of<'a>(values: impl Iterator<Item = &'a [u8]>) -> Accepted {
        let mut said = Accepted::default();
        for item in values.flat_map(|v| v.split(|b| *b == b',')) {
            let mut parts = item.split(|b| *b == b';').map(<[u8]>::trim_ascii);
            let name = parts.next().unwrap_or_default();
            let is = |s: &str| name.eq_ignore_ascii_case(s.as_bytes());
            let place = match () {
                () if is("zstd") => &mut said.encodings[Encoding::Zstd as usize],
                () if is("gzip") || is("x-gzip") => &mut said.encodings[Encoding::Gzip as usize],
                () if is("br") => &mut said.encodings[Encoding::Brotli as usize],
                () if is("identity") => &mut said.identity,
                () if name == b"*" => &mut said.rest,
                () => continue,
            };
            // named twice: the lower one counts
            let q = quality(parts);
            *place = Some(place.map_or(q, |before: Quality| before.min(q)));
        }
        said
    }

    /// The encoding to use among those offered, the best first: the one the client ranks highest, if it ranks above no
    /// encoding at all.
    pub fn choose(&self, offered: &[Encoding]) -> Option<Encoding> {
        let mut best = None;
        // not compressing is what a client gets that prefers it outright
        let mut above = self.identity.unwrap_or(0);
        for &e in offered {
            let q = self.encodings[e as usize].or(self.rest).unwrap_or(0);
            let wins = q > above || (best.is_none() && q == above && q > 0);
            if wins {
                (best, above) = (Some(e), q);
            }
        }
        best
    }
}

/// The weight among an item's parameters: 1 when there is none, 0 when it cannot be read.
fn quality<'a>(mut parameters: impl Iterator<Item = &'a [u8]>) -> Quality {
    let weight = parameters.find_map(|p| match p {
        [b'q' | b'Q', rest @ ..] => rest.trim_ascii_start().strip_prefix(b"="),
        _ => None,
    });
    weight.map_or(1000, |w| thousandths(w.trim_ascii()).unwrap_or(0))
}

/// `0`, `1`, `0.5`, `1.000`, … at most three decimals.
fn thousandths(text: &[u8]) -> Option<Quality> {
    let (whole, decimals) = match text {
        [d] => (*d, &[][..]),
        [d, b'.', decimals @ ..] if decimals.len() <= 3 => (*d, decimals),
        _ => return None,
    };
    let mut q = match whole {
        b'0' => 0,
        b'1' => 1000,
        _ => return None,
    };
    let mut unit = 100;
    for d in decimals {
        if !d.is_ascii_digit() {
            return None;
        }
        q += u16::from(d - b'0') * unit;
        unit /= 10;
    }
    (q <= 1000).then_some(q)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Encoding::{Brotli, Gzip, Zstd};
    use proptest::prelude::*;

    fn choose<'a>(
        values: impl Iterator<Item = &'a [u8]>,
        offered: &[Encoding],
    ) -> Option<Encoding> {
        Accepted::of(values).choose(offered)
    }

    fn of(text: &str) -> Option<Encoding> {
        choose([text.as_bytes()].into_iter(), &[Zstd, Gzip])
    }

    #[test]
    fn three_of_a_kind() {
        for (text, wanted) in [
            ("gzip, deflate, br, zstd", Some(Zstd)),
            ("gzip, deflate, br", Some(Brotli)),
            ("br", Some(Brotli)),
            ("BR;q=0.5, gzip", Some(Gzip)),
            ("br;q=0.9, zstd;q=0.8", Some(Brotli)),
            ("br;q=0, *", Some(Zstd)),
            ("*, zstd;q=0", Some(Brotli)),
            ("br;q=0", None),
        ] {
            let chosen = choose([text.as_bytes()].into_iter(), &[Zstd, Brotli, Gzip]);
            assert_eq!(chosen, wanted, "{text:?}");
        }
    }

    #[test]
    fn preferences() {
        for (text, wanted) in [
            ("gzip", Some(Gzip)),
            ("GZIP", Some(Gzip)),
            ("x-gzip", Some(Gzip)),
            ("gzip, deflate, br, zstd", Some(Zstd)),
            ("gzip;q=1.0, zstd;q=0.9", Some(Gzip)),
            ("gzip;q=0.5,zstd; q=0.501", Some(Zstd)),
            ("*", Some(Zstd)),
            ("*;q=0.1, zstd;q=0", Some(Gzip)),
            ("*;q=0, gzip", Some(Gzip)),
            ("*;q=0", None),
            ("gzip;q=0", None),
            ("gzip;q=0.000", None),
            ("gzip;q=0, *", Some(Zstd)),
            ("identity", None),
            ("identity, gzip;q=0.5", None),
            ("identity;q=0.5, gzip", Some(Gzip)),
            ("identity;q=0.5, gzip;q=0.5", Some(Gzip)),
            ("identity;q=0, br", None),
            ("br, deflate", None),
            ("", None),
            (" , ,", None),
            ("gzip;q=2", None),
            ("gzip;q=x", None),
            ("gzip;q=0.5555", None),
            ("gzip;level=1;q=0", None),
            ("gzip, gzip;q=0", None),
            ("gzipx", None),
        ] {
            assert_eq!(of(text), wanted, "{text:?}");
        }
        assert_eq!(choose(std::iter::empty(), &[Zstd, Gzip]), None);
        let lines = [&b"br"[..], b"gzip;q=0.2"];
        assert_eq!(choose(lines.into_iter(), &[Zstd, Gzip]), Some(Gzip));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(b in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = choose([&b[..]].into_iter(), &[Zstd, Gzip]);
        }

        #[test]
        fn the_highest_weight_wins(z in 0u16..=1000, g in 0u16..=1000, i in proptest::option::of(0u16..=1000), spaces in " {0,2}") {
            let weight = |q: u16| format!("{}.{:03}", q / 1000, q % 1000);
            let mut text = format!("br,{spaces}gzip{spaces};{spaces}q={},zstd;q={}", weight(g), weight(z));
            if let Some(i) = i {
                text = format!("identity;q={}{spaces},{text}", weight(i));
            }
            let top = z.max(g);
            let wanted = if top == 0 || i.is_some_and(|i| i > top) {
                None
            } else {
                Some(if z == top { Zstd } else { Gzip })
            };
            prop_assert_eq!(of(&text), wanted, "{}", text);
        }
    }
}
