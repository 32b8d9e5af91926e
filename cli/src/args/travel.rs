//! Arguments of what looks at runs at other points than now, and of what goes on from there.

use super::values::parse_whole;
use crate::args::parse_when;
use crate::error::{Failure, Report};
use crate::output::now;
use clap::{ArgGroup, Args};
use runstone::Position;
use runstone::replay::Point;

/// Show the session, the steps, the tasks, the calls and the summary of a run, now or at a point.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("point").args(["at", "revision", "time"]))]
pub(crate) struct StateArgs {
    /// Its stream
    #[arg(value_name = "STREAM")]
    pub(crate) stream: String,
    /// As of this position of the log, inclusive
    #[arg(long, value_name = "P", value_parser = parse_whole::<u64>)]
    pub(crate) at: Option<u64>,
    /// As of this event of the stream, from 0, inclusive
    #[arg(long, value_name = "N", value_parser = parse_whole::<u64>)]
    pub(crate) revision: Option<u64>,
    /// As of this time by the log's clock: RFC 3339, a date, or how long ago as in 2h
    #[arg(long, value_name = "T")]
    pub(crate) time: Option<String>,
}

impl StateArgs {
    /// The point that is meant.
    pub(crate) fn point(&self) -> Result<Point, Failure> {
        if let Some(time) = &self.time {
            let until = parse_when(time, now());
            let until = until.map_err(|why| Report::usage(format!("--time: {why}")))?;
            return Ok(Point::Time(until));
        }
        Ok(point(self.at, self.revision).unwrap_or(Point::Newest))
    }
}

/// A position, or a revision.
pub(crate) fn point(position: Option<u64>, revision: Option<u64>) -> Option<Point> {
    let position = position.map(|at| Point::Position(Position::new(at)));
    position.or_else(|| revision.map(Point::Revision))
}

const FORKING: &str = "\
The fork has what the run had up to there: its session, its steps, and the results of its calls, which
are not made again. Nothing is copied. What was being called there, and must not be made twice, is
unknown in the fork until a person settles it. A fork of a run that has a budget spends one of its own
below it. Programs go on with it as with any run that can be resumed.";

/// Go on from a point of a run in another one
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("point").args(["at", "revision"]).required(true), after_long_help = FORKING)]
pub(crate) struct ForkArgs {
    /// The run
    #[arg(value_name = "STREAM")]
    pub(crate) stream: String,
    /// The last position of the log that it shares
    #[arg(long, value_name = "P", value_parser = parse_whole::<u64>)]
    pub(crate) at: Option<u64>,
    /// The last event of the stream that it shares, from 0
    #[arg(long, value_name = "N", value_parser = parse_whole::<u64>)]
    pub(crate) revision: Option<u64>,
    /// Stream of the new run [default: STREAM/fork-P]
    #[arg(long, value_name = "NAME")]
    pub(crate) as_stream: Option<String>,
    /// What the new run is called [default: as the other one]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Whose budget it spends: that of the other run, or one below it
    #[arg(long, value_name = "OWNER")]
    pub(crate) budget: Option<String>,
}

const ROLLING_BACK: &str = "\
Session and steps of the run are again as they stood there; what came after is in the log, and tells
nothing of them any more. What was called, spent and approved stays so: a call that was made is not made
again. Rolled back by a person, the run is held by nobody, and goes on when it is resumed.";

/// Take the session and the steps of a run back to a point
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("point").args(["to", "revision"]).required(true), after_long_help = ROLLING_BACK)]
pub(crate) struct RollbackArgs {
    /// The run
    #[arg(value_name = "STREAM")]
    pub(crate) stream: String,
    /// The last position of the log that counts
    #[arg(long, value_name = "P", value_parser = parse_whole::<u64>)]
    pub(crate) to: Option<u64>,
    /// The last event of the stream that counts, from 0
    #[arg(long, value_name = "N", value_parser = parse_whole::<u64>)]
    pub(crate) revision: Option<u64>,
    /// The claim of the run, of who holds it: where it was begun or resumed. A person needs none
    #[arg(long, value_name = "F", value_parser = parse_whole::<u64>)]
    pub(crate) fence: Option<u64>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

const DIFFERING: &str = "\
Two points of a run differ in what runstone state --json prints for them; with --json this is the patch
(RFC 6902) from one to the other. Two runs are matched step by step, call by call and turn by turn, by
node and attempt, and the first at which they part is named. Ends with 1 if there is a difference.";

/// Show what changed between two points of a run, or what differs between two runs
#[derive(Debug, Args)]
#[command(after_long_help = DIFFERING)]
pub(crate) struct DiffArgs {
    /// The run
    #[arg(value_name = "STREAM")]
    pub(crate) stream: String,
    /// A position, or another run
    #[arg(value_name = "A or STREAM")]
    pub(crate) second: String,
    /// Another position
    #[arg(value_name = "B")]
    pub(crate) third: Option<String>,
    /// A and B count the events of the stream, from 0
    #[arg(long, requires = "third")]
    pub(crate) revision: bool,
    /// Show long values whole
    #[arg(long)]
    pub(crate) full: bool,
}

/// What is compared.
pub(crate) enum Sides<'a> {
    /// Two points of a run.
    Points(&'a str, [Point; 2]),
    /// Two runs.
    Runs(&'a str, &'a str),
}

impl DiffArgs {
    pub(crate) fn sides(&self) -> Result<Sides<'_>, Report> {
        let Some(third) = &self.third else {
            return Ok(Sides::Runs(&self.stream, &self.second));
        };
        let point = |text: &str| {
            let number = parse_whole::<u64>(text);
            let number = number.map_err(|why| Report::usage(format!("{text}: {why}")))?;
            Ok::<_, Report>(if self.revision {
                Point::Revision(number)
            } else {
                Point::Position(Position::new(number))
            })
        };
        Ok(Sides::Points(
            &self.stream,
            [point(&self.second)?, point(third)?],
        ))
    }
}
