//! Proof that the rows are what the log says: fold again from the beginning and compare.

use super::host::FoldHost;
use super::rows::RowSeal;
use super::state::{FoldState, Look};
use super::{Fold, FoldError, FoldRecord};
use crate::engine::Db;
use crate::error::StorageError;
use crate::holder::hex32;
use runstone_codec::Position;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::sync::Arc;

/// Outcome of folding again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct FoldCheck {
    /// The fold.
    pub fold: String,
    /// Events taken in by both.
    pub position: Position,
    /// SHA-256 over the rows folded again.
    #[serde(with = "hex32")]
    #[schemars(with = "String")]
    pub digest: [u8; 32],
    /// SHA-256 over the live rows.
    #[serde(with = "hex32")]
    #[schemars(with = "String")]
    pub live_digest: [u8; 32],
    /// The first row that differs.
    pub difference: Option<RowDifference>,
    /// Where and why the fold stopped, now or live.
    pub stopped: Option<(Position, String)>,
}

impl FoldCheck {
    /// Whether the live rows are what the log says.
    pub fn is_equal(&self) -> bool {
        self.digest == self.live_digest && self.difference.is_none()
    }
}

/// The first row that is not what the log says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct RowDifference {
    /// Key of the row.
    pub key: Vec<u8>,
    /// Value folded again; `None` if there should be no row.
    pub rebuilt: Option<Vec<u8>>,
    /// Live value; `None` if there is no row.
    pub live: Option<Vec<u8>>,
}

/// A fold that is folded again beside the live one.
#[derive(Debug)]
pub(crate) struct Rebuild {
    state: FoldState,
}

impl Rebuild {
    pub(crate) fn new(fold: Arc<dyn Fold>) -> Self {
        Self {
            state: FoldState::detached(fold),
        }
    }

    pub(crate) fn applied(&self) -> u64 {
        self.state.applied
    }

    pub(crate) fn name(&self) -> &'static str {
        self.state.name()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state.stopped.is_some()
    }

    pub(crate) fn apply(&mut self, seal: &RowSeal, namespace: &str, record: &FoldRecord<'_>) {
        self.state.apply(seal, &Look::Nowhere, namespace, record);
    }

    pub(crate) fn into_state(self) -> FoldState {
        self.state
    }

    /// The error of a fold that could not be folded to the end because a key could not be had.
    pub(crate) fn check_keys(&self) -> Result<(), FoldError> {
        match &self.state.keys_away {
            Some(why) => Err(FoldError::Unavailable(why.clone())),
            None => Ok(()),
        }
    }

    /// Compares with the live rows, which must be at the same position.
    pub(crate) fn compare(&self, host: &FoldHost, db: &Db) -> Result<FoldCheck, FoldError> {
        self.check_keys()?;
        let live_state = host.state(self.state.name());
        if let Some(why) = live_state.and_then(|state| state.keys_away.clone()) {
            return Err(FoldError::Unavailable(why));
        }
        let row = |error: StorageError| FoldError::Row(error.to_string());
        let snapshot = db.snapshot().map_err(row)?;
        let name = self.state.name();
        let mut comparison = Comparison::with(self.state.rows_in_memory());
        host.walk(&snapshot, name, &mut |key, value| {
            comparison.live_row(key, value)
        })?;
        let (digest, live_digest, difference) = comparison.conclude()?;
        let stopped = self.state.stopped.clone().or_else(|| {
            host.state(name)
                .and_then(|live_state| live_state.stopped.clone())
        });
        Ok(FoldCheck {
            fold: name.to_owned(),
            position: Position::new(self.state.applied),
            digest,
            live_digest,
            difference,
            stopped: stopped.map(|(position, why)| (Position::new(position), why)),
        })
    }
}

/// The digest of the rows folded again, that of the live ones, and the first difference.
type Conclusion = ([u8; 32], [u8; 32], Option<RowDifference>);

/// A row folded again.
type Again<'a> = Result<(&'a [u8], Cow<'a, [u8]>), FoldError>;

/// Rows folded again beside live ones, both in the order of their keys: none of them is kept.
struct Comparison<I> {
    again: I,
    /// A row folded again that has no bytes.
    error: Option<FoldError>,
    digest: Sha256,
    live_digest: Sha256,
    difference: Option<RowDifference>,
}

