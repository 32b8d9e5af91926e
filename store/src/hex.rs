//! Lower-case hexadecimal.

use std::fmt::Write as _;

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// What [`hex`] writes of so many bytes, and nothing else.
pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    let is_lower = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 2 * N || !text.as_bytes().iter().all(is_lower) {
        return None;
    }
    for (byte, at) in out.iter_mut().zip((0..text.len()).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_written_is_read() {
        assert_eq!(hex(&[0, 0xA5, 0xFF]), "00a5ff");
        assert_eq!(unhex::<3>("00a5ff"), Some([0, 0xA5, 0xFF]));
        for text in ["", "00a5f", "00a5ff00", "00A5ff", "+0a5ff", "0\u{e4}5ff"] {
            assert_eq!(unhex::<3>(text), None, "{text}");
        }
    }
}
