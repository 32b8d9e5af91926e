//! Quantiles of durations. This is the one module that knows the sketch.
//!
//! A row keeps the bins that hold something, by their numbers: integers, in order, whatever order
//! the durations came in. The sketch is made of them when it is asked.

use crate::rows::LatencyRow;
use sketches_ddsketch::{Config, DDSketch};

/// How far a quantile may be off, of itself.
const ACCURACY: f64 = 0.01;
/// More bins than durations up to [`LONGEST_US`] have.
const BINS: u32 = 2048;
/// The longest duration that is told apart: about 100 years. So a row has at most 1,800 bins.
const LONGEST_US: u64 = 3_200_000_000_000_000;

fn config() -> Config {
    Config::new(ACCURACY, BINS, 0.5)
}

/// The bin of a duration.
#[expect(
    clippy::cast_precision_loss,
    reason = "a bin is far wider than what rounding loses"
)]
fn bin_of(micros: u64) -> i32 {
    config().key(micros.clamp(1, LONGEST_US) as f64)
}

impl LatencyRow {
    /// Takes in a duration.
    pub(super) fn add(&mut self, micros: u64) {
        self.put(bin_of(micros), 1);
        self.max_us = self.max_us.max(micros);
    }

    /// Takes in all durations of another one.
    pub(super) fn merge(&mut self, other: &Self) {
        for (bin, count) in &other.bins {
            self.put(*bin, *count);
        }
        self.max_us = self.max_us.max(other.max_us);
    }

    fn put(&mut self, bin: i32, more: u64) {
        match self.bins.binary_search_by_key(&bin, |(bin, _)| *bin) {
            Ok(at) => {
                if let Some((_, count)) = self.bins.get_mut(at) {
                    *count = count.saturating_add(more);
                }
            }
            Err(at) => self.bins.insert(at, (bin, more)),
        }
    }

    /// How many durations it has.
    pub(super) fn count(&self) -> u64 {
        let counts = self.bins.iter().map(|(_, count)| *count);
        counts.fold(0, u64::saturating_add)
    }

    /// Quantiles in microseconds, each from 0 to 1; zeros if there are no durations.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a duration is positive, and as long as the longest one at most"
    )]
    pub(super) fn quantiles<const N: usize>(&self, quantiles: [f64; N]) -> [u64; N] {
        let config = config();
        let mut sketch = DDSketch::new(config);
        let (lowest, highest) = (bin_of(1), bin_of(LONGEST_US));
        for (bin, count) in &self.bins {
            // A bin that no duration has would cost the others their place.
            let bin = (*bin).clamp(lowest, highest);
            // Far fewer than would overflow a sum of all.
            let count = (*count).min(u64::MAX >> 16);
            sketch.add_with_count(config.value(bin), count);
        }
        quantiles.map(|quantile| {
            let micros = sketch.quantile(quantile).ok().flatten().unwrap_or(0.0);
            (micros.round() as u64).min(self.max_us)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(durations: impl IntoIterator<Item = u64>) -> LatencyRow {
        let mut row = LatencyRow::default();
        for micros in durations {
            row.add(micros);
        }
        row
    }

    /// Rows that were written before must mean the same: other bins are another version of the fold.
    #[test]
    fn the_bins_of_this_version_of_the_fold() {
        for (micros, bin) in [
            (1, 0),
            (2, 34),
            (10, 115),
            (999, 345),
            (1000, 345),
            (1_000_000, 690),
            (60_000_000, 895),
            (3_600_000_000, 1100),
            (3_200_000_000_000_000, 1785),
        ] {
            assert_eq!(bin_of(micros), bin, "{micros}");
        }
    }

    /// A duration of so many, in order.
    fn exact(sorted: &[u64], quantile: f64) -> u64 {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a few hundred"
        )]
        let rank = (quantile * (sorted.len() - 1) as f64) as usize;
        sorted[rank]
    }

    #[test]
    fn a_row_is_short_whatever_it_is_given() {
        let mut micros = 1_u64;
        let mut row = row([0, u64::MAX]);
        while micros < LONGEST_US {
            row.add(micros);
            micros += 1 + micros / 200;
        }
        assert!(row.bins.len() <= 1800, "{}", row.bins.len());
        assert!(crate::rows::encode(&row).unwrap().len() < 32 * 1024);
        assert!(row.quantiles([1.0])[0] >= LONGEST_US / 100 * 99);
        assert_eq!(LatencyRow::default().quantiles([0.5, 1.0]), [0, 0]);
    }

    #[test]
    fn bins_are_found_again_at_their_middle() {
        for micros in [1, 2, 3, 1000, 86_400_000_000, LONGEST_US] {
            let bin = bin_of(micros);
            assert_eq!(config().key(config().value(bin)), bin, "{micros}");
        }
    }

    proptest! {
        #[test]
        fn quantiles_are_close_and_follow_from_what_was_taken_in(
            durations in prop::collection::vec(1..100_000_000_000_u64, 1..300),
            cut in 0..300_usize,
        ) {
            let whole = row(durations.iter().copied());
            let mut sorted = durations.clone();
            sorted.sort_unstable();
            prop_assert_eq!(whole.count(), sorted.len() as u64);
            let wanted = [0.5, 0.95, 0.99, 1.0];
            for (quantile, found) in wanted.into_iter().zip(whole.quantiles(wanted)) {
                let exact = exact(&sorted, quantile);
                let off = found.abs_diff(exact);
                // A percent, and what rounding to whole microseconds does.
                prop_assert!(off <= exact / 100 + 1, "{quantile}: {found} for {exact}");
            }
            // In any order, and in parts.
            prop_assert_eq!(&whole, &row(sorted));
            let (one, other) = durations.split_at(cut.min(durations.len()));
            let mut merged = row(one.iter().copied());
            merged.merge(&row(other.iter().copied()));
            prop_assert_eq!(&whole, &merged);
        }
    }
}
