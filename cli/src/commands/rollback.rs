//! `rollback`: session and steps of a run as they stood at a point.

use crate::args::{RollbackArgs, point};
use crate::error::{Exit, Failure};
use crate::output::printable;
use crate::session::{Access, Session};
use runstone::codec::Position;
use runstone::replay::{Point, RollBack, roll_back_blocking};
use serde::Serialize;

#[derive(Serialize)]
struct Answer<'a> {
    stream: &'a str,
    to: Position,
    position: Position,
}

pub(crate) fn run(session: &Session, args: RollbackArgs) -> Result<Exit, Failure> {
    session.with(Access::Write, |log| {
        let meant = point(args.to, args.revision).unwrap_or(Point::Newest);
        let to = meant.find(log, &args.stream)?.unwrap_or(Position::new(0));
        let mut back = RollBack::new(args.stream, to);
        back.fence = args.fence.map(Position::new);
        back.reason = args.reason;
        let position = roll_back_blocking(log, &back)?;
        let stream = back.stream.as_str();
        let answer = Answer {
            stream,
            to,
            position,
        };
        session.output.answer(&answer, || {
            let stream = printable(stream);
            format!("{stream} is as it stood after position {to}, from position {position} on\n")
        })?;
        Ok(Exit::Done)
    })
}
