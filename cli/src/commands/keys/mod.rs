//! `keys`: what keys there are, and who may act.

mod rotate;

use crate::args::{KeysCommand, PrincipalCommand};
use crate::error::{Exit, Failure, Report};
use crate::files;
use crate::output::{Align, Output, Table, Tone, count, now, relative, rfc3339};
use crate::session::{Access, Session};
use runstone::codec::{Authority, OsEntropy, Position};
use runstone::store::keys::{Credential, KeyInfo, KeyStore};
use runstone::{AppendError, Log, SigningKey, SigningState};
use serde::Serialize;
use std::path::Path;

pub(crate) fn run(session: &Session, command: &KeysCommand) -> Result<Exit, Failure> {
    match command {
        KeysCommand::List => list(session),
        KeysCommand::Backup { file } => backup(session, file),
        KeysCommand::Restore { file } => restore(session, file),
        KeysCommand::Rotate => rotate::kek(session),
        KeysCommand::RotateSigning { end: false } => rotate::signing(session),
        KeysCommand::RotateSigning { end: true } => rotate::end_overlap(session),
        KeysCommand::Principal(PrincipalCommand::Add {
            name,
            authority,
            output,
        }) => add(session, name, *authority, output),
    }
}

/// A key without its secret.
#[derive(Serialize)]
struct Line {
    key_id: String,
    kind: &'static str,
    scope: String,
    generation: u32,
    kek_id: String,
    created: Option<String>,
    messages: u64,
    state: &'static str,
}

impl Line {
    fn of(key: &KeyInfo) -> Self {
        Self {
            key_id: key.key_id.to_string(),
            kind: key.kind.as_str(),
            scope: key.scope.clone(),
            generation: key.generation,
            kek_id: key.kek_id.clone(),
            created: rfc3339(key.created_us),
            messages: key.messages,
            state: key.state.as_str(),
        }
    }
}

/// A key that signs checkpoints, or did.
#[derive(Serialize)]
struct SigningLine {
    key_id: String,
    kind: &'static str,
    state: &'static str,
    /// Position of the event that says so.
    recorded: Option<Position>,
    vkey: String,
}

impl SigningLine {
    fn of(key: &SigningKey) -> Self {
        let [a, b, c, d] = key.vkey.key_id();
        Self {
            key_id: format!("{a:02x}{b:02x}{c:02x}{d:02x}"),
            kind: "signing",
            state: key.state.as_str(),
            recorded: key.recorded,
            vkey: key.vkey.to_string(),
        }
    }
}

#[derive(Serialize)]
struct Written<'a> {
    file: &'a Path,
}

#[derive(Serialize)]
struct Restored<'a> {
    keys: &'a Path,
}

#[derive(Serialize)]
struct Enrolled<'a> {
    id: &'a str,
    authority: &'a str,
    credential: &'a Path,
    position: Position,
}

fn list(session: &Session) -> Result<Exit, Failure> {
    let output = &session.output;
    let look = |log: &Log| Ok((log.keys()?, log.signing_keys()?));
    let (keys, signing) = session.with(Access::Events, look)?;
    if output.json {
        let mut results = Output::results();
        for key in &keys {
            results.json(&Line::of(key))?;
        }
        for key in &signing {
            results.json(&SigningLine::of(key))?;
        }
        results.flush()?;
        return Ok(Exit::Done);
    }
    let columns = [
        ("kind", Align::Left),
        ("scope", Align::Left),
        ("generation", Align::Right),
        ("state", Align::Left),
        ("created", Align::Left),
        ("messages", Align::Right),
        ("wrapped by", Align::Left),
        ("key", Align::Left),
    ];
    let mut table = Table::new(output, &columns);
    let now = now();
    for key in &keys {
        let line = Line::of(key);
        let created = if output.terminal {
            relative(key.created_us, now)
        } else {
            line.created.unwrap_or_default()
        };
        let cells = [
            line.kind.to_owned(),
            line.scope,
            line.generation.to_string(),
            line.state.to_owned(),
            created,
            count(line.messages),
            line.kek_id,
            line.key_id,
        ];
        table.row(cells.into_iter().map(|cell| (cell, Tone::Plain)).collect());
    }
    let (table, signing) = (table.text(), signing_table(output, &signing));
    Output::text(&format!("{table}\n\n{signing}\n"))?;
    Ok(Exit::Done)
}

fn signing_table(output: &Output, keys: &[SigningKey]) -> String {
    let columns = [
        ("kind", Align::Left),
        ("state", Align::Left),
        ("recorded", Align::Right),
        ("key", Align::Left),
        ("vkey", Align::Left),
    ];
    let mut table = Table::new(output, &columns);
    for key in keys {
        let line = SigningLine::of(key);
        let tone = match key.state {
            SigningState::Overlap => Tone::Warn,
            SigningState::Retired => Tone::Dim,
            _ => Tone::Plain,
        };
        let recorded = line.recorded.map(|position| position.to_string());
        let cells = [
            line.kind.to_owned(),
            line.state.to_owned(),
            recorded.unwrap_or_else(|| "-".to_owned()),
            line.key_id,
            line.vkey,
        ];
        table.row(cells.into_iter().map(|cell| (cell, tone)).collect());
    }
    table.text()
}

fn backup(session: &Session, file: &Path) -> Result<Exit, Failure> {
    files::refuse_existing(file)?;
    // Whoever holds the log has a folder of its own.
    let path = std::path::absolute(file).map_err(|error| Report::file(file, &error))?;
    session.with(Access::Events, |log| Ok(log.backup_keys(&path)?))?;
    let output = &session.output;
    output.answer(&Written { file }, || {
        format!("the keys are in {}", file.display())
    })?;
    output.note("whoever has this file and a copy of the log reads and signs everything");
    Ok(Exit::Done)
}

fn restore(session: &Session, file: &Path) -> Result<Exit, Failure> {
    let keys = session.keys_path();
    // What cannot be looked at is no trouble of the key folder.
    std::fs::metadata(file).map_err(|error| Report::file(file, &error))?;
    KeyStore::restore(file, &keys)?;
    let output = &session.output;
    output.answer(&Restored { keys: &keys }, || {
        format!("the keys are in {}", keys.display())
    })?;
    output.note("keys of what was erased since are dropped again when the log is opened");
    Ok(Exit::Done)
}

fn add(session: &Session, name: &str, authority: Authority, file: &Path) -> Result<Exit, Failure> {
    let position = session.with(Access::Write, |log| enrol(log, name, authority, file))?;
    let answer = Enrolled {
        id: name,
        authority: authority.as_str(),
        credential: file,
        position,
    };
    session.output.answer(&answer, || {
        format!(
            "{name} is enrolled as {authority}; the credential is {}",
            file.display()
        )
    })?;
    Ok(Exit::Done)
}

/// Writes a credential and enrols it. A credential that nobody enrolled is not left behind.
pub(super) fn enrol(
    log: &Log,
    name: &str,
    authority: Authority,
    file: &Path,
) -> Result<Position, Failure> {
    let credential = Credential::create(file, name, authority, &OsEntropy)?;
    match log.enrol(credential.id(), authority, &credential.public_key()) {
        Ok(position) => Ok(position),
        Err(error) => {
            let error = Failure::from(match error {
                AppendError::ConditionFailed { position } => Report::new(
                    Exit::Conflict,
                    "principal_exists",
                    format!("somebody is enrolled as `{name}` already, at position {position}"),
                ),
                other => other.into(),
            });
            // The error says why it is of no use; if it cannot be removed, it still is of none.
            let _ = std::fs::remove_file(file);
            Err(error)
        }
    }
}
