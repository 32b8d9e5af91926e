//! Code that may panic, kept from ending more than itself.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

/// What comes of it; `None`: it panicked.
pub(super) fn contained<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// A future that ends with `None` if it panics. What panics while it is dropped goes no further, too.
pub(super) struct Contained<'a, T>(Option<Pin<Box<dyn Future<Output = T> + Send + 'a>>>);

impl<'a, T> Contained<'a, T> {
    pub(super) fn new(work: Pin<Box<dyn Future<Output = T> + Send + 'a>>) -> Self {
        Self(Some(work))
    }
}

impl<T> Future for Contained<'_, T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let Some(work) = &mut self.0 else {
            return Poll::Ready(None);
        };
        match contained(|| work.as_mut().poll(context)) {
            Some(Poll::Pending) => Poll::Pending,
            Some(Poll::Ready(done)) => Poll::Ready(Some(done)),
            None => Poll::Ready(None),
        }
    }
}

impl<T> Drop for Contained<'_, T> {
    fn drop(&mut self) {
        let work = self.0.take();
        if contained(|| drop(work)).is_none() {
            tracing::warn!("what was ended panicked meanwhile");
        }
    }
}
