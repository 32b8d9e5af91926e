//! Values of the agent domain, as they travel between processes.

/// JSON bytes, as the JSON that they are.
pub(crate) mod json {
    use serde::{Deserialize, Deserializer, Serialize as _, Serializer, ser};
    use serde_json::value::RawValue;

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        let json: &RawValue = serde_json::from_slice(bytes).map_err(ser::Error::custom)?;
        json.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let json = Box::<RawValue>::deserialize(deserializer)?;
        Ok(json.get().as_bytes().to_vec())
    }
}

/// JSON bytes that may not be there: a member that is there is JSON, also where that is `null`.
pub(crate) mod maybe_json {
    use serde::{Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(crate) fn serialize<S: Serializer>(
        bytes: &Option<Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match bytes {
            Some(bytes) => super::json::serialize(bytes, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        super::json::deserialize(deserializer).map(Some)
    }
}

/// Durations as whole microseconds.
pub(crate) mod microseconds {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub(crate) fn serialize<S: Serializer>(
        time: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(runstone_store::micros(*time))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_micros)
    }
}

/// Digests as hexadecimal digits.
pub(crate) mod hex16 {
    use serde::{Deserialize, Deserializer, Serializer, de};
    use std::borrow::Cow;

    pub(crate) fn serialize<S: Serializer>(
        bytes: &[u8; 16],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&crate::hex(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; 16], D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        parse(&text).ok_or_else(|| de::Error::custom("32 hexadecimal digits are expected"))
    }

    pub(crate) fn parse(text: &str) -> Option<[u8; 16]> {
        let mut bytes = [0; 16];
        if text.len() != 32 || !text.is_ascii() {
            return None;
        }
        for (at, byte) in (0..).step_by(2).zip(bytes.iter_mut()) {
            *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
        }
        Some(bytes)
    }
}
