//! From the log to lines.

use super::line::{Absent, CheckpointLine, End, EventLine, Start, put};
use crate::chunk::{Head, RawEvent};
use crate::engine::NumberTable;
use crate::error::{Corruption, ReadError};
use crate::evidence::verified_checkpoint;
use crate::holder::{Base64, ExportBegin, ExportPart};
use crate::log::{Backing, Here, Log};
use crate::own::History;
use crate::prepare::LOG_STREAM;
use crate::query::Query;
use crate::read::{Reader, check_digest};
use runstone_codec::{Entry, LogId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Bytes after which a page ends.
const PAGE_BYTES: usize = 4 << 20;
/// Events looked at in a page, at most.
const PAGE_EVENTS: u64 = 16_384;

/// What an export holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportReport {
    /// Events, all of the log up to a point.
    pub events: u64,
    /// Length of the export in bytes.
    pub bytes: u64,
    /// Root of the tree over the events.
    pub root: [u8; 32],
    /// Events whose content was erased.
    pub erased: u64,
    /// Events whose content was kept back.
    pub withheld: u64,
}

/// How an export begins, as it travels.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ExportStart {
    /// Events of the export.
    size: u64,
    /// The root of their tree.
    root: Base64,
    /// The first lines.
    text: String,
}

/// Some lines, as they travel.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ExportPage {
    /// The lines.
    text: String,
    /// Events that were erased.
    erased: u64,
    /// Events that are withheld.
    withheld: u64,
    /// Where the next page begins.
    next: u64,
}

impl Log {
    /// Writes the whole log, as it is durable now, as lines: every entry, the sealed content of the
    /// events that `query` names and of the log's own, what is kept back or erased marked as such.
    /// Appends go on meanwhile. Keys are not in it. `write` is handed whole lines, some at a time;
    /// `progress` is told events done and all.
    ///
    /// Content is handed over as it is stored: sealed in an encrypted log, in the clear in a plain
    /// one, as a backup does. Nothing is recorded.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if an event is damaged, and what `write` answers.
    pub fn export<E: From<ReadError>>(
        &self,
        query: &Query,
        mut write: impl FnMut(&[u8]) -> Result<(), E>,
        progress: &dyn Fn(u64, u64),
    ) -> Result<ExportReport, E> {
        let start = self.export_start()?;
        let size = start.size;
        let mut report = ExportReport {
            events: size,
            bytes: 0,
            root: start.root.array().unwrap_or_default(),
            erased: 0,
            withheld: 0,
        };
        let mut hash = Sha256::new();
        let mut put_text = |text: &[u8], bytes: &mut u64| {
            hash.update(text);
            *bytes += text.len() as u64;
            write(text)
        };
        put_text(start.text.as_bytes(), &mut report.bytes)?;
        let mut next = 0;
        while next < size {
            progress(next, size);
            let page = self.export_part(query, size, next)?;
            if page.next <= next {
                let lost = Corruption::at(next, "an event", "nothing");
                return Err(ReadError::from(lost).into());
            }
            report.erased += page.erased;
            report.withheld += page.withheld;
            next = page.next;
            put_text(page.text.as_bytes(), &mut report.bytes)?;
        }
        let mut end = Vec::new();
        let sha256 = hash.finalize().into();
        put(&End { sha256 }, &mut end).map_err(|error| unwritable(size, &error))?;
        report.bytes += end.len() as u64;
        write(&end)?;
        progress(size, size);
        Ok(report)
    }

    fn export_start(&self) -> Result<ExportStart, ReadError> {
        match &self.backing {
            Backing::Here(here) => here.export_start(),
            Backing::There(there) => there.ask_blocking(&ExportBegin {}),
        }
    }

    fn export_part(&self, query: &Query, size: u64, from: u64) -> Result<ExportPage, ReadError> {
        match &self.backing {
            Backing::Here(here) => here.export_part(query, size, from),
            Backing::There(there) => there.ask_blocking(&ExportPart {
                query: query.clone(),
                size,
                from,
            }),
        }
    }
}

fn unwritable(position: u64, error: &serde_json::Error) -> ReadError {
    Corruption::at(position, "an event that can be written", error.to_string()).into()
}

