//! Runstone beside other durable stores.
//!
//! ```text
//!  for each workload: round 1: a b c ...   round 2: b c ... a   round 3: c ... a b   --> medians, ratios
//! ```
//!
//! Every contender runs in this process, on the same disk, with the same events, and answers after
//! the disk has them. Rounds are interleaved, so that what else happens on the machine meets all.

mod args;
mod bench;
mod contender;
mod count;
mod event;
mod growth;
mod recordings;
mod report;
mod sample;
mod workload;

use anyhow::{Context as _, Result};
use args::{Args, Command};
use bench::{Bench, Sizes, Told};
use clap::Parser as _;
use contender::Contender;
use recordings::Recordings;
use report::{Machine, Report, Row};
use sample::Summary;
use std::fs::File;
use std::io::{Write as _, stderr};
use workload::{Place, Workload};

fn main() -> Result<()> {
    let args = Args::parse();
    match &args.command {
        Some(Command::Load {
            contender,
            folder,
            events,
        }) => {
            bench::load(args::contender(contender)?, folder, *events)?;
            die();
        }
        Some(Command::Follow { folder }) => return contender::follow(folder),
        Some(Command::Growth(growth)) => return growth.run(&mut own_stdout()?),
        Some(Command::Phase(phase)) => {
            tell(|| phase.run(args::contender(&phase.contender)?))?;
            die();
        }
        Some(Command::Streams {
            contender,
            folder,
            streams,
        }) => {
            tell(|| workload::fill_streams(args::contender(contender)?, folder, *streams))?;
            die();
        }
        Some(Command::Counts {
            update,
            only,
            tolerance,
        }) => return count::run(only, *tolerance, *update),
        Some(Command::Counted {
            path,
            rounds,
            folder,
        }) => {
            count::counted(path, *rounds, folder)?;
            die();
        }
        None => {}
    }
    let mut out = own_stdout()?;
    let sizes = if args.quick {
        Sizes::QUICK
    } else {
        Sizes::FULL
    };
    let recordings = Recordings::new(&args.data).ok();
    let bench = Bench::new(sizes, recordings, args.folder.as_deref(), args.keep.clone())?;
    let mut rows = Vec::new();
    for workload in args.workloads() {
        rows.append(&mut run(&bench, &args, workload)?);
    }
    let machine = Machine::of(bench.disk_path(), args.rounds(), args.quick);
    let report = Report { machine, rows };
    writeln!(out, "{}\n", report::machine_text(&report.machine))?;
    writeln!(out, "{}", report::table(&report))?;
    if let Some(latencies) = report::latencies(&report) {
        writeln!(out, "\n{latencies}")?;
    }
    if let Some(path) = &args.json {
        report::write_json(&report, path)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// All rounds of one workload, interleaved over the contenders. One that fails has no row.
fn run(bench: &Bench, args: &Args, workload: &'static Workload) -> Result<Vec<Row>> {
    let mut contenders = args.contenders();
    contenders.retain(|contender| contender.can(workload.need));
    let missing = match workload.place {
        Place::Tmpfs if !bench.has_tmpfs() => Some("no tmpfs with room"),
        Place::Recordings if bench.recordings.is_none() => Some("no recordings"),
        _ => None,
    };
    if let Some(missing) = missing {
        writeln!(stderr(), "{}: left out, {missing}", workload.name)?;
        return Ok(Vec::new());
    }
    let mut samples = vec![Some(Vec::new()); contenders.len()];
    for round in 0..args.rounds() as usize {
        for turn in 0..contenders.len() {
            let at = (round + turn) % contenders.len();
            let (Some(contender), Some(slot)) = (contenders.get(at), samples.get_mut(at)) else {
                continue;
            };
            let Some(samples) = slot else {
                continue;
            };
            match (workload.round)(bench, workload, contender) {
                Ok(sample) => {
                    progress(workload, contender, round, sample.value)?;
                    samples.push(sample);
                }
                Err(error) => {
                    let (name, contender) = (workload.name, contender.name);
                    writeln!(stderr(), "{name} {contender}: left out, {error:#}")?;
                    *slot = None;
                }
            }
        }
    }
    let rows = contenders.into_iter().zip(samples);
    let rows = rows.filter_map(|(contender, samples)| {
        Some(Row {
            workload,
            contender,
            summary: Summary::of(&samples?),
        })
    });
    Ok(rows.collect())
}

fn progress(workload: &Workload, contender: &Contender, round: usize, value: f64) -> Result<()> {
    let (name, contender, unit) = (workload.name, contender.name, workload.unit.as_str());
    let round = round + 1;
    writeln!(
        stderr(),
        "{name} round {round} {contender}: {value:.3} {unit}"
    )?;
    Ok(())
}

/// Prints numbers for the process that started this one.
fn tell(find: impl FnOnce() -> Result<Told>) -> Result<()> {
    let mut out = own_stdout()?;
    serde_json::to_writer(&mut out, &find()?)?;
    Ok(())
}

/// Keeps standard output for the table: some contenders write to it.
fn own_stdout() -> Result<File> {
    let own = rustix::io::dup(rustix::stdio::stdout())?;
    rustix::stdio::dup2_stdout(File::create("/dev/null")?)?;
    Ok(own.into())
}

/// Ends as a crash does: nothing is closed, flushed or dropped.
#[expect(clippy::exit, reason = "the store must not be closed")]
fn die() -> ! {
    std::process::exit(0)
}
