//! Credentials of principals: an Ed25519 key in a private file, proved by signing a challenge.
//!
//! ```text
//! message = DS("principal") || challenge        challenge = log_id(16) || 32 random bytes
//! ```

use super::files::{check_private_file, create_file, read_file, sync_folder_of};
use super::text::{SecretString, from_base64, push_base64};
use super::{KeyError, toml_text};
use runstone_codec::hash::ds;
use runstone_codec::{Authority, Entropy, LogId};
use runstone_receipt::note::{KeyPair, verify_message};
use serde::Deserialize;
use std::path::Path;
use zeroize::Zeroizing;

/// Length of a challenge that this log makes.
pub const CHALLENGE_LEN: usize = 48;
const CHALLENGE_LENGTHS: std::ops::RangeInclusive<usize> = 16..=1024;
const MAX_FILE_LEN: usize = 16 << 10;
const MAX_ID_LEN: usize = 255;

/// What an enrolled principal proves itself with.
#[derive(Debug, Clone)]
pub struct Credential {
    id: String,
    authority: Authority,
    pair: KeyPair,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    version: u32,
    id: String,
    authority: String,
    seed: SecretString,
}

impl Credential {
    /// Draws a key and writes the file, mode 0600; it must not exist.
    ///
    /// # Errors
    ///
    /// [`KeyError::Exists`] leaves what is there untouched.
    ///
    /// # Durability
    ///
    /// The file is on disk when this answers.
    pub fn create(
        path: &Path,
        id: &str,
        authority: Authority,
        entropy: &dyn Entropy,
    ) -> Result<Self, KeyError> {
        check_id(id)?;
        let mut seed = Zeroizing::new([0; 32]);
        entropy.fill(seed.as_mut_slice())?;
        let mut text = Zeroizing::new(String::with_capacity(512 + 2 * id.len()));
        text.push_str("# Credential of a Runstone principal: whoever reads it can act as it.\n");
        text.push_str("version = 1\nid = ");
        text.push_str(&toml_text(id));
        text.push_str("\nauthority = ");
        text.push_str(&toml_text(authority.as_str()));
        text.push_str("\nseed = \"");
        push_base64(&mut text, seed.as_slice());
        text.push_str("\"\n");
        create_file(path, text.as_bytes())?;
        sync_folder_of(path)?;
        Ok(Self {
            id: id.to_owned(),
            authority,
            pair: KeyPair::from_seed(&seed),
        })
    }

    /// Reads a credential file, which nobody but its owner may be able to read.
    ///
    /// # Errors
    ///
    /// [`KeyError::Permissions`], [`KeyError::Malformed`] and what the system says.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let Some(bytes) = read_file(path, MAX_FILE_LEN)? else {
            return Err(KeyError::io(
                "read",
                path,
                std::io::ErrorKind::NotFound.into(),
            ));
        };
        check_private_file(path)?;
        Self::parse(path, &bytes)
    }

    /// Reads the text of a credential file.
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, KeyError> {
        let raw: Raw = super::toml_parse(path, bytes)?;
        let bad = |what| KeyError::malformed(path, 0, what);
        if raw.version != 1 {
            return Err(bad("its version is not 1"));
        }
        check_id(&raw.id)?;
        let authority = raw
            .authority
            .parse()
            .map_err(|_| bad("the authority is not known"))?;
        let seed = from_base64(raw.seed.as_str()).ok_or_else(|| bad("the seed is no base64"))?;
        let seed = seed
            .as_bytes()
            .try_into()
            .map_err(|_| bad("the seed has not 32 bytes"))?;
        Ok(Self {
            id: raw.id,
            authority,
            pair: KeyPair::from_seed(seed),
        })
    }

    /// The principal.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// As what it acts.
    pub fn authority(&self) -> Authority {
        self.authority
    }

    /// What the log enrols.
    pub fn public_key(&self) -> [u8; 32] {
        self.pair.public_key()
    }

    /// Signs a challenge that the log made.
    pub fn prove(&self, challenge: &[u8]) -> [u8; 64] {
        self.pair.sign_message(&message(challenge))
    }
}

