//! Digests that name a call, and what it is bound to.

use runstone_codec::Keyed;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use sha2::{Digest as _, Sha256};

#[cfg(feature = "store")]
use super::control::approval;
use super::control::effect as field;
use super::words::Kind;

/// The largest integer that has one spelling as a number of RFC 8785 (I-JSON, RFC 7493): above it,
/// different integers are the same double.
const MAX_INTEGER: u64 = (1 << 53) - 1;

/// SHA-256 over the RFC 8785 canonical JSON of the arguments by name; of `{}` if there are none.
/// `None` if they are not JSON, or JSON of which different texts have the same canonical form: with
/// a member twice, or an integer beyond 2^53 - 1.
pub(crate) fn args_digest(args: Option<&[u8]>) -> Option<[u8; 32]> {
    let args: Value = match args {
        None => Value::Object(Map::new()),
        Some(args) => {
            if has_long_integer(args) {
                return None;
            }
            serde_json::from_slice::<Strict>(args).ok()?.0
        }
    };
    let canonical = serde_json_canonicalizer::to_vec(&args).ok()?;
    Some(Sha256::digest(canonical).into())
}

/// The digest of a key, as a tag and in control.
pub(crate) fn keyed_as(kind: Kind, domain: &str, key: &str) -> [Keyed; 2] {
    let parts = || [kind.as_str().as_bytes(), domain.as_bytes(), key.as_bytes()];
    [
        Keyed::tag(field::KEY_LABEL, field::KEY_LABEL, parts()),
        Keyed::control(field::KEY, field::KEY_LABEL, parts()),
    ]
}

/// The digest of what an approval is for: a name and arguments.
#[cfg(feature = "store")]
pub(crate) fn approved_as(into: u16, name: &str, args: &[u8; 32]) -> Keyed {
    Keyed::control(
        into,
        approval::WHAT_LABEL,
        [name.as_bytes(), args.as_slice()],
    )
}

/// The digest of what a key is bound to: a name, and arguments unless the key alone says what the
/// call is.
pub(crate) fn bound_to(into: u16, name: &str, args: Option<&[u8; 32]>) -> Keyed {
    let args = args.map(<[u8; 32]>::as_slice).unwrap_or_default();
    Keyed::control(into, field::BINDING_LABEL, [name.as_bytes(), args])
}

/// Whether a number without fraction and exponent is beyond [`MAX_INTEGER`]. Strings are passed over.
fn has_long_integer(json: &[u8]) -> bool {
    let mut rest = json;
    while let Some((first, after)) = rest.split_first() {
        match first {
            b'"' => {
                let mut escaped = false;
                let end = after.iter().position(|byte| {
                    let is_end = *byte == b'"' && !escaped;
                    escaped = *byte == b'\\' && !escaped;
                    is_end
                });
                rest = end.and_then(|end| after.get(end + 1..)).unwrap_or_default();
            }
            b'0'..=b'9' => {
                let is_part =
                    |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
                let len = rest
                    .iter()
                    .position(|byte| !is_part(byte))
                    .unwrap_or(rest.len());
                let (number, after) = rest.split_at(len);
                let text = std::str::from_utf8(number).unwrap_or_default();
                if text.bytes().all(|byte| byte.is_ascii_digit())
                    && text
                        .parse::<u64>()
                        .is_ok_and(|integer| integer > MAX_INTEGER)
                    || text.len() > 20 && text.bytes().all(|byte| byte.is_ascii_digit())
                {
                    return true;
                }
                rest = after;
            }
            _ => rest = after,
        }
    }
    false
}

/// JSON in which no object has a member twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value);
        number
            .map(Value::Number)
            .ok_or_else(|| E::custom("no number of JSON"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Strict(value))) = members.next_entry::<String, Strict>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a member stands twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(json: &str) -> Option<[u8; 32]> {
        args_digest(Some(json.as_bytes()))
    }

    #[test]
    fn spellings_of_one_value_are_one_and_different_values_are_not() {
        let same = [
            r#"{"a":1,"b":"x"}"#,
            " { \"b\" : \"\\u0078\", \"a\" : 1.0 }",
            r#"{"a":1e0,"b":"x"}"#,
        ];
        let first = digest(same[0]);
        assert!(first.is_some());
        assert!(same.iter().all(|json| digest(json) == first));
        assert_ne!(digest(r#"{"a":2,"b":"x"}"#), first);
        // 2^53 - 1 is the last integer that is itself; in a string any number is.
        for kept in [
            "{\"n\":9007199254740991}",
            "{\"n\":-9007199254740991}",
            r#"{"n":"9007199254740993"}"#,
            r#"{"n":"\"9007199254740993"}"#,
        ] {
            assert!(digest(kept).is_some(), "{kept}");
        }
        let refused = [
            "{\"n\":9007199254740993}",
            "[-9007199254740993]",
            "{\"n\":123456789012345678901234567890}",
            r#"{"a":1,"a":1}"#,
            r#"[{"a":{"b":1,"b":2}}]"#,
            "{\"a\":",
            "NaN",
        ];
        for refused in refused {
            assert_eq!(digest(refused), None, "{refused}");
        }
    }
}
