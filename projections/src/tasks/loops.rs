//! When work is taken for a loop.
//!
//! A creation looks at few rows, whatever was created before, so the writer never waits for it:
//!
//! - **Depth** stands in the row of the parent.
//! - **Cycles.** A task refers to others, and only while it is created. So it can be reached from what
//!   it refers to only if its id was named before: by a task that was created by one yet to come, or
//!   after an earlier life. Such ids are marked; for every other one there is nothing to follow. From
//!   a marked one the links are followed with a visited set, through at most [`WALK`] tasks. Behind
//!   so many a cycle cannot be ruled out, and the creation is refused.
//! - **Identity** looks at as many ancestors as the settings say.
//! - **Reprocessing.** Completions are counted, and each has its number: whether a task is among the
//!   last n of them is a subtraction.

use super::fold::{Digest, completed_key, named_key, task_key};
use super::machine::is_terminal;
use crate::rows::TaskRow;
use bincode::Decode;
use std::collections::BTreeSet;

/// Most tasks that are looked at for a cycle. A row that is read from the file takes some 5
/// microseconds, measured, and a creation is to be answered within a millisecond.
pub(super) const WALK: usize = 128;

/// Rows of the fold, wherever they are.
pub(super) trait Look {
    type Error;

    fn get<T: Decode<()>>(&mut self, key: &[u8]) -> Result<Option<T>, Self::Error>;

    /// Whether there is such a row.
    fn has(&mut self, key: &[u8]) -> Result<bool, Self::Error>;
}

/// A task that is to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted<'a> {
    pub(super) task: Digest,
    pub(super) scope: &'a str,
    pub(super) agent: Option<Digest>,
    pub(super) task_type: Option<Digest>,
    pub(super) parent: Option<Digest>,
    pub(super) creator: Option<Digest>,
}

/// What it goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) max_depth: u64,
    pub(crate) identity_window: u64,
    pub(crate) completed_window: u64,
}

/// A loop that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loop {
    Depth {
        depth: u64,
        max_depth: u64,
    },
    Cycle,
    /// Too much lies behind it to rule a cycle out.
    Tangle,
    Identity,
    Reprocess,
}

/// What a creation comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judged {
    Allowed {
        depth: u64,
    },
    ParentUnknown,
    Found(Loop),
    /// It is there, and has not ended.
    Exists(Box<TaskRow>),
}

/// Whether the task may be created, in the order in which loops are told.
pub(super) fn judge<L: Look>(
    rows: &mut L,
    wanted: &Wanted<'_>,
    bounds: &Bounds,
) -> Result<Judged, L::Error> {
    let row = |rows: &mut L, digest: &Digest| rows.get::<TaskRow>(&task_key(digest, wanted.scope));
    let parent = match &wanted.parent {
        Some(digest) => match row(rows, digest)? {
            Some(parent) => Some(parent),
            None if *digest == wanted.task => return Ok(Judged::Found(Loop::Cycle)),
            None => return Ok(Judged::ParentUnknown),
        },
        None => None,
    };
    let depth = parent.as_ref().map_or(0, |row| row.depth.saturating_add(1));
    let max_depth = bounds.max_depth;
    if depth > max_depth {
        return Ok(Judged::Found(Loop::Depth { depth, max_depth }));
    }
    let before = row(rows, &wanted.task)?;
    let is_there = before.as_ref().is_some_and(|row| !is_terminal(row.state()));
    match traces_back(rows, wanted)? {
        Some(true) => return Ok(Judged::Found(Loop::Cycle)),
        // It is refused anyway, for a reason that is certain.
        None if !is_there => return Ok(Judged::Found(Loop::Tangle)),
        _ => {}
    }
    if is_identity_loop(rows, wanted, parent, bounds.identity_window)? {
        return Ok(Judged::Found(Loop::Identity));
    }
    let Some(before) = before else {
        return Ok(Judged::Allowed { depth });
    };
    if is_there {
        return Ok(Judged::Exists(Box::new(before)));
    }
    if let Some(number) = before.completed {
        let count = rows.get::<u64>(&completed_key(wanted.scope))?;
        let later = count.unwrap_or(number).saturating_sub(number);
        if later < bounds.completed_window {
            return Ok(Judged::Found(Loop::Reprocess));
        }
    }
    Ok(Judged::Allowed { depth })
}

/// Whether parent and creator lead to the task itself; `None` if too much lies behind them.
fn traces_back<L: Look>(rows: &mut L, wanted: &Wanted<'_>) -> Result<Option<bool>, L::Error> {
    let mut open: Vec<Digest> = [wanted.creator, wanted.parent]
        .into_iter()
        .flatten()
        .collect();
    if open.contains(&wanted.task) {
        return Ok(Some(true));
    }
    if open.is_empty() || !rows.has(&named_key(&wanted.task, wanted.scope))? {
        return Ok(Some(false));
    }
    let mut seen: BTreeSet<Digest> = open.iter().copied().collect();
    let mut looked = 0;
    while let Some(next) = open.pop() {
        if looked == WALK {
            return Ok(None);
        }
        looked += 1;
        let Some(row) = rows.get::<TaskRow>(&task_key(&next, wanted.scope))? else {
            continue;
        };
        for link in [row.creator, row.parent].into_iter().flatten() {
            if link == wanted.task {
                return Ok(Some(true));
            }
            if seen.insert(link) {
                open.push(link);
            }
        }
    }
    Ok(Some(false))
}

/// Whether one of the next ancestors has the same agent and the same type of work.
fn is_identity_loop<L: Look>(
    rows: &mut L,
    wanted: &Wanted<'_>,
    parent: Option<TaskRow>,
    window: u64,
) -> Result<bool, L::Error> {
    let (Some(agent), Some(task_type)) = (wanted.agent, wanted.task_type) else {
        return Ok(false);
    };
    let mut ancestor = parent;
    let mut seen = BTreeSet::new();
    for _ in 0..window {
        let Some(row) = ancestor else { break };
        if row.agent == Some(agent) && row.task_type == Some(task_type) {
            return Ok(true);
        }
        ancestor = match row.parent {
            Some(next) if seen.insert(next) => rows.get(&task_key(&next, wanted.scope))?,
            _ => None,
        };
    }
    Ok(false)
}
