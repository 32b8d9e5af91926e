//! Content in the clear, for people and other tools.

use crate::error::{AppendError, ReadError};
use crate::evidence::{EvidenceError, check_recipient};
use crate::fold::Payload;
use crate::holder::{ExportOpen, Page};
use crate::log::{Backing, Here, Log};
use crate::own::{DISCLOSED, DisclosedRanges};
use crate::prepare::LOG_STREAM;
use crate::query::Query;
use crate::read::{Read, Record};
use runstone_codec::{NewEvent, namespace};

impl Log {
    /// Reads what `query` names, as it is durable now, with its content opened, for somebody who is
    /// not in the house. Which events were shown, and to whom, is recorded before they are handed
    /// over, some at a time; evidence of the log itself, which is nobody's secret, is not. An item
    /// that is an error names a damaged event; the next one follows. `progress` is told positions
    /// done and all.
    ///
    /// # Errors
    ///
    /// [`EvidenceError::Recipient`]; [`EvidenceError::Append`] on a log that is read-only; and what
    /// `each` answers. What was handed over before stays recorded.
    pub fn export_open<E: From<EvidenceError>>(
        &self,
        query: &Query,
        recipient: Option<&str>,
        mut each: impl FnMut(Result<Record, ReadError>) -> Result<(), E>,
        progress: &dyn Fn(u64, u64),
    ) -> Result<(), E> {
        self.sync_blocking().map_err(EvidenceError::from)?;
        let size = self.durable_size();
        let mut next = Some(0);
        while let Some(from) = next.filter(|from| *from < size) {
            progress(from, size);
            let page = self.export_open_part(query, recipient, (from, size))?;
            next = page.next.filter(|next| *next > from);
            page.into_records().try_for_each(&mut each)?;
        }
        progress(size, size);
        Ok(())
    }

    pub(crate) fn export_open_part(
        &self,
        query: &Query,
        recipient: Option<&str>,
        (from, size): (u64, u64),
    ) -> Result<Page, EvidenceError> {
        match &self.backing {
            Backing::Here(here) => {
                check_recipient(recipient)?;
                let mut read = Read::new(query.clone());
                (read.from, read.to) = (Some(from), size.checked_sub(1));
                let (page, shown) = self.opened(read)?;
                here.record_shown(shown, recipient)?;
                Ok(page)
            }
            Backing::There(there) => there.ask_blocking(&ExportOpen {
                query: query.clone(),
                recipient: recipient.map(str::to_owned),
                size,
                from,
            }),
        }
    }

    /// A page of events, and the positions of those whose content it shows, as ranges.
    fn opened(&self, read: Read) -> Result<(Page, Vec<(u64, u64)>), ReadError> {
        let (mut page, mut shown) = (Page::default(), Vec::<(u64, u64)>::new());
        for item in self.read(read)? {
            let at = match &item {
                Ok(record) => Some(record.position.get()),
                Err(error) => error.position(),
            };
            if item.as_ref().is_ok_and(shows)
                && let Some(at) = at
            {
                match shown.last_mut() {
                    Some((_, last)) if last.checked_add(1) == Some(at) => *last = at,
                    _ => shown.push((at, at)),
                }
            }
            match (item, at) {
                (Err(error), None) => return Err(error),
                (item, _) => page.push(item),
            }
            if page.is_full() {
                page.next = at.and_then(|at| at.checked_add(1));
                break;
            }
        }
        Ok((page, shown))
    }
}

/// Whether it is content that somebody sees now.
fn shows(record: &Record) -> bool {
    matches!(record.payload, Payload::Open(_)) && !namespace::is_evidence(&record.header.event_type)
}

impl Here {
    fn record_shown(
        &self,
        positions: Vec<(u64, u64)>,
        recipient: Option<&str>,
    ) -> Result<(), AppendError> {
        if positions.is_empty() {
            return Ok(());
        }
        let content = DisclosedRanges {
            positions,
            recipient: recipient.map(str::to_owned),
        };
        let event = NewEvent::new(DISCLOSED, LOG_STREAM).json(&content)?;
        self.record_own(event, None).map(|_| ())
    }
}
