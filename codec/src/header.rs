//! The header of an event: deterministic CBOR (RFC 8949 section 4.2.1), never erased.
//!
//! ```text
//! [ 1, event_id, stream, type, schema_version, occurred_at_us | null, source, principal, authority,
//!   causation | null, correlation | null, scope, [tag, ...], [codec, key_id | null] ]
//! ```

use minicbor::Encoder;
use minicbor::encode::Write;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::authority::Authority;
use crate::field::{Field, FieldError, check_known_name, check_known_tag, check_type};
use crate::ids::KeyId;
use crate::items::Items;
use crate::text::Text;
use crate::texts::{Checked, Texts};

/// Most bytes of an encoded header.
pub const MAX_HEADER_BYTES: usize = 4096;
/// Version of the header's layout, its first item.
pub const HEADER_VERSION: u8 = 1;
/// Codec of an envelope that is not encrypted.
pub const CODEC_PLAIN: u8 = 0;
/// Codec of an envelope under AES-256-GCM.
pub const CODEC_AES_256_GCM: u8 = 1;

const ITEMS: u64 = 14;

/// What is known of an event before it is queued, and stays after an erasure. Ids in it are
/// pseudonyms, keys are keyed digests.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_structs,
    reason = "the fields are the header format"
)]
pub struct Header {
    /// The event's id.
    pub event_id: Uuid,
    /// The stream that it belongs to.
    pub stream: Text,
    /// Its type.
    pub event_type: Text,
    /// The version of the payload's schema.
    pub schema_version: u32,
    /// When it occurred by the producer's clock, in Unix microseconds.
    pub occurred_at_us: Option<u64>,
    /// The producer's word for itself.
    pub source: Text,
    /// Who stands behind it, stamped by the log.
    pub principal: Text,
    /// As what, stamped by the log.
    pub authority: Authority,
    /// The event that caused it.
    pub causation: Option<Uuid>,
    /// The event that it belongs together with.
    pub correlation: Option<Uuid>,
    /// What one erasure removes.
    pub scope: Text,
    /// Tags, sorted by their bytes, each once.
    pub tags: Vec<Text>,
    /// Codec of the envelope: [`CODEC_PLAIN`] or [`CODEC_AES_256_GCM`].
    pub codec: u8,
    /// The key that seals the payload; present exactly where the codec has one.
    pub key_id: Option<KeyId>,
}

/// Bytes are not a header, or a value cannot become one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HeaderError {
    /// The bytes end inside the header.
    #[error("the header ends early")]
    Truncated,
    /// More than 4,096 bytes.
    #[error("the header is longer than {max} bytes")]
    TooLong {
        /// The most there may be.
        max: usize,
    },
    /// Not the CBOR items of a header.
    #[error("the header is malformed at byte {at}")]
    Malformed {
        /// Where the item begins or the fault is.
        at: usize,
    },
    /// CBOR that encodes the same header in other than the shortest, definite way.
    #[error("the header is not encoded deterministically")]
    NotCanonical,
    /// Bytes after the header.
    #[error("the header is followed by {bytes} more bytes")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// A layout of a later version.
    #[error("header version {found} is not known")]
    UnknownVersion {
        /// The version.
        found: u8,
    },
    /// No authority has this number.
    #[error("authority {found} is not known")]
    UnknownAuthority {
        /// The number.
        found: u8,
    },
    /// No codec has this number.
    #[error("codec {found} is not known")]
    UnknownCodec {
        /// The number.
        found: u8,
    },
    /// A key id beside the plain codec, or none beside a sealing one.
    #[error("codec and key id of the header do not fit together")]
    KeyId,
    /// Tags are not sorted, or one stands twice.
    #[error("the tags of the header are not sorted and unique")]
    TagOrder,
    /// A text field breaks its rule.
    #[error(transparent)]
    Field(#[from] FieldError),
}

impl HeaderError {
    /// Stable name of the error.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Truncated => "header_truncated",
            Self::TooLong { .. } => "header_too_long",
            Self::Malformed { .. } => "header_malformed",
            Self::NotCanonical => "header_not_canonical",
            Self::Trailing { .. } => "header_trailing_bytes",
            Self::UnknownVersion { .. } => "header_version_unknown",
            Self::UnknownAuthority { .. } => "header_authority_unknown",
            Self::UnknownCodec { .. } => "header_codec_unknown",
            Self::KeyId => "header_key_id",
            Self::TagOrder => "header_tag_order",
            Self::Field(field) => field.code(),
        }
    }
}

