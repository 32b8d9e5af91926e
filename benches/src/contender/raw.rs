//! The file without a store: what the disk itself gives for these bytes.
//!
//! A commit is one `write` and one `fdatasync` (`File::sync_data`). The growing file also pays for
//! its new length, which the file system writes to its journal; the preallocated one was written
//! full of zeros before, so that a commit changes data blocks only: the true limit.

use super::grouped::{Committer, Grouped};
use super::{Seen, Store, row};
use crate::event::Request;
use anyhow::{Result, bail};
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

const PREALLOCATED_BYTES: u64 = 128 << 20;
static ZEROS: [u8; 1 << 20] = [0; 1 << 20];

struct Raw {
    preallocated: bool,
}

struct Writer {
    file: File,
    /// Where the next write to a preallocated file goes.
    at: u64,
    buffer: Vec<u8>,
}

pub(crate) fn growing(folder: &Path) -> Result<Box<dyn Store>> {
    open(folder, false)
}

pub(crate) fn preallocated(folder: &Path) -> Result<Box<dyn Store>> {
    open(folder, true)
}

fn open(folder: &Path, preallocated: bool) -> Result<Box<dyn Store>> {
    let mut file = File::create(folder.join("raw"))?;
    if preallocated {
        for _ in 0..PREALLOCATED_BYTES / ZEROS.len() as u64 {
            file.write_all(&ZEROS)?;
        }
    }
    file.sync_all()?;
    let writer = Writer {
        file,
        at: 0,
        buffer: Vec::new(),
    };
    Grouped::start(Raw { preallocated }, writer)
}

impl Committer for Raw {
    type Writer = Writer;

    fn commit(&self, writer: &mut Writer, requests: &[Request]) -> Result<Vec<bool>> {
        writer.buffer.clear();
        for event in requests.iter().flat_map(|request| &request.events) {
            row::encode(event, &mut writer.buffer);
        }
        if self.preallocated {
            // At the end it begins again: these blocks are written, too.
            if writer.at + writer.buffer.len() as u64 > PREALLOCATED_BYTES {
                writer.at = 0;
            }
            writer.file.write_all_at(&writer.buffer, writer.at)?;
            writer.at += writer.buffer.len() as u64;
        } else {
            writer.file.write_all(&writer.buffer)?;
        }
        writer.file.sync_data()?;
        Ok(vec![true; requests.len()])
    }

    fn scan(&self, _: &mut Writer) -> Result<Seen> {
        bail!("a raw file is not read")
    }

    fn read_run(&self, _: &mut Writer, _: &str) -> Result<Seen> {
        bail!("a raw file is not read")
    }
}
