//! Reading deterministic CBOR (RFC 8949 section 4.2.1), of which headers need five kinds of items. Other
//! encodings of the same items are refused, so that what is read has one encoding.

use crate::header::HeaderError;

/// Major types.
const UNSIGNED: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const NULL: u8 = 0xf6;

/// Items one after the other, in place. What cannot be read is nothing, and [`Items::fault`] tells why.
#[derive(Clone)]
pub(crate) struct Items<'a> {
    rest: &'a [u8],
    /// How many bytes there are in all.
    bytes: usize,
    /// What is wrong, unless the bytes end early.
    fault: Option<HeaderError>,
}

impl<'a> Items<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            bytes: bytes.len(),
            fault: None,
        }
    }

    /// The items from here on, to be read once more.
    pub(crate) fn again(&self) -> Self {
        Self {
            rest: self.rest,
            bytes: self.bytes,
            fault: None,
        }
    }

    /// Where the next item begins.
    pub(crate) fn position(&self) -> usize {
        self.bytes - self.rest.len()
    }

    /// Why an item could not be read.
    pub(crate) fn fault(self) -> HeaderError {
        self.fault.unwrap_or(HeaderError::Truncated)
    }

    /// Notes what is wrong.
    #[cold]
    pub(crate) fn refuse<T>(&mut self, fault: HeaderError) -> Option<T> {
        self.fault = Some(fault);
        None
    }

    #[cold]
    fn malformed<T>(&mut self, at: usize) -> Option<T> {
        self.refuse(HeaderError::Malformed { at })
    }

    #[inline]
    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (number, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*number)
    }

    /// The argument of the next item, which is of this major type.
    #[inline]
    fn head(&mut self, major: u8) -> Option<u64> {
        let (first, rest) = self.rest.split_first()?;
        // Of one byte, as most are.
        let short = first.wrapping_sub(major << 5);
        if short < 24 {
            self.rest = rest;
            return Some(u64::from(short));
        }
        self.long_head(major)
    }

    fn long_head(&mut self, major: u8) -> Option<u64> {
        let at = self.position();
        let [first] = self.number()?;
        if first >> 5 != major {
            return self.malformed(at);
        }
        let (argument, least) = match first & 0x1f {
            short @ 0..=23 => return Some(u64::from(short)),
            24 => (u64::from(u8::from_be_bytes(self.number()?)), 24),
            25 => (u64::from(u16::from_be_bytes(self.number()?)), 1 << 8),
            26 => (u64::from(u32::from_be_bytes(self.number()?)), 1 << 16),
            27 => (u64::from_be_bytes(self.number()?), 1 << 32),
            // Reserved, or of no definite length.
            _ => return self.malformed(at),
        };
        if argument < least {
            return self.refuse(HeaderError::NotCanonical);
        }
        Some(argument)
    }

    /// An unsigned number that fits.
    #[inline]
    pub(crate) fn unsigned<T: TryFrom<u64>>(&mut self) -> Option<T> {
        let at = self.position();
        match self.head(UNSIGNED)?.try_into() {
            Ok(number) => Some(number),
            Err(_) => self.malformed(at),
        }
    }

    /// How many items an array has.
    #[inline]
    pub(crate) fn array(&mut self) -> Option<u64> {
        self.head(ARRAY)
    }

    /// An array of so many items begins.
    #[inline]
    pub(crate) fn array_of(&mut self, items: u64) -> Option<()> {
        let at = self.position();
        if self.array()? == items {
            Some(())
        } else {
            self.malformed(at)
        }
    }

    #[inline]
    fn content(&mut self, major: u8) -> Option<&'a [u8]> {
        let length = usize::try_from(self.head(major)?).ok()?;
        let (content, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(content)
    }

    /// The bytes of a text, not checked.
    #[inline]
    pub(crate) fn text(&mut self) -> Option<&'a [u8]> {
        self.content(TEXT)
    }

    #[inline]
    pub(crate) fn id(&mut self) -> Option<[u8; 16]> {
        let at = self.position();
        match self.content(BYTES)?.try_into() {
            Ok(id) => Some(id),
            Err(_) => self.malformed(at),
        }
    }

    /// Whether nothing stands here; it is read then.
    #[inline]
    pub(crate) fn null(&mut self) -> Option<bool> {
        let (first, rest) = self.rest.split_first()?;
        let is_null = *first == NULL;
        if is_null {
            self.rest = rest;
        }
        Some(is_null)
    }

    /// The fault of the first text from here on that is none.
    #[cold]
    pub(crate) fn bad_text(mut self) -> HeaderError {
        while let Some(first) = self.rest.first() {
            let at = self.position();
            let major = first >> 5;
            let is_read = match (*first, major) {
                (NULL, _) => self.number::<1>().is_some(),
                (_, TEXT) => match self.text().map(str::from_utf8) {
                    Some(Err(_)) => return HeaderError::Malformed { at },
                    text => text.is_some(),
                },
                (_, BYTES) => self.content(BYTES).is_some(),
                _ => self.head(major).is_some(),
            };
            if !is_read {
                break;
            }
        }
        self.fault()
    }
}
