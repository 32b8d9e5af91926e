//! What a log costs as it grows.
//!
//! ```text
//!  10,000 --fill--> 100,000 --fill--> 1,000,000 --fill--> 10,000,000    one log, one contender after the other
//!     |                |                  |                   |
//!     '-- at each: open after the crash, open, read, append, fold again, verify, open cold
//! ```
//!
//! Every phase is a process of its own. Rounds of appends go to the log and to a copy of the smallest
//! one in turn, so that what else happens on the machine meets both.

mod measure;
mod phase;
mod plot;
mod table;

pub(crate) use phase::Phase;

use crate::args;
use crate::bench::{bytes_on_disk, child, copy};
use crate::contender::{Contender, Need};
use crate::report::{Machine, machine_text};
use anyhow::{Context as _, Result, ensure};
use measure::{APPEND, APPEND_RATIO, BULK, BULK_RATIO, BYTES, Grown, MEASURES, Step};
use phase::{ROUND_EVENTS, What};
use std::fs::File;
use std::io::{Write as _, stderr};
use std::path::{Path, PathBuf};
use std::time::Instant;

const USUAL: [&str; 3] = ["runstone", "umadb", "sqlite"];
/// The first size.
const SMALLEST: u64 = 10_000;
/// Logs up to here are copied for a round of appends. Larger ones grow by what that adds, which is
/// little to them.
const MOST_COPIED: u64 = 2_000_000;
/// What the largest files come to for each event, with a copy of a smaller log beside them.
const DISK_BYTES_PER_EVENT: u64 = 2500;

