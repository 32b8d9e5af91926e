//! Events, as they travel.

use super::{Refusal, Told};
use crate::error::ReadError;
use crate::fold::Payload;
use crate::read::{Item, Record};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use runstone_codec::{Control, Draft, Keyed, KeyedTarget, NewEvent};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;
use uuid::Uuid;

/// Bytes, as base64 with padding (RFC 4648 section 4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "bytes in another form")]
pub struct Base64(pub Vec<u8>);

impl Base64 {
    /// As an array of a length that is known.
    pub fn array<const N: usize>(&self) -> Option<[u8; N]> {
        self.0.as_slice().try_into().ok()
    }
}

impl<T: Into<Vec<u8>>> From<T> for Base64 {
    fn from(bytes: T) -> Self {
        Self(bytes.into())
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let bytes = STANDARD
            .decode(text.as_bytes())
            .map_err(de::Error::custom)?;
        Ok(Self(bytes))
    }
}

impl JsonSchema for Base64 {
    fn schema_name() -> Cow<'static, str> {
        "Base64".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "contentEncoding": "base64" })
    }
}

/// A proposed event.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "NewEvent")]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "what is sent")]
pub struct WireEvent {
    /// `segment(.segment)+`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The stream that it belongs to.
    pub stream: String,
    /// The payload, kept as it is written. Default `{}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub data: Option<Box<RawValue>>,
    /// The payload, where white space around it is to be kept too, or where it is `null`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<Base64>,
    /// Its id, which makes the append idempotent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub id: Option<Uuid>,
    /// Tags `key:value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The producer's word for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// When it occurred by the producer's clock, Unix microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occurred_at_us: Option<u64>,
    /// What one erasure removes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The event that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub causation: Option<Uuid>,
    /// The event that it belongs together with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub correlation: Option<Uuid>,
    /// The version of the payload's schema. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_version: Option<u32>,
    /// Whether top-level members are to be disclosable one by one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fields: bool,
}

/// A payload that says nothing by white space around it.
fn raw(payload: &[u8]) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(payload).ok()?;
    // `null` in place of a member is no member.
    let is_bare = text != "null"
        && !text.starts_with(|c: char| c.is_ascii_whitespace())
        && !text.ends_with(|c: char| c.is_ascii_whitespace());
    let raw = is_bare.then(|| RawValue::from_string(text.to_owned()));
    raw?.ok()
}

impl From<&NewEvent> for WireEvent {
    fn from(event: &NewEvent) -> Self {
        let data = raw(&event.payload);
        let data_base64 = match data {
            Some(_) => None,
            None => Some(Base64(event.payload.clone())),
        };
        Self {
            event_type: event.event_type.clone(),
            stream: event.stream.clone(),
            data,
            data_base64,
            id: event.event_id,
            tags: event.tags.clone(),
            source: Some(event.source.clone()),
            occurred_at_us: event.occurred_at_us,
            scope: event.scope.clone(),
            causation: event.causation,
            correlation: event.correlation,
            schema_version: Some(event.schema_version),
            fields: event.fields,
        }
    }
}

impl From<WireEvent> for NewEvent {
    fn from(wire: WireEvent) -> Self {
        let mut event = Self::new(wire.event_type, wire.stream);
        match (wire.data, wire.data_base64) {
            (Some(data), _) => event.payload = String::from(Box::<str>::from(data)).into_bytes(),
            (None, Some(bytes)) => event.payload = bytes.0,
            (None, None) => {}
        }
        event.event_id = wire.id;
        event.tags = wire.tags;
        if let Some(source) = wire.source {
            event.source = source;
        }
        event.occurred_at_us = wire.occurred_at_us;
        event.scope = wire.scope;
        event.causation = wire.causation;
        event.correlation = wire.correlation;
        event.schema_version = wire.schema_version.unwrap_or(event.schema_version);
        event.fields = wire.fields;
        event
    }
}

/// An event that an importer proposes, with its control.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Draft")]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "what is sent")]
pub struct WireDraft {
    /// The event.
    pub event: WireEvent,
    /// Its control, as docs/FORMAT.md encodes it.
    pub control: Base64,
    /// Digests to compute and to put into tags or control.
    pub keyed: Vec<WireKeyed>,
}

/// A digest under the scope's lookup key.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Keyed")]
#[serde(deny_unknown_fields)]
pub struct WireKeyed {
    /// Where the digest goes.
    pub target: WireTarget,
    /// The label of the domain separator.
    pub label: String,
    /// What is digested.
    pub parts: Vec<Base64>,
}

/// Where a keyed digest goes.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "KeyedTarget")]
#[serde(rename_all = "snake_case")]
pub enum WireTarget {
    /// A tag with this key.
    Tag(String),
    /// A control field.
    Control(u16),
}

impl From<&Keyed> for WireKeyed {
    fn from(keyed: &Keyed) -> Self {
        Self {
            target: match &keyed.target {
                KeyedTarget::Tag(key) => WireTarget::Tag(key.clone()),
                KeyedTarget::Control(field) => WireTarget::Control(*field),
            },
            label: keyed.label.clone(),
            parts: keyed.parts.iter().cloned().map(Base64).collect(),
        }
    }
}

