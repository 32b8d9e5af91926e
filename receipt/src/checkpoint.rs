//! Checkpoints (<https://c2sp.org/tlog-checkpoint>): three lines, signed as a note.
//!
//! ```text
//! <origin>
//! <tree size, decimal>
//! <root, base64>
//! ```

use runstone_codec::hash::{Digest32, empty_root};

use crate::note::{Cosignature, CosignerKey, NoteError, SignedNote, Signer, Vkey, check_name};
use crate::receipt::Finding;
use crate::{base64, text};

/// Largest tree size: what other implementations hold in a signed 64-bit number.
pub const MAX_SIZE: u64 = i64::MAX.unsigned_abs();

/// A checkpoint that cannot be read or does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The note around it is malformed or a signature does not hold.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Not exactly three lines.
    #[error("a checkpoint has three lines: origin, size, root")]
    Lines,
    /// The size is not a decimal number below 2^63 in its only form.
    #[error("the checkpoint's tree size is not a decimal number below 2^63")]
    Size,
    /// The root is not the base64 of 32 bytes, or an empty tree has another root than it must.
    #[error("the checkpoint's root is not a hash of that tree")]
    Root,
    /// It speaks of another log.
    #[error("the checkpoint is of {found}, not of {expected}")]
    Origin {
        /// The log asked for.
        expected: String,
        /// The origin found.
        found: String,
    },
    /// It speaks of a log that the policy does not list.
    #[error(
        "the checkpoint is of {origin}, which the policy does not know; add a `log` line with its \
         public key if you trust it"
    )]
    UnknownOrigin {
        /// The origin found.
        origin: String,
    },
    /// Too few of the policy's witnesses have cosigned it.
    #[error(
        "the policy asks for the quorum `{quorum}`, and {cosigned} of its witnesses have cosigned; ask \
         for a checkpoint that more witnesses have cosigned"
    )]
    Quorum {
        /// The policy's name for the quorum.
        quorum: String,
        /// Witnesses of the policy that have cosigned.
        cosigned: usize,
    },
}

impl CheckpointError {
    /// Stable name of the error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Note(error) => error.code(),
            Self::Lines | Self::Size | Self::Root => "checkpoint_malformed",
            Self::Origin { .. } => "checkpoint_origin",
            Self::UnknownOrigin { .. } => "checkpoint_unknown_origin",
            Self::Quorum { .. } => "checkpoint_quorum",
        }
    }

    /// What the rejection means to who verifies.
    pub fn finding(&self) -> Finding {
        match self {
            Self::Note(NoteError::BadSignature { .. } | NoteError::Time { .. }) => Finding::False,
            Self::Note(NoteError::NotSigned { .. })
            | Self::Origin { .. }
            | Self::UnknownOrigin { .. }
            | Self::Quorum { .. } => Finding::Unverifiable,
            Self::Note(_) | Self::Lines | Self::Size | Self::Root => Finding::Malformed,
        }
    }
}

/// What a log says about its tree: so many leaves, this root.
#[expect(
    clippy::exhaustive_structs,
    reason = "a checkpoint has three lines for ever"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Names the log and the key that signs.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// Root over them.
    pub root: Digest32,
}

impl Checkpoint {
    /// A checkpoint of a log.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] when it could not be read back.
    pub fn new(
        origin: impl Into<String>,
        size: u64,
        root: Digest32,
    ) -> Result<Self, CheckpointError> {
        let checkpoint = Self {
            origin: origin.into(),
            size,
            root,
        };
        checkpoint.check()?;
        Ok(checkpoint)
    }

    fn check(&self) -> Result<(), CheckpointError> {
        check_name(&self.origin)?;
        if self.size > MAX_SIZE {
            return Err(CheckpointError::Size);
        }
        if self.size == 0 && self.root != empty_root() {
            return Err(CheckpointError::Root);
        }
        Ok(())
    }

    /// The three lines, each with its newline.
    pub fn to_text(&self) -> String {
        format!(
            "{}\n{}\n{}\n",
            self.origin,
            self.size,
            base64::encode(&self.root)
        )
    }

    /// Reads the three lines; nothing else is a checkpoint here, extension lines included.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] for any text that [`Checkpoint::to_text`] would not write.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        Lines::split(text)?.read()
    }

    /// What a note says, signatures not verified: for whoever issues it with something.
    pub(crate) fn of_note(note: &str) -> Result<Self, CheckpointError> {
        Self::parse(SignedNote::parse(note)?.text())
    }
}

/// The three lines, not yet read: signatures are looked at first.
#[derive(Clone, Copy)]
struct Lines<'a> {
    origin: &'a str,
    size: &'a str,
    root: &'a str,
}

