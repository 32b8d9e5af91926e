//! Step 7, and what a verified receipt says.

use runstone_codec::payload::Plain;
use runstone_codec::{Entry, Header, LogId, envelope_digest};

use super::ReceiptError;
use crate::checkpoint::SignedCheckpoint;
use crate::disclosure::Disclosure;
use crate::note::{Cosignature, Vkey};

/// What a receipt is verified against, besides the policy.
#[derive(Debug, Clone, Copy, Default)]
pub struct VerifyOptions<'a> {
    pub(super) origin: Option<&'a str>,
    log_id: Option<LogId>,
    envelope: Option<&'a [u8]>,
    disclosure: Option<&'a Disclosure>,
    plain: Option<&'a Plain<'a>>,
}

impl<'a> VerifyOptions<'a> {
    /// Nothing besides the policy.
    pub fn new() -> Self {
        Self::default()
    }

    /// The origin that the checkpoint must have; else that of any log of the policy.
    #[must_use]
    pub fn origin(self, origin: &'a str) -> Self {
        Self {
            origin: Some(origin),
            ..self
        }
    }

    /// The log's id, with which plain envelopes are hashed. It stands in `log.genesis`.
    #[must_use]
    pub fn log_id(self, log_id: LogId) -> Self {
        Self {
            log_id: Some(log_id),
            ..self
        }
    }

    /// The stored form of the payload, which must hash to the entry's DIGEST.
    #[must_use]
    pub fn envelope(self, envelope: &'a [u8]) -> Self {
        Self {
            envelope: Some(envelope),
            ..self
        }
    }

    /// A disclosure, which must open the entry's COMMIT.
    #[must_use]
    pub fn disclosure(self, disclosure: &'a Disclosure) -> Self {
        Self {
            disclosure: Some(disclosure),
            ..self
        }
    }

    /// The plaintext, which must open the entry's COMMIT: what the key opens, or what a plain
    /// envelope holds after its first byte.
    #[must_use]
    pub fn plain(self, plain: &'a Plain<'a>) -> Self {
        Self {
            plain: Some(plain),
            ..self
        }
    }

    /// Step 7.
    pub(super) fn check(&self, entry: &Entry<'_>) -> Result<Checked, ReceiptError> {
        if let Some(envelope) = self.envelope {
            self.check_envelope(entry, envelope)?;
        }
        if let Some(disclosure) = self.disclosure {
            disclosure.verify(entry).map_err(ReceiptError::Disclosure)?;
        }
        if let Some(plain) = self.plain
            && plain.commitment() != *entry.commit()
        {
            return Err(ReceiptError::Commitment);
        }
        Ok(Checked {
            envelope: self.envelope.is_some(),
            disclosure: self.disclosure.is_some(),
            plain: self.plain.is_some(),
        })
    }

    fn check_envelope(&self, entry: &Entry<'_>, envelope: &[u8]) -> Result<(), ReceiptError> {
        let header = entry.header();
        // Only a plain envelope is hashed with the id.
        let log_id = match (header.key_id, self.log_id) {
            (None, None) => return Err(ReceiptError::LogIdMissing),
            (_, log_id) => log_id.unwrap_or(LogId::new([0; 16])),
        };
        let digest = envelope_digest(&log_id, entry.header_bytes(), envelope)
            .map_err(ReceiptError::Envelope)?;
        let (codec, rest) = envelope.split_first().unwrap_or((&0, &[]));
        let key_id = header.key_id.as_ref().map_or(&[][..], |id| id.as_bytes());
        if *codec != header.codec || !rest.starts_with(key_id) {
            return Err(ReceiptError::EnvelopeSeal);
        }
        if digest == *entry.digest() {
            Ok(())
        } else {
            Err(ReceiptError::EnvelopeDigest)
        }
    }
}

/// What was given besides the receipt, and held.
#[expect(clippy::exhaustive_structs, reason = "what step 7 can check")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checked {
    /// The envelope is the stored form of the payload.
    pub envelope: bool,
    /// What the disclosure shows is a part of the payload.
    pub disclosure: bool,
    /// The plaintext is the payload.
    pub plain: bool,
}

/// What a verified receipt proves: the log of this origin has this entry at this position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<'a> {
    checkpoint: SignedCheckpoint,
    entry: Entry<'a>,
    checked: Checked,
}

impl<'a> Verified<'a> {
    pub(super) fn new(checkpoint: SignedCheckpoint, entry: Entry<'a>, checked: Checked) -> Self {
        Self {
            checkpoint,
            entry,
            checked,
        }
    }

    /// The log.
    pub fn origin(&self) -> &str {
        &self.checkpoint.checkpoint().origin
    }

    /// How many entries the log had when the checkpoint was signed.
    pub fn size(&self) -> u64 {
        self.checkpoint.checkpoint().size
    }

    /// Where the entry stands.
    pub fn position(&self) -> u64 {
        self.entry.position().get()
    }

    /// The entry.
    pub fn entry(&self) -> &Entry<'a> {
        &self.entry
    }

    /// The entry's header.
    pub fn header(&self) -> &Header {
        self.entry.header()
    }

    /// When the entry was recorded, in Unix microseconds: **what the writer claims**. A
    /// cosignature proves that it was there by the cosignature's time.
    pub fn claimed_recorded_at_us(&self) -> u64 {
        self.entry.recorded_at_us()
    }

    /// The checkpoint.
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }

    /// Keys of the policy's logs that signed the checkpoint.
    pub fn signed_by(&self) -> &[Vkey] {
        self.checkpoint.signed_by()
    }

    /// Witnesses of the policy that cosigned it.
    pub fn cosigned_by(&self) -> &[Cosignature] {
        self.checkpoint.cosigned_by()
    }

    /// What was given besides, and held.
    pub fn checked(&self) -> Checked {
        self.checked
    }
}
