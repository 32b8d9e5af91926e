//! Whether two sets of postings are the same, in one number each.
//!
//! ```text
//! product over all (term, position) of  z + sum of k_i * w_i + l * length + y * position    mod 2^127 - 1
//! ```
//!
//! `w_i` are the words of the term, and `z`, `k_i`, `l`, `y` are drawn anew for each verification, each of
//! 2^114 numbers at least, so that nobody knows them beforehand. The factors of different postings are
//! different polynomials of degree 1 in what is drawn. Different sets of N postings therefore have different
//! polynomials of degree N, which agree for a share of at most N / 2^114 of all draws (the lemma of Schwartz
//! and Zippel).

use crate::index::MAX_TERM_BYTES;
use std::hash::{BuildHasher, RandomState};

/// Words of the longest term, of eight bytes.
const WORDS: usize = MAX_TERM_BYTES / 8;
/// Bits of half a factor of words.
const HALF_BITS: u32 = 57;
const _: () = assert!(WORDS < 1 << (64 - HALF_BITS), "sums do not overflow");
/// The prime, and the mask of a number's low bits.
const PRIME: u128 = (1 << 127) - 1;

/// A number below the prime; the prime itself stands for zero too.
#[derive(Clone, Copy, Debug)]
struct Residue(u128);

impl Residue {
    const ONE: Self = Self(1);

    /// Of a number that is not `u128::MAX`: 2^127 counts as 1.
    fn of(number: u128) -> Self {
        Self((number & PRIME) + (number >> 127))
    }

    fn plus(self, other: Self) -> Self {
        Self::of(self.0 + other.0)
    }

    fn halves(self) -> (u64, u64) {
        let [low, high] = [self.0, self.0 >> 64].map(|half| half & u128::from(u64::MAX));
        (
            u64::try_from(low).unwrap_or(0),
            u64::try_from(high).unwrap_or(0),
        )
    }

    /// `high` * 2^128 + `low`, of which `high` is below 2^126: 2^128 counts as 2.
    fn of_wide(high: u128, low: u128) -> Self {
        Self::of(2 * high + (low & PRIME) + (low >> 127))
    }

    fn times(self, other: Self) -> Self {
        let ((low, high), (other_low, other_high)) = (self.halves(), other.halves());
        let product = |one: u64, other: u64| u128::from(one) * u128::from(other);
        let middle = product(low, other_high) + product(high, other_low);
        let (bottom, carries) = product(low, other_low).overflowing_add(middle << 64);
        let top = product(high, other_high) + (middle >> 64) + u128::from(carries);
        Self::of_wide(top, bottom)
    }

    fn times_word(self, word: u64) -> Self {
        let (low, high) = self.halves();
        let middle = u128::from(high) * u128::from(word);
        let bottom = u128::from(low) * u128::from(word);
        let (bottom, carries) = bottom.overflowing_add(middle << 64);
        Self::of_wide((middle >> 64) + u128::from(carries), bottom)
    }
}

/// A factor of words: two halves of so few bits that sums over all words of a term do not overflow.
type OfWord = [u64; 2];

/// A sum of words times their factors.
#[derive(Default)]
struct Sum([u128; 2]);

impl Sum {
    fn add(&mut self, of: OfWord, word: u64) {
        for (sum, half) in self.0.iter_mut().zip(of) {
            *sum += u128::from(half) * u128::from(word);
        }
    }

    fn residue(&self) -> Residue {
        let [low, high] = self.0;
        let (bottom, carries) = low.overflowing_add(high << 64);
        Residue::of_wide((high >> 64) + u128::from(carries), bottom)
    }
}

/// What is drawn.
#[derive(Debug)]
pub(super) struct Draw {
    constant: Residue,
    of_position: Residue,
    of_length: OfWord,
    /// As many as the longest term of an index has words. What a longer one has behind them does not
    /// count, but its length does, which no term of an index has.
    of_words: Vec<OfWord>,
}

/// What a term or a position adds to a factor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part(Residue);

impl Draw {
    pub(super) fn new() -> Self {
        let hasher = RandomState::new();
        let drawn = |number: usize| [0_u8, 1].map(|half| hasher.hash_one((number, half)));
        let residue = |number| {
            let [low, high] = drawn(number).map(u128::from);
            Residue((high << 64 | low) & PRIME)
        };
        let of_word = |number| drawn(number).map(|half| half >> (64 - HALF_BITS));
        Self {
            constant: residue(0),
            of_position: residue(1),
            of_length: of_word(2),
            of_words: (0..WORDS).map(|word| of_word(3 + word)).collect(),
        }
    }

    /// What a term adds, with what every factor has.
    pub(super) fn term(&self, term: &[u8]) -> Part {
        let (words, rest) = term.as_chunks();
        let mut sum = Sum::default();
        sum.add(self.of_length, term.len() as u64);
        let mut of_words = self.of_words.iter();
        for (word, of) in words.iter().zip(&mut of_words) {
            sum.add(*of, u64::from_le_bytes(*word));
        }
        if let Some(of) = of_words.next() {
            let last = rest.iter().rev();
            sum.add(*of, last.fold(0, |word, byte| word << 8 | u64::from(*byte)));
        }
        Part(self.constant.plus(sum.residue()))
    }

