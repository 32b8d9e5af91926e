//! Turns of a transcript.

use runstone_codec::TypedEvent;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::part::{self, Part};

/// A turn of a transcript, said by whoever `role` names. It is a record of what was said, never
/// an order or a message to deliver.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct ChatMessage {
    /// `system`, `user`, `assistant`, `tool`, or what the recording says.
    pub role: String,
    /// What was said. Calls and results of tools are named here, and told by events of their own.
    /// A plain string is read as one part of text.
    #[serde(deserialize_with = "part::parts")]
    #[schemars(with = "part::ContentSchema")]
    pub content: Vec<Part>,
    /// The imported record, byte for byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    pub original: Option<Box<RawValue>>,
}

impl ChatMessage {
    /// A turn of this role, with nothing said yet.
    ///
    /// ```
    /// use runstone_projections::events::{ChatMessage, Part};
    ///
    /// let said = ChatMessage::new("user")
    ///     .text("what is this?")
    ///     .part(Part::uri("https://example.com/lamp.png"));
    /// assert_eq!(said.content.len(), 2);
    /// ```
    pub fn new(role: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            ..Self::default()
        }
    }

    /// Says this text besides.
    #[must_use]
    pub fn text(self, text: impl Into<String>) -> Self {
        self.part(Part::Text { text: text.into() })
    }

    /// Says this part besides.
    #[must_use]
    pub fn part(mut self, part: Part) -> Self {
        self.content.push(part);
        self
    }

    /// Says these parts besides.
    #[must_use]
    pub fn parts(mut self, parts: impl IntoIterator<Item = Part>) -> Self {
        self.content.extend(parts);
        self
    }

    /// The record that it was imported from, kept byte for byte.
    #[must_use]
    pub fn original(mut self, record: Box<RawValue>) -> Self {
        self.original = Some(record);
        self
    }
}

impl TypedEvent for ChatMessage {
    const TYPE: &'static str = "chat.message";
    const VERSION: u32 = 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<ChatMessage, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn content_is_a_string_or_a_list_of_parts() {
        let text = |text: &str| Part::Text {
            text: text.to_owned(),
        };
        let said = read(r#"{"role":"user","content":"a\n\"b\""}"#).unwrap();
        assert_eq!(said.content, [text("a\n\"b\"")]);
        let said = read(r#"{"role":"user","content":[{"kind":"text","text":"a"}]}"#).unwrap();
        assert_eq!(said.content, [text("a")]);
        assert_eq!(read(r#"{"role":"user","content":[]}"#).unwrap().content, []);
        for bad in [
            r#"{"role":"user"}"#,
            r#"{"role":"user","content":7}"#,
            r#"{"role":"user","content":null}"#,
            r#"{"role":"user","content":["a"]}"#,
            r#"{"role":"user","content":[{"text":"a"}]}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_record_is_kept_byte_for_byte() {
        let record = r#"{ "n" : 340282366920938463463374607431768211455, "f":1.10 }"#;
        let json = format!(r#"{{"role":"user","content":[],"original":{record}}}"#);
        let said = read(&json).unwrap();
        assert_eq!(said.original.as_ref().unwrap().get(), record);
        assert_eq!(serde_json::to_string(&said).unwrap(), json);
    }
}
