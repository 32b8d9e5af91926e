//! Keys of a log: secret types, wrapping, the key table and the provider that holds
//! key-encryption keys.
//!
//! ```text
//! KEK (at a provider)  wraps ->  per scope: a data key a generation, one lookup key
//!                                per log:   operations key, fold key, MAC key
//! ```
//!
//! Parsing a table needs no cryptography, so it works without the feature `seal`; wrapping
//! and unwrapping need it.

mod digest;
mod provider;
mod row;
mod secret;
mod table;
#[cfg(feature = "seal")]
mod wrap;

pub use digest::{KEYED_DIGEST_LEN, keyed_digest};
pub use provider::{Destroyed, KeyProvider, Outage, ProviderError};
pub use row::{KeyKind, KeyRow, KeyState, NONCE_LEN, wrap_aad};
pub use secret::{
    DataKey, FoldKey, KEY_LEN, KeyEncryptionKey, KeyLengthError, LookupKey, MacKey, OperationsKey,
    SecretBytes,
};
pub use table::{KeyTable, MAX_KEK_ID_LEN, MAX_TABLE_LEN, MAX_WRAPPED_LEN, TableError};
#[cfg(feature = "seal")]
pub use wrap::{WrapError, unwrap, wrap};
