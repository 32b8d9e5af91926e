//! Reading the index.

use std::collections::BTreeSet;

use runstone_codec::{Position, TypedEvent as _, namespace};
use runstone_store::{FoldRow, Log, ReadError};

use super::fold::{FOLD, children_key, stream_key};
use super::summary::{RunStatus, RunSummary, Totals};
use crate::DecodeRecord as _;
use crate::events::{RunForked, RunStarted};
use crate::lease::Moment;
use crate::rows::{self, RunRow};
use crate::view;

/// Rows fetched at once.
const PAGE: usize = 256;

/// Which runs are meant: those for which everything that is set holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunFilter {
    /// How they stand.
    pub status: Option<RunStatus>,
    /// How their streams begin.
    pub stream_prefix: Option<String>,
    /// Only streams after this one: where an earlier listing ended.
    pub after: Option<String>,
    /// Stream of the run that spawned them.
    pub parent: Option<String>,
    /// Only runs that no other one spawned.
    pub roots: bool,
    /// Whether they were imported.
    pub imported: Option<bool>,
    /// Their scope.
    pub scope: Option<String>,
    /// Whether streams are left out that commands write beside runs: of budgets, trays, agents, tasks
    /// and messages.
    pub only_runs: bool,
}

impl RunFilter {
    /// Every run.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only runs that stand so.
    #[must_use]
    pub fn status(mut self, status: impl Into<RunStatus>) -> Self {
        self.status = Some(status.into());
        self
    }

    /// Only runs whose streams begin so.
    #[must_use]
    pub fn stream_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.stream_prefix = Some(prefix.into());
        self
    }

    /// Only runs whose streams come after this one.
    #[must_use]
    pub fn after(mut self, stream: impl Into<String>) -> Self {
        self.after = Some(stream.into());
        self
    }

    /// Only runs that the run of this stream spawned.
    #[must_use]
    pub fn parent(mut self, stream: impl Into<String>) -> Self {
        self.parent = Some(stream.into());
        self
    }

    /// Only runs that no other one spawned.
    #[must_use]
    pub fn roots(mut self) -> Self {
        self.roots = true;
        self
    }

    /// Only runs that were imported, or only those that were not.
    #[must_use]
    pub fn imported(mut self, imported: bool) -> Self {
        self.imported = Some(imported);
        self
    }

    /// Only runs of this scope.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// No streams that commands write beside runs.
    #[must_use]
    pub fn only_runs(mut self) -> Self {
        self.only_runs = true;
        self
    }

    /// Whether a run is meant.
    pub fn matches(&self, run: &RunSummary) -> bool {
        self.status
            .as_ref()
            .is_none_or(|status| *status == run.status)
            && self
                .stream_prefix
                .as_ref()
                .is_none_or(|prefix| run.stream.starts_with(prefix))
            && self.after.as_ref().is_none_or(|after| run.stream > *after)
            && self
                .parent
                .as_ref()
                .is_none_or(|parent| run.parent.as_ref() == Some(parent))
            && !(self.roots && run.parent.is_some())
            && self
                .imported
                .is_none_or(|imported| imported == run.imported)
            && self.scope.as_ref().is_none_or(|scope| *scope == run.scope)
            && !(self.only_runs && namespace::owned_stream(&run.stream).is_some())
    }
}

/// Runs in the order of their streams, a page at a time. Each page is as of its own instant: a
/// run that goes on meanwhile may show on the next page what it did not on this one.
#[derive(Debug)]
pub struct Runs {
    log: Log,
    filter: RunFilter,
    prefix: Vec<u8>,
    from: Vec<u8>,
    page: std::vec::IntoIter<FoldRow>,
    ended: bool,
}

impl Runs {
    fn next_row(&mut self) -> Option<Result<FoldRow, ReadError>> {
        if self.page.as_slice().is_empty() && !self.ended {
            match self.log.fold_rows(FOLD, &self.prefix, &self.from, PAGE) {
                Ok(page) => {
                    self.ended = page.len() < PAGE;
                    if let Some((last, _)) = page.last() {
                        self.from.clone_from(last);
                        self.from.push(0);
                    }
                    self.page = page.into_iter();
                }
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        self.page.next().map(Ok)
    }
}

impl Iterator for Runs {
    type Item = Result<RunSummary, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let run = self
                .next_row()?
                .and_then(|(key, row)| summary(&self.log, &key, &row));
            match run {
                Ok(run) if !self.filter.matches(&run) => {}
                wanted => return Some(wanted),
            }
        }
    }
}

