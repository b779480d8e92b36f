//! WebSocket framing, as far as a tunnel has to know it: where a frame ends, and how to say "going away" (RFC 6455).

/// Close frame to the client: status 1001, unmasked.
pub(crate) const CLOSE_TO_CLIENT: &[u8] = &[0x88, 2, 0x03, 0xe9];
/// Close frame to the app: status 1001, masked, with a mask of zeros.
pub(crate) const CLOSE_TO_APP: &[u8] = &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9];

/// Follows the frames of one direction.
#[derive(Default)]
pub(crate) struct Frames {
    head: [u8; 14],
    have: usize,
    payload: u64,
    closed: bool,
}

impl Frames {
    /// Takes note of bytes that went by.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let n = bytes
                    .len()
                    .min(usize::try_from(self.payload).unwrap_or(usize::MAX));
                self.payload -= n as u64;
                bytes = &bytes[n..];
                continue;
            }
            self.head[self.have] = bytes[0];
            self.have += 1;
            bytes = &bytes[1..];
            if let Some(payload) = self.head_done() {
                self.closed |= self.head[0] & 0x0f == 8;
                self.payload = payload;
                self.have = 0;
            }
        }
    }

    /// Length of the payload, once the head is whole.
    fn head_done(&self) -> Option<u64> {
        if self.have < 2 {
            return None;
        }
        let mask = if self.head[1] & 0x80 != 0 { 4 } else { 0 };
        let (extra, short) = match self.head[1] & 0x7f {
            126 => (2, None),
            127 => (8, None),
            n => (0, Some(u64::from(n))),
        };
        if self.have < 2 + extra + mask {
            return None;
        }
        Some(short.unwrap_or_else(|| {
            self.head[2..2 + extra]
                .iter()
                .fold(0, |n, b| n << 8 | u64::from(*b))
        }))
    }

    /// Would a frame put in here be read as a frame?
    pub fn at_boundary(&self) -> bool {
        self.have == 0 && self.payload == 0
    }

    /// Has a close frame begun? After it no other frame may follow.
    pub fn has_closed(&self) -> bool {
        self.closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(opcode: u8, masked: bool, len: usize) -> Vec<u8> {
        let m = if masked { 0x80 } else { 0 };
        let mut f = vec![0x80 | opcode];
        match len {
            0..126 => f.push(m | len as u8),
            126..65536 => {
                f.push(m | 126);
                f.extend((len as u16).to_be_bytes());
            }
            _ => {
                f.push(m | 127);
                f.extend((len as u64).to_be_bytes());
            }
        }
        if masked {
            f.extend([1, 2, 3, 4]);
        }
        f.resize(f.len() + len, 0x88);
        f
    }

    #[test]
    fn our_close_frames_are_frames() {
        for f in [CLOSE_TO_CLIENT, CLOSE_TO_APP] {
            let mut t = Frames::default();
            t.pass(f);
            assert!(t.at_boundary() && t.has_closed());
        }
    }

    proptest! {
        #[test]
        fn boundaries_are_found_however_the_bytes_are_cut(
            lens in proptest::collection::vec(prop_oneof![0usize..130, 65530usize..65540], 1..5),
            masked: bool,
            cut in 1usize..9000,
        ) {
            let mut t = Frames::default();
            for len in &lens {
                let f = frame(2, masked, *len);
                let last = f.len() - 1;
                for part in f[..last].chunks(cut) {
                    t.pass(part);
                    prop_assert!(!t.at_boundary());
                }
                t.pass(&f[last..]);
                prop_assert!(t.at_boundary());
            }
            prop_assert!(!t.has_closed());
        }

        #[test]
        fn any_bytes_are_followed_without_panic(b: Vec<u8>) {
            Frames::default().pass(&b);
        }
    }
}