impl<'a, I: Iterator<Item = Again<'a>>> Comparison<I> {
    fn with(again: I) -> Self {
        Self {
            again,
            error: None,
            digest: Sha256::new(),
            live_digest: Sha256::new(),
            difference: None,
        }
    }

    /// The next row folded again, taken into the digest; an error ends them.
    fn next_again(&mut self) -> Option<(&'a [u8], Cow<'a, [u8]>)> {
        match self.again.next()? {
            Ok((key, value)) => {
                take_row(&mut self.digest, key, &value);
                Some((key, value))
            }
            Err(error) => {
                self.error = Some(error);
                None
            }
        }
    }

    /// Answers whether to go on.
    fn live_row(&mut self, key: &[u8], value: &[u8]) -> bool {
        take_row(&mut self.live_digest, key, value);
        let again = self.next_again();
        let again = again.as_ref().map(|(key, value)| (*key, value.as_ref()));
        if again != Some((key, value)) {
            self.differs(again, Some((key, value)));
        }
        self.error.is_none()
    }

    /// What they come to, once every live row was taken.
    fn conclude(mut self) -> Result<Conclusion, FoldError> {
        while let Some((key, value)) = self.next_again() {
            self.differs(Some((key, &value)), None);
        }
        if let Some(error) = self.error {
            return Err(error);
        }
        let (digest, live_digest) = (self.digest.finalize(), self.live_digest.finalize());
        Ok((digest.into(), live_digest.into(), self.difference))
    }

    /// Notes the first row that is not the same in both; of two keys the one that comes first.
    fn differs(&mut self, again: Option<(&[u8], &[u8])>, live: Option<(&[u8], &[u8])>) {
        let keys = again.into_iter().chain(live).map(|(key, _)| key);
        let Some(key) = keys.min().filter(|_| self.difference.is_none()) else {
            return;
        };
        let value = |row: Option<(&[u8], &[u8])>| {
            row.filter(|(found, _)| *found == key)
                .map(|(_, value)| value.to_vec())
        };
        self.difference = Some(RowDifference {
            key: key.to_vec(),
            rebuilt: value(again),
            live: value(live),
        });
    }
}

fn take_row(digest: &mut Sha256, key: &[u8], value: &[u8]) {
    for part in [key, value] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row = (&'static str, &'static str);
    /// Live rows, and the key of the difference with what stands there again and live.
    type Case<'a> = (&'a [Row], &'a str, Option<&'a str>, Option<&'a str>);

    fn compared(again: &[Row], live: &[Row]) -> FoldCheck {
        let rows = again
            .iter()
            .map(|(key, value)| Ok((key.as_bytes(), Cow::Borrowed(value.as_bytes()))));
        let mut comparison = Comparison::with(rows);
        for (key, value) in live {
            assert!(comparison.live_row(key.as_bytes(), value.as_bytes()));
        }
        let (digest, live_digest, difference) = comparison.conclude().unwrap();
        FoldCheck {
            fold: "a".to_owned(),
            position: Position::new(0),
            digest,
            live_digest,
            difference,
            stopped: None,
        }
    }

    #[test]
    fn the_first_difference_is_named() {
        let rows = [("a", "1"), ("c", "3"), ("e", "5")];
        let same = compared(&rows, &rows);
        assert!(same.is_equal());
        let cases: [Case<'_>; 6] = [
            (&[], "a", Some("1"), None),
            (&[("a", "1"), ("c", "3")], "e", Some("5"), None),
            (&[("a", "1"), ("e", "5")], "c", Some("3"), None),
            (
                &[("a", "1"), ("b", "2"), ("c", "3"), ("e", "5")],
                "b",
                None,
                Some("2"),
            ),
            (
                &[("a", "1"), ("c", "3"), ("e", "5"), ("g", "7")],
                "g",
                None,
                Some("7"),
            ),
            (
                &[("a", "1"), ("c", "4"), ("e", "6")],
                "c",
                Some("3"),
                Some("4"),
            ),
        ];
        for (live, key, rebuilt, found) in cases {
            let check = compared(&rows, live);
            assert_eq!(check.digest, same.digest, "{key}");
            assert_eq!(check.live_digest, compared(live, live).digest, "{key}");
            assert_ne!(check.digest, check.live_digest, "{key}");
            let bytes = |text: &str| text.as_bytes().to_vec();
            let expected = RowDifference {
                key: bytes(key),
                rebuilt: rebuilt.map(bytes),
                live: found.map(bytes),
            };
            assert_eq!(check.difference, Some(expected));
        }
    }
}
