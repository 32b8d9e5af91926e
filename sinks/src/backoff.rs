//! How long a sink that failed rests.

use runstone_codec::Entropy;

const SECOND_US: u64 = 1_000_000;
/// The longest rest after a failure.
const LONGEST_US: u64 = 60 * SECOND_US;
/// The rest after credentials were refused.
pub(crate) const UNAUTHORISED_US: u64 = 300 * SECOND_US;
/// Refusals of credentials in a row after which a sink stops.
pub(crate) const UNAUTHORISED_MOST: u32 = 5;

/// Rests that grow with each failure in a row: between 1 and 2 seconds, 2 and 4, and so on up to
/// between 30 and 60. Where in between is drawn, so that sinks that failed together do not come back
/// together.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The rest after another failure, microseconds.
    pub(crate) fn next_us(&mut self, entropy: &dyn Entropy) -> u64 {
        self.failures = self.failures.saturating_add(1);
        let most = SECOND_US
            .saturating_mul(1_u64.checked_shl(self.failures).unwrap_or(u64::MAX))
            .min(LONGEST_US);
        let mut drawn = [0; 8];
        // Without randomness the rest is the shortest one.
        let drawn = match entropy.fill(&mut drawn) {
            Ok(()) => u64::from_be_bytes(drawn),
            Err(_) => 0,
        };
        let least = most / 2;
        least + drawn % (most - least + 1)
    }

    /// Something was accepted.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use runstone_codec::EntropyError;

    #[derive(Debug)]
    struct Fixed(u8);

    impl Entropy for Fixed {
        fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError> {
            out.fill(self.0);
            Ok(())
        }
    }

    #[test]
    fn rests_double_from_one_second_up_to_a_minute_and_begin_anew() {
        let mut backoff = Backoff::default();
        let shortest: Vec<_> = (0..8)
            .map(|_| backoff.next_us(&Fixed(0)) / SECOND_US)
            .collect();
        assert_eq!(shortest, [1, 2, 4, 8, 16, 30, 30, 30]);
        backoff.reset();
        let mut last = 0;
        for most in [2, 4, 8, 16, 32, 60, 60, 60] {
            last = backoff.next_us(&Fixed(0xff));
            assert!((most / 2 * SECOND_US..=most * SECOND_US).contains(&last));
        }
        assert!(last > 30 * SECOND_US);
        for _ in 0..100 {
            assert!(backoff.next_us(&Fixed(7)) <= LONGEST_US);
        }
    }
}
