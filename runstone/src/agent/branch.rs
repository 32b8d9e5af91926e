//! In which step a program is, so that what it does there is recorded as caused by it.

use runstone_codec::Uuid;
use runstone_replay::again::Branch;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::sync::Arc;

/// A step that is being done.
#[derive(Debug)]
pub(super) struct InStep {
    /// Stream of its run.
    pub(super) run: String,
    pub(super) step: Branch,
    /// The event that began it.
    pub(super) event_id: Uuid,
}

thread_local! {
    /// The innermost step whose work this thread does right now.
    static INNERMOST: RefCell<Option<Arc<InStep>>> = const { RefCell::new(None) };
}

/// The step of a run in which the caller is. What it spawned elsewhere is in none.
pub(super) fn current(run: &str) -> Option<Arc<InStep>> {
    let innermost = INNERMOST.with_borrow(Clone::clone);
    innermost.filter(|step| step.run == run)
}

/// Does the work of a step; whatever runs it, each time that it goes on it is in the step.
pub(super) async fn inside<W: Future>(step: Arc<InStep>, work: W) -> W::Output {
    let mut work = Box::pin(work);
    poll_fn(move |context| {
        let _entered = Entered(INNERMOST.replace(Some(Arc::clone(&step))));
        work.as_mut().poll(context)
    })
    .await
}

/// Leaves it, also by a panic.
struct Entered(Option<Arc<InStep>>);

impl Drop for Entered {
    fn drop(&mut self) {
        INNERMOST.set(self.0.take());
    }
}

#[cfg(test)]
mod tests {
    use super::super::block::block_on;
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn step(node: &str) -> Arc<InStep> {
        let (run, node) = ("run-1".to_owned(), node.to_owned());
        Arc::new(InStep {
            run,
            step: Branch { node, attempt: 1 },
            event_id: Uuid::nil(),
        })
    }

    fn node() -> Option<String> {
        current("run-1").map(|step| step.step.node.clone())
    }

    #[test]
    fn steps_nest_and_are_left_however_they_end() {
        block_on(inside(step("plan"), async {
            assert_eq!(node().as_deref(), Some("plan"));
            inside(step("look"), async {
                assert_eq!(node().as_deref(), Some("look"));
            })
            .await;
            assert_eq!(node().as_deref(), Some("plan"));
            assert!(current("run-2").is_none());
        }));
        let panics = || block_on(inside(step("plan"), async { panic!("on purpose") }));
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        assert_eq!(node(), None);
    }
}
