//! Control: the small part of an event that the log itself writes and never erases.
//!
//! A deterministic CBOR map from field numbers to integers, bytes or text. States, fences, amounts,
//! times and digests go here; personal data and free text must not.

#[cfg(feature = "seal")]
mod sealed;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

#[cfg(feature = "seal")]
pub use sealed::{open, seal};

use crate::envelope::{NONCE_BYTES, TAG_BYTES};

/// Most bytes of an encoded control before it is sealed.
pub const MAX_CONTROL_PLAIN_BYTES: usize = 1024;
/// Most bytes of control in an entry: nonce, ciphertext, tag.
pub const MAX_CONTROL_BYTES: usize = NONCE_BYTES + MAX_CONTROL_PLAIN_BYTES + TAG_BYTES;

/// A value of control.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the kinds are the control format")]
pub enum ControlValue {
    /// A number.
    U64(u64),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Text.
    Text(String),
}

/// Control as a map sorted by field number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Control(BTreeMap<u16, ControlValue>);

/// Bytes are not control, or a map is too large for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ControlError {
    /// More bytes than allowed.
    #[error("control has {bytes} bytes, at most {max} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The most there may be.
        max: usize,
    },
    /// Not a map from numbers to numbers, bytes or text.
    #[error("control is malformed at byte {at}")]
    Malformed {
        /// Where the item begins or the fault is.
        at: usize,
    },
    /// CBOR that encodes the same map in other than the shortest, sorted way.
    #[error("control is not encoded deterministically")]
    NotCanonical,
}

impl ControlError {
    /// Stable name of the error.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLong { .. } => "control_too_long",
            Self::Malformed { .. } => "control_malformed",
            Self::NotCanonical => "control_not_canonical",
        }
    }
}

impl Control {
    /// Control without fields.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Sets a field to a number.
    #[must_use]
    pub fn u64(mut self, field: u16, value: u64) -> Self {
        self.insert(field, ControlValue::U64(value));
        self
    }

    /// Sets a field to bytes.
    #[must_use]
    pub fn bytes(mut self, field: u16, value: impl Into<Vec<u8>>) -> Self {
        self.insert(field, ControlValue::Bytes(value.into()));
        self
    }

    /// Sets a field to text.
    #[must_use]
    pub fn text(mut self, field: u16, value: impl Into<String>) -> Self {
        self.insert(field, ControlValue::Text(value.into()));
        self
    }

    /// Sets a field and gives back what stood there.
    pub fn insert(&mut self, field: u16, value: ControlValue) -> Option<ControlValue> {
        self.0.insert(field, value)
    }

    /// These fields and `other`'s; where both have one, `other`'s counts.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The value of a field.
    pub fn get(&self, field: u16) -> Option<&ControlValue> {
        self.0.get(&field)
    }

    /// The number in a field.
    pub fn get_u64(&self, field: u16) -> Option<u64> {
        match self.get(field) {
            Some(ControlValue::U64(value)) => Some(*value),
            _ => None,
        }
    }

    /// The bytes in a field.
    pub fn get_bytes(&self, field: u16) -> Option<&[u8]> {
        match self.get(field) {
            Some(ControlValue::Bytes(value)) => Some(value),
            _ => None,
        }
    }

    /// The text in a field.
    pub fn get_text(&self, field: u16) -> Option<&str> {
        match self.get(field) {
            Some(ControlValue::Text(value)) => Some(value),
            _ => None,
        }
    }

    /// The fields in the order of their numbers.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u16, &ControlValue)> {
        self.0.iter().map(|(field, value)| (*field, value))
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The encoding: no bytes for no fields, else a deterministic CBOR map.
    ///
    /// # Errors
    /// [`ControlError::TooLong`] above [`MAX_CONTROL_PLAIN_BYTES`].
    pub fn encode(&self) -> Result<Vec<u8>, ControlError> {
        let mut out = Vec::new();
        if self.is_empty() {
            return Ok(out);
        }
        self.write(&mut out)
            .map_err(|_| ControlError::Malformed { at: 0 })?;
        let (bytes, max) = (out.len(), MAX_CONTROL_PLAIN_BYTES);
        if bytes > max {
            Err(ControlError::TooLong { bytes, max })
        } else {
            Ok(out)
        }
    }

    fn write(
        &self,
        out: &mut Vec<u8>,
    ) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
        let mut e = Encoder::new(out);
        e.map(self.0.len() as u64)?;
        for (field, value) in &self.0 {
            e.u16(*field)?;
            match value {
                ControlValue::U64(value) => e.u64(*value)?,
                ControlValue::Bytes(value) => e.bytes(value)?,
                ControlValue::Text(value) => e.str(value)?,
            };
        }
        Ok(())
    }

    /// Decodes control that fills the whole slice.
    ///
    /// # Errors
    /// The bytes are not exactly what [`Control::encode`] makes.
    pub fn decode(bytes: &[u8]) -> Result<Self, ControlError> {
        if bytes.is_empty() {
            return Ok(Self::new());
        }
        if bytes.len() > MAX_CONTROL_PLAIN_BYTES {
            let max = MAX_CONTROL_PLAIN_BYTES;
            return Err(ControlError::TooLong {
                bytes: bytes.len(),
                max,
            });
        }
        let mut d = Decoder::new(bytes);
        let control = read(&mut d).map_err(|error| ControlError::Malformed {
            at: error.position().unwrap_or_default(),
        })?;
        // Also refuses bytes after the map, unsorted and repeated fields.
        if control.encode()? != bytes {
            return Err(ControlError::NotCanonical);
        }
        Ok(control)
    }
}

