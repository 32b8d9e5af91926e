//! `runs`: what each stream did, what it cost, how it ended.

use crate::args::RunsArgs;
use crate::error::{Exit, Failure};
use crate::output::{
    Align, Output, Table, Tone, count, duration, now, paint, printable, relative, rfc3339, usd,
};
use crate::session::{Access, Session};
use runstone::Log;
use runstone::projections::runs::{self, ForkPoint, RunFilter, RunStatus, RunSummary};
use serde::Serialize;
use std::fmt::Write as _;

/// A run as other programs see it.
#[derive(Debug, Serialize)]
pub(crate) struct Line<'a> {
    stream: &'a str,
    name: Option<String>,
    status: &'a str,
    steps: u64,
    tool_calls: u64,
    tokens: u64,
    usd_micros: u64,
    gco2_mg: u64,
    started: Option<String>,
    ended: Option<String>,
    parent: Option<&'a str>,
    forked_from: Option<&'a ForkPoint>,
}

impl<'a> Line<'a> {
    pub(crate) fn of(log: &Log, run: &'a RunSummary, output: &Output) -> Self {
        // A name that cannot be read must not hide the run.
        let name = runs::name(log, run).unwrap_or_else(|error| {
            output.warn(
                error.code(),
                &format!("the name of `{}`: {error}", run.stream),
            );
            None
        });
        Self {
            stream: &run.stream,
            name,
            status: run.status.as_str(),
            steps: run.counts.steps,
            tool_calls: run.counts.tool_calls,
            tokens: run.tokens(),
            usd_micros: run.usd_micros(),
            gco2_mg: run.steps.gco2_mg,
            started: rfc3339(run.began_at_us()),
            ended: run.ended_at_us().and_then(rfc3339),
            parent: run.parent.as_deref(),
            forked_from: run.forked_from.as_ref(),
        }
    }
}

pub(crate) fn list(session: &Session, args: &RunsArgs) -> Result<Exit, Failure> {
    let mut filter = RunFilter::new();
    filter.status = args.status.as_deref().map(RunStatus::from);
    filter.only_runs = !args.all_streams;
    session.with(Access::Folds, |log| {
        let output = &session.output;
        if output.json {
            let mut results = Output::results();
            for run in runs::list(log, filter)? {
                results.json(&Line::of(log, &run?, output))?;
            }
            results.flush()?;
            return Ok(Exit::Done);
        }
        let mut all = runs::list(log, filter)?.collect::<Result<Vec<_>, _>>()?;
        if all.is_empty() {
            output.note("there is no such run");
            return Ok(Exit::Done);
        }
        all.sort_by_key(RunSummary::began_at_us);
        Output::text(&format!("{}\n", table(log, &all, output)))?;
        stuck(&all, output);
        Ok(Exit::Done)
    })
}

fn table(log: &Log, all: &[RunSummary], output: &Output) -> String {
    let mut table = Table::new(
        output,
        &[
            ("run", Align::Left),
            ("name", Align::Left),
            ("status", Align::Left),
            ("started", Align::Left),
            ("took", Align::Right),
            ("steps", Align::Right),
            ("tool calls", Align::Right),
            ("tokens", Align::Right),
            ("cost", Align::Right),
        ],
    );
    let now = now();
    for run in all {
        let line = Line::of(log, run, output);
        let began_at_us = run.began_at_us();
        let started = if output.terminal {
            relative(began_at_us, now)
        } else {
            line.started.unwrap_or_default()
        };
        table.row(vec![
            (run.stream.clone(), Tone::Plain),
            (named(line.name, line.forked_from), Tone::Plain),
            (line.status.to_owned(), tone_of(&run.status)),
            (started, Tone::Dim),
            (took(run), Tone::Plain),
            (number(line.steps), Tone::Plain),
            (number(line.tool_calls), Tone::Plain),
            (number(line.tokens), Tone::Plain),
            (price(line.usd_micros), Tone::Plain),
        ]);
    }
    table.text()
}

/// A run by its name, and where it was forked.
fn named(name: Option<String>, forked_from: Option<&ForkPoint>) -> String {
    let name = name.unwrap_or_default();
    match forked_from {
        Some(fork) => format!("{name} (fork of {}, {})", fork.stream, fork.at),
        None => name,
    }
}

