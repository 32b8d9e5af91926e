//! From payloads to drafts: what all imported events have in common.

use runstone_codec::TypedEvent;
use runstone_codec::event::{Draft, NewEvent};
use serde::Serialize;
use uuid::Uuid;

use crate::events::{LlmCallCompleted, RunFinished, RunStarted, control};
use crate::format::Format;
use crate::identity::event_id;
use crate::reject::RejectReason;

/// Most bytes of a source: the header's bound on names.
const MAX_SOURCE_BYTES: usize = 255;

/// The name of a record's first event. It is the same for every type of record, so that a child
/// knows its parent's id.
pub(crate) const PRIMARY: &str = "record";

/// Where the events of one record go and what they have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Drafting<'a> {
    pub(crate) format: Format,
    pub(crate) stream: &'a str,
    /// The stream within which `record` is unique.
    pub(crate) domain: &'a str,
    pub(crate) record: &'a str,
    pub(crate) occurred_at_us: Option<u64>,
    pub(crate) source: Option<&'a str>,
}

impl Drafting<'_> {
    /// The id of the part of that name.
    pub(crate) fn id(&self, part: &str) -> Uuid {
        event_id(self.format, self.domain, self.record, part)
    }

    /// An event of a known type.
    pub(crate) fn draft<T: TypedEvent>(
        &self,
        part: &str,
        causation: Option<Uuid>,
        payload: &T,
    ) -> Result<Draft, RejectReason> {
        let mut draft = self.of_type(T::TYPE, part, causation, payload)?;
        draft.event.schema_version = T::VERSION;
        Ok(draft)
    }

    /// An event of the type `event_type`.
    pub(crate) fn of_type<T: Serialize>(
        &self,
        event_type: &str,
        part: &str,
        causation: Option<Uuid>,
        payload: &T,
    ) -> Result<Draft, RejectReason> {
        let mut event = NewEvent::new(event_type, self.stream)
            .id(self.id(part))
            .source(self.source())
            .tag(format!("{}:{}", control::IMPORTED, self.format))
            .json(payload)?;
        event.occurred_at_us = self.occurred_at_us;
        event.causation = causation;
        Ok(Draft::new(event))
    }

    /// The beginning of a run.
    pub(crate) fn started(
        &self,
        part: &str,
        causation: Option<Uuid>,
        parent: Option<&str>,
        payload: &RunStarted,
    ) -> Result<Draft, RejectReason> {
        let control = RunStarted::control(parent);
        let draft = self.draft(part, causation, payload)?;
        Ok(draft.control(control).keyed(payload.keyed()))
    }

    /// The end of a run.
    pub(crate) fn finished(
        &self,
        part: &str,
        causation: Option<Uuid>,
        payload: &RunFinished,
    ) -> Result<Draft, RejectReason> {
        let control = payload.control();
        Ok(self.draft(part, causation, payload)?.control(control))
    }

    /// The report of a model call.
    pub(crate) fn llm_call(
        &self,
        part: &str,
        causation: Option<Uuid>,
        payload: &LlmCallCompleted,
    ) -> Result<Draft, RejectReason> {
        Ok(self
            .draft(part, causation, payload)?
            .control(payload.control())
            .keyed(payload.keyed()))
    }

    /// The producer's word for itself, unless it does not fit into a header.
    fn source(&self) -> &str {
        let fits = |name: &&str| {
            (1..=MAX_SOURCE_BYTES).contains(&name.len()) && !name.chars().any(char::is_control)
        };
        self.source
            .filter(fits)
            .unwrap_or_else(|| self.format.as_str())
    }
}

/// A record type as a segment of an event type.
pub(crate) fn segment(record_type: &str) -> String {
    const MAX_BYTES: usize = 48;
    let word = |one: char| {
        if one.is_ascii_alphanumeric() {
            one.to_ascii_lowercase()
        } else {
            '_'
        }
    };
    let text: String = record_type.chars().map(word).take(MAX_BYTES).collect();
    if text.starts_with(|first: char| first.is_ascii_lowercase()) {
        text
    } else {
        format!("r{text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_keep_the_grammar_of_types() {
        assert_eq!(segment("file-history-snapshot"), "file_history_snapshot");
        assert_eq!(segment("Queue.Op"), "queue_op");
        assert_eq!(
            (segment(""), segment("9x"), segment("\u{e9}")),
            ("r".into(), "r9x".into(), "r_".into())
        );
        assert_eq!(segment(&"x".repeat(500)).len(), 48);
    }

    #[test]
    fn a_source_that_does_not_fit_is_the_format() {
        let mut drafting = Drafting {
            format: Format::Messages,
            stream: "s",
            domain: "s",
            record: "r",
            occurred_at_us: None,
            source: Some("gpt"),
        };
        assert_eq!(drafting.source(), "gpt");
        let long = "x".repeat(256);
        for bad in ["", "a\nb", &long] {
            drafting.source = Some(bad);
            assert_eq!(drafting.source(), "messages");
        }
    }
}