impl FromIterator<(u16, ControlValue)> for Control {
    fn from_iter<I: IntoIterator<Item = (u16, ControlValue)>>(fields: I) -> Self {
        Self(fields.into_iter().collect())
    }
}

fn read(d: &mut Decoder<'_>) -> Result<Control, minicbor::decode::Error> {
    let mut control = Control::new();
    let malformed = |at| minicbor::decode::Error::message("not control").at(at);
    let fields = d.map()?.ok_or_else(|| malformed(0))?;
    for _ in 0..fields {
        let field = d.u16()?;
        let at = d.position();
        let value = match d.datatype()? {
            Type::U8 | Type::U16 | Type::U32 | Type::U64 => ControlValue::U64(d.u64()?),
            Type::Bytes => ControlValue::Bytes(d.bytes()?.to_vec()),
            Type::String => ControlValue::Text(d.str()?.to_owned()),
            _ => return Err(malformed(at)),
        };
        control.insert(field, value);
    }
    Ok(control)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vectors::{CONTROL_PLAIN, unhex};

    fn pinned() -> Control {
        Control::new()
            .u64(300, 1 << 40)
            .text(3, "completed")
            .bytes(2, [0x00, 0x11])
            .u64(1, 7)
    }

    #[test]
    fn pinned_bytes() {
        assert_eq!(pinned().encode().unwrap(), unhex(CONTROL_PLAIN));
        assert_eq!(Control::decode(&unhex(CONTROL_PLAIN)), Ok(pinned()));
    }

    #[test]
    fn getters_answer_for_their_kind_only() {
        let control = pinned();
        assert_eq!(
            (control.get_u64(1), control.get_u64(2), control.get_u64(4)),
            (Some(7), None, None)
        );
        assert_eq!(
            (control.get_bytes(2), control.get_bytes(3)),
            (Some([0, 0x11].as_slice()), None)
        );
        assert_eq!(
            (control.get_text(3), control.get_text(1)),
            (Some("completed"), None)
        );
        assert_eq!(
            control.iter().map(|(field, _)| field).collect::<Vec<_>>(),
            [1, 2, 3, 300]
        );
    }

    #[test]
    fn no_fields_are_no_bytes() {
        assert_eq!(Control::new().encode(), Ok(Vec::new()));
        assert_eq!(Control::decode(&[]), Ok(Control::new()));
        assert_eq!(Control::decode(&[0xa0]), Err(ControlError::NotCanonical));
    }

    #[test]
    fn other_encodings_are_refused() {
        for bad in [
            "a2 02 01 01 01", // unsorted
            "a2 01 01 01 01", // repeated
            "a1 1801 01",
            "a1 01 1801",  // long integers
            "b801 01 01",  // long map head
            "a1 01 01 00", // trailing byte
        ] {
            let found = Control::decode(&unhex(&bad.replace(' ', "")));
            assert_eq!(found, Err(ControlError::NotCanonical), "{bad}");
        }
        for bad in [
            "bf 01 01 ff",
            "a1 01",
            "a1 01 20",
            "a1 01 f6",
            "a1 01 80",
            "a1 01 f93c00",
            "81 01",
            "a1 6161 01",
            "a1 1a00010000 01",
            "a1 01 7f6161ff",
            "a1 01 5bffffffffffffffff",
            "bbffffffffffffffff 01 01",
            "ff",
            "a1 01 61ff",
        ] {
            let found = Control::decode(&unhex(&bad.replace(' ', "")));
            assert!(
                matches!(found, Err(ControlError::Malformed { .. })),
                "{bad}: {found:?}"
            );
        }
    }

    #[test]
    fn control_has_at_most_1024_bytes() {
        let of = |bytes: usize| Control::new().bytes(0, vec![0; bytes]);
        let largest = of(1024 - 5).encode().unwrap();
        assert_eq!(largest.len(), 1024);
        let error = ControlError::TooLong {
            bytes: 1025,
            max: 1024,
        };
        assert_eq!(of(1024 - 4).encode(), Err(error.clone()));
        assert_eq!(Control::decode(&[0; 1025]), Err(error));
    }

    fn value() -> impl Strategy<Value = ControlValue> {
        prop_oneof![
            any::<u64>().prop_map(ControlValue::U64),
            proptest::collection::vec(any::<u8>(), 0..20).prop_map(ControlValue::Bytes),
            ".{0,8}".prop_map(ControlValue::Text),
        ]
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            fields in proptest::collection::btree_map(any::<u16>(), value(), 0..16),
        ) {
            let control: Control = fields.into_iter().collect();
            prop_assert_eq!(Control::decode(&control.encode().unwrap()), Ok(control));
        }

        #[test]
        fn arbitrary_bytes_decode_only_to_what_encodes_to_them(bytes in any::<Vec<u8>>()) {
            if let Ok(control) = Control::decode(&bytes) {
                prop_assert_eq!(control.encode(), Ok(bytes));
            }
        }
    }
}
