//! What a caller proposes, and the rules that it must keep.

mod draft;
mod error;
mod json;
mod limits;

use std::fmt;

use serde::Serialize;
use uuid::Uuid;

pub use draft::{Draft, Keyed, KeyedTarget};
pub use error::EventError;
pub use json::MAX_JSON_DEPTH;
pub use limits::EventLimits;

use crate::authority::Authority;
use crate::field::{Field, check_name, check_tag, check_type};
use crate::header::{CODEC_AES_256_GCM, CODEC_PLAIN, Header};
use crate::ids::KeyId;
use crate::schema::TypedEvent;
use crate::text::Text;

/// The scope of an event that names none, in a stream that has none.
pub const DEFAULT_SCOPE: &str = "default";
/// Scope of what the log says of itself: no erasure removes it.
pub const LOG_SCOPE: &str = "_log";
/// The source of an event that names none.
pub const DEFAULT_SOURCE: &str = "runstone";

/// An event as a caller proposes it. Position, revision, time, principal and authority are the
/// log's to add.
///
/// ```
/// use runstone_codec::event::{EventLimits, NewEvent};
///
/// let mut event = NewEvent::new("tool.call.requested", "run-7")
///     .source("planner")
///     .tag("tool:search")
///     .payload(br#"{"query":"tides"}"#.as_slice());
/// event.check(&EventLimits::default())?;
/// # Ok::<(), runstone_codec::event::EventError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewEvent {
    /// Its id; without one the log mints a version 7 UUID, and the append is not idempotent.
    pub event_id: Option<Uuid>,
    /// The stream that it belongs to.
    pub stream: String,
    /// Its type: `segment(.segment)+`.
    pub event_type: String,
    /// The version of the payload's schema.
    pub schema_version: u32,
    /// When it occurred by the producer's clock, in Unix microseconds.
    pub occurred_at_us: Option<u64>,
    /// The producer's word for itself.
    pub source: String,
    /// The event that caused it.
    pub causation: Option<Uuid>,
    /// The event that it belongs together with.
    pub correlation: Option<Uuid>,
    /// What one erasure removes; `None` is the stream's, [`DEFAULT_SCOPE`] for a new stream.
    pub scope: Option<String>,
    /// Tags `key:value`. They are never erased: no personal data.
    pub tags: Vec<String>,
    /// The payload: JSON, kept byte for byte.
    pub payload: Vec<u8>,
    /// Whether top-level members are to be disclosable one by one.
    pub fields: bool,
}

impl NewEvent {
    /// An event with the payload `{}`, schema version 1 and the source [`DEFAULT_SOURCE`].
    pub fn new(event_type: impl Into<String>, stream: impl Into<String>) -> Self {
        Self {
            event_id: None,
            stream: stream.into(),
            event_type: event_type.into(),
            schema_version: 1,
            occurred_at_us: None,
            source: DEFAULT_SOURCE.to_owned(),
            causation: None,
            correlation: None,
            scope: None,
            tags: Vec::new(),
            payload: b"{}".to_vec(),
            fields: false,
        }
    }

    /// An event of a Rust type: its type name, schema version, payload and disclosability.
    ///
    /// # Errors
    /// [`EventError::Serialize`] if the value does not serialize to JSON.
    pub fn typed<T: TypedEvent>(value: &T, stream: impl Into<String>) -> Result<Self, EventError> {
        Self::new(T::TYPE, stream)
            .schema_version(T::VERSION)
            .fields(T::DISCLOSABLE)
            .json(value)
    }

    /// Sets the id, which makes the append idempotent.
    #[must_use]
    pub fn id(mut self, id: Uuid) -> Self {
        self.event_id = Some(id);
        self
    }

    /// Sets the version of the payload's schema.
    #[must_use]
    pub fn schema_version(mut self, version: u32) -> Self {
        self.schema_version = version;
        self
    }

    /// Sets when it occurred, in Unix microseconds.
    #[must_use]
    pub fn occurred_at_us(mut self, unix_us: u64) -> Self {
        self.occurred_at_us = Some(unix_us);
        self
    }

