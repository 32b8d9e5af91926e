//! `run`: one run, who did what in it, what was stopped, and what happened last.

use super::runs::{Line, carbon, whole};
use crate::args::RunArgs;
use crate::error::{Exit, Failure, Report};
use crate::output::{Align, Output, Table, Tone, count, now, relative, rfc3339, usd};
use crate::session::{Access, Session};
use runstone::Position;
use runstone::projections::runs::{self, Act, Newest, Recent, Totals, Violation, ViolationKind};
use serde::Serialize;
use std::fmt::Write as _;

/// A run as other programs see it.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    line: &'a Line<'a>,
    events: u64,
    turns: u64,
    nodes: u64,
    blocked_steps: u64,
    verdicts: u64,
    tree: Tree,
    recent: Vec<RecentLine<'a>>,
    violations: Vec<ViolationLine<'a>>,
    violations_cut: bool,
    timeline: Vec<ActLine<'a>>,
    timeline_cut: bool,
}

/// It and the runs that it spawned, together.
#[derive(Serialize)]
struct Tree {
    runs: u64,
    steps: u64,
    tool_calls: u64,
    tokens: u64,
    usd_micros: u64,
    gco2_mg: u64,
}

impl Tree {
    fn of(tree: &Totals) -> Self {
        Self {
            runs: tree.runs,
            steps: tree.counts.steps,
            tool_calls: tree.counts.tool_calls,
            tokens: tree.tokens(),
            usd_micros: tree.usd_micros(),
            gco2_mg: tree.steps.gco2_mg,
        }
    }
}

#[derive(Serialize)]
struct RecentLine<'a> {
    at: Option<String>,
    position: u64,
    revision: u64,
    r#type: &'a str,
    source: &'a str,
}

#[derive(Serialize)]
struct ViolationLine<'a> {
    at: Option<String>,
    position: u64,
    kind: ViolationKind,
    what: Option<&'a str>,
    why: Option<&'a str>,
}

#[derive(Serialize)]
struct ActLine<'a> {
    at: Option<String>,
    position: u64,
    act: &'a str,
    principal: &'a str,
    authority: String,
    holder: Option<&'a str>,
    what: Option<&'a str>,
    how: Option<&'a str>,
    fence: Option<u64>,
}

impl<'a> RecentLine<'a> {
    fn of(one: &'a Recent) -> Self {
        Self {
            at: rfc3339(one.at_us),
            position: one.position.get(),
            revision: one.revision,
            r#type: &one.event_type,
            source: &one.source,
        }
    }
}

impl<'a> ViolationLine<'a> {
    fn of(one: &'a Violation) -> Self {
        Self {
            at: rfc3339(one.at_us),
            position: one.position.get(),
            kind: one.kind,
            what: one.what.as_deref(),
            why: one.why.as_deref(),
        }
    }
}

impl<'a> ActLine<'a> {
    fn of(one: &'a Act) -> Self {
        Self {
            at: rfc3339(one.at_us),
            position: one.position.get(),
            act: &one.act,
            principal: &one.principal,
            authority: one.authority.to_string(),
            holder: one.holder.as_deref(),
            what: one.what.as_deref(),
            how: one.how.as_deref(),
            fence: one.fence.map(Position::get),
        }
    }
}

