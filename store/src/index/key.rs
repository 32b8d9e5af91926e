//! Terms as keys in memory: short ones, which most are, without an allocation.

use foldhash::fast::RandomState;
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A map by terms. Five of an event are looked up when it is recorded, so the hash is a fast one. It is seeded
/// in each process, which is a hurdle to whoever would choose terms that collide, and no proof against him;
/// what is in these maps is bounded.
pub(super) type TermMap<K, V> = HashMap<K, V, RandomState>;

/// As many as fit into the size of the other variant with its tag.
const INLINE_BYTES: usize = 22;

/// A term. Equality, order and hash are those of its bytes.
#[derive(Clone, Debug)]
pub(super) enum TermKey {
    Inline { len: u8, bytes: [u8; INLINE_BYTES] },
    Shared(Arc<[u8]>),
}

impl TermKey {
    pub(super) fn new(term: &[u8]) -> Self {
        let mut bytes = [0; INLINE_BYTES];
        match (u8::try_from(term.len()), bytes.get_mut(..term.len())) {
            (Ok(len), Some(to)) => {
                to.copy_from_slice(term);
                Self::Inline { len, bytes }
            }
            _ => Self::Shared(Arc::from(term)),
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or(bytes),
            Self::Shared(bytes) => bytes,
        }
    }
}

impl Borrow<[u8]> for TermKey {
    fn borrow(&self) -> &[u8] {
        self.bytes()
    }
}

impl Hash for TermKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes().hash(state);
    }
}

impl PartialEq for TermKey {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for TermKey {}

impl PartialOrd for TermKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TermKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes().cmp(other.bytes())
    }
}

/// The first eight bytes as a number: terms whose numbers differ sort like the numbers.
pub(super) fn prefix(term: &[u8]) -> u64 {
    if let Some(first) = term.first_chunk::<8>() {
        return u64::from_be_bytes(*first);
    }
    let mut first = [0; 8];
    for (to, from) in first.iter_mut().zip(term) {
        *to = *from;
    }
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_are_their_bytes(
            a in prop::collection::vec(0_u8..3, 0..40),
            b in prop::collection::vec(0_u8..3, 0..40),
        ) {
            let (key_a, key_b) = (TermKey::new(&a), TermKey::new(&b));
            prop_assert_eq!(key_a.bytes(), &a[..]);
            prop_assert_eq!(key_a.cmp(&key_b), a.cmp(&b));
            prop_assert_eq!(key_a == key_b, a == b);
            if prefix(&a) != prefix(&b) {
                prop_assert_eq!(prefix(&a).cmp(&prefix(&b)), a.cmp(&b));
            }
        }
    }

    #[test]
    fn an_event_id_needs_no_allocation() {
        assert!(matches!(
            TermKey::new(&[b'I'; 17]),
            TermKey::Inline { len: 17, .. }
        ));
        assert_eq!(size_of::<TermKey>(), 24);
    }
}
