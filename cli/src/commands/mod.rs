//! One file a command.

mod agent;
mod append;
mod approval;
mod budget;
mod checkpoint;
mod config;
mod confirm;
mod costs;
mod demo;
mod diff;
mod doctor;
mod effect;
mod epoch;
mod erase;
mod evidence;
mod export;
mod folds;
mod fork;
mod hold;
mod import;
mod init;
mod keys;
mod latency;
mod log;
mod message;
mod meta;
mod orphans;
mod otlp;
mod receipt;
mod reference;
mod replay;
mod rollback;
mod run;
mod runs;
mod schema;
mod serve;
mod show;
mod sink;
mod state;
mod stats;
mod storage;
mod sweep;
mod task;
mod tray;
mod verdict;
mod verify;

#[cfg(fuzzing)]
pub(crate) use append::fuzzing;

use crate::args::{Cli, Command};
use crate::error::{Exit, Failure};
use crate::output::Output;
use crate::session::Session;

/// Does what was asked.
pub(crate) fn run(cli: Cli, output: &Output) -> Result<Exit, Failure> {
    let session = Session::new(cli.global, output.clone());
    match cli.command {
        Command::Demo(args) => demo::run(&session, &args),
        Command::Init(args) => init::run(&session, args),
        Command::Config(command) => config::run(&session, &command),
        Command::Append(args) => append::run(&session, args),
        Command::Import(args) => import::run(&session, &args),
        Command::Log(args) => log::run(&session, &args),
        Command::Show(args) => show::run(&session, &args),
        Command::Runs(args) if args.costs => costs::run(&session, args.by),
        Command::Runs(args) if args.latency => latency::run(&session, args.by),
        Command::Runs(args) => runs::list(&session, &args),
        Command::Run(args) => run::run(&session, &args),
        Command::State(args) => state::run(&session, &args),
        Command::Diff(args) => diff::run(&session, &args),
        Command::Fork(args) => fork::run(&session, args),
        Command::Rollback(args) => rollback::run(&session, args),
        Command::Replay(args) => replay::run(&session, &args),
        Command::Orphans => orphans::run(&session),
        Command::Effect(command) => effect::run(&session, command),
        Command::Approval(command) => approval::run(&session, command),
        Command::Agent(command) => agent::run(&session, command),
        Command::Message(command) => message::run(&session, command),
        Command::Task(command) => task::run(&session, &command),
        Command::Budget(command) => budget::run(&session, command),
        Command::Sweep => sweep::run(&session),
        Command::Tray(command) => tray::run(&session, &command),
        Command::Sink(command) => sink::run(&session, command),
        Command::Verify(args) => verify::run(&session, &args),
        Command::Receipt(args) => receipt::run(&session, &args),
        Command::Checkpoint(args) => checkpoint::checkpoint(&session, &args),
        Command::Consistency(args) => checkpoint::consistency(&session, &args),
        Command::Policy => checkpoint::policy(&session),
        Command::Erase(args) => erase::run(&session, &args),
        Command::Hold(args) => hold::run(&session, &args),
        Command::Evidence(args) => evidence::run(&session, &args),
        Command::Rebuild(args) => folds::rebuild(&session, &args),
        Command::Folds => folds::list(&session),
        Command::Backup { file } => storage::backup(&session, &file),
        Command::Restore { file } => epoch::restore(&session, &file),
        Command::Export(args) => export::export(&session, &args),
        Command::Load { file } => export::load(&session, &file),
        Command::Epoch(command) => epoch::run(&session, &command),
        Command::Compact => storage::compact(&session),
        Command::Serve => serve::serve(&session),
        Command::Attach => serve::show(&session),
        Command::Stats => stats::run(&session),
        Command::Doctor => doctor::run(&session),
        Command::Keys(command) => keys::run(&session, &command),
        Command::Clock(command) => storage::clock(&session, &command),
        Command::Schema(args) => schema::run(&session, &args),
        Command::Completions(args) => meta::completions(&args),
        Command::Man(args) => meta::man(&session, &args),
    }
}