    pub(super) fn position(&self, position: u64) -> Part {
        Part(self.of_position.times_word(position))
    }
}

/// A set of postings, in which one may stand several times.
#[derive(Clone, Copy, Debug)]
pub(super) struct Postings(Residue);

impl Postings {
    pub(super) fn none() -> Self {
        Self(Residue::ONE)
    }

    /// Adds one posting.
    pub(super) fn add(&mut self, term: Part, position: Part) {
        self.0 = self.0.times(term.0.plus(position.0));
    }
}

impl PartialEq for Postings {
    fn eq(&self, other: &Self) -> bool {
        self.0.0 % PRIME == other.0.0 % PRIME
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A product by doubling and adding.
    fn slow_product(one: u128, other: u128) -> u128 {
        (0..127).rev().fold(0, |sum, bit| {
            let sum = (sum * 2) % PRIME;
            if other >> bit & 1 == 1 {
                (sum + one) % PRIME
            } else {
                sum
            }
        })
    }

    #[test]
    fn products_are_right_at_the_edges() {
        let edges = [0, 1, 2, 3].map(|n| 1_u128 << (n * 42));
        let edges = edges
            .into_iter()
            .flat_map(|edge| [edge - 1, edge, edge + 1]);
        let edges = edges.chain([PRIME - 2, PRIME - 1, PRIME, u128::from(u64::MAX), 1 << 64]);
        for one in edges.clone() {
            for other in edges.clone() {
                let expected = slow_product(one % PRIME, other % PRIME);
                let found = Residue(one).times(Residue(other));
                assert!(found.0 <= PRIME);
                assert_eq!(found.0 % PRIME, expected, "{one} * {other}");
                if let Ok(word) = u64::try_from(other) {
                    let found = Residue(one).times_word(word);
                    assert!(found.0 <= PRIME);
                    assert_eq!(found.0 % PRIME, expected, "{one} * {other}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn products_are_right(one: u128, other: u128, word: u64) {
            let (one, other) = (one & PRIME, other & PRIME);
            let found = Residue(one).times(Residue(other)).0;
            prop_assert!(found <= PRIME);
            prop_assert_eq!(found % PRIME, slow_product(one % PRIME, other % PRIME));
            let found = Residue(one).times_word(word).0;
            prop_assert!(found <= PRIME);
            prop_assert_eq!(found % PRIME, slow_product(one % PRIME, word.into()));
        }
    }

    #[test]
    fn sums_are_right_at_the_edges() {
        let largest = [(1 << HALF_BITS) - 1; 2];
        for (of, words) in [(largest, 66), (largest, 1), ([largest[0], 1], 66)] {
            let mut sum = Sum::default();
            (0..words).for_each(|_| sum.add(of, u64::MAX));
            let of = u128::from(of[1]) << 64 | u128::from(of[0]);
            let one = slow_product(of, u64::MAX.into());
            let found = sum.residue();
            assert!(found.0 <= PRIME);
            assert_eq!(found.0 % PRIME, slow_product(one, words), "{of} {words}");
        }
    }

    fn product<'t>(draw: &Draw, all: impl IntoIterator<Item = (&'t [u8], u64)>) -> Postings {
        let mut postings = Postings::none();
        for (term, position) in all {
            postings.add(draw.term(term), draw.position(position));
        }
        postings
    }

    #[test]
    fn the_order_does_not_count() {
        let draw = Draw::new();
        let all = [(&b"Tone"[..], 3), (b"Ttwo", 3), (b"Tone", 9)];
        let there = product(&draw, all);
        assert_eq!(there, product(&draw, all.into_iter().rev()));
        assert_ne!(there, product(&Draw::new(), all));
    }

    #[test]
    fn every_change_counts() {
        let draw = Draw::new();
        let longest = [b'v'; MAX_TERM_BYTES];
        for term in (1..40)
            .chain([255, 321, MAX_TERM_BYTES])
            .map(|length| &longest[..length])
        {
            let all = [(term, 7), (b"other", 8)];
            let whole = product(&draw, all);
            let mut changed = vec![
                vec![(term, 7)],
                vec![(term, 7), (b"other", 8), (b"other", 8)],
                vec![(term, 8), (b"other", 7)],
                vec![(term, 7 + (1 << 63)), (b"other", 8)],
            ];
            let longer = [term, b"\0"].concat();
            changed.push(vec![(&longer, 7), (b"other", 8)]);
            let flipped: Vec<_> = (0..term.len())
                .map(|at| {
                    let mut term = term.to_vec();
                    term[at] ^= 1;
                    term
                })
                .collect();
            let one_byte = |term| vec![(term, 7), (b"other".as_slice(), 8)];
            changed.extend(flipped.iter().map(|term| one_byte(term.as_slice())));
            for changed in changed {
                assert_ne!(whole, product(&draw, changed.clone()), "{changed:?}");
            }
        }
    }
}