pub(crate) fn run(session: &Session, args: &RunArgs) -> Result<Exit, Failure> {
    session.with(Access::Folds, |log| {
        let (output, stream) = (&session.output, &args.stream);
        let absent = || {
            let message = format!("there is no run `{stream}`");
            Report::new(Exit::NotFound, "run_not_found", message)
        };
        let run = runs::get(log, stream)?.ok_or_else(absent)?;
        let tree = runs::tree_totals(log, stream)?.ok_or_else(absent)?;
        let recent = runs::recent(log, stream)?;
        let violations = runs::violations(log, stream, args.limit)?;
        let timeline = runs::timeline(log, stream, args.limit)?;
        let line = Line::of(log, &run, output);
        let answer = Answer {
            line: &line,
            events: run.counts.events,
            turns: run.counts.turns,
            nodes: run.counts.nodes,
            blocked_steps: run.counts.steps_blocked,
            verdicts: run.counts.verdicts,
            tree: Tree::of(&tree),
            recent: recent.items.iter().map(RecentLine::of).collect(),
            violations: violations.items.iter().map(ViolationLine::of).collect(),
            violations_cut: violations.is_cut,
            timeline: timeline.items.iter().map(ActLine::of).collect(),
            timeline_cut: timeline.is_cut,
        };
        output.answer(&answer, || {
            let mut text = whole(&run, &line, output);
            if tree.runs > 1 {
                text.push_str(&of_tree(&tree));
            }
            section(&mut text, "stopped", &violations, |all| {
                violated(all, output)
            });
            section(&mut text, "who did what", &timeline, |all| {
                acts(all, output)
            });
            section(&mut text, "newest events", &recent, |all| {
                events(all, output)
            });
            text
        })?;
        Ok(Exit::Done)
    })
}

fn of_tree(tree: &Totals) -> String {
    format!(
        "with the runs that it spawned: {} runs, {} steps, {} tool calls, {} tokens, {}, {}\n",
        count(tree.runs),
        count(tree.counts.steps),
        count(tree.counts.tool_calls),
        count(tree.tokens()),
        usd(tree.usd_micros()),
        carbon(tree.steps.gco2_mg),
    )
}

fn section<T>(text: &mut String, title: &str, all: &Newest<T>, table: impl Fn(&[T]) -> String) {
    if all.items.is_empty() {
        return;
    }
    let cut = if all.is_cut {
        format!(" (the newest {})", count(all.items.len() as u64))
    } else {
        String::new()
    };
    // Writing to a string cannot fail.
    let _ = writeln!(text, "\n{title}{cut}\n{}", table(&all.items));
}

fn when(at_us: u64, output: &Output) -> (String, Tone) {
    let at = if output.terminal {
        relative(at_us, now())
    } else {
        rfc3339(at_us).unwrap_or_default()
    };
    (at, Tone::Dim)
}

fn violated(all: &[Violation], output: &Output) -> String {
    let columns = [
        ("position", Align::Right),
        ("when", Align::Left),
        ("what", Align::Left),
        ("name", Align::Left),
        ("why", Align::Left),
    ];
    let mut table = Table::new(output, &columns);
    for one in all {
        table.row(vec![
            (one.position.to_string(), Tone::Plain),
            when(one.at_us, output),
            (one.kind.to_string(), Tone::Warn),
            (one.what.clone().unwrap_or_default(), Tone::Plain),
            (one.why.clone().unwrap_or_default(), Tone::Plain),
        ]);
    }
    table.text()
}

fn acts(all: &[Act], output: &Output) -> String {
    let columns = [
        ("position", Align::Right),
        ("when", Align::Left),
        ("act", Align::Left),
        ("name", Align::Left),
        ("how", Align::Left),
        ("who", Align::Left),
    ];
    let mut table = Table::new(output, &columns);
    for one in all {
        let who = one.holder.as_ref().unwrap_or(&one.principal);
        table.row(vec![
            (one.position.to_string(), Tone::Plain),
            when(one.at_us, output),
            (one.act.clone(), Tone::Plain),
            (one.what.clone().unwrap_or_default(), Tone::Plain),
            (one.how.clone().unwrap_or_default(), Tone::Plain),
            (format!("{who} ({})", one.authority), Tone::Dim),
        ]);
    }
    table.text()
}

fn events(all: &[Recent], output: &Output) -> String {
    let columns = [
        ("position", Align::Right),
        ("revision", Align::Right),
        ("when", Align::Left),
        ("type", Align::Left),
        ("source", Align::Left),
    ];
    let mut table = Table::new(output, &columns);
    for one in all {
        table.row(vec![
            (one.position.to_string(), Tone::Plain),
            (one.revision.to_string(), Tone::Plain),
            when(one.at_us, output),
            (one.event_type.clone(), Tone::Plain),
            (one.source.clone(), Tone::Dim),
        ]);
    }
    table.text()
}
