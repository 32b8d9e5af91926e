//! `runs --latency`: how long nodes, tools and agents take.

use crate::args::FiguresBy;
use crate::error::{Exit, Failure, Report};
use crate::output::{Align, Output, Table, Tone, count, duration};
use crate::session::{Access, Session};
use runstone::projections::latency::{self, Latency, LatencyFilter, Timed};
use serde::Serialize;

#[derive(Serialize)]
struct Line<'a> {
    by: Timed,
    group: Option<&'a str>,
    scope: Option<&'a str>,
    count: u64,
    p50_us: u64,
    p95_us: u64,
    p99_us: u64,
    max_us: u64,
}

pub(crate) fn run(session: &Session, by: Option<FiguresBy>) -> Result<Exit, Failure> {
    let filter = LatencyFilter::new();
    let filter = match by {
        None => filter,
        Some(FiguresBy::Node) => filter.timed(Timed::Node),
        Some(FiguresBy::Tool) => filter.timed(Timed::Tool),
        Some(FiguresBy::Agent) => filter.timed(Timed::Agent),
        Some(FiguresBy::Model | FiguresBy::Scope | FiguresBy::Day) => {
            let message = "latency is told apart by node, tool or agent";
            return Err(Report::usage(message).into());
        }
    };
    let output = &session.output;
    let all = session.with(Access::Folds, |log| Ok(latency::list(log, &filter)?))?;
    if output.json {
        let mut results = Output::results();
        for one in &all {
            results.json(&Line {
                by: one.timed,
                group: one.name.as_deref(),
                scope: one.scope.as_deref(),
                count: one.count,
                p50_us: one.p50_us,
                p95_us: one.p95_us,
                p99_us: one.p99_us,
                max_us: one.max_us,
            })?;
        }
        results.flush()?;
    } else if all.is_empty() {
        output.note("nothing was timed: no step, call or run began and ended");
    } else {
        Output::text(&format!("{}\n", table(&all, output)))?;
    }
    Ok(Exit::Done)
}

/// Calls are often short.
fn time(micros: u64) -> String {
    if micros < 10_000 {
        format!("{}.{:02} ms", micros / 1000, micros % 1000 / 10)
    } else {
        duration(micros)
    }
}

fn table(all: &[Latency], output: &Output) -> String {
    let columns = [
        ("what", Align::Left),
        ("name", Align::Left),
        ("count", Align::Right),
        ("p50", Align::Right),
        ("p95", Align::Right),
        ("p99", Align::Right),
        ("longest", Align::Right),
    ];
    let mut table = Table::new(output, &columns);
    for one in all {
        let (name, tone) = match (&one.name, &one.scope) {
            (Some(name), _) => (name.clone(), Tone::Plain),
            (None, Some(scope)) => (format!("(erased, scope {scope})"), Tone::Dim),
            (None, None) => ("(erased)".to_owned(), Tone::Dim),
        };
        table.row(vec![
            (one.timed.to_string(), Tone::Dim),
            (name, tone),
            (count(one.count), Tone::Plain),
            (time(one.p50_us), Tone::Plain),
            (time(one.p95_us), Tone::Plain),
            (time(one.p99_us), Tone::Plain),
            (time(one.max_us), Tone::Plain),
        ]);
    }
    table.text()
}
