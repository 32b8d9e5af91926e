//! How a run stood at a point, in a log of many runs.
//!
//! ```text
//!  long      one run, a tenth of the log, in it from its beginning to its end
//!  short-N   runs of about 60 events, 16 at a time, every fourth of them with a budget
//! ```
//!
//! Every event is one that an agent causes by the embedding API, one commit each, so that those of a
//! run lie between those of others.

use super::Workload;
use crate::bench::{Bench, copy};
use crate::contender::{Contender, runstone_log};
use crate::event::Random;
use crate::sample::{Sample, micros, processor_time};
use anyhow::{Context as _, Result, ensure};
use runstone::budgets::{BudgetLimits, Dimension, Open};
use runstone::events::{ChatMessage, LlmCallCompleted, ToolCallCompleted, ToolCallRequested};
use runstone::replay::{Point, state};
use runstone::{Log, NewEvent, Run, Runstone, Status, StepReport};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tokio::runtime::{Builder, Runtime};

const LONG: &str = "long";
/// Turns of a short run, without and with a budget: events of budgets count too.
const TURNS: u64 = 10;
const TURNS_OF_BUDGET: u64 = 7;
/// Every so many turns are a step, in which something is called that must happen once.
const TURNS_OF_STEP: u64 = 5;
const STEP_NODES: [&str; 5] = ["plan", "search", "read", "write", "review"];
const AT_ONCE: usize = 16;
const AGENTS: u64 = 8;
/// Answers before anything is measured.
const WARM: u64 = 100;

/// A random revision of the long run.
pub(super) fn long(bench: &Bench, _: &Workload, contender: &Contender) -> Result<Sample> {
    let log = runstone_log(&filled(bench, contender)?)?;
    asked(bench, &log, |_| LONG.to_owned())
}

/// A random revision of any of the short ones.
pub(super) fn short(bench: &Bench, _: &Workload, contender: &Contender) -> Result<Sample> {
    let log = runstone_log(&filled(bench, contender)?)?;
    let runs = runs_of(&log)?;
    asked(bench, &log, |random| short_name(random.next() % runs))
}

fn asked(bench: &Bench, log: &Log, stream: impl Fn(&mut Random) -> String) -> Result<Sample> {
    let mut random = Random::new(85);
    let mut latencies = Vec::new();
    let mut before = processor_time();
    let asked = bench.sizes.reads / 4;
    for turn in 0..WARM + asked {
        if turn == WARM {
            before = processor_time();
        }
        let stream = stream(&mut random);
        let newest = Point::Newest.find(log, &stream)?.context("no such run")?;
        let events = log.record(newest)?.revision.get() + 1;
        let at = Point::Revision(random.next() % events).find(log, &stream)?;
        let at = at.context("no such revision")?;
        let start = Instant::now();
        let then = state(log, &stream, at)?.context("no such run")?;
        let elapsed = start.elapsed();
        ensure!(then.position == at && then.session.missing == 0, "{then:?}");
        if turn >= WARM {
            latencies.push(micros(elapsed));
        }
    }
    let cpu = processor_time().saturating_sub(before);
    Ok(Sample::latency(latencies).cpu(cpu, asked))
}

/// How many short runs are whole.
fn runs_of(log: &Log) -> Result<u64> {
    let (mut low, mut high) = (0, log.size());
    while low + 1 < high {
        let middle = low.midpoint(high);
        let found = Point::Newest.find(log, &short_name(middle))?;
        *(if found.is_some() { &mut low } else { &mut high }) = middle;
    }
    ensure!(low > AT_ONCE as u64, "there are too few runs");
    Ok(low)
}

fn short_name(number: u64) -> String {
    format!("short-{number}")
}

/// The log, made when it is first asked for.
fn filled(bench: &Bench, contender: &Contender) -> Result<PathBuf> {
    let events = bench.sizes.log_events;
    let name = format!("travel-{}-{events}", contender.name);
    let folder = bench.kept_path().join(name);
    if folder.exists() {
        return Ok(folder);
    }
    let nursery = if bench.has_tmpfs() {
        bench.on_tmpfs()?
    } else {
        bench.on_disk()?
    };
    contender.open_boxed(nursery.path())?.close()?;
    fill(nursery.path(), events)?;
    let whole = tempfile::tempdir_in(bench.kept_path())?;
    copy(nursery.path(), whole.path())?;
    std::fs::rename(whole.keep(), &folder)?;
    Ok(folder)
}

