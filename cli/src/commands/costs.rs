//! `runs --costs`: what calls of models cost.

use crate::args::FiguresBy;
use crate::error::{Exit, Failure, Report};
use crate::output::{Align, Output, Table, Tone, count, rfc3339, usd};
use crate::session::{Access, Session};
use runstone::projections::costs::{self, By, Cost, Group};
use runstone::runs::Usage;
use serde::Serialize;

#[derive(Serialize)]
struct Line<'a> {
    by: &'a str,
    group: Option<String>,
    calls: u64,
    tokens: u64,
    #[serde(flatten)]
    usage: Usage,
}

pub(crate) fn run(session: &Session, by: Option<FiguresBy>) -> Result<Exit, Failure> {
    let (by, word) = match by {
        None | Some(FiguresBy::Model) => (By::Model, "model"),
        Some(FiguresBy::Agent) => (By::Agent, "agent"),
        Some(FiguresBy::Scope) => (By::Scope, "scope"),
        Some(FiguresBy::Day) => (By::Day, "day"),
        Some(FiguresBy::Node | FiguresBy::Tool) => {
            let message = "costs are told apart by model, agent, scope or day";
            return Err(Report::usage(message).into());
        }
    };
    let output = &session.output;
    let all = session.with(Access::Events, |log| Ok(costs::list(log, by)?))?;
    if output.json {
        let mut results = Output::results();
        for cost in &all {
            results.json(&Line {
                by: word,
                group: name(cost),
                calls: cost.calls,
                tokens: cost.usage.tokens(),
                usage: cost.usage,
            })?;
        }
        results.flush()?;
    } else if all.is_empty() {
        output.note("no call of a model is recorded");
    } else {
        Output::text(&format!("{}\n", table(&all, word, output)))?;
    }
    Ok(Exit::Done)
}

fn name(cost: &Cost) -> Option<String> {
    match &cost.group {
        Group::Name(name) => name.clone(),
        Group::Day(at_us) => rfc3339(*at_us).and_then(|at| at.split('T').next().map(str::to_owned)),
    }
}

fn table(all: &[Cost], word: &str, output: &Output) -> String {
    let columns = [
        (word, Align::Left),
        ("calls", Align::Right),
        ("tokens", Align::Right),
        ("in", Align::Right),
        ("out", Align::Right),
        ("cost", Align::Right),
    ];
    let mut table = Table::new(output, &columns);
    for cost in all {
        let usage = &cost.usage;
        let name = name(cost).unwrap_or_else(|| "(not known)".to_owned());
        table.row(vec![
            (name, Tone::Plain),
            (count(cost.calls), Tone::Plain),
            (count(usage.tokens()), Tone::Plain),
            (count(usage.input_tokens), Tone::Plain),
            (count(usage.output_tokens), Tone::Plain),
            (usd(usage.usd_micros), Tone::Plain),
        ]);
    }
    table.text()
}
