//! Opening what is sealed.

use super::reader::{open_control, parse_entry};
use crate::chunk::RawEvent;
use crate::error::ReadError;
use crate::fold::{FoldRecord, Payload};
use crate::identity::Identity;
use crate::keys::KeyError;
use runstone_codec::keys::DataKey;
use runstone_codec::{
    Control, ControlValue, Digest32, Entry, Header, OpenError, Position, Revision, Text, seal,
};
use std::sync::Arc;

/// What a payload reads as that is not opened: erased if an erasure covers it, whatever is left of
/// it; withheld if it is not there and none does.
fn absent(identity: &Identity, position: u64, header: &Header, envelope: &[u8]) -> Option<Payload> {
    if identity.is_erased(position, header) {
        return Some(Payload::Erased);
    }
    envelope.is_empty().then_some(Payload::Withheld)
}

/// Opens the content of one event for a fold.
pub(crate) fn open_payload(
    identity: &Identity,
    position: u64,
    header_bytes: &[u8],
    header: &Header,
    envelope: &[u8],
    commit: &[u8; 32],
) -> Payload {
    if let Some(absent) = absent(identity, position, header, envelope) {
        return absent;
    }
    let key = match key_of(identity, header) {
        Ok(key) => key,
        // The table says that there is no such key.
        Err(error @ KeyError::Missing { .. }) => return Payload::Undecodable(error.to_string()),
        // Anything else says nothing about the event.
        Err(error) => return Payload::Unavailable(error.to_string()),
    };
    let opened = seal::open(
        &identity.log_id,
        header_bytes,
        header,
        envelope,
        commit,
        key.as_deref(),
    );
    match opened {
        Ok(bytes) => Payload::Open(bytes),
        Err(error) => Payload::Undecodable(error.to_string()),
    }
}

/// Opens the content of one event, with the reason as an error.
pub(crate) fn try_open(
    identity: &Identity,
    position: u64,
    header_bytes: &[u8],
    header: &Header,
    envelope: &[u8],
    commit: &[u8; 32],
) -> Result<Payload, PayloadFailure> {
    if let Some(absent) = absent(identity, position, header, envelope) {
        return Ok(absent);
    }
    let key = key_of(identity, header)?;
    seal::open(
        &identity.log_id,
        header_bytes,
        header,
        envelope,
        commit,
        key.as_deref(),
    )
    .map(Payload::Open)
    .map_err(PayloadFailure::Open)
}

/// Opens the content of one event and checks that the commitment is to it. False if it reads as absent.
pub(crate) fn check_content(
    identity: &Identity,
    entry: &Entry<'_>,
    raw: RawEvent<'_>,
) -> Result<bool, PayloadFailure> {
    let header = entry.header();
    if absent(identity, raw.position, header, raw.envelope).is_some() {
        return Ok(false);
    }
    let key = key_of(identity, header)?;
    seal::check_commitment(
        &identity.log_id,
        entry.header_bytes(),
        header,
        raw.envelope,
        entry.commit(),
        key.as_deref(),
    )
    .map(|()| true)
    .map_err(PayloadFailure::Open)
}

/// The key that the header names, if it names one.
pub(crate) fn key_of(
    identity: &Identity,
    header: &Header,
) -> Result<Option<Arc<DataKey>>, KeyError> {
    let key_id = header.key_id.as_ref();
    key_id.map(|id| identity.keys.data_key(id)).transpose()
}

impl PayloadFailure {
    /// What a read says of it.
    pub(crate) fn at(self, position: u64) -> ReadError {
        match self {
            Self::Key { code, message } => ReadError::Keys {
                position,
                code,
                message,
            },
            Self::Open(error) => ReadError::payload(position, &error),
        }
    }
}

impl From<KeyError> for PayloadFailure {
    fn from(error: KeyError) -> Self {
        Self::Key {
            code: error.code(),
            message: error.to_string(),
        }
    }
}

/// Why content cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PayloadFailure {
    #[error("{message}")]
    Key { code: &'static str, message: String },
    #[error(transparent)]
    Open(OpenError),
}

/// An event that was read and is to be folded, where its bytes may be looked up once more: the header is not
/// decoded a second time.
#[derive(Debug)]
pub(crate) struct Unfolded {
    revision: Revision,
    recorded_at_us: u64,
    header: Header,
    control: Control,
    /// Of the entry.
    header_bytes: usize,
    commit: Digest32,
}

impl Unfolded {
    /// `control`: its control fields, opened.
    pub(crate) fn new(entry: Entry<'_>, control: Control) -> Self {
        Self {
            revision: entry.revision(),
            recorded_at_us: entry.recorded_at_us(),
            control,
            header_bytes: entry.header_bytes().len(),
            commit: *entry.commit(),
            header: entry.into_header(),
        }
    }

    /// Reads the event at its place.
    pub(crate) fn read(identity: &Identity, raw: RawEvent<'_>) -> Result<Self, ReadError> {
        let entry = parse_entry(raw)?;
        let control = open_control(identity, &entry)?;
        Ok(Self::new(entry, control))
    }

    /// Bytes of memory that it owns besides its own, or a few more.
    pub(crate) fn heap_bytes(&self) -> usize {
        let tags = self.header.tags.capacity() * size_of::<Text>();
        // Nodes of the map have room for 11 fields each, and most of them are half full or more.
        let room = (2 * self.control.len()).next_multiple_of(11);
        let values = self.control.iter().map(|(_, value)| match value {
            ControlValue::U64(_) => 0,
            ControlValue::Bytes(bytes) => bytes.len(),
            ControlValue::Text(text) => text.len(),
        });
        let control = room * size_of::<(u16, ControlValue)>() + values.sum::<usize>();
        // Its texts are parts of the header's bytes.
        self.header_bytes + tags + control
    }

    /// Shows the event as folds see it; `raw` is what it was read from.
    pub(crate) fn fold(
        &self,
        identity: &Identity,
        raw: RawEvent<'_>,
        action: impl FnOnce(&FoldRecord<'_>),
    ) {
        let open = || {
            open_payload(
                identity,
                raw.position,
                raw.entry.get(..self.header_bytes).unwrap_or_default(),
                &self.header,
                raw.envelope,
                &self.commit,
            )
        };
        action(&FoldRecord {
            position: Position::new(raw.position),
            revision: self.revision,
            recorded_at_us: self.recorded_at_us,
            header: &self.header,
            control: &self.control,
            open: &open,
        });
    }
}