impl Header {
    /// The deterministic encoding.
    ///
    /// # Errors
    /// A field breaks its rule, the tags are not sorted and unique, codec and key id do not fit
    /// together, or the encoding has more than [`MAX_HEADER_BYTES`].
    pub fn encode(&self) -> Result<Vec<u8>, HeaderError> {
        self.check()?;
        let mut bytes = Vec::with_capacity(512);
        self.write(&mut bytes)
            .map_err(|_| HeaderError::Malformed { at: 0 })?;
        if bytes.len() > MAX_HEADER_BYTES {
            return Err(HeaderError::TooLong {
                max: MAX_HEADER_BYTES,
            });
        }
        Ok(bytes)
    }

    /// Decodes a header that fills the whole slice.
    ///
    /// # Errors
    /// The bytes are not exactly what [`Header::encode`] makes of a header.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let (header, length) = Self::decode_prefix(bytes)?;
        match bytes.len() - length {
            0 => Ok(header),
            bytes => Err(HeaderError::Trailing { bytes }),
        }
    }

    /// Decodes a header at the beginning of the slice and tells its length.
    ///
    /// # Errors
    /// The slice does not begin with exactly what [`Header::encode`] makes of a header.
    pub fn decode_prefix(bytes: &[u8]) -> Result<(Self, usize), HeaderError> {
        let mut texts = Texts::new();
        let decoded = Decoded::read(bytes, &mut texts)?;
        Ok((decoded.header(), decoded.length))
    }

    /// Whether it has this tag. Its tags are taken to be sorted, as those of a checked header are.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags
            .binary_search_by(|own| own.as_str().cmp(tag))
            .is_ok()
    }

    fn check(&self) -> Result<(), HeaderError> {
        let names = Names {
            stream: &self.stream,
            event_type: &self.event_type,
            source: &self.source,
            principal: &self.principal,
            scope: &self.scope,
        };
        let tags = self.tags.iter().map(Text::as_str);
        check(&names, tags, (self.codec, self.key_id), false)
    }

    fn write<W: Write>(&self, out: W) -> Result<(), minicbor::encode::Error<W::Error>> {
        let mut e = Encoder::new(out);
        e.array(ITEMS)?.u8(HEADER_VERSION)?;
        e.bytes(self.event_id.as_bytes())?
            .str(&self.stream)?
            .str(&self.event_type)?;
        e.u32(self.schema_version)?;
        match self.occurred_at_us {
            Some(unix_us) => e.u64(unix_us)?,
            None => e.null()?,
        };
        e.str(&self.source)?
            .str(&self.principal)?
            .u8(self.authority.to_byte())?;
        write_id(&mut e, self.causation.as_ref().map(Uuid::as_bytes))?;
        write_id(&mut e, self.correlation.as_ref().map(Uuid::as_bytes))?;
        e.str(&self.scope)?.array(self.tags.len() as u64)?;
        for tag in &self.tags {
            e.str(tag)?;
        }
        e.array(2)?.u8(self.codec)?;
        write_id(&mut e, self.key_id.as_ref().map(KeyId::as_bytes))
    }
}

fn write_id<W: Write>(
    e: &mut Encoder<W>,
    id: Option<&[u8; 16]>,
) -> Result<(), minicbor::encode::Error<W::Error>> {
    match id {
        Some(id) => e.bytes(id)?,
        None => e.null()?,
    };
    Ok(())
}

/// The texts of a header but its tags.
struct Names<'t> {
    stream: &'t str,
    event_type: &'t str,
    source: &'t str,
    principal: &'t str,
    scope: &'t str,
}

/// The seal of a header.
type Codec = (u8, Option<KeyId>);

/// Checks the rules. `is_printable`: the texts are known to be printable ASCII.
fn check<'t>(
    names: &Names<'t>,
    mut tags: impl Iterator<Item = &'t str>,
    codec: Codec,
    is_printable: bool,
) -> Result<(), HeaderError> {
    check_known_name(Field::Stream, names.stream, is_printable)?;
    check_type(names.event_type)?;
    check_known_name(Field::Source, names.source, is_printable)?;
    check_known_name(Field::Principal, names.principal, is_printable)?;
    check_known_name(Field::Scope, names.scope, is_printable)?;
    let mut before = None;
    let mut is_sorted = true;
    tags.try_for_each(|tag| {
        is_sorted &= before.is_none_or(|before| before < tag);
        before = Some(tag);
        check_known_tag(tag, is_printable)
    })?;
    if !is_sorted {
        return Err(HeaderError::TagOrder);
    }
    match codec {
        (CODEC_PLAIN, None) | (CODEC_AES_256_GCM, Some(_)) => Ok(()),
        (CODEC_PLAIN | CODEC_AES_256_GCM, _) => Err(HeaderError::KeyId),
        (found, _) => Err(HeaderError::UnknownCodec { found }),
    }
}

