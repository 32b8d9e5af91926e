//! What was asked.

use crate::contender::{CONTENDERS, Contender};
use crate::count::PATHS;
use crate::growth::{Growth, Phase};
use crate::recordings::DEFAULT_FOLDER;
use crate::workload::{WORKLOADS, Workload};
use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Runstone beside other durable stores: every contender in one process and one run, rounds
/// interleaved.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    /// Only these workloads.
    #[arg(long, num_args = 1.., value_name = "W", value_parser = workload_names())]
    workload: Vec<String>,
    /// Only these contenders.
    #[arg(long, num_args = 1.., value_name = "C", value_parser = contender_names())]
    contender: Vec<String>,
    /// Rounds of each workload and contender [default: 5, or 2 with --quick].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Smaller sizes and shorter rounds.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Writes the table as JSON, too.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Folder of recordings, for real payloads.
    #[arg(long, value_name = "FOLDER", default_value = DEFAULT_FOLDER)]
    pub(crate) data: PathBuf,
    /// Folder on the disk that is measured [default: the system's folder for temporary files].
    #[arg(long, value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
    /// Folder in which the logs of `state-at-*` are kept, and found again by the next run.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) keep: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fills a store and ends like a crash; a run starts this itself.
    #[command(hide = true)]
    Load {
        contender: String,
        folder: PathBuf,
        events: u64,
    },
    Growth(Growth),
    /// One phase of a growing log; `growth` starts this itself.
    #[command(hide = true)]
    Phase(Phase),
    /// Fills many streams; a run starts this itself.
    #[command(hide = true)]
    Streams {
        contender: String,
        folder: PathBuf,
        streams: u64,
    },
    /// Follows a log that another process holds; a run starts this itself.
    #[command(hide = true)]
    Follow {
        folder: PathBuf,
    },
    /// Instructions of hot paths, beside those of the committed table.
    Counts {
        /// Writes the table.
        #[arg(long)]
        update: bool,
        /// Only these paths.
        #[arg(long, num_args = 1.., value_name = "NAME", value_parser = path_names())]
        only: Vec<String>,
        /// A path that takes more instructions than this much more is an error.
        #[arg(long, value_name = "PERCENT", default_value_t = 0.5)]
        tolerance: f64,
    },
    /// Does a path so many times; `counts` starts this itself.
    #[command(hide = true)]
    Counted {
        path: String,
        rounds: u64,
        folder: PathBuf,
    },
}

fn workload_names() -> clap::builder::PossibleValuesParser {
    WORKLOADS.map(|workload| workload.name).into()
}

fn path_names() -> clap::builder::PossibleValuesParser {
    PATHS.map(|path| path.name).into()
}

pub(crate) fn contender_names() -> clap::builder::PossibleValuesParser {
    let names = CONTENDERS.iter().map(|contender| contender.name);
    names.collect::<Vec<_>>().into()
}

impl Args {
    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 2 } else { 5 })
    }

    pub(crate) fn workloads(&self) -> impl Iterator<Item = &'static Workload> {
        let asked =
            |name: &str| self.workload.is_empty() || self.workload.iter().any(|w| w == name);
        WORKLOADS
            .iter()
            .filter(move |workload| asked(workload.name))
    }

    pub(crate) fn contenders(&self) -> Vec<&'static Contender> {
        let asked =
            |name: &str| self.contender.is_empty() || self.contender.iter().any(|c| c == name);
        CONTENDERS
            .iter()
            .filter(|contender| asked(contender.name))
            .collect()
    }
}

/// The contender with this name.
pub(crate) fn contender(name: &str) -> Result<&'static Contender> {
    let mut all = CONTENDERS.iter();
    let found = all.find(|contender| contender.name == name);
    found.with_context(|| format!("no contender is called {name}"))
}
