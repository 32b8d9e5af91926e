//! The members of a JSON object, in order, with the bytes of their values.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{MAX_SEGMENTS, Segment};

/// The members of a payload that qualifies for mode 1: a JSON object of 1 to 256 members, no key
/// twice, no key above 65,535 bytes. An object without members does not: its commitment would be
/// the same for every event, unsalted. Nor does one whose only key is empty: the commitment would be
/// that of its value in mode 0 too.
pub(super) fn parse(payload: &[u8]) -> Option<Vec<Segment<'_>>> {
    // Most payloads that do not qualify are told by their first byte.
    if payload.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return None;
    }
    let Members(members) = serde_json::from_slice(payload).ok()?;
    if members.iter().all(|one| one.name.is_empty()) {
        return None;
    }
    let mut names: Vec<&str> = members.iter().map(|one| one.name.as_ref()).collect();
    names.sort_unstable();
    names
        .is_sorted_by(|one, next| one < next)
        .then_some(members)
}

struct Members<'a>(Vec<Segment<'a>>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of at most 256 members")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
            if members.len() == MAX_SEGMENTS || name.len() > usize::from(u16::MAX) {
                return Err(A::Error::custom("not for mode 1"));
            }
            members.push(Segment {
                name,
                value: value.get().as_bytes(),
            });
        }
        Ok(Members(members))
    }
}

/// A key, borrowed where it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl<'de> Visitor<'de> for NameVisitor {
    type Value = Name<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: Error>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Name(Cow::Borrowed(key)))
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Name(Cow::Owned(key.to_owned())))
    }
}