/// A header that was read and checked, whose texts lie elsewhere.
pub(crate) struct Decoded<'t> {
    event_id: Uuid,
    names: Names<'t>,
    schema_version: u32,
    occurred_at_us: Option<u64>,
    authority: Authority,
    causation: Option<Uuid>,
    correlation: Option<Uuid>,
    tags: Tags<'t>,
    codec: Codec,
    /// Of its encoding.
    pub(crate) length: usize,
}

/// The tags that are left.
#[derive(Clone)]
struct Tags<'t> {
    items: Items<'t>,
    texts: Checked<'t>,
    count: usize,
}

impl<'t> Iterator for Tags<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        self.count = self.count.checked_sub(1)?;
        self.texts.next(self.items.text()?.len())
    }
}

impl<'t> Decoded<'t> {
    /// Reads a header at the beginning of the slice; `texts` is empty.
    pub(crate) fn read(bytes: &'t [u8], texts: &'t mut Texts) -> Result<Self, HeaderError> {
        let window = bytes.get(..MAX_HEADER_BYTES).unwrap_or(bytes);
        let mut items = Items::new(window);
        Self::read_items(&mut items, texts).ok_or_else(|| match items.fault() {
            HeaderError::Truncated if window.len() < bytes.len() => HeaderError::TooLong {
                max: MAX_HEADER_BYTES,
            },
            fault => fault,
        })
    }

    fn read_items(items: &mut Items<'t>, texts: &'t mut Texts) -> Option<Self> {
        let first = items.again();
        items.array_of(ITEMS)?;
        let version = items.unsigned()?;
        if version != HEADER_VERSION {
            return items.refuse(HeaderError::UnknownVersion { found: version });
        }
        let event_id = Uuid::from_bytes(items.id()?);
        let mut text = |items: &mut Items<'t>| {
            let text = items.text()?;
            texts.push(text);
            Some(text.len())
        };
        let (stream, event_type) = (text(items)?, text(items)?);
        let schema_version = items.unsigned()?;
        let occurred_at_us = if items.null()? {
            None
        } else {
            Some(items.unsigned()?)
        };
        let (source, principal) = (text(items)?, text(items)?);
        let number = items.unsigned()?;
        let Some(authority) = Authority::from_byte(number) else {
            return items.refuse(HeaderError::UnknownAuthority { found: number });
        };
        let causation = if items.null()? {
            None
        } else {
            Some(Uuid::from_bytes(items.id()?))
        };
        let correlation = if items.null()? {
            None
        } else {
            Some(Uuid::from_bytes(items.id()?))
        };
        let scope = text(items)?;
        let count = usize::try_from(items.array()?).ok()?;
        let tags = items.again();
        for _ in 0..count {
            text(items)?;
        }
        items.array_of(2)?;
        let codec = items.unsigned()?;
        let key_id = if items.null()? {
            None
        } else {
            Some(KeyId::new(items.id()?))
        };

