//! Reading and writing notes.

use super::{Cosignature, CosignerKey, NoteError, Signer, Vkey, check_name};
use crate::base64;

/// Longest note in bytes.
pub const MAX_NOTE_LEN: usize = 128 << 10;
/// Most signature lines in a note.
pub const MAX_SIGNATURES: usize = 100;

/// Starts a signature line.
const PREFIX: &str = "\u{2014} ";

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    name: String,
    key_id: [u8; 4],
    signature: Vec<u8>,
}

impl NoteSignature {
    pub(super) fn new(name: String, key_id: [u8; 4], signature: Vec<u8>) -> Self {
        Self {
            name,
            key_id,
            signature,
        }
    }

    /// Name of the key.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Id of the key.
    pub fn key_id(&self) -> [u8; 4] {
        self.key_id
    }

    /// The signature: 64 bytes for Ed25519, other lengths for types that are not known here.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    fn parse(line: &str) -> Option<Self> {
        let (name, data) = line.strip_prefix(PREFIX)?.split_once(' ')?;
        check_name(name).ok()?;
        let data = base64::decode(data)?;
        let (key_id, signature) = data.split_first_chunk::<4>()?;
        if signature.is_empty() {
            return None;
        }
        Some(Self::new(name.to_owned(), *key_id, signature.to_vec()))
    }

    fn write(&self, out: &mut String) {
        let data = [self.key_id.as_slice(), &self.signature].concat();
        out.push_str(PREFIX);
        out.push_str(&self.name);
        out.push(' ');
        out.push_str(&base64::encode(&data));
        out.push('\n');
    }
}