impl<'a> Lines<'a> {
    fn split(text: &'a str) -> Result<Self, CheckpointError> {
        let lines = text.strip_suffix('\n').ok_or(CheckpointError::Lines)?;
        let mut lines = lines.split('\n');
        let (Some(origin), Some(size), Some(root), None) =
            (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(CheckpointError::Lines);
        };
        Ok(Self { origin, size, root })
    }

    fn read(self) -> Result<Checkpoint, CheckpointError> {
        let size = text::decimal(self.size).ok_or(CheckpointError::Size)?;
        let root = base64::decode_hash(self.root).ok_or(CheckpointError::Root)?;
        Checkpoint::new(self.origin, size, root)
    }
}

/// A checkpoint with its signatures; who holds one has verified or made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    text: String,
    checkpoint: Checkpoint,
    signed_by: Vec<Vkey>,
    cosigned_by: Vec<Cosignature>,
}

impl SignedCheckpoint {
    /// Signs a checkpoint; during a rotation old and new key both sign.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] when the checkpoint breaks a rule, or no signer has its origin for
    /// name.
    pub fn sign(checkpoint: &Checkpoint, signers: &[&Signer]) -> Result<Self, CheckpointError> {
        checkpoint.check()?;
        let signed_by: Vec<Vkey> = signers.iter().map(|signer| signer.vkey()).collect();
        check_signed(&checkpoint.origin, &signed_by)?;
        let note = SignedNote::sign(&checkpoint.to_text(), signers)?;
        Ok(Self {
            text: note.to_text(),
            checkpoint: checkpoint.clone(),
            signed_by,
            cosigned_by: Vec::new(),
        })
    }

    /// Reads and verifies: the origin is the expected one, every signature of a known key holds,
    /// and one of them is of a key with the origin for name.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] at the first rule broken.
    pub fn parse_verify(text: &str, origin: &str, keys: &[Vkey]) -> Result<Self, CheckpointError> {
        let expected = |found: &str| {
            if found == origin {
                return Ok(());
            }
            Err(CheckpointError::Origin {
                expected: origin.to_owned(),
                found: found.to_owned(),
            })
        };
        Self::verify(text, expected, keys, &[], |_| Ok(()))
    }

    /// Verifies in this order: shape of the note, origin, signatures of known keys, one by a key
    /// of the log, cosignatures of known witnesses and what is asked of them, size and root.
    pub(crate) fn verify(
        text: &str,
        origin: impl FnOnce(&str) -> Result<(), CheckpointError>,
        keys: &[Vkey],
        cosigners: &[CosignerKey],
        quorum: impl FnOnce(&[Cosignature]) -> Result<(), CheckpointError>,
    ) -> Result<Self, CheckpointError> {
        let note = SignedNote::parse(text)?;
        let lines = Lines::split(note.text())?;
        origin(lines.origin)?;
        let signed_by = note.verify(keys)?;
        check_signed(lines.origin, &signed_by)?;
        let cosigned_by = note.verify_cosigners(cosigners)?;
        quorum(&cosigned_by)?;
        Ok(Self {
            checkpoint: lines.read()?,
            text: text.to_owned(),
            signed_by,
            cosigned_by,
        })
    }

    /// The note, to be stored and passed on as it is.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is signed.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The known keys that signed it.
    pub fn signed_by(&self) -> &[Vkey] {
        &self.signed_by
    }

    /// The known witnesses that cosigned it; empty where none was known, as in
    /// [`SignedCheckpoint::parse_verify`].
    pub fn cosigned_by(&self) -> &[Cosignature] {
        &self.cosigned_by
    }
}

