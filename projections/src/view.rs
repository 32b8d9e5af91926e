//! What every view of a fold's rows begins with.

use crate::rows;
use bincode::Decode;
use runstone_codec::Position;
use runstone_store::{AppendError, DecideContext, FoldError, FoldRow, Log, ReadError, TypedRow};

/// Refuses a fold that has stopped: it knows nothing of what came after.
pub(crate) fn check(log: &Log, fold: &str) -> Result<(), ReadError> {
    let stopped = log
        .fold_status()?
        .into_iter()
        .find(|status| status.name == fold)
        .and_then(|status| status.stopped);
    match stopped {
        Some((position, why)) => Err(failed(
            fold,
            format!("it stopped at position {position}: {why}"),
        )),
        None => Ok(()),
    }
}

/// Whether the rows of a fold tell of everything up to a position.
pub(crate) fn is_folded(log: &Log, fold: &str, at: Position) -> Result<bool, ReadError> {
    let mut all = log.fold_status()?.into_iter();
    let fold = all.find(|status| status.name == fold);
    Ok(fold.is_some_and(|fold| fold.stopped.is_none_or(|(stopped, _)| stopped > at)))
}

/// The rows of a fold cannot be read.
pub(crate) fn failed(fold: &str, why: impl std::fmt::Display) -> ReadError {
    ReadError::Fold {
        fold: fold.to_owned(),
        why: why.to_string(),
    }
}

/// Rows fetched at once.
const PAGE: usize = 256;

/// Rows whose keys begin so, in their order, a page at a time; each page is as of its own instant.
pub(crate) fn each(
    log: &Log,
    fold: &str,
    prefix: &[u8],
    mut take: impl FnMut(FoldRow) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let mut from = prefix.to_vec();
    loop {
        let page = log.fold_rows(fold, prefix, &from, PAGE)?;
        let last = page.last().filter(|_| page.len() == PAGE);
        let next = last.map(|(key, _)| [key.as_slice(), &[0]].concat());
        page.into_iter().try_for_each(&mut take)?;
        match next {
            Some(next) => from = next,
            None => return Ok(()),
        }
    }
}

/// A row as it stands.
pub(crate) fn stored<T: Decode<()>>(
    log: &Log,
    fold: &str,
    key: &[u8],
) -> Result<Option<T>, ReadError> {
    let row = log.fold_row(fold, key)?;
    let row = row.map(|row| rows::decode(&row)).transpose();
    row.map_err(|error| failed(fold, error))
}

/// Rows as they stand, by their keys.
pub(crate) fn all_stored<T: Decode<()>>(
    log: &Log,
    fold: &str,
    keys: &[Vec<u8>],
) -> Result<Vec<Option<T>>, ReadError> {
    let rows = log.fold_rows_at(fold, keys)?.into_iter();
    let rows = rows.map(|row| row.map(|row| rows::decode(&row)).transpose());
    rows.collect::<Result<_, _>>()
        .map_err(|error| failed(fold, error))
}

/// A row as a decider sees it.
pub(crate) fn row<T: Decode<()>>(
    context: &DecideContext<'_>,
    fold: &str,
    key: &[u8],
) -> Result<Option<T>, AppendError> {
    let row = context.fold_row(fold, key)?;
    let row = row.map(|row| rows::decode(&row)).transpose();
    row.map_err(|error| undecided(context, fold, &error))
}

/// The same of a fold that puts its rows typed.
pub(crate) fn typed_row<T: TypedRow + Decode<()> + Clone>(
    context: &DecideContext<'_>,
    fold: &str,
    key: &[u8],
) -> Result<Option<T>, AppendError> {
    let row = context.fold_value(fold, key)?;
    let row = row.as_ref().map(rows::typed).transpose();
    row.map_err(|error| undecided(context, fold, &error))
}

/// Nothing can be decided by a row that cannot be read.
fn undecided(context: &DecideContext<'_>, fold: &str, error: &FoldError) -> AppendError {
    AppendError::FoldStopped {
        fold: fold.to_owned(),
        position: context.next_position().get(),
        why: error.to_string(),
    }
}