/// Says how many runs wait for somebody.
fn stuck(all: &[RunSummary], output: &Output) {
    let waiting = [
        RunStatus::Crashed,
        RunStatus::Aborted,
        RunStatus::Forked,
        RunStatus::RolledBack,
        RunStatus::Paused,
    ];
    let words = waiting.map(|status| {
        let runs = all.iter().filter(|run| run.status == status).count();
        (runs, status)
    });
    let words: Vec<_> = words
        .iter()
        .filter(|(runs, _)| *runs > 0)
        .map(|(runs, status)| format!("{runs} {status}"))
        .collect();
    if !words.is_empty() {
        output.note(&format!("{}: these can be resumed", words.join(", ")));
    }
}

/// Nothing is shown as nothing: most recordings know no steps and no price.
fn number(number: u64) -> String {
    if number == 0 {
        "-".to_owned()
    } else {
        count(number)
    }
}

/// Recordings without times took no time that anybody knows.
fn took(run: &RunSummary) -> String {
    match run.last_at_us().saturating_sub(run.began_at_us()) {
        0 => "-".to_owned(),
        micros => duration(micros),
    }
}

fn price(usd_micros: u64) -> String {
    if usd_micros == 0 {
        "-".to_owned()
    } else {
        usd(usd_micros)
    }
}

/// What needs somebody stands out.
fn tone_of(status: &RunStatus) -> Tone {
    match status.as_str() {
        "success" | "completed" => Tone::Good,
        "error" | "terminal" | "crashed" | "failed" => Tone::Bad,
        "paused" | "aborted" | "forked" | "rolled_back" | "escalated" | "cancelled" => Tone::Warn,
        "unknown" => Tone::Dim,
        _ => Tone::Plain,
    }
}

pub(crate) fn whole(run: &RunSummary, line: &Line<'_>, output: &Output) -> String {
    let mut text = String::new();
    let mut put = |name: &str, value: &str| {
        let name = paint(output.color, Tone::Dim, &format!("{name:<14}"));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}  {value}");
    };
    put("run", &printable(&run.stream));
    if let Some(name) = &line.name {
        put("name", &printable(name));
    }
    put(
        "status",
        &paint(
            output.color,
            tone_of(&run.status),
            &printable(run.status.as_str()),
        ),
    );
    if let Some(parent) = line.parent {
        put("parent", &printable(parent));
    }
    if let Some(fork) = line.forked_from {
        let from = format!("{}, after position {}", printable(&fork.stream), fork.at);
        put("forked from", &from);
    }
    if let Some(holder) = &run.holder {
        let gone = if run.status == RunStatus::Crashed {
            " (gone)"
        } else {
            ""
        };
        put("holder", &printable(&format!("{holder}{gone}")));
    }
    put("scope", &printable(&run.scope));
    let (began_at_us, last_at_us) = (run.began_at_us(), run.last_at_us());
    put("started", &rfc3339(began_at_us).unwrap_or_default());
    match run.ended_at_us() {
        Some(ended_at_us) => put("ended", &rfc3339(ended_at_us).unwrap_or_default()),
        None => put("last event", &rfc3339(last_at_us).unwrap_or_default()),
    }
    put("took", &took(run));
    let (counts, usage) = (&run.counts, &run.usage);
    put("events", &count(counts.events));
    put("steps", &steps(run));
    put("turns", &count(counts.turns));
    put(
        "tool calls",
        &format!(
            "{} ({} answered, {} failed)",
            count(counts.tool_calls),
            count(counts.tool_results),
            count(counts.tool_errors)
        ),
    );
    put("model calls", &count(counts.llm_calls));
    put(
        "tokens",
        &format!(
            "{} ({} in, {} out, {} from cache, {} to cache)",
            count(usage.tokens()),
            count(usage.input_tokens),
            count(usage.output_tokens),
            count(usage.cache_read_tokens),
            count(usage.cache_write_tokens)
        ),
    );
    if run.steps.tokens > 0 {
        let more = format!("{} more, as steps report them", count(run.steps.tokens));
        put("", &more);
    }
    put("cost", &price(run.usd_micros()));
    if run.steps.gco2_mg > 0 {
        put("carbon", &carbon(run.steps.gco2_mg));
    }
    if counts.verdicts > 0 {
        put("verdicts", &count(counts.verdicts));
    }
    text
}

fn steps(run: &RunSummary) -> String {
    let counts = &run.counts;
    let nodes = format!("{} of {} nodes", count(counts.steps), count(counts.nodes));
    match (counts.nodes, counts.steps_blocked) {
        (0, 0) => count(counts.steps),
        (_, 0) => nodes,
        (_, blocked) => format!("{nodes}, {} blocked", count(blocked)),
    }
}

/// Grams of carbon dioxide equivalent.
pub(crate) fn carbon(milligrams: u64) -> String {
    format!("{}.{:03} g CO2e", milligrams / 1000, milligrams % 1000)
}
