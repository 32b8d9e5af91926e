//! What tells the records of a recording apart.

use std::collections::BTreeMap;

use crate::identity::{hex, short_digest};
use crate::reject::RejectReason;

/// The records that a recording has shown so far, each with something to remember of it.
#[derive(Debug)]
pub(crate) struct Records<T> {
    /// Digests of the bytes of every record that has an id, by digests of scope and id.
    named: BTreeMap<[u8; 16], (u64, T)>,
    /// How many records without id have the same bytes in one scope.
    others: BTreeMap<[u8; 16], u32>,
    /// How many records had the id of another and other bytes.
    changed: usize,
    max: usize,
}

impl<T: Copy> Records<T> {
    /// Remembers at most `max` records.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            named: BTreeMap::new(),
            others: BTreeMap::new(),
            changed: 0,
            max,
        }
    }

    /// The identity of a record; none if it repeats an earlier one.
    ///
    /// It is that of its id, unless an earlier record has the same id and other bytes; without an
    /// id that of its bytes, and of how often they came before. An id is unique within `scope`.
    pub(crate) fn identity(
        &mut self,
        scope: &str,
        id: Option<String>,
        text: &str,
        value: T,
    ) -> Result<Option<String>, RejectReason> {
        if self.named.len() + self.others.len() + self.changed >= self.max {
            return Err(RejectReason::TooManyRecords { max: self.max });
        }
        let digest = short_digest(text.as_bytes());
        let Some(id) = id else {
            let key = scoped(scope, &hex(&digest));
            let count = self.others.entry(key).or_default();
            let before = *count;
            *count = count.saturating_add(1);
            return Ok(Some(format!("line:{}:{before}", hex(&digest))));
        };
        let bytes = half(digest);
        match self.named.get(&scoped(scope, &id)) {
            Some((before, _)) if *before == bytes => Ok(None),
            Some(_) => {
                self.changed += 1;
                Ok(Some(format!("{id}:{}", hex(&digest))))
            }
            None => {
                self.named.insert(scoped(scope, &id), (bytes, value));
                Ok(Some(id))
            }
        }
    }

    /// What is remembered of the first record with this id.
    pub(crate) fn get(&self, scope: &str, id: &str) -> Option<T> {
        self.named.get(&scoped(scope, id)).map(|(_, value)| *value)
    }
}

fn scoped(scope: &str, name: &str) -> [u8; 16] {
    // No name of a stream has a line end.
    short_digest(format!("{scope}\n{name}").as_bytes())
}

fn half(digest: [u8; 16]) -> u64 {
    digest
        .iter()
        .take(8)
        .fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_told_apart() {
        let mut records = Records::new(9);
        let mut identity = |scope, id: Option<&str>, text| {
            let id = id.map(String::from);
            records.identity(scope, id, text, 7).unwrap()
        };
        let text = |bytes: &str| hex(&short_digest(bytes.as_bytes()));
        assert_eq!(identity("s", Some("u"), "1").unwrap(), "u");
        assert_eq!(identity("s", Some("u"), "1"), None);
        let changed = identity("s", Some("u"), "2").unwrap();
        assert_eq!(changed, format!("u:{}", text("2")));
        assert_eq!(identity("r", Some("u"), "2").unwrap(), "u");
        for (scope, bytes, nth) in [("s", "1", 0), ("s", "1", 1), ("s", "2", 0), ("r", "1", 0)] {
            let found = identity(scope, None, bytes).unwrap();
            assert_eq!(found, format!("line:{}:{nth}", text(bytes)));
        }
        assert_eq!(
            (records.get("s", "u"), records.get("s", "x")),
            (Some(7), None)
        );
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut records = Records::new(2);
        let mut identity = |id: &str| records.identity("s", Some(id.to_owned()), id, ());
        assert!(identity("1").is_ok() && identity("2").is_ok());
        assert_eq!(identity("3"), Err(RejectReason::TooManyRecords { max: 2 }));
        let mut records = Records::new(2);
        let mut changed = |text| records.identity("s", Some("1".to_owned()), text, ());
        assert!(changed("1").is_ok() && changed("2").is_ok() && changed("3").is_err());
    }
}