impl Here {
    /// The first lines, of everything that is durable now.
    pub(crate) fn export_start(&self) -> Result<ExportStart, ReadError> {
        let reader = self.shared.durable_reader()?;
        let head = &reader.published.head;
        let checkpoints = self.checkpoint_lines(&reader, head)?;
        let start = Start::new(reader.identity.log_id, head, &checkpoints);
        let mut text = Vec::new();
        let written = put(&start, &mut text);
        let written =
            written.and_then(|()| checkpoints.iter().try_for_each(|line| put(line, &mut text)));
        written.map_err(|error| unwritable(head.size, &error))?;
        Ok(ExportStart {
            size: head.size,
            root: Base64(head.root.to_vec()),
            text: lines_of(text)?,
        })
    }

    /// What the log has kept, and last the checkpoint of everything.
    fn checkpoint_lines(
        &self,
        reader: &Reader,
        head: &Head,
    ) -> Result<Vec<CheckpointLine>, ReadError> {
        let vkeys = self.vkeys();
        let mut lines = Vec::new();
        let (mut next, mut last) = (Some(0), None);
        while let Some(from) = next {
            let table = NumberTable::Checkpoints;
            let found = reader.snapshot.number_at_or_above(table, from)?;
            let Some((size, row)) = found.filter(|(size, _)| *size <= head.size) else {
                break;
            };
            let (stored_us, signed) = verified_checkpoint(size, row.bytes(), &vkeys)?;
            lines.push(CheckpointLine {
                checkpoint: signed.text().to_owned(),
                stored_us,
            });
            (last, next) = (Some(size), size.checked_add(1));
        }
        if last != Some(head.size) {
            let signed = self.shared.signing.release(head);
            let signed = signed.map_err(|error| ReadError::NotFound {
                what: format!("that can be signed: {error}"),
            })?;
            lines.push(CheckpointLine {
                checkpoint: signed.text().to_owned(),
                stored_us: head.recorded_at_us,
            });
        }
        Ok(lines)
    }

    /// The lines of some events of an export of `size`, from `from` on.
    pub(crate) fn export_part(
        &self,
        query: &Query,
        size: u64,
        from: u64,
    ) -> Result<ExportPage, ReadError> {
        let mut reader = self.shared.reader()?;
        if size > reader.size() {
            return Err(ReadError::NotFound {
                what: format!("at position {}", reader.size()),
            });
        }
        // What was requested later is not told in this export.
        let now = reader.identity.history();
        let then = History::before(&now, size);
        let mut page = ExportPage::default();
        let mut text = Vec::new();
        page.next = from;
        while page.next < size && text.len() < PAGE_BYTES && page.next - from < PAGE_EVENTS {
            let position = page.next;
            let line = reader.raw(position, |reader, raw| {
                let entry = reader.checked_entry(raw)?;
                event_line(&reader.identity.log_id, (&then, &now), query, raw, &entry)
            })?;
            match line.absent {
                Some(Absent::Erased) => page.erased += 1,
                Some(Absent::Withheld) => page.withheld += 1,
                None => {}
            }
            put(&line, &mut text).map_err(|error| unwritable(position, &error))?;
            page.next += 1;
        }
        page.text = lines_of(text)?;
        Ok(page)
    }
}

/// Lines are JSON, which is text.
fn lines_of(text: Vec<u8>) -> Result<String, ReadError> {
    String::from_utf8(text)
        .map_err(|error| Corruption::table("chunks", "text", error.to_string()).into())
}

/// The line of an event, by the erasures that are told in what is written and by those of now.
pub(super) fn event_line(
    log_id: &LogId,
    (then, now): (&History, &History),
    query: &Query,
    raw: RawEvent<'_>,
    entry: &Entry<'_>,
) -> Result<EventLine, ReadError> {
    let header = entry.header();
    let absent = if then.covers(raw.position, header) {
        Some(Absent::Erased)
    } else if raw.envelope.is_empty() || now.covers(raw.position, header) {
        Some(Absent::Withheld)
    } else {
        check_digest(log_id, entry, raw)?;
        let is_chosen = header.stream == LOG_STREAM || query.matches(header);
        (!is_chosen).then_some(Absent::Withheld)
    };
    let envelope = match absent {
        Some(_) => None,
        None => Some(raw.envelope.to_vec().into()),
    };
    Ok(EventLine {
        entry: raw.entry.to_vec().into(),
        envelope,
        absent,
    })
}
