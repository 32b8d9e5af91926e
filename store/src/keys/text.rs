//! Secrets as text: overwritten when dropped, never shown.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use runstone_codec::keys::{KEY_LEN, SecretBytes};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use std::fmt;
use zeroize::Zeroizing;

/// Text that is overwritten when it is dropped and never shown by `Debug`.
#[derive(Clone)]
pub struct SecretString(Zeroizing<String>);

impl SecretString {
    /// Takes the text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The secret. Do not copy it into memory that is not overwritten.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretString {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for SecretString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretString(redacted)")
    }
}

impl<'de> Deserialize<'de> for SecretString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = SecretString;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<SecretString, E> {
                Ok(SecretString::new(text.to_owned()))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<SecretString, E> {
                Ok(SecretString::new(text))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// Bytes of canonical base64.
pub(super) fn from_base64(text: &str) -> Option<SecretBytes> {
    // Decoded into one allocation: growing would leave an unwiped copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    STANDARD.decode_vec(text, &mut bytes).ok()?;
    Some(SecretBytes::new(std::mem::take(&mut *bytes)))
}

/// Appends base64 to text; the caller has reserved the room.
pub(super) fn push_base64(out: &mut Zeroizing<String>, bytes: &[u8]) {
    STANDARD.encode_string(bytes, out);
}

/// A key as a person writes it: 64 hexadecimal digits or base64 of 32 bytes.
pub(super) fn key_from_text(text: &str) -> Option<SecretBytes> {
    let text = text.trim();
    let key = if text.len() == 2 * KEY_LEN {
        from_hex(text)?
    } else {
        from_base64(text)?
    };
    (key.as_bytes().len() == KEY_LEN).then_some(key)
}

fn from_hex(text: &str) -> Option<SecretBytes> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 2));
    let (pairs, _) = text.as_bytes().as_chunks::<2>();
    for [high, low] in pairs {
        let high = char::from(*high).to_digit(16)?;
        let low = char::from(*low).to_digit(16)?;
        bytes.push(u8::try_from(high << 4 | low).ok()?);
    }
    Some(SecretBytes::new(std::mem::take(&mut *bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::hex;

    #[test]
    fn keys_read_from_hex_and_base64_of_32_bytes_only() {
        let bytes: Vec<u8> = (0..32).collect();
        let mut base64 = Zeroizing::new(String::new());
        push_base64(&mut base64, &bytes);
        for text in [
            hex(&bytes),
            hex(&bytes).to_uppercase(),
            format!(" {}\n", *base64),
        ] {
            assert_eq!(key_from_text(&text).unwrap().as_bytes(), bytes, "{text}");
        }
        let long = "A".repeat(63) + "\u{e9}";
        for text in ["", "00", "zz", &hex(&bytes)[2..], &base64[..43], &long] {
            assert!(key_from_text(text).is_none(), "{text}");
        }
    }

    #[test]
    fn debug_shows_nothing() {
        let secret = SecretString::new("hunter2".to_owned());
        assert_eq!(format!("{secret:?}"), "SecretString(redacted)");
        let read: SecretString = serde_json::from_str("\"a\\nb\"").unwrap();
        assert_eq!(read.as_str(), "a\nb");
    }
}