fn fill(folder: &Path, events: u64) -> Result<()> {
    let log: Runstone = runstone_log(folder)?.into();
    let runtime = Builder::new_current_thread().build()?;
    let limits = |tokens| BudgetLimits::new().of(Dimension::Tokens, tokens);
    let budgets = log.budgets();
    budgets.open_blocking(&Open::new("office").limits(limits(1 << 50)))?;
    for agent in 0..AGENTS {
        let open = Open::new(agent_name(agent)).parent("office");
        budgets.open_blocking(&open.limits(limits(1 << 50)))?;
    }
    let started = |name: &str, budget: Option<u64>| {
        let run = log.run("bench");
        let run = match budget {
            Some(agent) => run.budget(agent_name(agent)),
            None => run,
        };
        run.resume_or_start_blocking(name)
    };
    let mut longest = Some(Agent::new(started(LONG, Some(0))?, u64::MAX));
    let (mut short, mut begun) = (Vec::new(), 0);
    let mut turn = 0_usize;
    while log.size() < events {
        // So that at any time a tenth of what there is is of the long one.
        let of_long = longest.as_ref().map_or(u64::MAX, |agent| agent.events);
        if of_long.saturating_mul(10) < log.size()
            && let Some(agent) = &mut longest
        {
            agent.turn(&runtime, &log)?;
        }
        if short.len() < AT_ONCE {
            let budget = (begun % 4 == 0).then_some(begun % AGENTS);
            let turns = if budget.is_none() {
                TURNS
            } else {
                TURNS_OF_BUDGET
            };
            short.push(Agent::new(started(&short_name(begun), budget)?, turns));
            begun += 1;
        }
        turn = (turn + 1) % AT_ONCE;
        if let Some(agent) = short.get_mut(turn) {
            agent.turn(&runtime, &log)?;
            if agent.turns == 0 {
                let agent = short.swap_remove(turn);
                agent.run.finish_blocking(Status::Success)?;
            }
        }
    }
    drop(longest.take());
    drop(short);
    log.close_blocking()?;
    Ok(())
}

fn agent_name(number: u64) -> String {
    format!("agent-{number}")
}

/// Somebody who works in a run.
struct Agent {
    run: Run,
    /// Those that are left.
    turns: u64,
    done: u64,
    /// Of the run by now.
    events: u64,
}

impl Agent {
    fn new(run: Run, turns: u64) -> Self {
        let (done, events) = (0, 1);
        Self {
            run,
            turns,
            done,
            events,
        }
    }

    /// A model is called, asks for a tool, and gets what that says; now and then a step is done.
    fn turn(&mut self, runtime: &Runtime, log: &Runstone) -> Result<()> {
        let before = log.size();
        runtime.block_on(self.asked())?;
        if self.done.is_multiple_of(TURNS_OF_STEP) {
            runtime.block_on(self.step())?;
        }
        self.turns -= 1;
        self.done += 1;
        self.events += log.size() - before;
        Ok(())
    }

    async fn asked(&self) -> Result<()> {
        let id = format!("call-{}", self.done);
        let usage = LlmCallCompleted::new(id.clone())
            .input_tokens(1200 + self.done % 700)
            .output_tokens(90)
            .usd_micros(4000);
        self.run.llm_call(usage).await?;
        let said =
            ChatMessage::new("assistant").text("I look at the next file and say what it is for.");
        let asked = ToolCallRequested::new(id.clone(), "read_file")
            .arguments(&json!({"path": format!("src/part-{}.rs", self.done)}))?;
        let told =
            ToolCallCompleted::new(id).result(&json!({"text": "x".repeat(200), "lines": 7}))?;
        let stream = self.run.id();
        self.run.append(NewEvent::typed(&said, stream)?).await?;
        self.run.append(NewEvent::typed(&asked, stream)?).await?;
        self.run.append(NewEvent::typed(&told, stream)?).await?;
        let seen = json!({"file": self.done, "ok": true});
        self.run.session().append("/seen", &seen).await?;
        Ok(())
    }

    async fn step(&self) -> Result<()> {
        let number = self.done / TURNS_OF_STEP;
        let at = usize::try_from(number)? % STEP_NODES.len();
        let node = format!("{}-{number}", STEP_NODES.get(at).context("a node")?);
        let step = self.run.step(&node);
        let done = step.run_reported(|| async {
            let call = self.run.effect("save").call_id(format!("save-{number}"));
            let call = call.args(&json!({"file": number}));
            call.call(|| async { Ok::<_, std::io::Error>(number) })
                .await?;
            let report = StepReport::new(format!("saved {number}"));
            Ok::<_, anyhow::Error>(report.structured(json!({"last": number})))
        });
        done.await.map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok(())
    }
}
