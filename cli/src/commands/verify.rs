//! `verify`: the whole log, derived again and compared.

use crate::args::VerifyArgs;
use crate::error::{Exit, Failure};
use crate::output::{Align, Progress, Table, Tone, base64, count, paint};
use crate::session::{Access, Session};
use runstone::{Problem, ProblemKind, VerifyReport, verify_file};
use serde::Serialize;

#[derive(Serialize)]
struct Answer {
    valid: bool,
    level: u8,
    size: u64,
    root: String,
    events: u64,
    erased: u64,
    problems: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    position: Option<u64>,
    kind: &'static str,
    expected: String,
    found: String,
}

impl Line {
    /// What lies in no event is named by its table.
    fn of(problem: &Problem) -> Self {
        let expected = match problem.position {
            Some(_) => problem.expected.clone(),
            None => format!("{}: {}", problem.table, problem.expected),
        };
        Self {
            position: problem.position,
            kind: problem.kind.as_str(),
            expected,
            found: problem.found.clone(),
        }
    }
}

pub(crate) fn run(session: &Session, args: &VerifyArgs) -> Result<Exit, Failure> {
    let output = &session.output;
    let bar = Progress::events(output, "verifying");
    let report = session.patiently(|| {
        if let Some(log) = session.attached() {
            return Ok(log.verify(args.level.into(), &|done, all| bar.set(done, all)));
        }
        let options = session.options(Access::Folds);
        verify_file(&session.log, options, args.level.into(), &|done, all| {
            bar.set(done, all);
        })
    })?;
    drop(bar);
    let answer = Answer {
        valid: report.valid,
        level: args.level as u8,
        size: report.size,
        root: base64(&report.root),
        events: report.events,
        erased: report.erased,
        problems: report.problems.iter().map(Line::of).collect(),
    };
    output.answer(&answer, || text(session, &answer))?;
    if report.unlisted > 0 {
        let message = format!("{} more problems are not listed", count(report.unlisted));
        output.warn("problems_unlisted", &message);
    }
    Ok(exit_of(&report))
}

fn exit_of(report: &VerifyReport) -> Exit {
    let has = |kind| report.problems.iter().any(|problem| problem.kind == kind);
    if report.valid {
        Exit::Done
    } else if has(ProblemKind::Unverifiable) && !has(ProblemKind::Tampered) {
        Exit::Keys
    } else if has(ProblemKind::Incomplete) && !has(ProblemKind::Tampered) {
        Exit::Incomplete
    } else {
        Exit::Corrupt
    }
}

fn text(session: &Session, answer: &Answer) -> String {
    let output = &session.output;
    let verdict = if answer.valid {
        paint(output.color, Tone::Good, "valid")
    } else {
        paint(output.color, Tone::Bad, "NOT VALID")
    };
    let mut text = format!(
        "{verdict}: {} events, {} without their payload, level {}\nroot {}\n",
        count(answer.events),
        count(answer.erased),
        answer.level,
        answer.root
    );
    if !answer.problems.is_empty() {
        let columns = [
            ("position", Align::Right),
            ("kind", Align::Left),
            ("expected", Align::Left),
            ("found", Align::Left),
        ];
        let mut table = Table::new(output, &columns);
        for problem in &answer.problems {
            let tone = if problem.kind == "tampered" {
                Tone::Bad
            } else {
                Tone::Warn
            };
            table.row(vec![
                (
                    problem.position.map_or_else(|| "-".to_owned(), count),
                    Tone::Plain,
                ),
                (problem.kind.to_owned(), tone),
                (problem.expected.clone(), Tone::Plain),
                (problem.found.clone(), Tone::Plain),
            ]);
        }
        text.push('\n');
        text.push_str(&table.text());
    }
    text
}