    /// Sets the producer's word for itself.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = source.into();
        self
    }

    /// Sets the event that caused it.
    #[must_use]
    pub fn causation(mut self, id: Uuid) -> Self {
        self.causation = Some(id);
        self
    }

    /// Sets the event that it belongs together with.
    #[must_use]
    pub fn correlation(mut self, id: Uuid) -> Self {
        self.correlation = Some(id);
        self
    }

    /// Sets what one erasure removes.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// Adds a tag `key:value`.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Adds tags `key:value`.
    #[must_use]
    pub fn tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.tags.extend(tags.into_iter().map(Into::into));
        self
    }

    /// Sets the payload: JSON bytes, kept as they are.
    #[must_use]
    pub fn payload(mut self, json: impl Into<Vec<u8>>) -> Self {
        self.payload = json.into();
        self
    }

    /// Sets the payload to a value's JSON.
    ///
    /// # Errors
    /// [`EventError::Serialize`] if the value does not serialize to JSON.
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Result<Self, EventError> {
        let json = serde_json::to_vec(value).map_err(|error| EventError::Serialize {
            reason: error.to_string(),
        })?;
        Ok(self.payload(json))
    }

    /// Sets whether top-level members are to be disclosable one by one.
    #[must_use]
    pub fn fields(mut self, fields: bool) -> Self {
        self.fields = fields;
        self
    }

    /// Checks every rule of a proposed event but the size of its header, and sorts its tags. The
    /// namespace is not looked at: see [`crate::namespace::is_owned`].
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(&mut self, limits: &EventLimits) -> Result<(), EventError> {
        check_type(&self.event_type)?;
        check_name(Field::Stream, &self.stream)?;
        check_name(Field::Source, &self.source)?;
        if let Some(scope) = &self.scope {
            check_name(Field::Scope, scope)?;
        }
        let (found, max) = (self.tags.len(), limits.tags);
        if found > max {
            return Err(EventError::TooManyTags { found, max });
        }
        self.tags.iter().try_for_each(|tag| check_tag(tag))?;
        self.tags.sort_unstable();
        if !self.tags.is_sorted_by(|one, next| one < next) {
            return Err(EventError::DuplicateTag);
        }
        let (bytes, max) = (self.payload.len(), limits.max_payload_bytes());
        if bytes > max {
            return Err(EventError::PayloadTooLarge { bytes, max });
        }
        json::check(&self.payload)
    }

    /// The header of this event. What the log adds: the id where the event has none, the stream's
    /// scope, who stands behind it, and the key that seals the payload. Tags stay in their order:
    /// [`Header::encode`] wants them sorted, as [`NewEvent::check`] leaves them.
    pub fn header(
        &self,
        event_id: Uuid,
        scope: &str,
        principal: &str,
        authority: Authority,
        key_id: Option<KeyId>,
    ) -> Header {
        Header {
            event_id,
            stream: self.stream.as_str().into(),
            event_type: self.event_type.as_str().into(),
            schema_version: self.schema_version,
            occurred_at_us: self.occurred_at_us,
            source: self.source.as_str().into(),
            principal: principal.into(),
            authority,
            causation: self.causation,
            correlation: self.correlation,
            scope: scope.into(),
            tags: self.tags.iter().map(Text::from).collect(),
            codec: if key_id.is_some() {
                CODEC_AES_256_GCM
            } else {
                CODEC_PLAIN
            },
            key_id,
        }
    }
}

/// Shows the payload's length only: payloads are sealed on disk, so they must not leak through logs.
impl fmt::Debug for NewEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewEvent")
            .field("event_id", &self.event_id)
            .field("stream", &self.stream)
            .field("event_type", &self.event_type)
            .field("schema_version", &self.schema_version)
            .field("occurred_at_us", &self.occurred_at_us)
            .field("source", &self.source)
            .field("causation", &self.causation)
            .field("correlation", &self.correlation)
            .field("scope", &self.scope)
            .field("tags", &self.tags)
            .field("payload_bytes", &self.payload.len())
            .field("fields", &self.fields)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::FieldError;

    fn event() -> NewEvent {
        NewEvent::new("chat.message", "run-1")
    }

    fn check(mut event: NewEvent) -> Result<(), EventError> {
        event.check(&EventLimits::default())
    }

    #[test]
    fn defaults_pass() {
        let mut one = event();
        assert_eq!(one.check(&EventLimits::default()), Ok(()));
        assert_eq!(
            (
                one.source.as_str(),
                one.schema_version,
                one.payload.as_slice(),
                one.fields
            ),
            ("runstone", 1, b"{}".as_slice(), false)
        );
    }

    #[test]
    fn tags_are_sorted_and_unique() {
        let mut one = event().tags(["b:2", "a:1"]).tag("a:0");
        one.check(&EventLimits::default()).unwrap();
        assert_eq!(one.tags, ["a:0", "a:1", "b:2"]);
        assert_eq!(
            check(event().tags(["b:2", "a:1", "b:2"])),
            Err(EventError::DuplicateTag)
        );
        let many = event().tags((0..65).map(|n| format!("n:{n}")));
        assert_eq!(
            check(many),
            Err(EventError::TooManyTags { found: 65, max: 64 })
        );
        let bad = EventError::Field(FieldError::TagKey);
        assert_eq!(check(event().tag("no colon")), Err(bad.clone()));
        assert_eq!(bad.code(), "bad_tag");
    }

    #[test]
    fn every_field_is_checked() {
        for bad in [
            NewEvent::new("chat", "s"),
            NewEvent::new("chat.message", ""),
            event().source("a\nb"),
            event().scope("s".repeat(256)),
        ] {
            assert!(matches!(check(bad), Err(EventError::Field(_))));
        }
    }

    #[test]
    fn the_bound_on_payloads_is_the_smaller_of_the_chosen_and_the_formats() {
        let mut limits = EventLimits {
            payload_bytes: 4,
            ..EventLimits::default()
        };
        assert_eq!(event().payload(b"true".as_slice()).check(&limits), Ok(()));
        assert_eq!(
            event().payload(b"false".as_slice()).check(&limits),
            Err(EventError::PayloadTooLarge { bytes: 5, max: 4 })
        );
        limits.payload_bytes = usize::MAX;
        assert_eq!(
            limits.max_payload_bytes(),
            crate::payload::MAX_PAYLOAD_BYTES
        );
    }

    #[test]
    fn json_that_cannot_be_written_is_an_error() {
        let map = std::collections::BTreeMap::from([((1, 2), 3)]);
        assert!(matches!(
            event().json(&map),
            Err(EventError::Serialize { .. })
        ));
        assert_eq!(event().json(&["a"]).unwrap().payload, br#"["a"]"#);
    }

    #[test]
    fn debug_does_not_show_the_payload() {
        let shown = format!("{:?}", event().payload(b"\"secret\"".as_slice()));
        assert!(
            !shown.contains("secret") && shown.contains("payload_bytes: 8"),
            "{shown}"
        );
    }
}
