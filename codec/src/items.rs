//! Reading deterministic CBOR (RFC 8949 section 4.2.1), of which headers need five kinds of items. Other
//! encodings of the same items are refused, so that what is read has one encoding.

use crate::header::HeaderError;
use crate::text::Text;

/// Major types.
const UNSIGNED: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const NULL: u8 = 0xf6;

/// Items one after the other, in place.
pub(crate) struct Items<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Items<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Where the next item begins.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    fn peek(&self) -> Result<u8, HeaderError> {
        let first = self.bytes.get(self.at);
        first.copied().ok_or(HeaderError::Truncated)
    }

    /// The next `length` bytes.
    fn take(&mut self, length: usize) -> Result<&'a [u8], HeaderError> {
        let end = self.at.checked_add(length).ok_or(HeaderError::Truncated)?;
        let bytes = self.bytes.get(self.at..end).ok_or(HeaderError::Truncated)?;
        self.at = end;
        Ok(bytes)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], HeaderError> {
        let (number, _) = self
            .take(N)?
            .split_first_chunk()
            .ok_or(HeaderError::Truncated)?;
        Ok(*number)
    }

    /// The argument of the next item, which is of this major type.
    fn head(&mut self, major: u8) -> Result<u64, HeaderError> {
        let at = self.at;
        let first = self.peek()?;
        if first >> 5 != major {
            return Err(HeaderError::Malformed { at });
        }
        self.at += 1;
        let (argument, least) = match first & 0x1f {
            short @ 0..=23 => return Ok(u64::from(short)),
            24 => (u64::from(u8::from_be_bytes(self.number()?)), 24),
            25 => (u64::from(u16::from_be_bytes(self.number()?)), 1 << 8),
            26 => (u64::from(u32::from_be_bytes(self.number()?)), 1 << 16),
            27 => (u64::from_be_bytes(self.number()?), 1 << 32),
            // Reserved, or of no definite length.
            _ => return Err(HeaderError::Malformed { at }),
        };
        if argument < least {
            return Err(HeaderError::NotCanonical);
        }
        Ok(argument)
    }

    /// An unsigned number that fits.
    pub(crate) fn unsigned<T: TryFrom<u64>>(&mut self) -> Result<T, HeaderError> {
        let at = self.at;
        let number = self.head(UNSIGNED)?;
        number.try_into().map_err(|_| HeaderError::Malformed { at })
    }

    /// How many items an array has.
    pub(crate) fn array(&mut self) -> Result<u64, HeaderError> {
        self.head(ARRAY)
    }

    /// An array of so many items begins.
    pub(crate) fn array_of(&mut self, items: u64) -> Result<(), HeaderError> {
        let at = self.at;
        if self.array()? == items {
            Ok(())
        } else {
            Err(HeaderError::Malformed { at })
        }
    }

    fn content(&mut self, major: u8) -> Result<&'a [u8], HeaderError> {
        let length = self.head(major)?;
        self.take(usize::try_from(length).map_err(|_| HeaderError::Truncated)?)
    }

    pub(crate) fn text(&mut self) -> Result<Text, HeaderError> {
        let at = self.at;
        match str::from_utf8(self.content(TEXT)?) {
            Ok(text) => Ok(text.into()),
            Err(_) => Err(HeaderError::Malformed { at }),
        }
    }

    pub(crate) fn id(&mut self) -> Result<[u8; 16], HeaderError> {
        let at = self.at;
        let id = self.content(BYTES)?.try_into();
        id.map_err(|_| HeaderError::Malformed { at })
    }

    /// Nothing, or what `read` reads.
    pub(crate) fn optional<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, HeaderError>,
    ) -> Result<Option<T>, HeaderError> {
        if self.peek()? == NULL {
            self.at += 1;
            return Ok(None);
        }
        read(self).map(Some)
    }
}
