//! Verification by somebody who has the file and no keys.

use super::pass::{Facts, Pass};
use super::{ProblemKind, VerifyLevel, VerifyReport};
use crate::admin::foreign::foreign_rows;
use crate::engine::{Db, LogPaths};
use crate::error::{Corruption, OpenError, StorageError};
use crate::headfile::{Found, HeadFile};
use crate::open::{OpenOptions, disks_of, last_head, read_genesis};
use std::path::Path;
use std::sync::Arc;

/// Checks what the log, its `LOG.head` and its signed checkpoints say of each other.
pub(super) fn verify_without_keys(
    path: &Path,
    open: &OpenOptions,
    level: VerifyLevel,
    progress: &dyn Fn(u64, u64),
) -> Result<VerifyReport, OpenError> {
    let paths = LogPaths::new(path);
    let disks = disks_of(&paths, true)?;
    let db = Db::open(
        Arc::clone(&disks.log),
        open.options.cache_bytes,
        &open.progress,
    )?;
    let snapshot = db.snapshot()?;
    let genesis = read_genesis(&snapshot)?;
    let (_, found) = HeadFile::open(disks.head, &genesis.log_id)
        .map_err(|error| StorageError::io(&paths.head, &error))?;
    let head = last_head(&snapshot)?;
    let facts = Facts::without_keys(&genesis);
    let mut report = VerifyReport::new(level);
    report.size = head.size;
    let mut pass = Pass::new(&facts, &snapshot, level, report);
    if let Found::Head(slot) = &found {
        pass.witnessed = Some(slot.size);
    }
    let walked = pass.walk(&head, progress).and_then(|()| pass.check_tiles());
    if let Err(error) = walked {
        pass.report.failed(&error);
    }
    pass.check_checkpoints();
    pass.check_erasures();
    if let Found::Head(slot) = &found {
        pass.check_witness("LOG.head", slot.size, &slot.root);
    }
    pass.conclude(&head);
    pass.check_index();
    let signed = pass.is_signed(&head);
    let mut report = pass.report;
    if !signed {
        report.problem(
            ProblemKind::Incomplete,
            Corruption::table(
                "checkpoints",
                "a signed checkpoint of every event; the keys vouch for those after the last one",
                "events after the last one, and no keys",
            ),
        );
    }
    report.foreign(foreign_rows(&snapshot, None, head.size));
    Ok(report)
}