fn check_signed(origin: &str, keys: &[Vkey]) -> Result<(), NoteError> {
    if keys.iter().any(|key| key.name() == origin) {
        Ok(())
    } else {
        Err(NoteError::NotSigned {
            name: origin.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: &str = "example.com/invoices/6f1c0a5e";

    fn signed() -> (SignedCheckpoint, Signer) {
        let signer = Signer::new(ORIGIN, &[9; 32]).unwrap();
        let checkpoint = Checkpoint::new(ORIGIN, 41, [7; 32]).unwrap();
        (
            SignedCheckpoint::sign(&checkpoint, &[&signer]).unwrap(),
            signer,
        )
    }

    #[test]
    fn text_is_pinned() {
        let (head, signer) = signed();
        let expected = "example.com/invoices/6f1c0a5e\n41\n\
            BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n\n\u{2014} example.com/invoices/6f1c0a5e ";
        assert!(head.text().starts_with(expected), "{}", head.text());
        let read = SignedCheckpoint::parse_verify(head.text(), ORIGIN, &[signer.vkey()]);
        assert_eq!(read, Ok(head));
    }

    #[test]
    fn every_altered_byte_is_rejected() {
        let (head, signer) = signed();
        let bytes = head.text().as_bytes();
        let keys = [signer.vkey()];
        for index in 0..bytes.len() {
            for mask in 1..=255_u8 {
                let mut altered = bytes.to_vec();
                altered[index] ^= mask;
                if let Ok(text) = core::str::from_utf8(&altered) {
                    let result = SignedCheckpoint::parse_verify(text, ORIGIN, &keys);
                    assert!(result.is_err(), "byte {index} ^ {mask:#04x}");
                }
            }
            let mut shorter = bytes.to_vec();
            shorter.remove(index);
            if let Ok(text) = core::str::from_utf8(&shorter) {
                assert!(SignedCheckpoint::parse_verify(text, ORIGIN, &keys).is_err());
            }
        }
    }

    #[test]
    fn a_foreign_parser_reads_the_same() {
        let (head, signer) = signed();
        let note = signed_note::Note::from_bytes(head.text().as_bytes()).unwrap();
        let verifier = signed_note::StandardVerifier::new(&signer.vkey().to_string()).unwrap();
        let known = signed_note::VerifierList::new(vec![Box::new(verifier)]);
        let (known_lines, rest) = note.verify(&known).unwrap();
        assert_eq!((known_lines.len(), rest.len()), (1, 0));
        assert_eq!(note.text(), head.checkpoint().to_text().as_bytes());
    }

    #[test]
    fn only_the_expected_log_s_own_key_counts() {
        let (head, signer) = signed();
        let verify = |origin, keys: &[Vkey]| {
            SignedCheckpoint::parse_verify(head.text(), origin, keys).map(|_| ())
        };
        let other = Signer::new("example.com/other", &[9; 32]).unwrap();
        let stranger = Signer::new(ORIGIN, &[8; 32]).unwrap();
        let not_signed = || {
            Err(NoteError::NotSigned {
                name: ORIGIN.into(),
            }
            .into())
        };
        assert_eq!(verify(ORIGIN, &[]), not_signed());
        assert_eq!(
            verify(ORIGIN, &[stranger.vkey(), other.vkey()]),
            not_signed()
        );
        assert_eq!(verify(ORIGIN, &[stranger.vkey(), signer.vkey()]), Ok(()));
        assert!(matches!(
            verify("example.com/other", &[signer.vkey()]),
            Err(CheckpointError::Origin { .. })
        ));
        // A witness alone does not speak for the log.
        let checkpoint = head.checkpoint();
        assert!(SignedCheckpoint::sign(checkpoint, &[&other]).is_err());
        let both = SignedCheckpoint::sign(checkpoint, &[&signer, &other]).unwrap();
        let keys = [other.vkey()];
        let result = SignedCheckpoint::parse_verify(both.text(), ORIGIN, &keys).map(|_| ());
        assert_eq!(result, not_signed());
    }

    #[test]
    fn other_texts_are_no_checkpoints() {
        let root = base64::encode(&[7; 32]);
        let good = format!("a\n1\n{root}\n");
        assert_eq!(Checkpoint::parse(&good).unwrap().to_text(), good);
        let largest = format!("a\n{MAX_SIZE}\n{root}\n");
        assert_eq!(Checkpoint::parse(&largest).unwrap().size, MAX_SIZE);
        let empty = format!("a\n0\n{}\n", base64::encode(&empty_root()));
        assert_eq!(Checkpoint::parse(&empty).unwrap().size, 0);
        for (text, error) in [
            (format!("a\n1\n{root}"), CheckpointError::Lines),
            (format!("a\n1\n{root}\nextension\n"), CheckpointError::Lines),
            (format!("a\n1\n{root}\n\n"), CheckpointError::Lines),
            ("a\n1\n".to_owned(), CheckpointError::Lines),
            (format!("a\n01\n{root}\n"), CheckpointError::Size),
            (format!("a\n+1\n{root}\n"), CheckpointError::Size),
            (format!("a\n-1\n{root}\n"), CheckpointError::Size),
            (format!("a\n 1\n{root}\n"), CheckpointError::Size),
            (format!("a\n\n{root}\n"), CheckpointError::Size),
            (
                format!("a\n9223372036854775808\n{root}\n"),
                CheckpointError::Size,
            ),
            (
                format!("a\n99999999999999999999\n{root}\n"),
                CheckpointError::Size,
            ),
            (format!("a\n0\n{root}\n"), CheckpointError::Root),
            (
                format!("a\n1\n{}\n", root.trim_end_matches('=')),
                CheckpointError::Root,
            ),
            (
                format!("a\n1\n{}\n", base64::encode(&[7; 31])),
                CheckpointError::Root,
            ),
            (format!("a b\n1\n{root}\n"), NoteError::Name.into()),
            (format!("a+b\n1\n{root}\n"), NoteError::Name.into()),
            (
                format!("{}\n1\n{root}\n", "a".repeat(256)),
                NoteError::Name.into(),
            ),
        ] {
            assert_eq!(Checkpoint::parse(&text), Err(error), "{text:?}");
        }
    }
}
