//! The manifest: which runs make up the index, and which others may have left rows.
//!
//! ```text
//! u8 format || u64 next id || u32 runs || runs x
//!   (u64 id || u8 level || u64 from || u64 to || u32 blocks || u32 sections || u64 terms || u64 postings)
//! || u32 strays || strays x u64 id
//! ```

use super::error::{AtRow, Fault, IndexError, IndexRow};
use super::row::{RowOp, RowRead};
use super::varint::Reader;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// Format of all rows of the table.
pub(super) const FORMAT: u8 = 1;
/// Far more than any index has; bounds what a damaged database can make us read.
const MAX_MANIFEST_BYTES: usize = 1 << 20;

/// One run as the manifest lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RunMeta {
    pub(super) id: u64,
    /// How often its postings were merged.
    pub(super) level: u8,
    /// First position that it covers.
    pub(super) from: u64,
    /// The position after the last one.
    pub(super) to: u64,
    pub(super) blocks: u32,
    pub(super) sections: u32,
    /// Different terms.
    pub(super) terms: u64,
    pub(super) postings: u64,
}

/// The runs of the index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    /// The next run's id; no id is used twice.
    pub(super) next_id: u64,
    /// In order of their positions, which follow one another without gaps from 0.
    pub(super) runs: Vec<RunMeta>,
    /// Runs under construction or merged away: their rows may exist, and mean nothing.
    pub(super) strays: BTreeSet<u64>,
}

impl Manifest {
    /// Reads the manifest; an empty table is an empty index.
    pub(super) fn read(rows: &dyn RowRead) -> Result<Self, IndexError> {
        let row = IndexRow::Manifest;
        let Some(body) = row.find(rows, MAX_MANIFEST_BYTES)? else {
            let mut empty = true;
            rows.scan(&[], &[u8::MAX], &mut |_, _| {
                empty = false;
                ControlFlow::Break(())
            })?;
            return if empty {
                Ok(Self::default())
            } else {
                Err(IndexError::Missing { row })
            };
        };
        match body.first() {
            Some(&found) if found > FORMAT => Err(IndexError::Format {
                found,
                known: FORMAT,
            }),
            _ => Self::decode(&body).at(row),
        }
    }

    /// Writes the manifest.
    pub(super) fn put(&self) -> Result<RowOp, IndexError> {
        let count =
            |count: usize, what| u32::try_from(count).map_err(|_| IndexError::Exhausted { what });
        let mut body = vec![FORMAT];
        body.extend_from_slice(&self.next_id.to_be_bytes());
        body.extend_from_slice(&count(self.runs.len(), "runs")?.to_be_bytes());
        for run in &self.runs {
            body.extend_from_slice(&run.id.to_be_bytes());
            body.push(run.level);
            body.extend_from_slice(&run.from.to_be_bytes());
            body.extend_from_slice(&run.to.to_be_bytes());
            body.extend_from_slice(&run.blocks.to_be_bytes());
            body.extend_from_slice(&run.sections.to_be_bytes());
            body.extend_from_slice(&run.terms.to_be_bytes());
            body.extend_from_slice(&run.postings.to_be_bytes());
        }
        body.extend_from_slice(&count(self.strays.len(), "runs")?.to_be_bytes());
        for id in &self.strays {
            body.extend_from_slice(&id.to_be_bytes());
        }
        Ok(IndexRow::Manifest.put(body))
    }

    fn decode(body: &[u8]) -> Result<Self, Fault> {
        let mut reader = Reader::new(body);
        if reader.byte()? != FORMAT {
            return Err("the format is unknown");
        }
        let mut manifest = Self {
            next_id: reader.u64()?,
            ..Self::default()
        };
        let mut ids = BTreeSet::new();
        for _ in 0..reader.u32()? {
            let run = RunMeta {
                id: reader.u64()?,
                level: reader.byte()?,
                from: reader.u64()?,
                to: reader.u64()?,
                blocks: reader.u32()?,
                sections: reader.u32()?,
                terms: reader.u64()?,
                postings: reader.u64()?,
            };
            manifest.check(&run)?;
            if !ids.insert(run.id) {
                return Err("a run is listed twice");
            }
            manifest.runs.push(run);
        }
        for _ in 0..reader.u32()? {
            let id = reader.u64()?;
            let ascends = manifest.strays.last().is_none_or(|&last| last < id);
            if !ascends || id >= manifest.next_id || !ids.insert(id) {
                return Err("the list of strays is wrong");
            }
            manifest.strays.insert(id);
        }
        if !reader.is_empty() {
            return Err("bytes follow the manifest");
        }
        Ok(manifest)
    }

