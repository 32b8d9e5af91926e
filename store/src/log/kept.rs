//! What code above keeps in memory with a log.

use super::{Backing, Log};
use std::any::Any;
use std::fmt::{Debug, Formatter, Result};
use std::sync::{Arc, Mutex, PoisonError};

/// One value of each type.
#[derive(Default)]
pub(super) struct Kept(Mutex<Vec<Arc<dyn Any + Send + Sync>>>);

impl Debug for Kept {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        out.debug_struct("Kept").finish_non_exhaustive()
    }
}

impl Kept {
    fn get<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.iter().cloned().find_map(|one| one.downcast().ok());
        known.unwrap_or_else(|| {
            let new = Arc::<T>::default();
            all.push(Arc::clone(&new) as Arc<dyn Any + Send + Sync>);
            new
        })
    }

    /// Whoever has a value still goes on with it, and nobody gets it any more.
    pub(super) fn forget(&self) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.clear();
    }
}

impl Log {
    /// What code above keeps in memory with this opening of the log: one value of each type, the same
    /// for all handles. It is let go of when something is erased, so that what it has of content goes
    /// with that. `None` if another process holds the log: nobody tells this one what is erased there.
    pub fn kept<T: Default + Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        match &self.backing {
            Backing::Here(here) => Some(here.shared.kept.get()),
            Backing::There(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_of_each_type_until_it_is_forgotten() {
        let kept = Kept::default();
        let count = |kept: &Kept| {
            let count = kept.get::<Mutex<u8>>();
            let mut count = count.lock().unwrap();
            *count += 1;
            *count
        };
        assert_eq!((count(&kept), count(&kept)), (1, 2));
        assert_eq!(*kept.get::<u8>(), 0);
        assert_eq!(count(&kept), 3);
        kept.forget();
        assert_eq!(count(&kept), 1);
    }
}
