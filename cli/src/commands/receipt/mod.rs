//! `receipt`: proofs that events stand in the log.

mod issue;
mod verify;

pub(super) use issue::Certificate;

use crate::args::{ReceiptArgs, ReceiptCommand};
use crate::error::{Exit, Failure, Report};
use crate::session::Session;

pub(crate) fn run(session: &Session, args: &ReceiptArgs) -> Result<Exit, Failure> {
    match &args.command {
        Some(_) if args.is_issuing() => {
            Err(Report::usage("what is to be issued is not said to verify").into())
        }
        Some(ReceiptCommand::Verify(args)) => verify::run(&session.output, args),
        None => issue::run(session, args),
    }
}
