//! Numbers and identifiers that name a place, a log or a key.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use uuid::Uuid;

macro_rules! ordinal {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
            JsonSchema,
        )]
        #[serde(transparent)]
        pub struct $name(u64);

        impl $name {
            /// Wraps the number.
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            /// The number.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The next one, or `None` after the last number.
            pub const fn next(self) -> Option<Self> {
                match self.0.checked_add(1) {
                    Some(value) => Some(Self(value)),
                    None => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl From<u64> for $name {
            fn from(value: u64) -> Self {
                Self(value)
            }
        }

        impl From<$name> for u64 {
            fn from(value: $name) -> Self {
                value.0
            }
        }
    };
}

ordinal! {
    /// Place of an event in the whole log: 0, 1, 2, ... without gaps.
    Position
}

ordinal! {
    /// Place of an event in its stream: 0, 1, 2, ... without gaps.
    Revision
}

/// Text is not an identifier: 32 lower-case hexadecimal digits were expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an identifier is 32 lower-case hexadecimal digits")]
#[non_exhaustive]
pub struct ParseIdError;

impl ParseIdError {
    /// Stable name of the error.
    pub const fn code(&self) -> &'static str {
        "bad_identifier"
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn write_hex(bytes: [u8; 16], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    // `pad` keeps width and alignment working for tables.
    let mut text = String::with_capacity(32);
    for byte in bytes {
        for nibble in [byte >> 4, byte & 0x0f] {
            text.push(
                HEX.get(usize::from(nibble))
                    .copied()
                    .map_or('?', char::from),
            );
        }
    }
    f.pad(&text)
}

fn parse_hex(text: &str) -> Result<[u8; 16], ParseIdError> {
    let digits: &[u8; 32] = text.as_bytes().try_into().map_err(|_| ParseIdError)?;
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            let nibble = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return Err(ParseIdError),
            };
            *byte = *byte << 4 | nibble;
        }
    }
    Ok(bytes)
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Wraps the bytes.
            pub const fn new(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// Wraps the bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                parse_hex(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}

identifier! {
    /// Names one log for ever: drawn when the log is made, part of everything that is hashed or sealed.
    LogId
}

identifier! {
    /// Names one stored key.
    KeyId
}

/// Mints a version 7 UUID (RFC 9562 section 5.7) from a time in Unix milliseconds and ten random
/// bytes. Version and variant bits overwrite six bits of them, so 74 bits are random.
pub fn uuid_v7(unix_ms: u64, random: &[u8; 10]) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis(unix_ms, random).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_print_and_parse_as_plain_hex() {
        let id = LogId::new(*b"\x00\x01\x02\x7f\x80\xfe\xff7890abcde");
        let text = id.to_string();
        assert_eq!(text, "0001027f80feff373839306162636465");
        assert_eq!(format!("{id:?}"), text);
        assert_eq!(text.parse::<LogId>(), Ok(id));
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{text}\""));
        assert_eq!(
            serde_json::from_str::<LogId>(&format!("\"{text}\"")).unwrap(),
            id
        );
    }

    #[test]
    fn only_32_lower_case_digits_are_an_identifier() {
        let good = "0001027f80feff373839306162636465";
        for bad in [
            String::new(),
            good.to_uppercase(),
            good[1..].to_owned(),
            format!("{good}0"),
            good.replace('7', "g"),
            format!("{}\u{e9}", &good[2..]),
        ] {
            assert_eq!(bad.parse::<KeyId>(), Err(ParseIdError), "{bad}");
        }
    }

    #[test]
    fn ordinals_stop_at_the_last_number() {
        assert_eq!(Position::new(4).next(), Some(Position::new(5)));
        assert_eq!(Revision::new(u64::MAX).next(), None);
        assert_eq!(format!("{:>5}", Position::new(41)), "   41");
    }

    #[test]
    fn minted_ids_are_version_7_and_keep_time_and_randomness() {
        // RFC 9562 appendix A.6.
        let random = [0x0c, 0xc3, 0x18, 0xc4, 0xdc, 0x0c, 0x0c, 0x07, 0x39, 0x8f];
        let id = uuid_v7(0x017F_22E2_79B0, &random);
        assert_eq!(id.to_string(), "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
        assert_eq!(id.get_version_num(), 7);
    }
}