/// A text and its signature lines, verified or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl SignedNote {
    /// Signs a text, which ends in a newline and has no other control characters.
    ///
    /// # Errors
    ///
    /// [`NoteError`] when the text cannot be a note's, or nobody signs it, or one key twice.
    pub fn sign(text: &str, signers: &[&Signer]) -> Result<Self, NoteError> {
        let signatures = signers.iter().map(|signer| signer.sign(text)).collect();
        let note = Self {
            text: text.to_owned(),
            signatures,
        };
        note.reread()
    }

    /// The note with one more signature line, such as a witness's.
    ///
    /// # Errors
    ///
    /// [`NoteError`] when the key has signed already, or the note grows over a limit.
    pub fn with_signature(mut self, signature: NoteSignature) -> Result<Self, NoteError> {
        self.signatures.push(signature);
        self.reread()
    }

    /// Whoever signs finds out, not whoever reads.
    fn reread(self) -> Result<Self, NoteError> {
        if Self::parse(&self.to_text())? == self {
            Ok(self)
        } else {
            Err(NoteError::Shape)
        }
    }

    /// Reads a note without verifying it. The last empty line parts text and signatures.
    ///
    /// # Errors
    ///
    /// [`NoteError`] for anything that signing would not write.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.len() > MAX_NOTE_LEN {
            return Err(NoteError::TooLong {
                limit: MAX_NOTE_LEN,
                found: note.len(),
            });
        }
        if note
            .bytes()
            .any(|byte| byte != b'\n' && byte.is_ascii_control())
        {
            return Err(NoteError::Text);
        }
        let (text, lines) = note.rsplit_once("\n\n").ok_or(NoteError::Shape)?;
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Shape)?;
        if text.is_empty() {
            return Err(NoteError::Shape);
        }
        let mut signatures: Vec<NoteSignature> = Vec::new();
        for (number, line) in (1..).zip(lines.split('\n')) {
            if number > MAX_SIGNATURES {
                return Err(NoteError::TooManySignatures {
                    limit: MAX_SIGNATURES,
                });
            }
            let signature =
                NoteSignature::parse(line).ok_or(NoteError::SignatureLine { line: number })?;
            let twin = |other: &NoteSignature| {
                other.name == signature.name && other.key_id == signature.key_id
            };
            if signatures.iter().any(twin) {
                return Err(NoteError::DuplicateSignature {
                    name: signature.name,
                });
            }
            signatures.push(signature);
        }
        Ok(Self {
            text: format!("{text}\n"),
            signatures,
        })
    }

    /// As [`SignedNote::parse`], from bytes of a file.
    ///
    /// # Errors
    ///
    /// [`NoteError`] also when the bytes are not UTF-8.
    pub fn from_bytes(note: &[u8]) -> Result<Self, NoteError> {
        if note.len() > MAX_NOTE_LEN {
            return Err(NoteError::TooLong {
                limit: MAX_NOTE_LEN,
                found: note.len(),
            });
        }
        Self::parse(core::str::from_utf8(note).map_err(|_| NoteError::Text)?)
    }

    /// The text that is signed, with its last newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// The whole note.
    pub fn to_text(&self) -> String {
        let mut note = format!("{}\n", self.text);
        for signature in &self.signatures {
            signature.write(&mut note);
        }
        note
    }

    /// Verifies every signature of a known key and answers those keys. Lines of other keys are
    /// passed over, so an empty answer means that nobody known has signed.
    ///
    /// # Errors
    ///
    /// [`NoteError::BadSignature`]: one that fails rejects the note.
    pub fn verify(&self, keys: &[Vkey]) -> Result<Vec<Vkey>, NoteError> {
        let mut signed_by: Vec<Vkey> = Vec::new();
        for signature in &self.signatures {
            for key in keys.iter().filter(|key| key.matches(signature)) {
                key.verify(&self.text, signature)?;
                if !signed_by.contains(key) {
                    signed_by.push(key.clone());
                }
            }
        }
        Ok(signed_by)
    }

    /// As [`SignedNote::verify`], for cosignatures of witnesses.
    ///
    /// # Errors
    ///
    /// [`NoteError::BadSignature`] or [`NoteError::Time`]: one that fails rejects the note.
    pub fn verify_cosigners(&self, keys: &[CosignerKey]) -> Result<Vec<Cosignature>, NoteError> {
        let mut cosigned_by = Vec::new();
        for signature in &self.signatures {
            for key in keys.iter().filter(|key| key.matches(signature)) {
                let cosignature = key.verify(&self.text, signature)?;
                if !cosigned_by.contains(&cosignature) {
                    cosigned_by.push(cosignature);
                }
            }
        }
        Ok(cosigned_by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use signed_note::{Note, StandardVerifier, VerifierList};

    /// The example of the signed-note specification.
    const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\
        \n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXg\
        KvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    const VKEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

    #[test]
    fn the_specification_s_example_verifies() {
        let note = SignedNote::parse(NOTE).unwrap();
        assert_eq!(note.to_text(), NOTE);
        let key: Vkey = VKEY.parse().unwrap();
        assert_eq!(note.verify(core::slice::from_ref(&key)), Ok(vec![key]));
        let stranger = Signer::new("PeterNeumann", &[1; 32]).unwrap().vkey();
        assert_eq!(note.verify(&[stranger]), Ok(vec![]));
    }

    #[test]
    fn a_foreign_verifier_accepts_what_is_signed_here() {
        let signer = Signer::new("example.com/log", &[5; 32]).unwrap();
        let text = "first line\n\nthird line\n";
        let ours = SignedNote::sign(text, &[&signer]).unwrap().to_text();
        let theirs = Note::from_bytes(ours.as_bytes()).unwrap();
        let verifier = StandardVerifier::new(&signer.vkey().to_string()).unwrap();
        let known = VerifierList::new(vec![Box::new(verifier)]);
        let (held, rest) = theirs.verify(&known).unwrap();
        assert_eq!((held.len(), rest.len()), (1, 0));
        assert_eq!(theirs.text(), text.as_bytes());
    }

    #[test]
    fn what_is_read_here_is_read_by_a_foreign_parser() {
        let bytes = NOTE.as_bytes();
        let mut read = 0;
        for index in 0..bytes.len() {
            for value in [b'\n', b' ', b'+', b'A', 0x00, 0x7f, 0xff] {
                let mut altered = bytes.to_vec();
                altered[index] = value;
                if let Ok(note) = SignedNote::from_bytes(&altered) {
                    read += 1;
                    assert_eq!(note.to_text().as_bytes(), altered);
                    assert!(Note::from_bytes(&altered).is_ok(), "byte {index} = {value}");
                }
            }
        }
        assert!(read > 0);
    }

    #[test]
    fn notes_of_a_wrong_shape_are_refused() {
        let (text, lines) = NOTE.rsplit_once("\n\n").unwrap();
        let line = lines.trim_end();
        let cases = [
            (String::new(), NoteError::Shape),
            (text.to_owned(), NoteError::Shape),
            (format!("\n\n{line}\n"), NoteError::Shape),
            (format!("{text}\n\n{line}"), NoteError::Shape),
            (format!("{text}\n\n"), NoteError::Shape),
            (format!("{text}\n\n\n"), NoteError::Shape),
            (format!("{text}\r\n\n{line}\n"), NoteError::Text),
            (
                format!("{text}\n\n {line}\n"),
                NoteError::SignatureLine { line: 1 },
            ),
            (
                format!("{text}\n\n{line} \n"),
                NoteError::SignatureLine { line: 1 },
            ),
            (
                format!("{text}\n\n{line}\n-\n"),
                NoteError::SignatureLine { line: 2 },
            ),
            (
                format!("{text}\n\n{PREFIX}a AAAAAA==\n"),
                NoteError::SignatureLine { line: 1 },
            ),
            (
                format!("{text}\n\n{line}\n{line}\n"),
                NoteError::DuplicateSignature {
                    name: "PeterNeumann".into(),
                },
            ),
            (
                format!("{}\n\n{line}\n", "a".repeat(MAX_NOTE_LEN)),
                NoteError::TooLong {
                    limit: MAX_NOTE_LEN,
                    found: MAX_NOTE_LEN + 3 + line.len(),
                },
            ),
        ];
        for (note, error) in cases {
            let shown: String = note.chars().take(80).collect();
            assert_eq!(
                SignedNote::parse(&note).map(|_| ()),
                Err(error),
                "{shown:?}"
            );
        }
        let many: Vec<String> = (0..=MAX_SIGNATURES)
            .map(|n| format!("{PREFIX}n{n} {}\n", base64::encode(&[1; 68])))
            .collect();
        let note = format!("{text}\n\n{}", many.concat());
        assert!(matches!(
            SignedNote::parse(&note),
            Err(NoteError::TooManySignatures { .. })
        ));
    }

    #[test]
    fn only_texts_that_read_again_are_signed() {
        let signer = Signer::new("a", &[5; 32]).unwrap();
        for text in ["no newline", "", "tab\there\n"] {
            assert!(SignedNote::sign(text, &[&signer]).is_err(), "{text:?}");
        }
        assert!(SignedNote::sign("text\n", &[]).is_err());
        assert!(SignedNote::sign("text\n", &[&signer, &signer]).is_err());
    }

    #[test]
    fn one_bad_signature_of_a_known_key_rejects_the_note() {
        let (good, other) = (
            Signer::new("a", &[1; 32]).unwrap(),
            Signer::new("b", &[2; 32]).unwrap(),
        );
        let mut note = SignedNote::sign("text\n", &[&good, &other]).unwrap();
        note.signatures[1].signature[5] ^= 1;
        assert_eq!(note.verify(&[good.vkey()]), Ok(vec![good.vkey()]));
        let bad = NoteError::BadSignature { name: "b".into() };
        assert_eq!(note.verify(&[good.vkey(), other.vkey()]), Err(bad));
    }
}
