//! `config`: settings, which are recorded as events.

use crate::args::ConfigCommand;
use crate::error::{Exit, Failure, Report};
use crate::files;
use crate::output::{Output, hex};
use crate::session::{Access, Session};
use runstone::codec::Position;
use runstone::projections::settings::Settings;
use serde::Serialize;
use std::path::Path;

/// Most bytes of a settings file that are read; the settings' own bound is smaller.
const MAX_BYTES: usize = 1 << 20;

pub(crate) fn run(session: &Session, command: &ConfigCommand) -> Result<Exit, Failure> {
    match command {
        ConfigCommand::Show => show(session),
        ConfigCommand::Set { file } => set(session, file),
        ConfigCommand::Template { minimal } => {
            Output::text(&Settings::default().to_toml_template(*minimal))?;
            Ok(Exit::Done)
        }
    }
}

#[derive(Serialize)]
struct InForce {
    position: Option<Position>,
    sha256: String,
    settings: Settings,
}

#[derive(Serialize)]
struct Recorded {
    position: Position,
    sha256: String,
}

fn show(session: &Session) -> Result<Exit, Failure> {
    let found = session.with(Access::Events, |log| Ok(Settings::in_force(log)?))?;
    let answer = InForce {
        position: found.position,
        sha256: hex(&found.sha256),
        settings: found.settings,
    };
    match answer.position {
        Some(position) => session
            .output
            .note(&format!("recorded at position {position}")),
        None => session
            .output
            .note("none are recorded: these are the defaults"),
    }
    session
        .output
        .answer(&answer, || answer.settings.to_toml_template(true))?;
    Ok(Exit::Done)
}

fn set(session: &Session, file: &Path) -> Result<Exit, Failure> {
    let settings = read(file)?;
    let sha256 = hex(&settings.sha256()?);
    let position = session.with(Access::Write, |log| Ok(settings.record(log)?))?;
    session.output.answer(&Recorded { position, sha256 }, || {
        format!("recorded at position {position}; they hold from now on")
    })?;
    Ok(Exit::Done)
}

/// Settings from a file, or from stdin if that is called -.
pub(super) fn read(file: &Path) -> Result<Settings, Failure> {
    let text = files::read_text(file, MAX_BYTES)?;
    Ok(Settings::from_toml(&text).map_err(|error| {
        let mut report = Report::from(error);
        report.message = format!("{}: {}", file.display(), report.message);
        report
    })?)
}
