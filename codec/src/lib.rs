//! Bytes and values of the Runstone log.
//!
//! ```text
//!  NewEvent --check--> Header --encode--> H ------------+
//!                                         |             |
//!  payload --commit--> COMMIT ------------+-------------+--> E (entry) --leaf_hash--> leaf
//!     |                   |               |             |     ^
//!     +--P = R, mode, body--seal--> envelope --digest--> DIGEST |
//!                                                       position, revision, time, control
//! ```
//!
//! Everything here is a function from bytes to values or back: no files, no clock, no randomness
//! that is not passed in. Whatever comes from bytes is decoded strictly: a value has one encoding,
//! and bytes that are not exactly that encoding are an error, never a panic.
//!
//! ```
//! use runstone_codec::{Authority, Header, LogId, NewEvent, Position, Revision, uuid_v7};
//! # #[cfg(feature = "seal")] {
//! use runstone_codec::payload::PayloadSpec;
//! use runstone_codec::{Entry, EntryParts, encode_entry, seal};
//!
//! let event = NewEvent::new("chat.message", "run-7").payload(br#"{"role":"user"}"#.as_slice());
//! let id = uuid_v7(1_764_000_000_000, &[7; 10]);
//! let header = event.header(id, "default", "system:keyring", Authority::System, None);
//! let log_id = LogId::new([1; 16]);
//! let spec = PayloadSpec::default();
//! let sealed = seal::seal(&log_id, &header, &event.payload, spec, None, [2; 32], [3; 12])?;
//!
//! let mut bytes = Vec::new();
//! let parts = EntryParts {
//!     header: &sealed.header,
//!     position: Position::new(1),
//!     revision: Revision::new(0),
//!     recorded_at_us: 1_764_000_000_000_000,
//!     control: &[],
//!     commit: &sealed.commit,
//!     digest: &sealed.digest,
//! };
//! encode_entry(&parts, &mut bytes)?;
//! let entry = Entry::parse(&bytes)?;
//! assert_eq!(entry.header(), &header);
//! let payload =
//!     seal::open(&log_id, entry.header_bytes(), &header, &sealed.envelope, entry.commit(), None)?;
//! assert_eq!(payload, event.payload);
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The feature `seal` (default) adds what needs AES, zstd or the operating system's randomness.
//! Without it the crate reads entries and digests, which is what an auditor needs.

#[cfg(feature = "seal")]
mod aead;
mod authority;
pub mod control;
mod entropy;
mod entry;
pub mod envelope;
pub mod event;
pub mod field;
pub mod hash;
mod header;
mod ids;
mod items;
pub mod keys;
pub mod namespace;
pub mod payload;
#[cfg(feature = "seal")]
pub mod row;
pub mod schema;
#[cfg(feature = "seal")]
pub mod seal;
mod text;
mod texts;
#[cfg(test)]
mod vectors;

pub use authority::{Authority, ParseAuthorityError};
pub use control::{Control, ControlError, ControlValue};
#[cfg(feature = "seal")]
pub use entropy::OsEntropy;
pub use entropy::{Entropy, EntropyError};
pub use entry::{Entry, EntryError, EntryParts, encode_entry};
pub use envelope::{EnvelopeError, envelope_digest};
pub use event::{Draft, EventError, EventLimits, Keyed, KeyedTarget, NewEvent};
pub use hash::Digest32;
pub use header::{
    CODEC_AES_256_GCM, CODEC_PLAIN, HEADER_VERSION, Header, HeaderError, MAX_HEADER_BYTES,
};
pub use ids::{KeyId, LogId, ParseIdError, Position, Revision, uuid_v7};
pub use payload::{Compression, PayloadSpec};
pub use schema::{Schema, SchemaError, TypedEvent, UpcastError, Upcasters};
pub use schemars;
#[cfg(feature = "seal")]
pub use seal::{OpenError, SealError, Sealed, Tampering};
pub use text::Text;
pub use uuid::Uuid;
