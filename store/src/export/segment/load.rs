//! From segments to a replica.

use super::super::line::{CheckpointLine, Lines};
use super::super::load::{Admit, Filled, LoadReport, STEP, begin, make};
use super::super::loader::{Before, Loader};
use super::super::marks::Marks;
use super::{LoadError, SEGMENT_ROW, SegmentSource, UnsignedTail, end_of, follows, take_events};
use crate::engine::{Change, Db, RowTable};
use crate::log::Log;
use crate::open::Derived;
use crate::own::History;
use std::path::Path;
use std::sync::Arc;

impl Log {
    /// Makes a replica of the segments of a log, from the first one on: as [`load`](Self::load) does
    /// of an export. Content that an erasure covers which a later segment tells of is left out.
    ///
    /// A checkpoint counts if a key signed it that the segments name; [`LoadReport::signed`] says how
    /// many events the newest one covers. `tail` says what becomes of those after it. `progress` is told
    /// events done and all.
    ///
    /// # Errors
    ///
    /// [`LoadError`] says which segment is wrong and why, or which one is missing;
    /// [`LoadError::Unsigned`]; else as [`load`](Self::load).
    pub fn load_segments(
        source: &mut dyn SegmentSource,
        path: &Path,
        tail: UnsignedTail,
        progress: &dyn Fn(u64, u64),
    ) -> Result<LoadReport, LoadError> {
        let mut ahead = None;
        make(path, &mut |db, admit| {
            fill(db, (&mut *source, tail), &mut ahead, admit, progress)
        })
    }
}

/// Reads segments into an empty database. If some of what it took was erased later, that is known
/// then, and it is to be done again.
pub(in crate::export) fn fill(
    db: &Db,
    (source, tail): (&mut dyn SegmentSource, UnsignedTail),
    ahead: &mut Option<Arc<History>>,
    admit: Admit<'_>,
    progress: &dyn Fn(u64, u64),
) -> Result<Filled, LoadError> {
    let mut opened = source.open(0)?;
    let (mut tree, mut index) = begin(db)?;
    let (mut loader, mut marks) = (None::<Loader<'_>>, Marks::default());
    let mut derived = Some(Derived::new(db, &mut tree, &mut index));
    let mut last = None;
    let mut signed = 0;
    let all = source.events();
    while let Some(input) = opened {
        let take = || {
            let mut lines = Lines::new(input.input);
            let start = lines.segment_start()?;
            match &last {
                Some((end, _)) => follows(&start, end)?,
                None if start.from == 0 => admit(&start.log_id)?,
                None => return Err(LoadError::SegmentMissing { from: 0 }),
            }
            if let Some(derived) = derived.take() {
                let new = Loader::new(db, start.log_id, derived, Before::nothing());
                loader = Some(new.without(ahead.clone()));
            }
            let Some(loader) = loader.as_mut() else {
                return Err(LoadError::NotASegment);
            };
            let each = |done: u64| {
                if done.is_multiple_of(STEP) {
                    progress(done, all.max(done));
                }
            };
            let digest = take_events(loader, &mut lines, &start, each)?;
            let head = loader.head(start.root, start.recorded_at_us, start.head_mac)?;
            let taken = loader.take_marks();
            taken.check(loader.history())?;
            marks.go_on(taken);
            let line = CheckpointLine {
                checkpoint: start.checkpoint.clone(),
                stored_us: start.stored_us,
            };
            if loader.keep_checkpoint((start.to, Some(start.root)), &line)? {
                signed = start.to;
            }
            last = Some((end_of(&start, digest), head));
            Ok(start.to)
        };
        let to = take().map_err(|error| error.of_segment(&input.name))?;
        opened = source.open(to)?;
    }
    let (Some((end, head)), Some(mut loader)) = (last, loader) else {
        return Err(LoadError::SegmentMissing { from: 0 });
    };
    if ahead.is_none() && marks.is_kept_covered(loader.history()) {
        *ahead = Some(Arc::new(loader.history().clone()));
        return Ok(Filled::Again);
    }
    if tail == UnsignedTail::Refused && signed < end.events {
        let events = end.events;
        return Err(LoadError::Unsigned { signed, events });
    }
    let digest = end.digest.unwrap_or_default().to_vec();
    loader.put(Change::PutRow(RowTable::Meta, SEGMENT_ROW.to_vec(), digest));
    let made = loader.report(head, signed)?;
    progress(end.events, end.events);
    Ok(Filled::Done(made))
}
