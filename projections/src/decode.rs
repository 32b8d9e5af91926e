//! Records, read as typed events.

use crate::upcasters;
use runstone_codec::TypedEvent;
use runstone_store::{ContentError, Record};

/// Reads a record as a typed event.
///
/// ```
/// use runstone_codec::NewEvent;
/// use runstone_projections::DecodeRecord as _;
/// use runstone_projections::events::ChatMessage;
/// use runstone_store::{CreateOptions, Log, OpenOptions};
///
/// let log = Log::memory(&CreateOptions::default(), OpenOptions::default())?;
/// let asked = ChatMessage::new("user").text("2 + 2?");
/// let asked = log.append_blocking(NewEvent::typed(&asked, "sum")?)?;
///
/// let said: ChatMessage = log.record(asked.first)?.decode()?;
/// assert_eq!(said.role, "user");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait DecodeRecord {
    /// The event as a Rust type. What was recorded as an older version of an event that is known
    /// here is taken to the newest by the [known steps](crate::upcasters); types of one's own that
    /// have older versions are read with [`Record::decode_with`].
    ///
    /// # Errors
    ///
    /// [`ContentError`] if the content is not open, or the event is of another type or of a later
    /// version.
    fn decode<T: TypedEvent>(&self) -> Result<T, ContentError>;
}

impl DecodeRecord for Record {
    fn decode<T: TypedEvent>(&self) -> Result<T, ContentError> {
        self.decode_with(&upcasters())
    }
}
