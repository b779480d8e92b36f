//! Memory for bytes on their way. Each thread keeps a few unused pieces; an idle connection holds none.

use std::cell::RefCell;

/// What a head or a short body is read into.
pub(crate) const SMALL: usize = 64 * 1024;
/// What long uploads are read into: many may run at once, and they take their time.
pub(crate) const MEDIUM: usize = 128 * 1024;
/// What long answers are read into: fewer system calls per byte.
pub(crate) const LARGE: usize = 256 * 1024;
/// Unused pieces kept per thread.
const SMALL_KEPT: usize = 64;
const MEDIUM_KEPT: usize = 8;
const LARGE_KEPT: usize = 8;
/// Texts (heads on their way out) kept per thread, and how large one may be.
const TEXTS_KEPT: usize = 64;
const TEXT_MAX: usize = 16 * 1024;

#[derive(Default)]
struct Unused {
    small: Vec<Vec<u8>>,
    medium: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
    texts: Vec<Vec<u8>>,
}

thread_local! {
    static UNUSED: RefCell<Unused> = RefCell::default();
}

fn take(size: usize) -> Vec<u8> {
    let kept = UNUSED.with_borrow_mut(|u| match size {
        SMALL => u.small.pop(),
        MEDIUM => u.medium.pop(),
        LARGE => u.large.pop(),
        _ => None,
    });
    kept.unwrap_or_else(|| vec![0; size])
}

fn give(bytes: Vec<u8>) {
    // after the thread's end there is no list any more
    let _ = UNUSED.try_with(|u| {
        let u = &mut *u.borrow_mut();
        match bytes.len() {
            SMALL if u.small.len() < SMALL_KEPT => u.small.push(bytes),
            MEDIUM if u.medium.len() < MEDIUM_KEPT => u.medium.push(bytes),
            LARGE if u.large.len() < LARGE_KEPT => u.large.push(bytes),
            _ => {}
        }
    });
}

/// An empty text to write into.
pub(crate) fn text() -> Vec<u8> {
    UNUSED
        .with_borrow_mut(|u| u.texts.pop())
        .unwrap_or_else(|| Vec::with_capacity(1024))
}

/// Gives a text back.
pub(crate) fn done_with(mut text: Vec<u8>) {
    if text.capacity() == 0 || text.capacity() > TEXT_MAX {
        return;
    }
    text.clear();
    // after the thread's end there is no list any more
    let _ = UNUSED.try_with(|u| {
        let texts = &mut u.borrow_mut().texts;
        if texts.len() < TEXTS_KEPT {
            texts.push(text);
        }
    });
}

/// Bytes that were read and not yet used, in memory that is held only while there are some.
#[derive(Default)]
pub(crate) struct Buf {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buf {
    /// Holds these bytes.
    #[allow(
        dead_code,
        reason = "what stands before TLS or a PROXY header comes next"
    )]
    pub fn with(first: &[u8]) -> Buf {
        let mut buf = Buf::default();
        while buf.room().len() < first.len() {
            buf.grow();
        }
        buf.room()[..first.len()].copy_from_slice(first);
        buf.filled(first.len());
        buf
    }

    /// What is there.
    pub fn data(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// What is there, to be changed in place.
    pub fn data_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Does it hold memory?
    pub fn is_held(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// The first `n` bytes were used.
    pub fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
    }

    /// Bytes by their place in the memory; they stay there until the next [`Buf::room`] or [`Buf::release`].
    pub fn at(&self, from: usize, to: usize) -> &[u8] {
        self.bytes.get(from..to).unwrap_or_default()
    }

    /// The place of the first byte of [`Buf::data`].
    pub fn place(&self) -> usize {
        self.start
    }

    /// Where the next bytes go. Empty when all memory is in use: see [`Buf::grow`].
    pub fn room(&mut self) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.bytes = take(SMALL);
        }
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > 0 && self.bytes.len() - self.end < self.bytes.len() / 2 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.bytes[self.end..]
    }

    /// So many bytes were put into [`Buf::room`].
    pub fn filled(&mut self, n: usize) {
        self.end = (self.end + n).min(self.bytes.len());
    }

    /// Takes more memory; what is there is kept.
    pub fn grow(&mut self) {
        let size = if self.bytes.len() < SMALL {
            SMALL
        } else if self.bytes.len() < LARGE {
            LARGE
        } else {
            self.bytes.len() * 2
        };
        self.grow_to(size);
    }

    /// Takes memory of this size, which is larger than what it has.
    pub fn grow_to(&mut self, size: usize) {
        let mut larger = take(size);
        let n = self.end - self.start;
        larger[..n].copy_from_slice(self.data());
        give(std::mem::replace(&mut self.bytes, larger));
        (self.start, self.end) = (0, n);
    }

    /// How much memory it holds, in bytes.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Gives the memory back when nothing is in it.
    pub fn release(&mut self) {
        if self.is_empty() && self.is_held() {
            give(std::mem::take(&mut self.bytes));
            (self.start, self.end) = (0, 0);
        }
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        if self.is_held() {
            give(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_kept_in_order_and_memory_is_used_again() {
        let mut buf = Buf::with(b"hello");
        buf.consume(2);
        assert_eq!(buf.data(), b"llo");
        for _ in 0..3 {
            while !buf.room().is_empty() {
                let n = buf.room().len();
                buf.room().fill(b'x');
                buf.filled(n);
            }
            buf.grow();
            assert!(buf.data().starts_with(b"lloxx") && !buf.room().is_empty());
        }
        buf.release();
        assert!(buf.is_held(), "not while something is in it");
        buf.consume(usize::MAX / 2);
        buf.release();
        assert!(!buf.is_held());
        assert!(Buf::with(&[7; 300_000]).data() == [7; 300_000]);
        let place = {
            let mut b = Buf::default();
            b.room().as_ptr()
        };
        assert_eq!(Buf::default().room().as_ptr(), place, "used again");
    }
}
