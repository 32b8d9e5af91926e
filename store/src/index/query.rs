//! Items of a query as terms: which positions match, and whether one does.

use super::cursor::{PostingCursor, Span};
use super::error::IndexError;
use super::heads::Heads;
use super::row::RowRead;
use super::run::Meter;
use super::view::State;
use std::sync::Arc;

/// One alternative of a query: what is given must hold. Without anything it is every event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ItemTerms {
    /// Term of the stream.
    pub(crate) stream: Option<Vec<u8>>,
    /// Terms of types and namespaces, any of them.
    pub(crate) types: Vec<Vec<u8>>,
    /// Terms of tags, all of them.
    pub(crate) tags: Vec<Vec<u8>>,
}

impl ItemTerms {
    /// The term, if there is just one.
    pub(crate) fn only(&self) -> Option<&[u8]> {
        let mut terms = self.conjuncts().flatten();
        let only = terms.next().filter(|_| terms.next().is_none());
        only.map(Vec::as_slice)
    }

    /// What must hold: one of the terms of each group.
    fn conjuncts(&self) -> impl Iterator<Item = &[Vec<u8>]> {
        let types = (!self.types.is_empty()).then_some(self.types.as_slice());
        self.stream
            .as_slice()
            .chunks(1)
            .chain(self.tags.chunks(1))
            .chain(types)
    }
}

/// Positions that match an item, in order. It keeps its view; every call must be given the
/// snapshot of the rows that was taken together with that view.
#[derive(Debug)]
pub(crate) struct MatchCursor {
    conjuncts: Vec<Conjunct>,
    reverse: bool,
    /// Positions that may still come.
    left: Option<Span>,
    meter: Meter,
}

/// Positions that have one of some terms.
#[derive(Debug)]
struct Conjunct {
    terms: Vec<Peeked>,
}

/// A cursor and where it stands.
#[derive(Debug)]
struct Peeked {
    cursor: PostingCursor,
    stands: Stands,
}

#[derive(Clone, Copy, Debug)]
enum Stands {
    Before,
    At(u64),
    End,
}

impl Conjunct {
    /// The first position not before `target` in the direction of travel.
    fn seek(
        &mut self,
        rows: &dyn RowRead,
        target: u64,
        reverse: bool,
        meter: &mut Meter,
    ) -> Result<Option<u64>, IndexError> {
        let mut best: Option<u64> = None;
        for term in &mut self.terms {
            let Some(at) = term.seek(rows, target, reverse, meter)? else {
                continue;
            };
            best = Some(match best {
                None => at,
                Some(best) if reverse => best.max(at),
                Some(best) => best.min(at),
            });
        }
        Ok(best)
    }
}

impl Peeked {
    fn seek(
        &mut self,
        rows: &dyn RowRead,
        target: u64,
        reverse: bool,
        meter: &mut Meter,
    ) -> Result<Option<u64>, IndexError> {
        let stays = match self.stands {
            Stands::Before => false,
            Stands::At(at) if reverse => at <= target,
            Stands::At(at) => at >= target,
            Stands::End => true,
        };
        if !stays {
            let found = self.cursor.seek(rows, target, meter)?;
            self.stands = found.map_or(Stands::End, Stands::At);
        }
        Ok(match self.stands {
            Stands::At(at) => Some(at),
            Stands::Before | Stands::End => None,
        })
    }
}

impl MatchCursor {
    pub(super) fn new(
        state: &Arc<State>,
        item: &ItemTerms,
        left: Option<Span>,
        reverse: bool,
        meter: Meter,
    ) -> Self {
        let peeked = |term: &Vec<u8>| Peeked {
            cursor: PostingCursor::new(Arc::clone(state), term, left, reverse),
            stands: Stands::Before,
        };
        Self {
            conjuncts: item
                .conjuncts()
                .map(|terms| Conjunct {
                    terms: terms.iter().map(peeked).collect(),
                })
                .collect(),
            reverse,
            left,
            meter,
        }
    }

