//! `completions` and `man`: what the command says about itself.

use super::reference;
use crate::args::{Cli, CompletionsArgs, ManArgs};
use crate::error::{Exit, Failure, Report};
use crate::output::Output;
use crate::session::Session;
use clap::CommandFactory as _;
use serde::Serialize;
use std::path::Path;

#[derive(Serialize)]
struct Pages<'a> {
    folder: &'a Path,
}

pub(crate) fn completions(args: &CompletionsArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "runstone", &mut script);
    Output::text(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

pub(crate) fn man(session: &Session, args: &ManArgs) -> Result<Exit, Failure> {
    if args.markdown {
        Output::text(&reference::markdown(Cli::command()))?;
        return Ok(Exit::Done);
    }
    let Some(folder) = &args.output else {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command())
            .render(&mut page)
            .map_err(|error| Report::new(Exit::Storage, "storage_io", error.to_string()))?;
        Output::text(&String::from_utf8_lossy(&page))?;
        return Ok(Exit::Done);
    };
    let failed = |error| Report::file(folder, &error);
    std::fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), folder).map_err(failed)?;
    session.output.answer(&Pages { folder }, || {
        format!("the pages are in {}", folder.display())
    })?;
    Ok(Exit::Done)
}
