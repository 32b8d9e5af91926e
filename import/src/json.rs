//! JSON of a recording, looked into one level at a time, so that every value keeps its bytes.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::reject::RejectReason;

/// Most members of an object and elements of an array that are looked at. A record of many tiny
/// values would else take many times its own length in memory.
pub(crate) const MAX_WIDTH: usize = 65_536;

/// The members of an object, in their order.
#[derive(Debug, Default)]
pub(crate) struct Object<'a> {
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// The members of `text`, which is called `field` if it is not an object.
    pub(crate) fn parse(text: &'a str, field: &'static str) -> Result<Self, RejectReason> {
        let wrong = RejectReason::WrongType {
            field,
            expected: "an object",
        };
        let Wide { items, more } = parse::<Wide<(Cow<'a, str>, &'a RawValue)>>(text, wrong)?;
        if more {
            return Err(RejectReason::TooMany {
                what: "members",
                max: MAX_WIDTH,
            });
        }
        Ok(Self { members: items })
    }

    /// All members, in their order.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.members
            .iter()
            .map(|(name, value)| (name.as_ref(), *value))
    }

    /// All but the members of these names as an object, every value byte for byte; none if there
    /// are no others.
    pub(crate) fn without(&self, names: &[&str]) -> Result<Option<Box<RawValue>>, RejectReason> {
        let mut text = String::from("{");
        for (name, value) in self.members().filter(|(name, _)| !names.contains(name)) {
            let comma = if text.len() > 1 { "," } else { "" };
            let name = serde_json::Value::from(name);
            text.extend([comma, &name.to_string(), ":", value.get()]);
        }
        text.push('}');
        if text == "{}" {
            Ok(None)
        } else {
            raw(text).map(Some)
        }
    }

    /// A member that is not null. Of several with one name the last counts.
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        let found = self.members.iter().rev().find(|(one, _)| one == name);
        found
            .map(|(_, value)| *value)
            .filter(|value| value.get() != "null")
    }

    /// A member that must be a string if it is there.
    pub(crate) fn string(&self, name: &'static str) -> Result<Option<Cow<'a, str>>, RejectReason> {
        let wrong = RejectReason::WrongType {
            field: name,
            expected: "a string",
        };
        self.get(name)
            .map(|value| string(value).ok_or(wrong))
            .transpose()
    }

    /// A member that must be there and be a string.
    pub(crate) fn required(&self, name: &'static str) -> Result<String, RejectReason> {
        let wrong = RejectReason::WrongType {
            field: name,
            expected: "a string",
        };
        self.string(name)?.map(String::from).ok_or(wrong)
    }

    /// A member, if it is a string.
    pub(crate) fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name).and_then(string)
    }

    /// Whether a member is there and true.
    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.get() == "true")
    }

    /// A member that must be a count if it is there.
    pub(crate) fn count(&self, name: &'static str) -> Result<Option<u64>, RejectReason> {
        let wrong = RejectReason::WrongType {
            field: name,
            expected: "a whole number",
        };
        let number = |value: &RawValue| serde_json::from_str(value.get()).map_err(|_| wrong);
        self.get(name).map(number).transpose()
    }

    /// A member, if it is a number.
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.get(name)
            .and_then(|value| serde_json::from_str(value.get()).ok())
    }

    /// A member that must be an object if it is there.
    pub(crate) fn object(&self, name: &'static str) -> Result<Option<Self>, RejectReason> {
        self.get(name)
            .map(|value| Object::parse(value.get(), name))
            .transpose()
    }

    /// A member that must be an array if it is there.
    pub(crate) fn array(
        &self,
        name: &'static str,
    ) -> Result<Option<Vec<&'a RawValue>>, RejectReason> {
        self.get(name)
            .map(|value| array(value.get(), name))
            .transpose()
    }
}

/// The elements of `text`, which is called `field` if it is not an array.
pub(crate) fn array<'a>(
    text: &'a str,
    field: &'static str,
) -> Result<Vec<&'a RawValue>, RejectReason> {
    let wrong = RejectReason::WrongType {
        field,
        expected: "an array",
    };
    let Wide { items, more } = parse::<Wide<&'a RawValue>>(text, wrong)?;
    if more {
        return Err(RejectReason::TooMany {
            what: "elements",
            max: MAX_WIDTH,
        });
    }
    Ok(items)
}

/// Whether a value is an array.
pub(crate) fn is_array(value: &RawValue) -> bool {
    value.get().starts_with('[')
}

/// The text of a string. Half of a surrogate pair, which JSON can spell and UTF-8 cannot, reads as
/// the replacement character.
pub(crate) fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    if let Ok(Borrowed(text)) = serde_json::from_str(value.get()) {
        return Some(text);
    }
    serde_json::from_str::<Lossy>(value.get())
        .ok()
        .map(|Lossy(text)| Cow::Owned(text))
}

/// Owned copy of a value, byte for byte.
pub(crate) fn keep(value: &RawValue) -> Box<RawValue> {
    value.to_owned()
}

/// The JSON that a string spells; of another value a copy, byte for byte.
pub(crate) fn unquoted(value: &RawValue) -> Box<RawValue> {
    let inner = string(value).and_then(|text| RawValue::from_string(text.trim().to_owned()).ok());
    inner.unwrap_or_else(|| keep(value))
}