/// What a log costs as it grows: fills one step by step, and measures at each power of ten.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Growth {
    /// Events of the largest log.
    #[arg(long, value_name = "EVENTS", default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(SMALLEST..))]
    to: u64,
    /// Only these contenders [default: runstone umadb sqlite].
    #[arg(long, num_args = 1.., value_name = "C", value_parser = args::contender_names())]
    contender: Vec<String>,
    /// Rounds of appends at each size.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Writes the numbers as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draws costs relative to those of the smallest log.
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Folder on the disk that is measured [default: the system's folder for temporary files].
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

impl Growth {
    /// The table goes to `out`, progress to standard error.
    pub(crate) fn run(&self, out: &mut File) -> Result<()> {
        let folder = self.folder.clone().unwrap_or_else(std::env::temp_dir);
        let needed = self.to.saturating_mul(DISK_BYTES_PER_EVENT);
        let room = rustix::fs::statvfs(&folder)?;
        let room = room.f_bavail.saturating_mul(room.f_frsize);
        ensure!(
            room > needed,
            "{} has {room} bytes free, {needed} are needed",
            folder.display()
        );
        let mut grown = Vec::new();
        for contender in self.contenders()? {
            let name = contender.name;
            ensure!(contender.can(Need::Place), "{name} finds no single events");
            grown.push(self.grow(contender, &folder)?);
        }
        let machine = Machine::of(&folder, self.rounds, false);
        writeln!(out, "{}\n", machine_text(&machine))?;
        writeln!(out, "{}", table::table(&grown))?;
        if let Some(path) = &self.json {
            table::write_json(&machine, &grown, path)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        if let Some(path) = &self.plot {
            std::fs::write(path, plot::svg(&grown))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// Those that were named, or of the usual ones those that are built in.
    fn contenders(&self) -> Result<Vec<&'static Contender>> {
        if self.contender.is_empty() {
            let usual = USUAL.iter().filter_map(|name| args::contender(name).ok());
            return Ok(usual.collect());
        }
        let named = self.contender.iter().map(|name| args::contender(name));
        named.collect()
    }

    /// The powers of ten, and the largest.
    fn sizes(&self) -> Vec<u64> {
        let powers = std::iter::successors(Some(SMALLEST), |size| size.checked_mul(10));
        let mut sizes: Vec<_> = powers.take_while(|size| *size < self.to).collect();
        sizes.push(self.to);
        sizes
    }

    fn grow(&self, contender: &'static Contender, folder: &Path) -> Result<Grown> {
        let folder = tempfile::Builder::new()
            .prefix("runstone-growth-")
            .tempdir_in(folder)?;
        let mut log = Growing {
            contender,
            folder: folder.path().join("log"),
            smallest: folder.path().join("smallest"),
            copied: folder.path().join("copied"),
            events: 0,
        };
        std::fs::create_dir(&log.folder)?;
        let sizes = self.sizes().into_iter();
        let steps = sizes.map(|size| log.step(size, self.rounds));
        Ok(Grown {
            contender: contender.name,
            steps: steps.collect::<Result<_>>()?,
        })
    }
}

/// A log that grows.
struct Growing {
    contender: &'static Contender,
    folder: PathBuf,
    /// The closed log as it was at the first size.
    smallest: PathBuf,
    /// A place for a copy.
    copied: PathBuf,
    events: u64,
}

impl Growing {
    fn step(&mut self, size: u64, rounds: u32) -> Result<Step> {
        let begun = Instant::now();
        let mut step = Step {
            events: size,
            ..Step::default()
        };
        // What rounds of appends added may be more than is asked for.
        let size = size.max(self.events + 1);
        self.phase(What::Fill, &self.folder, size, &mut step)?;
        self.events = size;
        self.phase(What::OpenCrashed, &self.folder, size, &mut step)?;
        if !self.smallest.exists() {
            copy(&self.folder, &self.smallest)?;
        }
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        step.add(BYTES, bytes_on_disk(&self.folder)? as f64 / size as f64);
        self.phase(What::Read, &self.folder, size, &mut step)?;
        self.appends(rounds, &mut step)?;
        if self.contender.can(Need::Receipt) {
            self.phase(What::Refold, &self.folder, self.events, &mut step)?;
            self.phase(What::Verify, &self.folder, self.events, &mut step)?;
        }
        self.phase(What::OpenCold, &self.folder, self.events, &mut step)?;
        let (name, seconds) = (self.contender.name, begun.elapsed().as_secs());
        writeln!(stderr(), "{name}: {size} events, {seconds} s in all")?;
        Ok(step)
    }

    /// Rounds of appends, each to the log and to the smallest one.
    fn appends(&mut self, rounds: u32, step: &mut Step) -> Result<()> {
        let mut smallest = Step::default();
        for _ in 0..rounds {
            self.appended_to_copy(&self.smallest, SMALLEST, &mut smallest)?;
            if self.events <= MOST_COPIED {
                self.appended_to_copy(&self.folder, self.events, step)?;
            } else {
                self.phase(What::Append, &self.folder, self.events, step)?;
                self.events += ROUND_EVENTS;
            }
        }
        for (name, ratio) in [(APPEND, APPEND_RATIO), (BULK, BULK_RATIO)] {
            let measure = MEASURES.iter().find(|measure| measure.name == name);
            let measure = measure.context("no such measure")?;
            let (value, first) = (step.value(measure), smallest.value(measure));
            step.add(ratio, value.context("no rate")? / first.context("no rate")?);
        }
        Ok(())
    }

    fn appended_to_copy(&self, from: &Path, events: u64, step: &mut Step) -> Result<()> {
        copy(from, &self.copied)?;
        let appended = self.phase_from(What::Append, &self.copied, events, events, step);
        std::fs::remove_dir_all(&self.copied)?;
        appended
    }

    fn phase(&self, what: What, folder: &Path, to: u64, step: &mut Step) -> Result<()> {
        self.phase_from(what, folder, self.events, to, step)
    }

    /// A process for one phase.
    fn phase_from(
        &self,
        what: What,
        folder: &Path,
        from: u64,
        to: u64,
        step: &mut Step,
    ) -> Result<()> {
        use clap::ValueEnum as _;
        let name = what.to_possible_value().context("no such phase")?;
        let begun = Instant::now();
        let (name, contender) = (name.get_name(), self.contender.name);
        let (from, to) = (from.to_string(), to.to_string());
        let found = child(&[
            "phase".as_ref(),
            name.as_ref(),
            contender.as_ref(),
            folder.as_os_str(),
            from.as_ref(),
            to.as_ref(),
        ])?;
        let seconds = begun.elapsed().as_secs_f64();
        writeln!(
            stderr(),
            "{contender} {to}: {name}, {seconds:.1} s: {found:?}"
        )?;
        for (name, value) in found {
            step.add(&name, value);
        }
        Ok(())
    }
}
