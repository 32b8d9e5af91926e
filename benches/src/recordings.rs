//! Real recordings of agent runs as payloads.

use anyhow::{Result, bail};
use runstone::codec::Draft;
use runstone::import::{DETECT_BYTES, Importer, Options, detect};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where recordings are looked for if nobody says.
pub(crate) const DEFAULT_FOLDER: &str = "../shared/data";

/// A folder of recordings.
#[derive(Debug)]
pub(crate) struct Recordings {
    files: Vec<PathBuf>,
}

impl Recordings {
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let mut files = Vec::new();
        let mut open = vec![folder.to_owned()];
        while let Some(path) = open.pop() {
            if path.is_dir() {
                let inside = fs::read_dir(&path)?.map(|entry| Ok(entry?.path()));
                open.append(&mut inside.collect::<Result<_>>()?);
            } else {
                files.push(path);
            }
        }
        files.sort_unstable();
        Ok(Self { files })
    }

    /// The records of every file whose format is known, under streams with this prefix. What
    /// cannot be imported is left out, and events that came before: sessions are there at several
    /// lengths.
    pub(crate) fn records(&self, prefix: &str) -> Result<Vec<Vec<Draft>>> {
        let mut records = Vec::new();
        let mut known = BTreeSet::new();
        for file in &self.files {
            let bytes = fs::read(file)?;
            let head = bytes.get(..DETECT_BYTES).unwrap_or(&bytes);
            let Some(format) = detect(head) else {
                continue;
            };
            let options = Options::new().stream_prefix(prefix);
            for mut record in Importer::new(format, bytes.as_slice(), options).flatten() {
                let drafts = &mut record.drafts;
                drafts.retain(|draft| draft.event.event_id.is_none_or(|id| known.insert(id)));
                if !record.drafts.is_empty() {
                    records.push(record.drafts);
                }
            }
        }
        if records.is_empty() {
            bail!("no recording was found");
        }
        Ok(records)
    }

    /// Payloads of about this length, as JSON arrays of recorded payloads.
    pub(crate) fn long_payloads(&self, bytes: usize, count: usize) -> Result<Vec<Vec<u8>>> {
        let records = self.records("")?;
        let mut recorded = records.iter().flatten().cycle();
        let mut payloads = Vec::new();
        for _ in 0..count {
            let mut payload = b"[".to_vec();
            while payload.len() < bytes {
                let Some(draft) = recorded.next() else {
                    bail!("no recording was found");
                };
                if payload.len() > 1 {
                    payload.push(b',');
                }
                payload.extend_from_slice(&draft.event.payload);
            }
            payload.push(b']');
            payloads.push(payload);
        }
        Ok(payloads)
    }
}
