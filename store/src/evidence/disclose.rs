//! Showing content, or single fields of it, to somebody who has a receipt.

use super::EvidenceError;
use super::erase::is_code;
use crate::chunk::RawEvent;
use crate::error::{AppendError, ReadError};
use crate::holder::{DiscloseOf, DiscloseOwn, EnvelopeOf};
use crate::identity::Identity;
use crate::log::{Backing, Here, Log};
use crate::own::{DISCLOSED, Disclosed};
use crate::prepare::LOG_STREAM;
use crate::read::{PayloadFailure, check_digest, key_of, parse_entry};
use runstone_codec::payload::Plain;
use runstone_codec::{Entry, NewEvent, Position, namespace, seal};
use runstone_receipt::Disclosure;
use runstone_receipt::disclosure::DisclosedField;
use zeroize::Zeroizing;

/// Disclosures that are recorded in one append, at most.
const BATCH: usize = 256;
/// Bytes of content after which a batch is recorded.
const BATCH_BYTES: usize = 4 << 20;

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
        match &self.backing {
            Backing::Here(here) => here.disclose(disclose),
            Backing::There(there) => {
                let bytes = there.ask_blocking(&DiscloseOf {
                    position: disclose.position.get(),
                    fields: disclose.fields.clone(),
                    recipient: disclose.recipient.clone(),
                })?;
                Ok(Disclosure::parse(&bytes.0)?)
            }
        }
    }

    /// Opens the content of many events, one after the other, and hands over each; `None` where it
    /// was erased or is withheld. As with [`disclose`](Self::disclose) each is recorded before it is handed over,
    /// several in one append, so that no more than a few are held.
    ///
    /// # Errors
    ///
    /// Those of [`disclose`](Self::disclose) but [`EvidenceError::Erased`] and
    /// [`EvidenceError::Withheld`], and what `each` and
    /// `wanted` answer. What was handed over before stays recorded.
    pub fn disclose_each<E: From<EvidenceError>>(
        &self,
        wanted: impl IntoIterator<Item = Result<Disclose, E>>,
        each: impl FnMut(Position, Option<Disclosure>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Backing::There(_) = &self.backing else {
            let here = self.here().map_err(EvidenceError::from)?;
            return here.disclose_each(wanted, each);
        };
        let mut each = each;
        for disclose in wanted {
            let disclose = disclose?;
            match self.disclose(&disclose) {
                Ok(shown) => each(disclose.position, Some(shown))?,
                Err(error) if ["erased", "withheld"].contains(&error.code()) => {
                    each(disclose.position, None)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Opens the content of an event of the log's own that is never sealed, such as
    /// `log.erasure_completed`. It is nobody's secret and never erased, so nothing is recorded.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Unreadable`] for any other event.
    pub fn disclose_own(&self, position: Position) -> Result<Disclosure, EvidenceError> {
        match &self.backing {
            Backing::Here(here) => here.disclose_own(position),
            Backing::There(there) => {
                let position = position.get();
                let bytes = there.ask_blocking(&DiscloseOwn { position })?;
                Ok(Disclosure::parse(&bytes.0)?)
            }
        }
    }

    /// The stored form of an event's content, whose digest is in its entry. A sealed one shows
    /// nothing without the key. One that is not sealed is the content: that it is handed over is
    /// recorded as with [`disclose`](Self::disclose), unless the event is evidence of the log
    /// itself.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Erased`]; those of [`disclose`](Self::disclose) where it is recorded.
    pub fn envelope(
        &self,
        position: Position,
        recipient: Option<String>,
    ) -> Result<Vec<u8>, EvidenceError> {
        match &self.backing {
            Backing::Here(here) => here.envelope(position, recipient),
            Backing::There(there) => {
                let position = position.get();
                let ask = EnvelopeOf {
                    position,
                    recipient,
                };
                Ok(there.ask_blocking(&ask)?.0)
            }
        }
    }
}

impl Here {
    pub(crate) fn disclose(&self, disclose: &Disclose) -> Result<Disclosure, EvidenceError> {
        check_recipient(disclose.recipient.as_deref())?;
        let disclosure = self.disclosure(disclose)?;
        self.record_own(event_of(disclose, &disclosure)?, None)?;
        Ok(disclosure)
    }

    pub(crate) fn disclose_each<E: From<EvidenceError>>(
        &self,
        wanted: impl IntoIterator<Item = Result<Disclose, E>>,
        mut each: impl FnMut(Position, Option<Disclosure>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut batch = Batch::default();
        for disclose in wanted {
            batch.add(self, &disclose?)?;
            if batch.is_full() {
                batch.hand_over(self, &mut each)?;
            }
        }
        batch.hand_over(self, &mut each)
    }

    pub(crate) fn disclose_own(&self, position: Position) -> Result<Disclosure, EvidenceError> {
        let header = self.record(position)?.header;
        if !namespace::is_evidence(&header.event_type) {
            return Err(EvidenceError::NotOwn { position });
        }
        self.disclosure(&Disclose::whole(position))
    }

    pub(crate) fn envelope(
        &self,
        position: Position,
        recipient: Option<String>,
    ) -> Result<Vec<u8>, EvidenceError> {
        let disclose = Disclose {
            recipient,
            ..Disclose::whole(position)
        };
        check_recipient(disclose.recipient.as_deref())?;
        let (envelope, shows) = self.stored(position, |_, entry, raw| {
            let header = entry.header();
            let shows = header.key_id.is_none() && !namespace::is_evidence(&header.event_type);
            Ok((raw.envelope.to_vec(), shows))
        })?;
        if shows {
            let disclosure = self.disclosure(&disclose)?;
            self.record_own(event_of(&disclose, &disclosure)?, None)?;
        }
        Ok(envelope)
    }

    /// Looks at an event whose content is there and has the digest of its entry.
    fn stored<T>(
        &self,
        position: Position,
        look: impl FnOnce(&Identity, &Entry<'_>, RawEvent<'_>) -> Result<T, ReadError>,
    ) -> Result<T, EvidenceError> {
        let at = position.get();
        let mut reader = self.shared.reader()?;
        if at >= reader.size() {
            return Err(ReadError::NotFound {
                what: format!("at position {at}; the log has {}", reader.size()),
            }
            .into());
        }
        reader.raw(at, |reader, raw| {
            let (identity, entry) = (&reader.identity, parse_entry(raw)?);
            if identity.is_erased(at, entry.header()) {
                return Ok(Err(EvidenceError::Erased { position }));
            }
            if raw.envelope.is_empty() {
                return Ok(Err(EvidenceError::Withheld { position }));
            }
            check_digest(&identity.log_id, &entry, raw)?;
            look(identity, &entry, raw).map(Ok)
        })?
    }

    fn disclosure(&self, disclose: &Disclose) -> Result<Disclosure, EvidenceError> {
        let at = disclose.position.get();
        let plain = self.stored(disclose.position, |identity, entry, raw| {
            let header = entry.header();
            let key =
                key_of(identity, header).map_err(|error| PayloadFailure::from(error).at(at))?;
            let opened = seal::open_plain(
                &identity.log_id,
                entry.header_bytes(),
                header,
                raw.envelope,
                entry.commit(),
                key.as_deref(),
            );
            let plain = opened.map_err(|error| ReadError::payload(at, &error))?;
            Ok(Zeroizing::new(plain))
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

/// Whether it is a code, which may be recorded for ever.
pub(crate) fn check_recipient(recipient: Option<&str>) -> Result<(), EvidenceError> {
    match recipient.filter(|code| !is_code(code)) {
        Some(recipient) => Err(EvidenceError::Recipient {
            recipient: recipient.to_owned(),
        }),
        None => Ok(()),
    }
}

/// What is recorded of a disclosure.
fn event_of(disclose: &Disclose, disclosure: &Disclosure) -> Result<NewEvent, AppendError> {
    let fields = disclosure.disclosed().iter();
    let content = Disclosed {
        position: disclose.position.get(),
        segments: fields.map(DisclosedField::index).collect(),
        of: disclosure.segments(),
        recipient: disclose.recipient.clone(),
    };
    Ok(NewEvent::new(DISCLOSED, LOG_STREAM).json(&content)?)
}

/// Disclosures that are recorded together.
#[derive(Default)]
struct Batch {
    opened: Vec<(Position, Option<Disclosure>)>,
    events: Vec<NewEvent>,
    bytes: usize,
}

impl Batch {
    fn add(&mut self, log: &Here, disclose: &Disclose) -> Result<(), EvidenceError> {
        check_recipient(disclose.recipient.as_deref())?;
        let disclosure = match log.disclosure(disclose) {
            Ok(disclosure) => Some(disclosure),
            Err(EvidenceError::Erased { .. } | EvidenceError::Withheld { .. }) => None,
            Err(error) => return Err(error),
        };
        if let Some(disclosure) = &disclosure {
            self.events.push(event_of(disclose, disclosure)?);
            let fields = disclosure.disclosed().iter();
            self.bytes += fields.map(|field| field.value().len()).sum::<usize>();
        }
        self.opened.push((disclose.position, disclosure));
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.opened.len() >= BATCH || self.bytes >= BATCH_BYTES
    }

    fn hand_over<E: From<EvidenceError>>(
        &mut self,
        log: &Here,
        each: &mut impl FnMut(Position, Option<Disclosure>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Self { opened, events, .. } = std::mem::take(self);
        if !events.is_empty() {
            log.record_all_own(events, None)
                .map_err(EvidenceError::from)?;
        }
        opened
            .into_iter()
            .try_for_each(|(position, disclosure)| each(position, disclosure))
    }
}
