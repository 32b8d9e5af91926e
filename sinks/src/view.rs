//! What of an event leaves the log: its header, and members of its content that are named.

use runstone_store::line::write_record;
use runstone_store::{Payload, Record};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The members of an object, in their order; a name may come more than once.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Members;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

/// The content with these members alone, their values byte for byte; nothing if none is named, or if
/// it is no object.
pub(crate) fn scoped(payload: Payload, fields: &[String]) -> Payload {
    let Payload::Open(bytes) = payload else {
        return payload;
    };
    if fields.is_empty() {
        return Payload::Skipped;
    }
    let Ok(Members(members)) = serde_json::from_slice(&bytes) else {
        return Payload::Skipped;
    };
    let mut out = vec![b'{'];
    for (name, value) in members {
        if !fields.contains(&name) {
            continue;
        }
        if out.len() > 1 {
            out.push(b',');
        }
        // A string always serialises.
        out.extend(serde_json::to_vec(&name).unwrap_or_default());
        out.push(b':');
        out.extend_from_slice(value.get().as_bytes());
    }
    out.push(b'}');
    Payload::Open(out)
}

/// An event as one line.
pub(crate) fn line(record: &Record, is_duplicate: bool) -> Vec<u8> {
    let mut line = Vec::new();
    write_record(record, &mut line);
    if is_duplicate {
        line.truncate(line.len().saturating_sub(2));
        line.extend_from_slice(b",\"duplicate\":true}\n");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(json: &str, fields: &[&str]) -> Payload {
        let fields: Vec<_> = fields.iter().map(|field| (*field).to_owned()).collect();
        scoped(Payload::Open(json.into()), &fields)
    }

    #[test]
    fn what_is_not_named_does_not_leave() {
        let json = r#"{"a": 1e999, "b":{"a":2}, "a":"x","\u0063":[3]}"#;
        assert_eq!(open(json, &[]), Payload::Skipped);
        let told = |fields: &[&str]| {
            String::from_utf8(open(json, fields).bytes().unwrap().to_vec()).unwrap()
        };
        assert_eq!(told(&["a"]), r#"{"a":1e999,"a":"x"}"#);
        assert_eq!(told(&["c", "b"]), r#"{"b":{"a":2},"c":[3]}"#);
        assert_eq!(told(&["z"]), "{}");
    }

    #[test]
    fn what_is_no_object_has_no_members() {
        for json in ["[1]", "\"a\"", "7", "null"] {
            assert_eq!(open(json, &["a", "0"]), Payload::Skipped, "{json}");
        }
        let fields = ["a".to_owned()];
        assert_eq!(scoped(Payload::Erased, &fields), Payload::Erased);
    }
}
