//! Content in parts.

use std::fmt;

use schemars::JsonSchema;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// A part of what was said, told apart by its member `kind`. A part of an unknown kind is kept
/// byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", remote = "Self")]
#[non_exhaustive]
pub enum Part {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// Text that the model wrote for itself.
    Thinking {
        /// The text.
        text: String,
    },
    /// An image.
    Image {
        /// Its bytes in base64.
        data: String,
        /// Its media type.
        mime: String,
    },
    /// Sound.
    Audio {
        /// Its bytes in base64.
        data: String,
        /// Its media type.
        mime: String,
    },
    /// Something that is kept elsewhere.
    Ref {
        /// Where.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uri: Option<String>,
        /// SHA-256 of its bytes, in hexadecimal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sha256: Option<String>,
        /// Its media type.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mime: Option<String>,
        /// Its length.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bytes: Option<u64>,
    },
    /// The call of a tool, which an event of its own tells.
    ToolCall {
        /// Its id, unique only among calls that are open at one time.
        call_id: String,
        /// The tool.
        name: String,
    },
    /// The result of a call, which an event of its own tells.
    ToolResult {
        /// The id of the call.
        call_id: String,
    },
    /// A part that only the imported record itself spells out.
    Other {
        /// What the recording calls it.
        name: String,
    },
    /// A part of a kind that is not known here.
    #[serde(skip)]
    Unknown(UnknownPart),
}

/// The kinds of [`Part`] that are known here.
const KINDS: [&str; 8] = [
    "text",
    "thinking",
    "image",
    "audio",
    "ref",
    "tool_call",
    "tool_result",
    "other",
];

#[derive(Deserialize)]
struct Kind {
    kind: String,
}

impl Part {
    /// Its kind, as it stands in the payload.
    pub fn kind(&self) -> &str {
        match self {
            Self::Text { .. } => "text",
            Self::Thinking { .. } => "thinking",
            Self::Image { .. } => "image",
            Self::Audio { .. } => "audio",
            Self::Ref { .. } => "ref",
            Self::ToolCall { .. } => "tool_call",
            Self::ToolResult { .. } => "tool_result",
            Self::Other { .. } => "other",
            Self::Unknown(part) => part.kind(),
        }
    }

    /// A part that says where something is kept.
    pub fn uri(uri: impl Into<String>) -> Self {
        Self::Ref {
            uri: Some(uri.into()),
            sha256: None,
            mime: None,
            bytes: None,
        }
    }
}

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unknown(part) => part.json.serialize(serializer),
            known => Self::serialize(known, serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A tagged enum is buffered in types that do not hold every number; raw text does.
        let json = Box::<RawValue>::deserialize(deserializer)?;
        let Kind { kind } = serde_json::from_str(json.get()).map_err(D::Error::custom)?;
        if !KINDS.contains(&kind.as_str()) {
            return Ok(Self::Unknown(UnknownPart { kind, json }));
        }
        let mut text = serde_json::Deserializer::from_str(json.get());
        Self::deserialize(&mut text).map_err(D::Error::custom)
    }
}

/// A part of a kind that is not known here.
#[derive(Debug, Clone)]
pub struct UnknownPart {
    kind: String,
    json: Box<RawValue>,
}

impl UnknownPart {
    /// Its kind.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The whole part: a JSON object, byte for byte.
    pub fn json(&self) -> &str {
        self.json.get()
    }
}

impl PartialEq for UnknownPart {
    fn eq(&self, other: &Self) -> bool {
        self.json.get() == other.json.get()
    }
}

impl Eq for UnknownPart {}

/// Reads content: a string is one part of text, a list is its parts.
pub(super) fn parts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Part>, D::Error> {
    struct Content;

    impl<'de> Visitor<'de> for Content {
        type Value = Vec<Part>;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("a string or a list of parts")
        }

        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok(vec![Part::Text {
                text: text.to_owned(),
            }])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut parts = Vec::new();
            while let Some(part) = list.next_element()? {
                parts.push(part);
            }
            Ok(parts)
        }
    }

    deserializer.deserialize_any(Content)
}

/// A string, or parts in order.
#[derive(JsonSchema)]
#[schemars(rename = "Content", untagged)]
#[expect(dead_code, reason = "describes what `parts` reads")]
pub(super) enum ContentSchema {
    /// One part of text.
    Text(String),
    /// Parts in order.
    Parts(Vec<PartSchema>),
}

/// A part, told apart by its member `kind`.
#[derive(JsonSchema)]
#[schemars(rename = "AnyPart", untagged)]
#[expect(dead_code, reason = "describes what `Part` reads")]
pub(super) enum PartSchema {
    /// A part of a known kind.
    Known(Part),
    /// A part of another kind, kept as it is.
    Unknown {
        /// What it is.
        kind: String,
        /// Whatever else it says.
        #[schemars(flatten)]
        rest: std::collections::BTreeMap<String, Value>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Part, serde_json::Error> {
        serde_json::from_str(json)
    }

    fn all() -> Vec<Part> {
        let word = || "x".to_owned();
        vec![
            Part::Text { text: word() },
            Part::Thinking { text: word() },
            Part::Image {
                data: word(),
                mime: word(),
            },
            Part::Audio {
                data: word(),
                mime: word(),
            },
            Part::uri("https://example.com"),
            Part::ToolCall {
                call_id: word(),
                name: word(),
            },
            Part::ToolResult { call_id: word() },
            Part::Other { name: word() },
        ]
    }

    #[test]
    fn every_known_kind_is_read_as_it_is_written() {
        assert_eq!(all().len(), KINDS.len());
        for (part, kind) in all().into_iter().zip(KINDS) {
            let json = serde_json::to_string(&part).unwrap();
            assert!(
                json.starts_with(&format!(r#"{{"kind":"{kind}","#)),
                "{json}"
            );
            assert_eq!((part.kind(), read(&json).unwrap()), (kind, part.clone()));
        }
        let schema = serde_json::to_string(&schemars::schema_for!(Part)).unwrap();
        assert_eq!(
            schema.matches(r#""const":"#).count(),
            KINDS.len(),
            "{schema}"
        );
    }

    #[test]
    fn an_unknown_kind_is_kept_byte_for_byte() {
        let json = r#"{"n":340282366920938463463374607431768211455, "kind":"hologram","x":[1.0]}"#;
        let part = read(json).unwrap();
        assert_eq!(part.kind(), "hologram");
        assert_eq!(serde_json::to_string(&part).unwrap(), json);
        let Part::Unknown(unknown) = part else {
            panic!("a known part")
        };
        assert_eq!(unknown.json(), json);
    }

    #[test]
    fn a_known_kind_must_have_its_members() {
        for bad in [
            r#"{"kind":"text"}"#,
            r#"{"kind":7}"#,
            "{}",
            "[]",
            r#"{"kind":"image","data":""}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read(r#"{"kind":"text","text":"x","cache":true}"#).is_ok());
    }
}
