//! Signed notes (<https://c2sp.org/signed-note>) with Ed25519 keys.
//!
//! ```text
//! text, one or more lines
//!                                        one empty line
//! <em dash> <key name> <base64(key id(4) || signature)>
//! ```

mod cosignature;
mod error;
mod key;
mod signed;

pub use cosignature::{Cosignature, Cosigner, CosignerKey};
pub use error::NoteError;
pub use key::{KeyPair, Signer, Vkey, verify_message};
pub use signed::{MAX_NOTE_LEN, MAX_SIGNATURES, NoteSignature, SignedNote};

/// Longest key name in bytes: it is a log's origin.
pub const MAX_NAME_LEN: usize = 255;

/// Checks a key name, which is also a log's origin: 1 to 255 bytes, no space, no plus sign, no
/// control character.
///
/// # Errors
///
/// [`NoteError::Name`].
pub fn check_name(name: &str) -> Result<(), NoteError> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if name.is_empty() || name.len() > MAX_NAME_LEN || name.chars().any(bad) {
        return Err(NoteError::Name);
    }
    Ok(())
}
