//! `diff`: what changed between two points of a run, or from one run to another.

use super::state::answered;
use crate::args::{DiffArgs, Sides};
use crate::error::{Exit, Failure, Report};
use crate::output::{Output, Tone, count, paint, preview, printable, usd};
use crate::session::{Access, Session};
use runstone::codec::Position;
use runstone::replay::{Change, ChangeKind, Compared, Matched, Pair, Point, compare, diff};
use runstone::{Log, runs};
use serde::Serialize;
use serde_json::Value;
use std::fmt::Write as _;

/// Characters of a value that are shown.
const SHOWN: usize = 160;

/// Two runs as other programs see them.
#[derive(Serialize)]
struct Answer<'a> {
    same: bool,
    first: Option<&'a Pair>,
    steps: &'a [Pair],
    tokens: [u64; 2],
    usd_micros: [u64; 2],
}

pub(crate) fn run(session: &Session, args: &DiffArgs) -> Result<Exit, Failure> {
    let width = if args.full { usize::MAX } else { SHOWN };
    let is_same = session.with(Access::Folds, |log| match args.sides()? {
        Sides::Points(stream, points) => points_of(session, log, (stream, points), width),
        Sides::Runs(first, second) => runs_of(session, log, (first, second), width),
    })?;
    Ok(if is_same { Exit::Done } else { Exit::No })
}

fn points_of(
    session: &Session,
    log: &Log,
    (stream, points): (&str, [Point; 2]),
    width: usize,
) -> Result<bool, Failure> {
    let output = &session.output;
    let [before, after] = points.map(|point| at(session, log, stream, point));
    let changes = diff(&before?, &after?);
    // That the points are two is no difference.
    let is_told = |change: &&Change| change.path != "/position";
    output.answer(&changes, || {
        let told = changes.iter().filter(is_told);
        told.map(|change| line(change, "", width, output)).collect()
    })?;
    Ok(!changes.iter().any(|change| is_told(&change)))
}

fn runs_of(
    session: &Session,
    log: &Log,
    (first, second): (&str, &str),
    width: usize,
) -> Result<bool, Failure> {
    let output = &session.output;
    let known = |stream: &str| -> Result<_, Failure> {
        Ok(runs::get(log, stream)?.ok_or_else(|| absent(stream))?)
    };
    let (a, b) = (known(first)?, known(second)?);
    let compared = compare(log, first, second)?;
    let answer = Answer {
        same: compared.first.is_none(),
        first: compared.first.and_then(|at| compared.pairs.get(at)),
        steps: &compared.pairs,
        tokens: [a.tokens(), b.tokens()],
        usd_micros: [a.usd_micros(), b.usd_micros()],
    };
    output.answer(&answer, || beside(&compared, &answer, width, output))?;
    Ok(answer.same)
}

fn absent(stream: &str) -> Report {
    let message = format!("there is no run `{stream}`");
    Report::new(Exit::NotFound, "run_not_found", message)
}

/// What `state` answers for a point.
fn at(session: &Session, log: &Log, stream: &str, point: Point) -> Result<Value, Failure> {
    let at = point.find(log, stream)?.ok_or_else(|| absent(stream))?;
    let told = answered(session, log, stream, at)?;
    Ok(told.ok_or_else(|| absent(stream))?)
}

/// A change on a few lines, long values folded.
fn line(change: &Change, indent: &str, width: usize, output: &Output) -> String {
    let shown = |value: Option<&Value>| {
        let value = value.map(Value::to_string).unwrap_or_default();
        let all = value.chars().count();
        if all <= width {
            return printable(&value).into_owned();
        }
        let size = count(u64::try_from(all).unwrap_or(u64::MAX));
        let folded = preview(&value, width);
        format!("{} ({size} characters)", printable(&folded))
    };
    let path = if change.path.is_empty() {
        "/"
    } else {
        &change.path
    };
    let mut text = format!("{indent}{}\n", printable(path));
    let mut side = |mark: &str, tone, value: Option<&Value>| {
        let value = format!("{mark} {}", shown(value));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{indent}  {}", paint(output.color, tone, &value));
    };
    if change.op != ChangeKind::Add {
        side("-", Tone::Bad, change.before.as_ref());
    }
    if change.op != ChangeKind::Remove {
        side("+", Tone::Good, change.value.as_ref());
    }
    text
}

fn named(pair: &Pair) -> String {
    let at = |at: Option<Position>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
    let node = if pair.node.is_empty() {
        "(erased)"
    } else {
        &pair.node
    };
    let (a, b) = (at(pair.a), at(pair.b));
    let node = printable(node);
    format!("{} {node} {} at {a} | {b}", pair.kind, pair.attempt)
}

/// How much of two runs is alike.
fn alike_of(number: usize) -> String {
    match u64::try_from(number) {
        Ok(1) => "1 step, call or turn".to_owned(),
        number => {
            let number = count(number.unwrap_or(u64::MAX));
            format!("{number} steps, calls and turns")
        }
    }
}

/// Where two runs part, and what differs from there on.
fn beside(compared: &Compared, answer: &Answer<'_>, width: usize, output: &Output) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = if let (Some(alike), Some(pair)) = (compared.first, answer.first) {
        let (alike, pair) = (alike_of(alike), named(pair));
        writeln!(text, "alike for {alike}; they part at {pair}\n")
    } else {
        let all = alike_of(compared.pairs.len());
        writeln!(text, "alike in all: {all}")
    };
    let from = compared.first.unwrap_or(compared.pairs.len());
    for pair in compared.pairs.iter().skip(from) {
        let (mark, tone) = match pair.matched {
            Matched::Same => (" ", Tone::Dim),
            Matched::Changed => ("~", Tone::Warn),
            Matched::First => ("-", Tone::Bad),
            Matched::Second => ("+", Tone::Good),
        };
        let name = format!("{mark} {}", named(pair));
        let _ = writeln!(text, "{}", paint(output.color, tone, &name));
        for change in &pair.patch {
            text.push_str(&line(change, "    ", width, output));
        }
    }
    let [tokens_a, tokens_b] = answer.tokens.map(count);
    let [usd_a, usd_b] = answer.usd_micros.map(usd);
    let _ = writeln!(
        text,
        "\ntokens {tokens_a} | {tokens_b}, cost {usd_a} | {usd_b}"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural() {
        assert_eq!(alike_of(1), "1 step, call or turn");
        assert_eq!(alike_of(1200), "1,200 steps, calls and turns");
    }
}
