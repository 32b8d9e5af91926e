//! Loop detection: one child more for a hostile graph of tasks.
//!
//! Graphs are fed to the log as records, so that they may be what no creation would let pass. Every
//! child that is asked for was named before, by a task that says to be thought of in it: without that
//! there is nothing to follow, and an answer would cost a few rows whatever the graph is.

use super::Workload;
use crate::bench::Bench;
use crate::contender::{Contender, runstone_log};
use crate::event::Random;
use crate::sample::{Sample, micros, processor_time};
use anyhow::{Result, ensure};
use runstone::codec::Keyed;
use runstone::events::control::task as field;
use runstone::events::{LoopType, TaskCreated};
use runstone::tasks::{DEFAULT_STREAM, NewTask};
use runstone::{Control, Decision, Draft, Log, NewEvent, TaskError, TaskState, Tasks};
use std::path::Path;
use std::time::Instant;

/// Tasks of a graph.
const NODES: u64 = 100_000;
/// Records of one commit while a graph is fed.
const FEED_BATCH: usize = 1000;

/// Parent and creator of a task.
type Links = [Option<u64>; 2];
/// A graph: what a task refers to.
type Shape = fn(u64, &mut Random) -> Links;

/// Each was thought of in the one before it.
pub(super) fn chain(bench: &Bench, _: &Workload, contender: &Contender) -> Result<Sample> {
    let shape = |node: u64, _: &mut Random| [None, node.checked_sub(1)];
    let (sample, refused) = round(bench, contender, shape)?;
    ensure!(refused > 0, "nothing was refused");
    Ok(sample)
}

/// All have one parent, and each was thought of in any one before it.
pub(super) fn wide(bench: &Bench, _: &Workload, contender: &Contender) -> Result<Sample> {
    let shape = |node: u64, random: &mut Random| match node {
        0 => [None, None],
        _ => [Some(0), Some(random.next() % node)],
    };
    let (sample, refused) = round(bench, contender, shape)?;
    ensure!(refused == 0, "{refused} were refused that are no loops");
    Ok(sample)
}

/// A ring in both directions: by parents one way, by creators the other.
pub(super) fn cycle(bench: &Bench, _: &Workload, contender: &Contender) -> Result<Sample> {
    let shape = |node: u64, _: &mut Random| {
        let (before, after) = ((node + NODES - 1) % NODES, (node + 1) % NODES);
        [Some(before), Some(after)]
    };
    let (sample, refused) = round(bench, contender, shape)?;
    ensure!(refused == bench.sizes.reads, "only {refused} were refused");
    Ok(sample)
}

/// Feeds the graph, opens the log again, and asks for children all over it: what each took, and how
/// many were refused as loops.
fn round(bench: &Bench, contender: &Contender, shape: Shape) -> Result<(Sample, u64)> {
    let folder = bench.on_disk()?;
    let asked = bench.sizes.reads;
    feed(contender, folder.path(), shape, asked)?;
    let log = runstone_log(folder.path())?;
    let tasks = Tasks::new(&log);
    let mut random = Random::new(23);
    let mut node = || node_id(random.next() % NODES);
    let mut refused = 0;
    let mut latencies = Vec::new();
    let before = processor_time();
    for child in 0..asked {
        let new = NewTask::new(child_id(child));
        let new = new.parent(node()).creator(node());
        let start = Instant::now();
        let answer = tasks.create_blocking(&new);
        latencies.push(micros(start.elapsed()));
        match answer {
            Ok(_) => {}
            Err(TaskError::Loop {
                loop_type: LoopType::CycleDetected,
                ..
            }) => refused += 1,
            Err(error) => return Err(error.into()),
        }
    }
    let cpu = processor_time().saturating_sub(before);
    log.close_blocking()?;
    Ok((Sample::latency(latencies).cpu(cpu, asked), refused))
}

/// A log that holds the graph, and of each child that will be asked for a task that names it.
fn feed(contender: &Contender, folder: &Path, shape: Shape, children: u64) -> Result<()> {
    contender.open_boxed(folder)?.close()?;
    let log = runstone_log(folder)?;
    let mut random = Random::new(7);
    let mut records = Vec::with_capacity(FEED_BATCH);
    for node in 0..NODES {
        let [parent, creator] = shape(node, &mut random).map(|link| link.map(node_id));
        records.push(created(node_id(node), parent, creator)?);
        if records.len() == FEED_BATCH {
            record(&log, std::mem::take(&mut records))?;
        }
    }
    for child in 0..children {
        let creator = Some(child_id(child));
        records.push(created(format!("herald-{child}"), None, creator)?);
    }
    record(&log, records)?;
    log.close_blocking()?;
    Ok(())
}

fn node_id(node: u64) -> String {
    format!("task-{node}")
}

fn child_id(child: u64) -> String {
    format!("child-{child}")
}

/// The record of a creation, as the log makes it, whatever it refers to.
fn created(id: String, parent: Option<String>, creator: Option<String>) -> Result<Draft> {
    let keyed = |number, name: &str| Keyed::control(number, field::LABEL, [name]);
    let links = [(field::PARENT, &parent), (field::CREATOR, &creator)];
    let links = links.map(|(number, link)| link.as_deref().map(|name| keyed(number, name)));
    let control = Control::new().u64(field::TO, TaskState::Todo.number());
    let task = keyed(field::TASK, &id);
    let event = TaskCreated {
        title: id.clone(),
        id,
        parent,
        creator,
        state: TaskState::Todo.as_str().to_owned(),
        ..TaskCreated::default()
    };
    let draft = Draft::new(NewEvent::typed(&event, DEFAULT_STREAM)?).control(control);
    let draft = draft.keyed(task);
    Ok(links.into_iter().flatten().fold(draft, Draft::keyed))
}

/// Records all of them, in one commit.
fn record(log: &Log, records: Vec<Draft>) -> Result<()> {
    let count = records.len();
    let (recorded, _) = log.command_blocking(records, move |_| {
        let all = (0..count).map(|at| (at, Control::new()));
        let mut decision = Decision::nothing(count);
        decision.record.extend(all);
        Ok(decision)
    })?;
    ensure!(recorded == count, "{recorded} of {count} were recorded");
    Ok(())
}
