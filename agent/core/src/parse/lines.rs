//! Bytes to lines: byte order marks, line ends of all systems, and a clear word when it is no UTF-8.

use std::fmt;

/// Why bytes are no text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextError {
    /// UTF-16, as some editors and PowerShell's `>` write it.
    Utf16,
    /// Not UTF-8; the line, from 1, with the first wrong byte.
    NotUtf8 {
        /// Line number, from 1.
        line: usize,
    },
    /// Longer than the limit, both in bytes.
    TooLong {
        /// Bytes given.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TextError::Utf16 => {
                f.write_str("is UTF-16 text; save it as UTF-8 (without BOM) and commit it again")
            }
            TextError::NotUtf8 { line } => write!(
                f,
                "is not UTF-8 text: the first wrong byte is in line {line}"
            ),
            TextError::TooLong { len, max } => {
                write!(f, "has {len} bytes, more than the {max} that are read")
            }
        }
    }
}
impl std::error::Error for TextError {}

/// Decodes text: drops a UTF-8 byte order mark and makes every line end (`\r\n`, `\r`) a `\n`.
///
/// # Errors
/// [`TextError`]: UTF-16, invalid UTF-8, or longer than `max` bytes.
pub fn decode(bytes: &[u8], max: usize) -> Result<String, TextError> {
    if bytes.len() > max {
        return Err(TextError::TooLong {
            len: bytes.len(),
            max,
        });
    }
    let utf16_without_mark = bytes.len() >= 4 && {
        let odd = bytes.iter().skip(1).step_by(2).filter(|b| **b == 0).count();
        let even = bytes.iter().step_by(2).filter(|b| **b == 0).count();
        odd.max(even) * 4 > bytes.len()
    };
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) || utf16_without_mark {
        return Err(TextError::Utf16);
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(s) if s.contains('\r') => Ok(s.replace("\r\n", "\n").replace('\r', "\n")),
        Ok(s) => Ok(s.to_owned()),
        Err(e) => {
            let before = &bytes[..e.valid_up_to()];
            Err(TextError::NotUtf8 {
                line: 1 + before.iter().filter(|b| **b == b'\n').count(),
            })
        }
    }
}

/// Blank as in Ruby's and POSIX's `\s`: ASCII only, so that a no-break space stays part of a command.
pub fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_and_marks() {
        assert_eq!(decode(b"\xef\xbb\xbfa\r\nb\rc\n", 99).unwrap(), "a\nb\nc\n");
        assert_eq!(decode(b"\xff\xfew\0e\0", 99), Err(TextError::Utf16));
        assert_eq!(decode(b"w\0e\0b\0:\0", 99), Err(TextError::Utf16));
        assert_eq!(
            decode(b"ok\nb\xffd", 99),
            Err(TextError::NotUtf8 { line: 2 })
        );
        assert_eq!(
            decode(b"abc", 2),
            Err(TextError::TooLong { len: 3, max: 2 })
        );
        assert_eq!(decode(b"", 0).unwrap(), "");
    }
}
