//! `show`: one event, whole.

use crate::args::{ShowArgs, Which};
use crate::error::{Exit, Failure};
use crate::output::{Output, whole_record, write_record};
use crate::session::{Access, Session};
use runstone::codec::Position;

pub(crate) fn run(session: &Session, args: &ShowArgs) -> Result<Exit, Failure> {
    let record = session.with(Access::Events, |log| {
        Ok(match args.which {
            Which::Position(position) => log.record(Position::new(position))?,
            Which::Id(id) => log.record_by_id(id)?,
        })
    })?;
    let mut results = Output::results();
    if session.output.json {
        let mut line = Vec::new();
        write_record(&record, &mut line);
        results.raw(&line)?;
    } else {
        results.line(&whole_record(&session.output, &record))?;
    }
    results.flush()?;
    Ok(Exit::Done)
}