/// Checks what [`Credential::prove`] answered; the caller has made the challenge, and takes each
/// one once.
///
/// # Errors
///
/// [`KeyError::BadProof`], or [`KeyError::Challenge`].
pub fn verify_proof(
    public_key: &[u8; 32],
    challenge: &[u8],
    signature: &[u8; 64],
) -> Result<(), KeyError> {
    if !CHALLENGE_LENGTHS.contains(&challenge.len()) {
        return Err(KeyError::Challenge {
            found: challenge.len(),
        });
    }
    verify_message(public_key, &message(challenge), signature).map_err(|_| KeyError::BadProof)
}

/// A fresh challenge that names the log, so that a proof for one log is none for another.
///
/// # Errors
///
/// [`KeyError::Entropy`].
pub fn challenge(log_id: &LogId, entropy: &dyn Entropy) -> Result<[u8; CHALLENGE_LEN], KeyError> {
    let mut challenge = [0; CHALLENGE_LEN];
    let (name, random) = challenge.split_at_mut(16);
    name.copy_from_slice(log_id.as_bytes());
    entropy.fill(random)?;
    Ok(challenge)
}

fn message(challenge: &[u8]) -> Vec<u8> {
    let mut message = ds("principal");
    message.extend_from_slice(challenge);
    message
}

fn check_id(id: &str) -> Result<(), KeyError> {
    if id.is_empty() || id.len() > MAX_ID_LEN || id.chars().any(char::is_control) {
        return Err(KeyError::PrincipalName);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use runstone_codec::OsEntropy;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_credential_proves_itself_after_it_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ada.cred");
        let id = "human:Ada \"L\"";
        let made = Credential::create(&path, id, Authority::Human, &OsEntropy).unwrap();
        let again = Credential::create(&path, id, Authority::Human, &OsEntropy);
        assert!(matches!(again, Err(KeyError::Exists { .. })));
        let read = Credential::load(&path).unwrap();
        assert_eq!((read.id(), read.authority()), (id, Authority::Human));
        assert_eq!(read.public_key(), made.public_key());
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );

        let log = LogId::from_bytes([1; 16]);
        let one = challenge(&log, &OsEntropy).unwrap();
        let two = challenge(&log, &OsEntropy).unwrap();
        assert!(one != two && one.starts_with(log.as_bytes()));
        let proof = read.prove(&one);
        verify_proof(&made.public_key(), &one, &proof).unwrap();
        assert!(matches!(
            verify_proof(&made.public_key(), &two, &proof),
            Err(KeyError::BadProof)
        ));
        let stranger = KeyPair::from_seed(&[4; 32]).public_key();
        assert!(matches!(
            verify_proof(&stranger, &one, &proof),
            Err(KeyError::BadProof)
        ));
        let short = verify_proof(&made.public_key(), &[0; 15], &[0; 64]);
        assert!(matches!(short, Err(KeyError::Challenge { found: 15 })));
    }

    #[test]
    fn a_proof_is_not_a_signature_of_the_bare_challenge() {
        let pair = KeyPair::from_seed(&[4; 32]);
        let bare = pair.sign_message(&[7; 48]);
        let result = verify_proof(&pair.public_key(), &[7; 48], &bare);
        assert!(matches!(result, Err(KeyError::BadProof)));
    }

    #[test]
    fn damaged_and_open_files_are_refused_without_showing_the_seed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c");
        let made = Credential::create(&path, "a", Authority::Agent, &OsEntropy).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let seed = text
            .split("seed = ")
            .nth(1)
            .unwrap()
            .trim()
            .trim_matches('"')
            .to_owned();
        assert!(!format!("{made:?}").contains(&seed));
        for broken in [
            text.replace("version = 1", "version = 2"),
            text.replace("agent", "god"),
            text.replace(&seed, &seed[4..]),
            text.replace(&seed, &seed.to_lowercase().replace('=', "")),
            text.replace("seed = \"", "seed = "),
            text.clone() + "more = 1\n",
            String::new(),
        ] {
            fs::write(&path, &broken).unwrap();
            let error = Credential::load(&path).unwrap_err();
            assert_eq!(error.code(), "keyring_malformed", "{broken}");
            assert!(
                !format!("{error} {error:?}").contains(&seed[..8]),
                "{error:?}"
            );
        }
        fs::write(&path, text.replace("\"a\"", "\"\"")).unwrap();
        assert_eq!(
            Credential::load(&path).unwrap_err().code(),
            "principal_name"
        );
        fs::write(&path, &text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(
            Credential::load(&path).unwrap_err().code(),
            "keyring_permissions"
        );
    }
}