    fn check(&self, run: &RunMeta) -> Result<(), Fault> {
        let before = self.runs.last();
        if run.id >= self.next_id {
            return Err("a run has an id that was not given out");
        }
        if run.from != before.map_or(0, |before| before.to) || run.from >= run.to {
            return Err("the runs do not follow one another");
        }
        if before.is_some_and(|before| before.level < run.level) {
            return Err("an older run was merged less often than a newer one");
        }
        let empty = run.postings == 0;
        if (run.blocks == 0) != empty || (run.sections == 0) != empty || (run.terms == 0) != empty {
            return Err("the counts of a run contradict each other");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::MANIFEST_KEY;
    use super::super::sample::Rows;
    use super::*;
    use proptest::prelude::*;

    fn run(id: u64, level: u8, from: u64, to: u64) -> RunMeta {
        RunMeta {
            id,
            level,
            from,
            to,
            blocks: 2,
            sections: 1,
            terms: 3,
            postings: 4,
        }
    }

    fn manifest() -> Manifest {
        Manifest {
            next_id: 9,
            runs: vec![run(7, 1, 0, 10), run(3, 0, 10, 12)],
            strays: BTreeSet::from([2, 8]),
        }
    }

    fn body(manifest: &Manifest) -> Vec<u8> {
        let RowOp::Put(_, mut row) = manifest.put().unwrap() else {
            panic!("a put")
        };
        row.truncate(row.len() - 8);
        row
    }

    #[test]
    fn bytes_are_pinned() {
        let body = body(&manifest());
        assert_eq!(body.len(), 1 + 8 + 4 + 2 * 49 + 4 + 2 * 8);
        assert_eq!(body[..13], [1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 2]);
        assert_eq!(body[13..22], [0, 0, 0, 0, 0, 0, 0, 7, 1]);
        assert_eq!(Manifest::decode(&body), Ok(manifest()));
    }

    #[test]
    fn refuses_each_contradiction() {
        type Change = fn(&mut Manifest);
        let contradictions: [Change; 9] = [
            |m| m.next_id = 7,
            |m| m.runs[0].from = 1,
            |m| m.runs[1].from = 11,
            |m| m.runs[1].to = 10,
            |m| m.runs[1].level = 2,
            |m| m.runs[1].id = 7,
            |m| m.runs[1].blocks = 0,
            |m| m.runs[1].postings = 0,
            |m| m.strays = BTreeSet::from([3]),
        ];
        for contradict in contradictions {
            let mut changed = manifest();
            contradict(&mut changed);
            assert!(Manifest::decode(&body(&changed)).is_err(), "{changed:?}");
        }
        let good = body(&manifest());
        for end in 0..good.len() {
            assert!(Manifest::decode(&good[..end]).is_err());
        }
        assert!(Manifest::decode(&[&good[..], &[0]].concat()).is_err());
    }

    #[test]
    fn a_newer_format_and_a_lost_manifest_are_told_apart() {
        let mut rows = Rows::default();
        assert_eq!(Manifest::read(&rows).unwrap(), Manifest::default());
        rows.apply(&[IndexRow::Manifest.put(vec![2])]);
        let newer = Manifest::read(&rows).unwrap_err();
        assert_eq!(newer.code(), "newer_format");
        rows.apply(&[
            RowOp::Delete(MANIFEST_KEY.to_vec()),
            IndexRow::Block { run: 0, block: 0 }.put(vec![1]),
        ]);
        let lost = Manifest::read(&rows).unwrap_err();
        assert_eq!(lost.to_string(), "table index: the manifest is missing");
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes: Vec<u8>, at in 0_usize..130, value: u8) {
            let _ = Manifest::decode(&bytes);
            let mut changed = body(&manifest());
            if let Some(byte) = changed.get_mut(at) {
                *byte = value;
            }
            if let Ok(decoded) = Manifest::decode(&changed) {
                prop_assert_eq!(body(&decoded), changed);
            }
        }
    }
}
