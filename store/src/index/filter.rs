//! Bloom filters: whether a section can hold a term.
//!
//! Ten bits a term and seven probes: about 0.9 % of absent terms cost a row read.

/// Probes of each term.
const PROBES: usize = 7;
const BITS_PER_TERM: usize = 10;
const MIN_BYTES: usize = 8;

const MULTIPLIER: u64 = 0xc6a4_a793_5bd1_e995;
const SHIFT: u32 = 47;

/// Hash of a term: `MurmurHash64A` (Austin Appleby, public domain) with seed 0. A term chosen to
/// collide costs row reads, never a wrong answer.
pub(super) fn hash(term: &[u8]) -> u64 {
    seeded_hash(term, 0)
}

fn seeded_hash(bytes: &[u8], seed: u64) -> u64 {
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(MULTIPLIER);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let mut word = u64::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        word ^= word >> SHIFT;
        hash = (hash ^ word.wrapping_mul(MULTIPLIER)).wrapping_mul(MULTIPLIER);
    }
    if !rest.is_empty() {
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(rest) {
            *to = *from;
        }
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> SHIFT;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ (hash >> SHIFT)
}

/// Bytes of the filter of so many terms.
pub(super) fn bytes_for(terms: usize) -> usize {
    terms
        .saturating_mul(BITS_PER_TERM)
        .div_ceil(8)
        .max(MIN_BYTES)
}

/// The bits that a term sets: double hashing with the halves of its hash swapped.
fn probes(mut hash: u64, bytes: usize) -> impl Iterator<Item = (usize, u8)> {
    let bits = bytes as u64 * 8;
    let step = hash.rotate_left(32);
    (0..PROBES).map(move |_| {
        let bit = ((hash >> 32) * bits) >> 32;
        hash = hash.wrapping_add(step);
        (usize::try_from(bit >> 3).unwrap_or(0), 1 << (bit & 7))
    })
}

/// The filter of terms given by their hashes.
pub(super) fn build(hashes: &[u64]) -> Vec<u8> {
    let mut filter = vec![0; bytes_for(hashes.len())];
    let bytes = filter.len();
    for &hash in hashes {
        for (byte, mask) in probes(hash, bytes) {
            if let Some(byte) = filter.get_mut(byte) {
                *byte |= mask;
            }
        }
    }
    filter
}

/// Whether a term may be in the set; no is certain.
pub(super) fn contains(filter: &[u8], hash: u64) -> bool {
    probes(hash, filter.len())
        .all(|(byte, mask)| filter.get(byte).is_some_and(|byte| byte & mask != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verification value of `SMHasher` for `MurmurHash2` for x64.
    #[test]
    fn hash_is_murmur_hash_64a() {
        let key: Vec<u8> = (0..=255).collect();
        let mut hashes = Vec::new();
        for length in 0..256_usize {
            let hash = seeded_hash(&key[..length], 256 - length as u64);
            hashes.extend_from_slice(&hash.to_le_bytes());
        }
        let verification = seeded_hash(&hashes, 0).to_le_bytes();
        assert_eq!(verification[..4], 0x1f0d_3804_u32.to_le_bytes());
    }

    #[test]
    fn holds_every_term_and_few_others() {
        for terms in [0_u64, 1, 5, 100, 20_000] {
            let hashes: Vec<u64> = (0..terms).map(|n| hash(&n.to_be_bytes())).collect();
            let filter = build(&hashes);
            assert!(hashes.iter().all(|&hash| contains(&filter, hash)));
            let wrong = (0..20_000_u64)
                .filter(|n| contains(&filter, hash(&(n + (1 << 40)).to_be_bytes())))
                .count();
            assert!(wrong < 300, "{wrong} of 20,000 with {terms} terms");
        }
    }

    #[test]
    fn an_empty_filter_holds_nothing() {
        assert!(!contains(&[], 12));
        assert!(!contains(&build(&[]), 12));
    }
}
