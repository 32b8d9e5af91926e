//! Showing content, or single fields of it, to somebody who has a receipt.

use super::EvidenceError;
use super::erase::is_code;
use crate::error::{AppendError, ReadError};
use crate::log::Log;
use crate::own::{DISCLOSED, Disclosed};
use crate::prepare::LOG_STREAM;
use crate::read::{check_digest, parse_entry};
use runstone_codec::payload::Plain;
use runstone_codec::{NewEvent, Position, seal};
use runstone_receipt::Disclosure;
use runstone_receipt::disclosure::DisclosedField;
use zeroize::Zeroizing;

/// What of an event's content is shown, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Disclose {
    /// The event.
    pub position: Position,
    /// Names of members of the payload; `None` shows all of it.
    pub fields: Option<Vec<String>>,
    /// A code for who gets it, recorded for ever, so that they can be told of an erasure.
    pub recipient: Option<String>,
}

impl Disclose {
    /// All of an event's content.
    pub fn whole(position: impl Into<Position>) -> Self {
        Self {
            position: position.into(),
            fields: None,
            recipient: None,
        }
    }

    /// Single fields of it.
    pub fn fields(
        position: impl Into<Position>,
        fields: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        Self {
            fields: Some(fields.into_iter().map(Into::into).collect()),
            ..Self::whole(position)
        }
    }

    /// Names who gets it, by a code.
    #[must_use]
    pub fn to(mut self, recipient: impl Into<String>) -> Self {
        self.recipient = Some(recipient.into());
        self
    }
}

impl Log {
    /// Opens content, or single fields of it, for somebody who holds the event's receipt: what they
    /// get opens the commitment in its entry, and no key leaves the house. The disclosure is
    /// recorded before it is answered.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Erased`], [`EvidenceError::Disclosure`] for a field that is not there or
    /// content that can be shown as a whole only, [`EvidenceError::Append`] on a log that is
    /// read-only.
    pub fn disclose(&self, disclose: &Disclose) -> Result<Disclosure, EvidenceError> {
        if let Some(recipient) = disclose.recipient.as_ref().filter(|code| !is_code(code)) {
            return Err(EvidenceError::Recipient {
                recipient: recipient.clone(),
            });
        }
        let disclosure = self.disclosure(disclose)?;
        let content = Disclosed {
            position: disclose.position.get(),
            segments: disclosure
                .disclosed()
                .iter()
                .map(DisclosedField::index)
                .collect(),
            of: disclosure.segments(),
            recipient: disclose.recipient.clone(),
        };
        let event = NewEvent::new(DISCLOSED, LOG_STREAM)
            .json(&content)
            .map_err(AppendError::from)?;
        self.record_own(event, None)?;
        Ok(disclosure)
    }

    fn disclosure(&self, disclose: &Disclose) -> Result<Disclosure, EvidenceError> {
        let at = disclose.position.get();
        let mut reader = self.shared.reader()?;
        if at >= reader.size() {
            return Err(ReadError::NotFound {
                what: format!("at position {at}; the log has {}", reader.size()),
            }
            .into());
        }
        let plain = reader.raw(at, |reader, raw| {
            let (identity, entry) = (&reader.identity, parse_entry(raw)?);
            let header = entry.header();
            if raw.envelope.is_empty() || identity.is_erased(at, header) {
                return Ok(None);
            }
            check_digest(&identity.log_id, &entry, raw)?;
            let key = header.key_id.as_ref().map(|id| identity.keys.data_key(id));
            let key = key.transpose().map_err(|error| ReadError::Keys {
                position: at,
                code: error.code(),
                message: error.to_string(),
            })?;
            let opened = seal::open_plain(
                &identity.log_id,
                entry.header_bytes(),
                header,
                raw.envelope,
                entry.commit(),
                key.as_deref(),
            );
            let plain = opened.map_err(|error| ReadError::payload(at, &error))?;
            Ok(Some(Zeroizing::new(plain)))
        })?;
        let plain = plain.ok_or(EvidenceError::Erased {
            position: disclose.position,
        })?;
        let plain = Plain::parse(&plain).map_err(|error| EvidenceError::Unreadable {
            position: disclose.position,
            why: error.to_string(),
        })?;
        let disclosure = match &disclose.fields {
            None => Disclosure::whole(at, &plain),
            Some(names) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                Disclosure::fields(at, &plain, &names)
            }
        };
        Ok(disclosure?)
    }
}
