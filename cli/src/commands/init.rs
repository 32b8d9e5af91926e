//! `init`: a new log and its keys.

use super::{config, keys};
use crate::args::{InitArgs, Kek};
use crate::error::{Exit, Failure, Report};
use crate::files;
use crate::session::{Access, Session, secret_source};
use runstone::codec::Authority;
use runstone::store::keys::{DEFAULT_COMMAND_LIMIT, ProviderConfig};
use runstone::{CreateOptions, Log, Sealing};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

#[derive(Serialize)]
struct Answer {
    log: PathBuf,
    origin: String,
    vkey: String,
}

pub(crate) fn run(session: &Session, args: InitArgs) -> Result<Exit, Failure> {
    // Whatever can be refused is refused before anything is made.
    let settings = args.config.as_deref().map(config::read).transpose()?;
    let credential = args
        .human
        .as_deref()
        .map(|name| credential_path(session, name))
        .transpose()?;
    let mut create = CreateOptions::default();
    create.origin = args.origin;
    create.fields = args.fields;
    create.keys = Some(session.keys_path());
    create.provider = match &args.kek {
        Kek::Keyring => ProviderConfig::File,
        Kek::Env(variable) => ProviderConfig::Env {
            variable: variable.clone(),
            source: secret_source(),
        },
        Kek::Command(command) => ProviderConfig::Command {
            argv: command.0.clone(),
            limit: DEFAULT_COMMAND_LIMIT,
        },
    };
    if args.plain {
        create.sealing = Sealing::Plain;
    }
    let log = Log::create(&session.log, &create, session.options(Access::Write))?;
    let info = log.info();
    if let (Some(name), Some(file)) = (&args.human, &credential) {
        keys::enrol(&log, name, Authority::Human, file)?;
    }
    if let Some(settings) = settings {
        settings.record(&log)?;
    }
    log.close_blocking()?;
    let answer = Answer {
        log: session.log.clone(),
        origin: info.origin,
        vkey: info.vkey.to_string(),
    };
    let output = &session.output;
    output.answer(&answer, || {
        let keys = session.keys_path();
        let mut text = format!(
            "made {}, with its keys in {}",
            answer.log.display(),
            keys.display()
        );
        // Writing to a string cannot fail.
        if let (Some(name), Some(file)) = (&args.human, &credential) {
            let file = file.display();
            let _ = write!(
                text,
                "\n{name} is enrolled as human; the credential is {file}"
            );
        }
        let _ = write!(text, "\norigin  {}\nvkey    {}", answer.origin, answer.vkey);
        text
    })?;
    match &args.kek {
        Kek::Keyring => {}
        Kek::Env(variable) => output.note(&format!(
            "the key-encryption key stays in {variable} alone: without it the log cannot be opened"
        )),
        Kek::Command(_) => output.note(
            "the key-encryption key stays with the command: without it the log cannot be opened",
        ),
    }
    if args.plain {
        output.note("payloads are not encrypted, and digests of keys can be guessed");
    } else {
        output
            .note("without its keys the log cannot be read: runstone keys backup FILE copies them");
    }
    Ok(Exit::Done)
}

/// The credential stands beside the log.
fn credential_path(session: &Session, name: &str) -> Result<PathBuf, Failure> {
    let is_file_name = Path::new(name).file_name().is_some_and(|file| file == name);
    if !is_file_name || name.starts_with('.') || name.chars().any(char::is_control) {
        return Err(
            Report::usage(format!("`{name}` cannot be the name of a credential file"))
                .hint("take a word, as in --human ada")
                .into(),
        );
    }
    let file = session.log.with_file_name(format!("{name}.cred"));
    files::refuse_existing(&file)?;
    Ok(file)
}
