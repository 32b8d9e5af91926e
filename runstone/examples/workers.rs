//! Three workers drain one tray. One task fails at its first attempt, and is done by whoever comes
//! next.
//!
//! Run with `cargo run -p runstone --example workers`.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use runstone::tasks::NewTask;
use runstone::{HelperOptions, HelperTask, Runstone, helper_loop_blocking};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::thread::ScopedJoinHandle;

const TASKS: usize = 12;
const UNLUCKY: &str = "inv-3";

/// How often each task was done.
type Done = Mutex<BTreeMap<String, u32>>;

fn work(worker: &str, task: &HelperTask, done: &Done) -> Result<String, String> {
    let name = task.said().map(|said| said.id.clone()).unwrap_or_default();
    if name == UNLUCKY && task.attempt() == 1 {
        println!("{worker} fails at {name}");
        return Err("the bank was closed".to_owned());
    }
    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
    *done.entry(name).or_default() += 1;
    Ok("paid".to_owned())
}

fn main() -> anyhow::Result<()> {
    let log = Runstone::memory()?;
    let trays = log.trays();
    trays.open_blocking("invoices")?;
    for number in 0..TASKS {
        trays.add_blocking("invoices", &NewTask::new(format!("inv-{number}")).into())?;
    }
    trays.close_blocking("invoices")?;

    let done = Done::default();
    let ends = std::thread::scope(|scope| {
        let workers = ["ann", "bob", "cid"].map(|name| {
            let (log, done) = (&log, &done);
            scope.spawn(move || {
                let options = HelperOptions::new().holder(name);
                let work = |task: &HelperTask| work(name, task, done);
                helper_loop_blocking(log, "invoices", &options, work, |_| ())
            })
        });
        workers.map(ScopedJoinHandle::join)
    });
    for end in ends.into_iter().flatten() {
        println!("a worker ends: {:?}", end.retired_reason);
    }

    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    let twice = done.values().filter(|times| **times > 1).count();
    println!("{} of {TASKS} tasks done, {twice} twice", done.len());
    anyhow::ensure!(done.len() == TASKS && twice == 0);
    Ok(())
}