/// Runs in the order of their streams.
///
/// # Errors
///
/// [`ReadError::Fold`] if the log was opened without the fold, or the fold has stopped. Items are
/// errors where a row is damaged (rebuild the fold); the next ones follow.
pub fn list(log: &Log, filter: RunFilter) -> Result<Runs, ReadError> {
    view::check(log, FOLD)?;
    let prefix = stream_key(filter.stream_prefix.as_deref().unwrap_or_default());
    let from = filter.after.as_deref().map_or_else(Vec::new, |after| {
        let mut from = stream_key(after);
        from.push(0);
        from
    });
    Ok(Runs {
        log: log.clone(),
        filter,
        from: from.max(prefix.clone()),
        prefix,
        page: Vec::new().into_iter(),
        ended: false,
    })
}

/// The run of a stream; `None` if nothing was recorded in it.
///
/// # Errors
///
/// [`ReadError::Fold`] if the log was opened without the fold, or the fold has stopped, or the
/// row is damaged.
pub fn get(log: &Log, stream: &str) -> Result<Option<RunSummary>, ReadError> {
    view::check(log, FOLD)?;
    let key = stream_key(stream);
    log.fold_row(FOLD, &key)?
        .map(|row| summary(log, &key, &row))
        .transpose()
}

/// All these runs together.
///
/// # Errors
///
/// As [`list`]; a damaged row is an error here.
pub fn totals(log: &Log, filter: RunFilter) -> Result<Totals, ReadError> {
    let mut totals = Totals::default();
    for run in list(log, filter)? {
        totals.add(&run?);
    }
    Ok(totals)
}

/// A run together with the runs that it spawned, theirs, and so on; `None` if nothing was recorded
/// in the stream. It looks at these runs alone.
///
/// # Errors
///
/// As [`totals`].
pub fn tree_totals(log: &Log, stream: &str) -> Result<Option<Totals>, ReadError> {
    let Some(root) = get(log, stream)? else {
        return Ok(None);
    };
    let (mut totals, mut seen, mut open) = (Totals::default(), BTreeSet::new(), vec![root]);
    while let Some(run) = open.pop() {
        // Recordings may claim each other as parents.
        if !seen.insert(run.stream.clone()) {
            continue;
        }
        totals.add(&run);
        for child in children(log, &run.stream)? {
            if !seen.contains(&child) {
                open.extend(get(log, &child)?);
            }
        }
    }
    Ok(Some(totals))
}

/// Streams of the runs that a run spawned.
fn children(log: &Log, stream: &str) -> Result<Vec<String>, ReadError> {
    let (prefix, mut found) = (children_key(stream), Vec::new());
    view::each(log, FOLD, &prefix, |(key, _)| {
        let child = key.get(prefix.len()..).map(<[u8]>::to_vec);
        let child = child.and_then(|child| String::from_utf8(child).ok());
        found.push(child.ok_or_else(|| view::failed(FOLD, "the key of a row names no stream"))?);
        Ok(())
    })?;
    Ok(found)
}

/// The name of a run, from the payload of its `run.started` or `run.forked`; `None` if there is none,
/// or if it was erased.
///
/// # Errors
///
/// [`ReadError`] if the event cannot be read.
pub fn name(log: &Log, run: &RunSummary) -> Result<Option<String>, ReadError> {
    match run.started {
        Some(position) => name_at(log, position),
        None => Ok(None),
    }
}

/// The name that the beginning of a run gives it.
pub(super) fn name_at(log: &Log, position: Position) -> Result<Option<String>, ReadError> {
    let record = log.record(position)?;
    if record.header.event_type == RunForked::TYPE {
        let forked = record.decode::<RunForked>();
        return Ok(forked.ok().and_then(|forked| forked.name));
    }
    let started = record.decode::<RunStarted>();
    Ok(started.ok().map(|started| started.name))
}

fn summary(log: &Log, key: &[u8], row: &[u8]) -> Result<RunSummary, ReadError> {
    let stream = key
        .get(1..)
        .and_then(|stream| std::str::from_utf8(stream).ok())
        .ok_or_else(|| view::failed(FOLD, "the key of a row names no stream"))?;
    let row: RunRow = rows::decode(row)
        .map_err(|error| view::failed(FOLD, format!("the row of stream `{stream}`: {error}")))?;
    let moment = Moment::Now(log.opening(), log.steady_us());
    Ok(RunSummary::of(stream.to_owned(), row, &moment))
}
