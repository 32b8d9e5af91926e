//! What an event's header says that it can be found by.

use super::term::TermBuffer;
use runstone_codec::{Header, Text};

/// Fills `terms` with the terms of an event.
pub(crate) fn terms_of(header: &Header, terms: &mut TermBuffer) {
    terms.set(
        header.event_id.as_bytes(),
        &header.stream,
        &header.event_type,
        header.tags.iter().map(Text::as_str),
    );
}
