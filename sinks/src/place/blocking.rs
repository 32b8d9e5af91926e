//! A place for callers that block.

use crate::sink::Rejection;
use std::future::Future;
use std::thread;
use tokio::runtime::{Builder, Runtime};

/// What a place needs to work, whether its caller is in a runtime or not: one of its own, which runs on
/// another thread while the caller waits.
#[derive(Debug)]
pub(crate) struct Blocking {
    /// Taken when it ends.
    runtime: Option<Runtime>,
}

impl Blocking {
    pub(crate) fn new() -> Result<Self, Rejection> {
        let runtime = Builder::new_current_thread().enable_all().build();
        Ok(Self {
            runtime: Some(runtime.map_err(Rejection::unavailable)?),
        })
    }

    /// Blocks until it is done.
    pub(crate) fn wait<T: Send>(
        &self,
        work: impl Future<Output = Result<T, Rejection>> + Send,
    ) -> Result<T, Rejection> {
        let Some(runtime) = &self.runtime else {
            return Err(Rejection::unavailable("the runtime has ended"));
        };
        thread::scope(|scope| {
            let working = thread::Builder::new()
                .name("runstone-archive".to_owned())
                .spawn_scoped(scope, || runtime.block_on(work));
            let done = working.map_err(Rejection::unavailable)?.join();
            done.unwrap_or_else(|_| Err(Rejection::unavailable("the thread that works panicked")))
        })
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        // One that is dropped within another runtime must not wait for what it still has.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
