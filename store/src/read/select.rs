//! From a query to positions.

use crate::append::Condition;
use crate::engine::Snapshot;
use crate::error::{AppendError, ReadError};
use crate::index::{self, Index, IndexView, ItemTerms};
use crate::query::{Item, Query};

/// Terms of an item, as far as the index knows its filters.
fn terms(item: &Item) -> ItemTerms {
    ItemTerms {
        stream: item.stream.as_deref().map(index::stream),
        types: item
            .types
            .iter()
            .map(|pattern| index::type_pattern(pattern))
            .collect(),
        tags: item.tags.iter().map(|tag| index::tag(tag)).collect(),
    }
}

/// Which positions a read has to look at.
#[derive(Debug)]
pub(crate) enum Candidates {
    /// Every position in the range.
    All,
    /// Positions that the index names.
    Indexed(Vec<ItemTerms>),
}

impl Candidates {
    pub(crate) fn of(query: &Query) -> Self {
        match query {
            Query::Items(items) if items.iter().all(Item::is_indexed) => {
                Self::Indexed(items.iter().map(terms).collect())
            }
            _ => Self::All,
        }
    }

    /// Whether the candidates are exactly the matches, so that headers need not be looked at.
    pub(crate) fn is_exact(query: &Query) -> bool {
        match query {
            Query::Everything => true,
            Query::Items(items) => items
                .iter()
                .all(|item| item.is_indexed() && item.unindexed().is_none()),
        }
    }
}

/// Up to `limit` positions in `from..=to` that any of the items names, in order.
pub(crate) fn positions(
    view: &IndexView,
    snapshot: &Snapshot,
    items: &[ItemTerms],
    (from, to): (u64, u64),
    reverse: bool,
    limit: usize,
) -> Result<Vec<u64>, ReadError> {
    let mut cursors: Vec<_> = items
        .iter()
        .map(|item| view.matches(item, &(from..=to), reverse, None))
        .collect();
    let mut next = cursors
        .iter_mut()
        .map(|cursor| cursor.next(snapshot))
        .collect::<Result<Vec<_>, _>>()?;
    let mut found: Vec<u64> = Vec::new();
    while found.len() < limit {
        let waiting = next.iter().flatten().copied();
        let Some(best) = (if reverse {
            waiting.max()
        } else {
            waiting.min()
        }) else {
            break;
        };
        found.push(best);
        // What comes next may be far, and is not asked for.
        if found.len() == limit {
            break;
        }
        for (cursor, slot) in cursors.iter_mut().zip(&mut next) {
            if *slot == Some(best) {
                *slot = cursor.next(snapshot)?;
            }
        }
    }
    Ok(found)
}

/// A condition as the index is asked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sought {
    after: Option<u64>,
    /// Alternatives in order, in place of one the field that the index does not know; without them
    /// every event.
    items: Option<Vec<Result<ItemTerms, &'static str>>>,
}

impl From<&Condition> for Sought {
    fn from(condition: &Condition) -> Self {
        let item = |item: &Item| match item.unindexed() {
            Some(field) => Err(field),
            None if !item.is_indexed() => Err("nothing"),
            None => Ok(terms(item)),
        };
        Self {
            after: condition.after,
            items: match &condition.query {
                Query::Everything => None,
                Query::Items(items) => Some(items.iter().map(item).collect()),
            },
        }
    }
}

impl Sought {
    /// A position that matches, if there is one.
    pub(crate) fn find(
        &self,
        index: &mut Index,
        snapshot: &Snapshot,
        limit: u64,
    ) -> Result<Option<u64>, AppendError> {
        let Some(items) = &self.items else {
            let last = index.next().checked_sub(1);
            return Ok(last.filter(|last| self.after.is_none_or(|after| *last > after)));
        };
        for item in items {
            let terms = item
                .as_ref()
                .map_err(|&field| AppendError::ConditionUnindexed { field })?;
            let found = index.any_after(snapshot, terms, self.after, Some(limit))?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Terms that no event has, if nothing was found.
    pub(crate) fn absent(&self) -> impl Iterator<Item = &[u8]> {
        let items = self.items.iter().flatten().flatten();
        let anywhere = items.filter(|_| self.after.is_none());
        anywhere.filter_map(ItemTerms::only)
    }
}