    /// The next position, or none at the end.
    pub(crate) fn next(&mut self, rows: &dyn RowRead) -> Result<Option<u64>, IndexError> {
        let Some(left) = self.left else {
            return Ok(None);
        };
        let found = self.leapfrog(rows, left.start(self.reverse))?;
        self.left = found.and_then(|position| left.behind(position, self.reverse));
        Ok(found)
    }

    /// The first position from `target` on at which all conjuncts meet.
    fn leapfrog(&mut self, rows: &dyn RowRead, mut target: u64) -> Result<Option<u64>, IndexError> {
        let all = self.conjuncts.len();
        let mut agreed = 0;
        while agreed < all {
            for conjunct in &mut self.conjuncts {
                if agreed == all {
                    break;
                }
                let found = conjunct.seek(rows, target, self.reverse, &mut self.meter)?;
                let Some(found) = found else {
                    return Ok(None);
                };
                if found == target {
                    agreed += 1;
                } else {
                    target = found;
                    agreed = 1;
                }
            }
        }
        Ok(Some(target))
    }
}

/// The newest position behind `after` that matches an item.
///
/// A conjunct whose last position is not behind `after` rejects; a single one answers; else the
/// postings decide, newest first.
pub(super) fn newest_after(
    state: &Arc<State>,
    heads: &mut Heads,
    rows: &dyn RowRead,
    item: &ItemTerms,
    after: Option<u64>,
    mut meter: Meter,
) -> Result<Option<u64>, IndexError> {
    let low = after.map_or(Some(0), |after| after.checked_add(1));
    let (Some(low), Some(mut high)) = (low, state.next().checked_sub(1)) else {
        return Ok(None);
    };
    let mut conjuncts = 0;
    for terms in item.conjuncts() {
        let mut newest = None;
        for term in terms {
            meter.touch()?;
            newest = newest.max(heads.last(&state.tables, &state.runs, rows, term)?);
        }
        match newest.filter(|&newest| newest >= low) {
            Some(newest) => high = high.min(newest),
            None => return Ok(None),
        }
        conjuncts += 1;
    }
    let left = Span::new(low, high);
    if conjuncts < 2 {
        return Ok(left.map(|left| left.high));
    }
    MatchCursor::new(state, item, left, true, meter).next(rows)
}

#[cfg(test)]
mod tests {
    use super::super::sample::Rows;
    use super::super::{Index, IndexOptions};
    use super::*;

    #[test]
    fn a_limit_counts_each_posting_of_each_conjunct() {
        let rows = Rows::default();
        let mut index = Index::open(&rows, IndexOptions::default()).unwrap();
        for position in 0..6 {
            let tag: &[u8] = if position % 2 == 0 {
                b"Ga:even"
            } else {
                b"Ga:odd"
            };
            index.insert(position, [&b"Tx"[..], tag]).unwrap();
        }
        let item = ItemTerms {
            types: vec![b"Tx".to_vec()],
            tags: vec![b"Ga:odd".to_vec()],
            ..ItemTerms::default()
        };
        // Three odd positions, and three of the type to meet them.
        for (limit, fits) in [(6, true), (5, false)] {
            let mut cursor = index.view(6).matches(&item, &(0..=9), false, Some(limit));
            let walked: Result<Vec<_>, _> = (0..4).map(|_| cursor.next(&rows)).collect();
            assert_eq!(walked.is_ok(), fits, "{limit}");
        }
        // Two heads, and the newest posting of each.
        for (limit, fits) in [(4, true), (3, false)] {
            let newest = index.any_after(&rows, &item, Some(1), Some(limit));
            assert_eq!(newest.ok().flatten() == Some(5), fits, "{limit}");
        }
        let rejected = index.any_after(&rows, &item, Some(5), Some(2));
        assert_eq!(rejected.ok(), Some(None));
    }
}
