//! Texts of one header, put together to be checked as one: most are so short that it takes longer to check
//! each by itself than to read it.

use crate::field::is_printable_ascii;

/// Bytes of texts that are put together in place: those of nearly every header.
const SHORT_BYTES: usize = 256;
/// Bytes that are checked at once.
const STEP: usize = 16;
/// Stands behind each text, so that halves of a character in two of them are not taken for one.
const BETWEEN: u8 = b' ';

/// Begins where whole words do and ends in a whole one, so that no text is checked byte by byte.
#[repr(align(16))]
struct Short([u8; SHORT_BYTES]);

/// Texts one after the other, not checked yet.
pub(crate) struct Texts {
    short: Short,
    /// All of them, once they do not fit there.
    long: Vec<u8>,
    length: usize,
}

impl Texts {
    pub(crate) fn new() -> Self {
        Self {
            short: Short([BETWEEN; SHORT_BYTES]),
            long: Vec::new(),
            length: 0,
        }
    }

    /// Adds a text.
    #[inline]
    pub(crate) fn push(&mut self, text: &[u8]) {
        let end = self.length + text.len();
        match self.short.0.get_mut(self.length..end) {
            Some(free) if end < SHORT_BYTES => free.copy_from_slice(text),
            _ => self.push_long(text),
        }
        self.length = end + 1;
    }

    #[cold]
    fn push_long(&mut self, text: &[u8]) {
        if self.long.is_empty() {
            let short = self.short.0.get(..self.length);
            self.long.extend_from_slice(short.unwrap_or_default());
        }
        self.long.extend_from_slice(text);
        self.long.push(BETWEEN);
    }

    /// The texts, unless one of them is none.
    pub(crate) fn checked(&self) -> Option<Checked<'_>> {
        let bytes = if self.long.is_empty() {
            let filled = self.length.next_multiple_of(STEP);
            self.short.0.get(..filled)?
        } else {
            &self.long
        };
        Some(Checked {
            texts: str::from_utf8(bytes).ok()?,
            at: 0,
            is_printable: is_printable_ascii(bytes),
        })
    }
}

/// Texts one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Checked<'t> {
    texts: &'t str,
    /// Where the next one begins.
    at: usize,
    /// All of them are printable ASCII.
    pub(crate) is_printable: bool,
}

impl<'t> Checked<'t> {
    /// The next text, which has so many bytes.
    #[inline]
    pub(crate) fn next(&mut self, length: usize) -> Option<&'t str> {
        let end = self.at + length;
        let text = self.texts.get(self.at..end);
        self.at = end + 1;
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_given_back_however_long() {
        for lengths in [
            &[0, 5, 0, 11][..],
            &[255],
            &[256],
            &[254, 0],
            &[254, 1],
            &[253, 1, 1],
            &[250, 2, 2, 2],
            &[15; 16],
            &[16; 16],
            &[100; 40],
            &[4096],
        ] {
            for (character, is_printable) in [('a', true), ('\n', false), ('\u{e9}', false)] {
                let all: Vec<_> = lengths
                    .iter()
                    .map(|&length| character.to_string().repeat(length))
                    .collect();
                let mut texts = Texts::new();
                for text in &all {
                    texts.push(text.as_bytes());
                }
                let mut checked = texts.checked().unwrap();
                assert_eq!(checked.is_printable, is_printable, "{lengths:?}");
                for text in &all {
                    assert_eq!(checked.next(text.len()), Some(text.as_str()), "{lengths:?}");
                }
            }
        }
    }

    #[test]
    fn halves_of_a_character_are_no_texts() {
        for before in 0..300 {
            for texts in [&[&[0xc3][..], &[0xa9]][..], &[&[0xc3]], &[&[0xa9]]] {
                let mut together = Texts::new();
                together.push(&vec![b'a'; before]);
                for text in texts {
                    together.push(text);
                }
                assert!(together.checked().is_none(), "{before} {texts:?}");
            }
        }
    }
}