impl From<WireKeyed> for Keyed {
    fn from(wire: WireKeyed) -> Self {
        Self {
            target: match wire.target {
                WireTarget::Tag(key) => KeyedTarget::Tag(key),
                WireTarget::Control(field) => KeyedTarget::Control(field),
            },
            label: wire.label,
            parts: wire.parts.into_iter().map(|part| part.0).collect(),
        }
    }
}

impl TryFrom<&Draft> for WireDraft {
    type Error = runstone_codec::ControlError;

    fn try_from(draft: &Draft) -> Result<Self, Self::Error> {
        Ok(Self {
            event: WireEvent::from(&draft.event),
            control: Base64(draft.control.encode()?),
            keyed: draft.keyed.iter().map(WireKeyed::from).collect(),
        })
    }
}

impl TryFrom<WireDraft> for Draft {
    type Error = runstone_codec::ControlError;

    fn try_from(wire: WireDraft) -> Result<Self, Self::Error> {
        Ok(Self {
            event: wire.event.into(),
            control: Control::decode(&wire.control.0)?,
            keyed: wire.keyed.into_iter().map(Keyed::from).collect(),
        })
    }
}

/// An event as the log holds it.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Record")]
#[expect(clippy::exhaustive_structs, reason = "what is sent")]
pub struct WireRecord {
    /// Place in the log.
    pub position: u64,
    /// Place in the stream.
    pub revision: u64,
    /// The log's clock, Unix microseconds.
    pub recorded_at_us: u64,
    /// The header, as docs/FORMAT.md encodes it.
    pub header: Base64,
    /// The control, as docs/FORMAT.md encodes it.
    pub control: Base64,
    /// The content.
    pub payload: WirePayload,
}

/// Content of an event.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Payload")]
#[serde(rename_all = "snake_case")]
pub enum WirePayload {
    /// The JSON bytes as they were given.
    Open(Base64),
    /// It was erased.
    Erased,
    /// It is not in this copy of the log.
    Withheld,
    /// It cannot be opened, and why.
    Undecodable(String),
    /// It cannot be opened now, and why.
    Unavailable(String),
    /// It was not asked for.
    Skipped,
}

impl From<&Payload> for WirePayload {
    fn from(payload: &Payload) -> Self {
        match payload {
            Payload::Open(bytes) => Self::Open(Base64(bytes.clone())),
            Payload::Erased => Self::Erased,
            Payload::Withheld => Self::Withheld,
            Payload::Undecodable(why) => Self::Undecodable(why.clone()),
            Payload::Unavailable(why) => Self::Unavailable(why.clone()),
            Payload::Skipped => Self::Skipped,
        }
    }
}

impl From<WirePayload> for Payload {
    fn from(wire: WirePayload) -> Self {
        match wire {
            WirePayload::Open(bytes) => Self::Open(bytes.0),
            WirePayload::Erased => Self::Erased,
            WirePayload::Withheld => Self::Withheld,
            WirePayload::Undecodable(why) => Self::Undecodable(why),
            WirePayload::Unavailable(why) => Self::Unavailable(why),
            WirePayload::Skipped => Self::Skipped,
        }
    }
}

impl TryFrom<&Record> for WireRecord {
    type Error = ReadError;

    fn try_from(record: &Record) -> Result<Self, ReadError> {
        let (header, control) = record.parts()?;
        Ok(Self {
            position: record.position.get(),
            revision: record.revision.get(),
            recorded_at_us: record.recorded_at_us,
            header: Base64(header),
            control: Base64(control),
            payload: (&record.payload).into(),
        })
    }
}

impl TryFrom<WireRecord> for Record {
    type Error = ReadError;

    fn try_from(wire: WireRecord) -> Result<Self, ReadError> {
        let place = (wire.position, wire.revision, wire.recorded_at_us);
        let parts = (wire.header.0.as_slice(), wire.control.0.as_slice());
        Self::of_parts(place, parts, wire.payload.into())
    }
}

/// An event, or why it cannot be read.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "what is sent")]
pub enum WireItem {
    /// The event.
    Record(Box<WireRecord>),
    /// What is wrong with it.
    Error(Told),
}

impl From<&Item> for WireItem {
    fn from(item: &Item) -> Self {
        let record = match item {
            Ok(record) => WireRecord::try_from(record.as_ref()),
            Err(error) => return Self::Error(error.told()),
        };
        match record {
            Ok(record) => Self::Record(Box::new(record)),
            Err(error) => Self::Error(error.told()),
        }
    }
}

impl From<WireItem> for Item {
    fn from(item: WireItem) -> Self {
        match item {
            WireItem::Record(record) => Record::try_from(*record).map(Arc::new),
            WireItem::Error(told) => Err(ReadError::of(told)),
        }
    }
}

/// 32 bytes as hexadecimal digits.
pub(crate) mod hex32 {
    use crate::hex::{hex, unhex};
    use serde::{Deserialize, Deserializer, Serializer, de};
    use std::borrow::Cow;

    pub(crate) fn serialize<S: Serializer>(
        bytes: &[u8; 32],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; 32], D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        unhex(&text).ok_or_else(|| de::Error::custom("64 hexadecimal digits are expected"))
    }
}
