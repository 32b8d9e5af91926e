//! Making disclosures, where R can be read.

use core::convert::Infallible;
use std::collections::BTreeSet;

use runstone_codec::hash::mth;
use runstone_codec::payload::{Mode, Plain};

use super::{DisclosedField, Disclosure, DisclosureError, SEGMENTS};
use crate::tree::{ProveError, inclusion_proof};

impl Disclosure {
    /// Shows single fields of the payload of the event at `position`.
    ///
    /// # Errors
    ///
    /// [`DisclosureError`] when the payload is one segment, or a name is unknown, asked for twice
    /// or missing.
    pub fn fields(
        position: u64,
        plain: &Plain<'_>,
        names: &[&str],
    ) -> Result<Self, DisclosureError> {
        if plain.mode() != Mode::Fields {
            return Err(DisclosureError::WholeOnly);
        }
        let segments = plain.segments();
        let mut shown = BTreeSet::new();
        for (asked, name) in (1..).zip(names) {
            let index = segments
                .iter()
                .position(|segment| segment.name == *name)
                .ok_or(DisclosureError::UnknownField { asked })?;
            if !shown.insert(index) {
                return Err(DisclosureError::DuplicateField { asked });
            }
        }
        Self::of_segments(position, plain, |index| shown.contains(&index))
    }

    /// Shows all of the payload of the event at `position`.
    ///
    /// # Errors
    ///
    /// [`DisclosureError::Position`] above the limit.
    pub fn whole(position: u64, plain: &Plain<'_>) -> Result<Self, DisclosureError> {
        Self::of_segments(position, plain, |_| true)
    }

    fn of_segments(
        position: u64,
        plain: &Plain<'_>,
        is_shown: impl Fn(usize) -> bool,
    ) -> Result<Self, DisclosureError> {
        let (segments, salts, hashes) = (plain.segments(), plain.salts(), plain.segment_hashes());
        let node = |level: u8, index: u64| -> Result<_, Infallible> {
            // A payload has at most 256 segments, so all of these fit.
            let width = 1 << level;
            let start = usize::try_from(index).unwrap_or_default() * width;
            Ok(mth(hashes.get(start..start + width).unwrap_or_default()))
        };
        let mut disclosed = Vec::new();
        for ((at, index), segment) in (0..).zip(0_u32..).zip(&segments) {
            if !is_shown(at) {
                continue;
            }
            let path = inclusion_proof(index.into(), segments.len() as u64, node).map_err(
                |error: ProveError<Infallible>| match error {
                    ProveError::Read(never) => match never {},
                    _ => DisclosureError::Index {
                        item: disclosed.len(),
                    },
                },
            )?;
            disclosed.push(DisclosedField {
                index,
                name: segment.name.clone().into_owned(),
                value: segment.value.to_vec(),
                salt: salts.salt(index),
                path,
            });
        }
        let made = Self {
            position,
            segments: u32::try_from(segments.len())
                .map_err(|_| DisclosureError::Segments { limit: SEGMENTS })?,
            disclosed,
        };
        made.check()
    }
}
