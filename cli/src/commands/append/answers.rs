//! Answers to lines.

use crate::error::{Failure, Report};
use crate::output::{ErrorLine, Output, Results};
use runstone::Appended;
use serde::Serialize;

/// The answer to a line.
#[derive(Serialize)]
pub(super) struct Answer {
    line: u64,
    first: u64,
    last: u64,
    pub(super) ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duplicate: Option<bool>,
}

impl Answer {
    pub(super) fn of(line: u64, appended: &Appended) -> Self {
        Self {
            line,
            first: appended.first.get(),
            last: appended.last.get(),
            ids: appended.ids.iter().map(ToString::to_string).collect(),
            duplicate: appended.duplicate.then_some(true),
        }
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let place = if self.first == self.last {
            format!("position {}", self.first)
        } else {
            format!("positions {} to {}", self.first, self.last)
        };
        match self.duplicate {
            Some(true) => format!("{place}, recorded before"),
            _ => place,
        }
    }
}

/// An error with the number of its line.
pub(super) fn told(number: u64, report: &Report) -> Report {
    let message = format!("line {number}: {}", report.message);
    Report {
        message,
        ..report.clone()
    }
}

/// Answers on stdout. When nobody reads them any more the appending goes on: the lines that were
/// given are to be recorded, whoever listens.
pub(super) struct Answers<'a> {
    pub(super) output: &'a Output,
    results: Option<Results>,
    pub(super) refused: u64,
}

impl<'a> Answers<'a> {
    pub(super) fn new(output: &'a Output) -> Self {
        Self {
            output,
            results: Some(Output::results()),
            refused: 0,
        }
    }

    pub(super) fn give(
        &mut self,
        number: u64,
        outcome: Result<Appended, Report>,
    ) -> Result<(), Failure> {
        match outcome {
            Ok(appended) => {
                let answer = Answer::of(number, &appended);
                let json = self.output.json;
                self.write(|results| {
                    if json {
                        results.json(&answer)
                    } else {
                        results.line(&format!("line {number}: {}", answer.text()))
                    }
                })
            }
            Err(report) => {
                self.refused += 1;
                if self.output.json {
                    let line = ErrorLine::of(&report).at(number);
                    return self.write(|results| results.json(&line));
                }
                self.flush()?;
                self.output.error(&told(number, &report));
                Ok(())
            }
        }
    }

    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.write(Results::flush)
    }

    fn write(
        &mut self,
        action: impl FnOnce(&mut Results) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        match self.results.as_mut().map(action) {
            Some(Err(Failure::Closed)) => {
                self.results = None;
                Ok(())
            }
            Some(outcome) => outcome,
            None => Ok(()),
        }
    }
}