        let Some(mut texts) = texts.checked() else {
            return items.refuse(first.bad_text());
        };
        let names = Names {
            stream: texts.next(stream)?,
            event_type: texts.next(event_type)?,
            source: texts.next(source)?,
            principal: texts.next(principal)?,
            scope: texts.next(scope)?,
        };
        let tags = Tags {
            items: tags,
            texts,
            count,
        };
        let codec = (codec, key_id);
        if let Err(fault) = check(&names, tags.clone(), codec, texts.is_printable) {
            return items.refuse(fault);
        }
        Some(Self {
            event_id,
            names,
            schema_version,
            occurred_at_us,
            authority,
            causation,
            correlation,
            tags,
            codec,
            length: items.position(),
        })
    }

    /// The header with texts of its own.
    pub(crate) fn header(&self) -> Header {
        let mut tags = Vec::with_capacity(self.tags.count);
        for tag in self.tags.clone() {
            tags.push(tag.into());
        }
        let (codec, key_id) = self.codec;
        Header {
            event_id: self.event_id,
            stream: self.names.stream.into(),
            event_type: self.names.event_type.into(),
            schema_version: self.schema_version,
            occurred_at_us: self.occurred_at_us,
            source: self.names.source.into(),
            principal: self.names.principal.into(),
            authority: self.authority,
            causation: self.causation,
            correlation: self.correlation,
            scope: self.names.scope.into(),
            tags,
            codec,
            key_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vectors::{HEADER_1, HEADER_2, KEY_ID, header_1, header_2, headers, unhex};

    #[test]
    fn pinned_bytes() {
        for (header, bytes) in [(header_1(), HEADER_1), (header_2(), HEADER_2)] {
            assert_eq!(header.encode().unwrap(), unhex(bytes));
            assert_eq!(Header::decode(&unhex(bytes)).unwrap(), header);
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(header in headers(), rest in any::<Vec<u8>>()) {
            let mut bytes = header.encode().unwrap();
            prop_assert_eq!(&Header::decode(&bytes).unwrap(), &header);
            let length = bytes.len();
            bytes.extend(&rest);
            prop_assert_eq!(Header::decode_prefix(&bytes).unwrap(), (header, length));
        }

        #[test]
        fn arbitrary_bytes_decode_only_to_what_encodes_to_them(
            bytes in any::<Vec<u8>>(),
            at in 0_usize..200,
        ) {
            let mut spliced = unhex(HEADER_2);
            let at = at.min(spliced.len());
            let end = (at + bytes.len()).min(spliced.len());
            spliced.splice(at..end, bytes.iter().copied());
            for input in [&bytes, &spliced] {
                if let Ok((header, length)) = Header::decode_prefix(input) {
                    prop_assert_eq!(header.encode().unwrap(), &input[..length]);
                }
            }
        }
    }

    #[test]
    fn every_changed_byte_is_refused_or_another_header() {
        let bytes = unhex(HEADER_2);
        let original = header_2();
        for at in 0..bytes.len() {
            for change in 1..=255 {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                if let Ok(header) = Header::decode(&changed) {
                    assert_ne!(header, original, "byte {at} ^ {change}");
                    assert_eq!(header.encode().unwrap(), changed);
                }
            }
        }
    }

    #[test]
    fn every_cut_is_truncation() {
        let bytes = unhex(HEADER_2);
        for length in 0..bytes.len() {
            assert_eq!(
                Header::decode(&bytes[..length]),
                Err(HeaderError::Truncated),
                "{length}"
            );
        }
        let trailing = [bytes.as_slice(), &[0xf6]].concat();
        assert_eq!(
            Header::decode(&trailing),
            Err(HeaderError::Trailing { bytes: 1 })
        );
    }

    /// Decodes the first header with one piece of its bytes replaced.
    fn patched(piece: &str, other: &str) -> HeaderError {
        assert_eq!(HEADER_1.matches(piece).count(), 1, "{piece} stands once");
        Header::decode(&unhex(&HEADER_1.replacen(piece, other, 1))).unwrap_err()
    }

    #[test]
    fn other_encodings_of_the_same_header_are_refused() {
        let not_canonical = [
            ("6501f6", "65 1801 f6"),       // schema_version in two bytes
            ("6501f6", "65 1a00000001 f6"), // and in five
            ("6572756e2d37", "7805 72756e2d37"),
            ("8e0150", "8e 1801 50"),
            ("8e0150", "980e 01 50"),
            ("8e0150017f", "8e01 5810 017f"),
            ("808200f6", "9800 8200f6"),
            ("808200f6", "80 9802 00f6"),
            ("808200f6", "80 82 1800 f6"),
        ];
        for (piece, other) in not_canonical {
            assert_eq!(
                patched(piece, &other.replace(' ', "")),
                HeaderError::NotCanonical,
                "{other}"
            );
        }
        let malformed = [
            ("6572756e2d37", "7f 6572756e2d37 ff"), // indefinite text
            ("808200f6", "9fff 8200f6"),            // indefinite tags
            ("808200f6", "80 9f00f6ff"),            // indefinite seal
            ("8e0150", "9f01 50"),                  // indefinite array
            ("8e0150", "8f01 50"),                  // one item more
            ("8e0150", "8d01 50"),                  // one item less
            ("8e0150017f", "8e01 5f 017f"),         // indefinite id
            ("6501f6", "65 20 f6"),                 // negative version
            ("6501f6", "65 1b0000000100000000 f6"), // above u32
            ("6501f6", "65 f93c00 f6"),             // float
            ("6501f6", "65 01 f7"),                 // undefined for null
            ("6501f6", "65 01 c2 41 01"),           // bignum for a time
            ("6572756e2d37", "4572756e2d37"),       // bytes for text
            ("6572756e2d37", "65ff756e2d37"),       // not utf-8
            ("808200f6", "80 82 00 4100"),          // short key id
        ];
        for (piece, other) in malformed {
            let error = patched(piece, &other.replace(' ', ""));
            assert!(
                matches!(error, HeaderError::Malformed { .. }),
                "{other}: {error}"
            );
        }
    }

    #[test]
    fn declared_lengths_are_not_believed() {
        for (piece, other) in [
            ("6572756e2d37", "7bffffffffffffffff72756e2d37"),
            ("6572756e2d37", "7b7fffffffffffffff72756e2d37"),
            ("808200f6", "9bffffffffffffffff8200f6"),
            ("8e0150017f", "8e015bffffffffffffffff017f"),
        ] {
            let error = patched(piece, other);
            assert!(
                matches!(
                    error,
                    HeaderError::Truncated | HeaderError::Malformed { .. }
                ),
                "{other}: {error}"
            );
        }
        let nested = vec![0x81; 1_000_000];
        assert!(Header::decode(&nested).is_err());
    }

    #[test]
    fn unknown_numbers_are_named() {
        assert_eq!(
            patched("8e0150", "8e0250"),
            HeaderError::UnknownVersion { found: 2 }
        );
        assert_eq!(
            patched("696e6700f6", "696e6704f6"),
            HeaderError::UnknownAuthority { found: 4 }
        );
        assert_eq!(
            patched("808200f6", "808202f6"),
            HeaderError::UnknownCodec { found: 2 }
        );
        assert_eq!(patched("808200f6", "808201f6"), HeaderError::KeyId);
        let mut header = header_1();
        header.key_id = Some(KEY_ID);
        assert_eq!(header.encode(), Err(HeaderError::KeyId));
    }

    #[test]
    fn the_text_that_is_none_is_named() {
        let mut header = header_2();
        header.tags.push("v:".into());
        for value_bytes in [0, 256] {
            let long = format!("v:{}", "w".repeat(value_bytes));
            *header.tags.last_mut().unwrap() = long.into();
            let bytes = header.encode().unwrap();
            let names = [&header.stream, &header.event_type, &header.source];
            let names = names
                .into_iter()
                .chain([&header.principal, &header.scope])
                .chain(&header.tags);
            let mut before = 0;
            for text in names {
                let (text, rest) = (text.as_bytes(), &bytes[before..]);
                let found = rest.windows(text.len()).position(|piece| piece == text);
                let begins = before + found.unwrap();
                before = begins + text.len();
                let head_bytes = match text.len() {
                    0..24 => 1,
                    24..256 => 2,
                    _ => 3,
                };
                let expected = HeaderError::Malformed {
                    at: begins - head_bytes,
                };
                for at in [begins, before - 1] {
                    let mut changed = bytes.clone();
                    changed[at] = 0xc3;
                    assert_eq!(Header::decode(&changed), Err(expected.clone()), "{at}");
                }
            }
        }
    }

    #[test]
    fn fields_are_checked_both_ways() {
        assert_eq!(
            patched("808200f6", "8263623a3063613a308200f6"),
            HeaderError::TagOrder
        );
        assert_eq!(
            patched("808200f6", "8263613a3063613a308200f6"),
            HeaderError::TagOrder
        );
        assert_eq!(
            patched("808200f6", "81613a8200f6"),
            FieldError::TagKey.into()
        );
        let empty = FieldError::Empty {
            field: Field::Stream,
        };
        assert_eq!(patched("6572756e2d37", "60"), empty.clone().into());
        let mut header = header_1();
        header.stream = Text::default();
        assert_eq!(header.encode(), Err(empty.into()));
        header = header_1();
        header.tags = vec!["b:".into(), "a:".into()];
        assert_eq!(header.encode(), Err(HeaderError::TagOrder));
    }

    #[test]
    fn a_header_has_at_most_4096_bytes() {
        let too_long = HeaderError::TooLong { max: 4096 };
        let mut header = header_1();
        let mut largest = None;
        for tag in (0..30).map(|n| format!("k{n:04}:{}", "v".repeat(200))) {
            header.tags.push(tag.into());
            match header.encode() {
                Ok(bytes) => largest = Some(bytes.len()),
                Err(error) => {
                    assert_eq!(error, too_long);
                    break;
                }
            }
        }
        let spare = 4096 - largest.unwrap();
        header.tags.pop();
        let padding = |bytes: usize| format!("l:{}", "v".repeat(bytes));
        header.tags.push(padding(spare - 4).into());
        assert_eq!(header.encode().map(|bytes| bytes.len()), Ok(4096));
        header.tags.pop();
        header.tags.push(padding(spare - 3).into());
        assert_eq!(header.encode(), Err(too_long.clone()));
        let mut bytes = Vec::new();
        header.write(&mut bytes).unwrap();
        assert_eq!(bytes.len(), 4097);
        assert_eq!(Header::decode(&bytes), Err(too_long));
    }
}
