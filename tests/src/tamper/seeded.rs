//! Reproducible numbers and randomness.

use runstone_codec::{Entropy, EntropyError};
use std::sync::{Arc, Mutex, PoisonError};

/// A generator of reproducible numbers (splitmix64), which may be told what to choose first.
#[derive(Clone, Debug)]
pub struct Seeded {
    state: u64,
    choices: std::vec::IntoIter<u8>,
}

impl Seeded {
    /// Numbers that follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self::guided(seed, Vec::new())
    }

    /// As [`Seeded::new`], but [`Seeded::below`] takes its numbers from `choices` while there are any.
    pub fn guided(seed: u64, choices: Vec<u8>) -> Self {
        Self {
            state: seed,
            choices: choices.into_iter(),
        }
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        let number = self.choice(end).unwrap_or_else(|| self.next_u64());
        usize::try_from(number % end).unwrap_or(0)
    }

    /// The next choice of one of `end`, in as few bytes as hold it.
    fn choice(&mut self, end: u64) -> Option<u64> {
        let (mut number, mut range) = (u64::from(self.choices.next()?), 256_u64);
        while range < end {
            number = number << 8 | u64::from(self.choices.next()?);
            range = range.saturating_mul(256);
        }
        Some(number)
    }
}

/// Randomness of a sample: the same bytes each time.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<Seeded>);

impl SeededEntropy {
    /// Randomness that follows from `seed`.
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Seeded::new(seed))))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError> {
        let mut numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for part in out.chunks_mut(8) {
            let bytes = numbers.next_u64().to_le_bytes();
            part.copy_from_slice(bytes.get(..part.len()).unwrap_or_default());
        }
        Ok(())
    }
}
