//! Cosignatures of witnesses (<https://c2sp.org/tlog-cosignature>), Ed25519, type 0x04.
//!
//! ```text
//! line      <em dash> <key name> <base64(key id(4) || u64 time || Ed25519 signature(64))>
//! signed    "cosignature/v1\ntime <time, decimal>\n" || text of the note
//! ```

use core::fmt;
use core::str::FromStr;

use super::key::NamedKey;
use super::{KeyPair, NoteError, NoteSignature};

/// Signature type byte of cosignatures.
const COSIGNATURE: u8 = 0x04;
/// Latest time of a cosignature, in seconds since the Unix epoch.
const MAX_TIME_S: u64 = i64::MAX.unsigned_abs();

/// A witness's public key, written `name+hash+base64(0x04 || public key)`.
#[derive(Clone, PartialEq, Eq)]
pub struct CosignerKey(NamedKey);

impl CosignerKey {
    /// The public key under a name.
    ///
    /// # Errors
    ///
    /// [`NoteError`] when the name breaks the rules or the key is none.
    pub fn new(name: &str, public_key: &[u8; 32]) -> Result<Self, NoteError> {
        NamedKey::new(COSIGNATURE, name, public_key).map(Self)
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// First four bytes of `SHA-256(name || 0x0A || 0x04 || public key)`.
    pub fn key_id(&self) -> [u8; 4] {
        self.0.key_id()
    }

    /// The public key.
    pub fn public_key(&self) -> [u8; 32] {
        self.0.public_key()
    }

    /// Whether a signature line names this key.
    pub fn matches(&self, signature: &NoteSignature) -> bool {
        self.0.matches(signature)
    }

    /// Checks the cosignature of a checkpoint's text.
    ///
    /// # Errors
    ///
    /// [`NoteError::BadSignature`] when it is not 72 bytes or does not verify strictly,
    /// [`NoteError::Time`] when its time is beyond 2^63 - 1.
    pub fn verify(&self, text: &str, signature: &NoteSignature) -> Result<Cosignature, NoteError> {
        let name = || self.name().to_owned();
        let bad = || NoteError::BadSignature { name: name() };
        let (time, bytes) = signature.signature().split_first_chunk().ok_or_else(bad)?;
        let time_s = u64::from_be_bytes(*time);
        if time_s > MAX_TIME_S {
            return Err(NoteError::Time { name: name() });
        }
        self.0.verify(message(text, time_s).as_bytes(), bytes)?;
        Ok(Cosignature {
            key: self.clone(),
            time_s,
        })
    }
}

impl fmt::Display for CosignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for CosignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CosignerKey({self})")
    }
}

impl FromStr for CosignerKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        NamedKey::parse(COSIGNATURE, text).map(Self)
    }
}

/// A witness's statement, verified: of all trees of this log that it has seen by then, this is
/// the largest, and it holds all smaller ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosignature {
    key: CosignerKey,
    time_s: u64,
}

impl Cosignature {
    /// The witness.
    pub fn key(&self) -> &CosignerKey {
        &self.key
    }

    /// When, in seconds since the Unix epoch: the witness's claim.
    pub fn time_s(&self) -> u64 {
        self.time_s
    }
}

/// A witness's key pair. The secret is overwritten when it is dropped.
///
/// It signs what it is given; a witness checks consistency before.
pub struct Cosigner {
    pair: KeyPair,
    key: CosignerKey,
}

impl Cosigner {
    /// The witness of a name and a 32-byte seed.
    ///
    /// # Errors
    ///
    /// [`NoteError::Name`] when the name breaks the rules of [`super::check_name`].
    pub fn new(name: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        let pair = KeyPair::from_seed(seed);
        let key = CosignerKey::new(name, &pair.public_key())?;
        Ok(Self { pair, key })
    }

    /// The public key.
    pub fn key(&self) -> &CosignerKey {
        &self.key
    }

    /// Signs a checkpoint's text at a time in seconds since the Unix epoch.
    ///
    /// # Errors
    ///
    /// [`NoteError::Time`] beyond 2^63 - 1.
    pub fn cosign(&self, text: &str, time_s: u64) -> Result<NoteSignature, NoteError> {
        let name = self.key.name().to_owned();
        if time_s > MAX_TIME_S {
            return Err(NoteError::Time { name });
        }
        let signature = self.pair.sign_message(message(text, time_s).as_bytes());
        let timestamped = [time_s.to_be_bytes().as_slice(), &signature].concat();
        Ok(NoteSignature::new(name, self.key.key_id(), timestamped))
    }
}

impl fmt::Debug for Cosigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cosigner({}, redacted)", self.key)
    }
}

fn message(text: &str, time_s: u64) -> String {
    format!("cosignature/v1\ntime {time_s}\n{text}")
}
