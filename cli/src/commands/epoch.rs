//! `epoch` and `restore`: a copy becomes the log.

use crate::args::{EpochCommand, EpochStartArgs};
use crate::error::{Exit, Failure};
use crate::files;
use crate::output::count;
use crate::session::{Access, Session};
use runstone::codec::Position;
use runstone::receipt::MAX_FILE_LEN;
use runstone::{EpochStart, Log};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;

#[derive(Serialize)]
struct Started {
    epoch: u64,
    origin: String,
    vkey: String,
    position: Position,
    known_size: Option<u64>,
}

#[derive(Serialize)]
struct Restored<'a> {
    log: &'a Path,
    from: &'a Path,
}

pub(crate) fn run(session: &Session, command: &EpochCommand) -> Result<Exit, Failure> {
    match command {
        EpochCommand::Start(args) => start(session, args),
    }
}

fn start(session: &Session, args: &EpochStartArgs) -> Result<Exit, Failure> {
    let known = args.known.as_deref();
    let known = known
        .map(|file| files::read_text(file, MAX_FILE_LEN))
        .transpose()?;
    let mut start = EpochStart::default();
    start.known = known;
    start.origin.clone_from(&args.origin);
    start.accept_loss = args.accept_loss;
    let started = session
        .patiently(|| Log::start_epoch(&session.log, &start, session.options(Access::Write)))?;
    let vkey = started.log.info().vkey.to_string();
    started.log.close_blocking()?;
    let answer = Started {
        epoch: started.epoch,
        origin: started.origin,
        vkey,
        position: started.position,
        known_size: started.known_size,
    };
    let output = &session.output;
    output.answer(&answer, || {
        let (epoch, position) = (answer.epoch, answer.position);
        let mut text =
            format!("epoch {epoch} begins at position {position}; the log can be written");
        // Writing to a string cannot fail.
        if let Some(size) = answer.known_size {
            let _ = write!(text, "\n{} events are known of the one before", count(size));
        }
        let (origin, vkey) = (&answer.origin, &answer.vkey);
        let _ = write!(text, "\norigin  {origin}\nvkey    {vkey}");
        text
    })?;
    output.note("give auditors what runstone policy prints; never write the former log again");
    Ok(Exit::Done)
}

pub(crate) fn restore(session: &Session, backup: &Path) -> Result<Exit, Failure> {
    let log = &session.log;
    session.patiently(|| Log::restore(backup, log))?;
    let output = &session.output;
    output.answer(&Restored { log, from: backup }, || {
        format!(
            "{} is a replica: it can be read and verified",
            log.display()
        )
    })?;
    note_replica(session);
    Ok(Exit::Done)
}

/// What a replica still lacks.
pub(super) fn note_replica(session: &Session) {
    let (output, keys) = (&session.output, session.keys_path());
    if !keys.exists() {
        let keys = keys.display();
        output.note(&format!(
            "{keys} is missing: runstone keys restore FILE brings its keys back"
        ));
    }
    output.note("runstone epoch start makes it writable, if the former log is lost for good");
}