/// Owned copy of a value, byte for byte; null if there is none.
pub(crate) fn keep_or_null(value: Option<&RawValue>) -> Box<RawValue> {
    keep(value.unwrap_or(RawValue::NULL))
}

/// A text of JSON as a value.
pub(crate) fn raw(text: String) -> Result<Box<RawValue>, RejectReason> {
    RawValue::from_string(text).map_err(|error| fault(&error, RejectReason::Truncated))
}

/// What `serde_json` says of a text. `wrong` is for a valid text of another type.
fn fault(error: &serde_json::Error, wrong: RejectReason) -> RejectReason {
    match error.classify() {
        Category::Data => wrong,
        Category::Eof => RejectReason::Truncated,
        Category::Syntax | Category::Io => RejectReason::NotJson {
            line: error.line(),
            column: error.column(),
        },
    }
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str, wrong: RejectReason) -> Result<T, RejectReason> {
    serde_json::from_str(text).map_err(|error| fault(&error, wrong))
}

/// Up to [`MAX_WIDTH`] items, and whether there are more.
struct Wide<T> {
    items: Vec<T>,
    more: bool,
}

impl<'de> Deserialize<'de> for Wide<(Cow<'de, str>, &'de RawValue)> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Wide<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut wide = Wide {
                    items: Vec::new(),
                    more: false,
                };
                while wide.items.len() < MAX_WIDTH {
                    let Some((Borrowed(name), value)) = map.next_entry()? else {
                        return Ok(wide);
                    };
                    wide.items.push((name, value));
                }
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    wide.more = true;
                }
                Ok(wide)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl<'de> Deserialize<'de> for Wide<&'de RawValue> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;
        impl<'de> Visitor<'de> for Elements {
            type Value = Wide<&'de RawValue>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut wide = Wide {
                    items: Vec::new(),
                    more: false,
                };
                while wide.items.len() < MAX_WIDTH {
                    let Some(value) = seq.next_element()? else {
                        return Ok(wide);
                    };
                    wide.items.push(value);
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    wide.more = true;
                }
                Ok(wide)
            }
        }
        deserializer.deserialize_seq(Elements)
    }
}

/// A string that borrows where it has no escapes.
#[derive(Deserialize)]
struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);

struct Lossy(String);

impl<'de> Deserialize<'de> for Lossy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Lossy;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Lossy, E> {
                Ok(Lossy(String::from_utf8_lossy(bytes).into_owned()))
            }
        }
        // serde_json gives the bytes of a string, lone surrogates included, to who asks for bytes.
        deserializer.deserialize_bytes(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_looked_at_by_type() {
        let text = r#"{"a":"x","a":"y\n","n":7,"t":true,"z":null,"o":{},"l":[1, 2]}"#;
        let object = Object::parse(text, "record").unwrap();
        assert_eq!(object.string("a").unwrap().unwrap(), "y\n");
        assert_eq!(
            (object.count("n").unwrap(), object.count("z").unwrap()),
            (Some(7), None)
        );
        assert!(object.is_true("t") && !object.is_true("a") && object.get("z").is_none());
        assert!(object.object("o").unwrap().is_some());
        assert_eq!(object.array("l").unwrap().unwrap().len(), 2);
        assert_eq!(object.members().count(), 7);
        let wrong = |field, expected| Some(RejectReason::WrongType { field, expected });
        assert_eq!(object.string("n").err(), wrong("n", "a string"));
        assert_eq!(object.count("a").err(), wrong("a", "a whole number"));
        assert_eq!(object.array("o").err(), wrong("o", "an array"));
        assert_eq!(object.object("l").err(), wrong("l", "an object"));
    }

    #[test]
    fn what_is_no_object_says_why() {
        let why = |text| Object::parse(text, "record").unwrap_err();
        assert_eq!(
            why("[]"),
            RejectReason::WrongType {
                field: "record",
                expected: "an object"
            }
        );
        assert_eq!(why(r#"{"a":"#), RejectReason::Truncated);
        assert_eq!(
            why(r#"{"a" 1}"#),
            RejectReason::NotJson { line: 1, column: 6 }
        );
        assert_eq!(why("{}{}"), RejectReason::NotJson { line: 1, column: 3 });
        assert!(
            array(
                &format!("{}{}", "[".repeat(1 << 20), "]".repeat(1 << 20)),
                "x"
            )
            .is_ok()
        );
    }

    #[test]
    fn width_is_bounded() {
        let many = format!("[{}1]", "1,".repeat(MAX_WIDTH));
        assert_eq!(
            array(&many, "x").unwrap_err(),
            RejectReason::TooMany {
                what: "elements",
                max: MAX_WIDTH
            }
        );
        assert_eq!(
            array(&many.replacen("1,", "", 1), "x").unwrap().len(),
            MAX_WIDTH
        );
        let wide = format!("{{{}\"a\":1}}", "\"a\":1,".repeat(MAX_WIDTH));
        assert!(matches!(
            Object::parse(&wide, "x"),
            Err(RejectReason::TooMany { .. })
        ));
    }

    #[test]
    fn half_a_surrogate_pair_is_still_text() {
        let value: &RawValue = serde_json::from_str(r#""a\ud800b""#).unwrap();
        assert!(string(value).unwrap().starts_with('a'));
        assert!(string(value).unwrap().ends_with('b'));
        let number: &RawValue = serde_json::from_str("1").unwrap();
        assert_eq!(string(number), None);
    }
}
