//! Secret bytes that are overwritten when dropped and never shown by `Debug`.

use core::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

#[cfg(feature = "seal")]
use crate::aead::Cipher;
use crate::{Entropy, EntropyError, KeyId};
#[cfg(feature = "seal")]
use std::sync::OnceLock;

/// Length of every symmetric key in bytes.
pub const KEY_LEN: usize = 32;

/// A key was not exactly [`KEY_LEN`] bytes long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key has {found} bytes where 32 are expected")]
#[non_exhaustive]
pub struct KeyLengthError {
    /// The length found.
    pub found: usize,
}

impl KeyLengthError {
    /// Stable machine-readable name of the error.
    pub fn code(&self) -> &'static str {
        "key_length"
    }
}

/// 32 secret bytes on the heap: moving the owner leaves no copy behind on the stack.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Secret32(Box<[u8; KEY_LEN]>);

impl Secret32 {
    fn new(mut bytes: [u8; KEY_LEN]) -> Self {
        let boxed = Box::new(bytes);
        bytes.zeroize();
        Self(boxed)
    }

    fn from_slice(bytes: &[u8]) -> Result<Self, KeyLengthError> {
        let mut secret = Self(Box::new([0; KEY_LEN]));
        if bytes.len() != KEY_LEN {
            return Err(KeyLengthError { found: bytes.len() });
        }
        secret.0.copy_from_slice(bytes);
        Ok(secret)
    }

    fn generate(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut secret = Self(Box::new([0; KEY_LEN]));
        entropy.fill(secret.0.as_mut_slice())?;
        Ok(secret)
    }
}

macro_rules! secret_key {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(ZeroizeOnDrop)]
        pub struct $name(Secret32);

        impl $name {
            /// Takes the key's bytes.
            pub fn new(bytes: [u8; KEY_LEN]) -> Self {
                Self(Secret32::new(bytes))
            }

            /// Copies the key from a slice of exactly 32 bytes.
            ///
            /// # Errors
            ///
            /// [`KeyLengthError`] for any other length.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, KeyLengthError> {
                Secret32::from_slice(bytes).map(Self)
            }

            /// Draws a new key.
            ///
            /// # Errors
            ///
            /// What the source of randomness answers.
            pub fn generate(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
                Secret32::generate(entropy).map(Self)
            }

            /// The secret bytes. Do not copy them into memory that is not overwritten.
            pub fn as_bytes(&self) -> &[u8; KEY_LEN] {
                &self.0.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(redacted)"))
            }
        }
    };
}

secret_key!(
    /// Makes the keyed digests of one scope; never rotated, destroyed with the scope.
    LookupKey
);
secret_key!(
    /// Seals the control of one log's events; never erased.
    OperationsKey
);
secret_key!(
    /// Seals the rows of one log's folds; every erasure replaces it, with what they kept.
    FoldKey
);
secret_key!(
    /// Authenticates a log's heads before they are signed.
    MacKey
);
secret_key!(
    /// Wraps every other key; held by a provider.
    KeyEncryptionKey
);

impl LookupKey {
    /// The all-zero key of a plain log, whose digests can be guessed.
    pub fn plain() -> Self {
        Self::new([0; KEY_LEN])
    }
}

/// A scope's AES-256-GCM key of one generation, with the id that envelopes name.
#[derive(ZeroizeOnDrop)]
pub struct DataKey {
    #[zeroize(skip)]
    id: KeyId,
    key: Secret32,
    /// It overwrites itself.
    #[cfg(feature = "seal")]
    #[zeroize(skip)]
    cipher: OnceLock<Cipher>,
}

impl DataKey {
    /// Takes the key's bytes.
    pub fn new(id: KeyId, bytes: [u8; KEY_LEN]) -> Self {
        Self::of(id, Secret32::new(bytes))
    }

    fn of(id: KeyId, key: Secret32) -> Self {
        Self {
            id,
            key,
            #[cfg(feature = "seal")]
            cipher: OnceLock::new(),
        }
    }

    /// Copies the key from a slice of exactly 32 bytes.
    ///
    /// # Errors
    ///
    /// [`KeyLengthError`] for any other length.
    pub fn from_slice(id: KeyId, bytes: &[u8]) -> Result<Self, KeyLengthError> {
        Ok(Self::of(id, Secret32::from_slice(bytes)?))
    }

    /// Draws a new key under the given id.
    ///
    /// # Errors
    ///
    /// What the source of randomness answers.
    pub fn generate(id: KeyId, entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        Ok(Self::of(id, Secret32::generate(entropy)?))
    }

    #[cfg(feature = "seal")]
    pub(crate) fn cipher(&self) -> &Cipher {
        self.cipher.get_or_init(|| Cipher::new(self.as_bytes()))
    }

    /// The id that envelopes and headers name.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// The secret bytes. Do not copy them into memory that is not overwritten.
    pub fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.key.0
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataKey({}, redacted)", self.id)
    }
}

/// Secret bytes of any length.
#[derive(Zeroize, ZeroizeOnDrop, Default)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Takes the bytes; the vector's spare capacity is overwritten on drop as well.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The secret bytes. Do not copy them into memory that is not overwritten.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for SecretBytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBytes({} bytes, redacted)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Counting;

    impl Entropy for Counting {
        fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError> {
            for (byte, value) in out.iter_mut().zip(1..) {
                *byte = value;
            }
            Ok(())
        }
    }

    #[test]
    fn debug_shows_no_key_bytes() {
        let id = KeyId::from_bytes([0x11; 16]);
        let shown = [
            format!("{:?}", DataKey::new(id, [0xab; 32])),
            format!("{:?}", MacKey::new([0xab; 32])),
            format!("{:?}", KeyEncryptionKey::new([0xab; 32])),
            format!("{:?}", SecretBytes::new(vec![0xab; 32])),
        ];
        for text in shown {
            assert!(text.contains("redacted"), "{text}");
            assert!(!text.contains("ab") && !text.contains("171"), "{text}");
        }
    }

    #[test]
    fn generated_and_copied_keys_hold_what_was_given() {
        let key = OperationsKey::generate(&Counting).unwrap();
        assert_eq!(key.as_bytes()[..4], [1, 2, 3, 4]);
        let copy = MacKey::from_slice(key.as_bytes()).unwrap();
        assert_eq!(copy.as_bytes(), key.as_bytes());
        assert_eq!(LookupKey::plain().as_bytes(), &[0; 32]);
        for length in [0, 31, 33] {
            let error = MacKey::from_slice(&vec![0; length]).unwrap_err();
            assert_eq!(error.found, length);
        }
    }
}
