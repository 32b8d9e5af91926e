//! 209 payments through a gateway that counts what it charges, by an agent that is killed at
//! random and started again until all are done.
//!
//! The gateway also fails after it charged, and answers so late that the call is dropped. Nothing
//! may be paid twice, and where nobody can know, that must be on the list.

use runstone_projections::effects::{EffectFilter, State, list};
use runstone_projections::standard_folds;
use runstone_store::{Log, OpenOptions, VerifyLevel};
use runstone_tests::held::Process;
use runstone_tests::tamper::{Outcome, Seeded};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const INVOICES: usize = 209;
/// Most new payments that the agent gets to write of before it is killed from outside.
const LINES: usize = 40;

fn seeds() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test may be told how long to go on"
    )]
    let given = std::env::var("RUNSTONE_PAYMENT_SEEDS").ok();
    given.and_then(|seeds| seeds.parse().ok()).unwrap_or(1)
}

struct Site {
    folder: tempfile::TempDir,
    gateway: Process,
    kills: usize,
    /// What some agent has written that it paid.
    paid: BTreeSet<String>,
}

impl Site {
    fn new(mode: &str, seed: u64) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name);
        let mode = if mode == "idempotent" { mode } else { "plain" };
        let child = Command::new(env!("CARGO_BIN_EXE_gateway"))
            .args([path("socket"), path("charges")])
            .args([mode, &seed.to_string()])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut gateway = Process(child);
        let mut ready = String::new();
        let output = gateway.0.stdout.take().ok_or("it has an output")?;
        BufReader::new(output).read_line(&mut ready)?;
        assert_eq!(ready, "listening\n");
        Ok(Self {
            folder,
            gateway,
            kills: 0,
            paid: BTreeSet::new(),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the agent until it has written so many lines, or ends; whether it is done.
    fn pay(&mut self, mode: &str, lines: usize) -> Outcome<bool> {
        let child = Command::new(env!("CARGO_BIN_EXE_payer"))
            .args([self.path("log"), self.path("socket")])
            .arg(mode)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut payer = Process(child);
        let output = payer.0.stdout.take().ok_or("it has an output")?;
        let mut lines = lines;
        for line in BufReader::new(output).lines() {
            let line = line?;
            if line == "done" {
                return Ok(true);
            }
            // What an earlier process paid is passed over in no time.
            lines -= usize::from(self.paid.insert(line));
            if lines == 0 {
                break;
            }
        }
        payer.0.kill()?;
        self.kills += 1;
        let ended = payer.0.wait()?;
        if let Some(code) = ended.code() {
            let mut why = String::new();
            let errors = payer.0.stderr.take().ok_or("it has an output")?;
            std::io::Read::read_to_string(&mut BufReader::new(errors), &mut why)?;
            return Err(format!("the agent ended with {code}: {why}").into());
        }
        Ok(false)
    }

    /// How often each invoice was really charged.
    fn charges(&self) -> Outcome<BTreeMap<String, usize>> {
        let mut charges = BTreeMap::new();
        for line in std::fs::read_to_string(self.path("charges"))?.lines() {
            *charges.entry(line.to_owned()).or_default() += 1;
        }
        Ok(charges)
    }
}

fn open(path: &Path) -> Outcome<Log> {
    let mut open = OpenOptions::default();
    open.folds = standard_folds();
    Ok(Log::open(path, open)?)
}

/// Pays everything, whatever happens, and answers what was charged and how many are in doubt.
fn paid(mode: &str, seed: u64) -> Outcome<(BTreeMap<String, usize>, usize)> {
    let mut site = Site::new(mode, seed)?;
    let mut seeded = Seeded::new(seed);
    while !site.pay(mode, 1 + seeded.below(LINES))? {}
    assert!(site.gateway.0.try_wait()?.is_none(), "the gateway lives");
    let log = open(&site.path("log"))?;
    let of = |state| list(&log, &EffectFilter::new().state(state));
    let (completed, unknown) = (of(State::Completed)?, of(State::Unknown)?);
    assert_eq!(completed.len() + unknown.len(), INVOICES);
    for check in log.check_folds(None, &|_, _| {})? {
        assert!(check.is_equal(), "{check:?}");
    }
    assert!(log.verify(VerifyLevel::Commitments, &|_, _| {}).valid);
    println!(
        "{mode} {seed}: killed {} times, {} in doubt",
        site.kills,
        unknown.len()
    );
    Ok((site.charges()?, unknown.len()))
}

fn assert_paid_once(mode: &str) -> Outcome {
    for seed in 0..seeds() {
        let (charges, doubtful) = paid(mode, seed)?;
        assert_eq!((charges.len(), doubtful), (INVOICES, 0), "seed {seed}");
        let twice: Vec<_> = charges.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "seed {seed}: {twice:?}");
    }
    Ok(())
}

#[test]
fn an_idempotent_gateway_charges_every_invoice_once() -> Outcome {
    assert_paid_once("idempotent")
}

#[test]
fn a_gateway_that_can_be_asked_charges_every_invoice_once() -> Outcome {
    assert_paid_once("reconciled")
}

/// Nobody can ask, so what is in doubt stays so: it is listed, and never tried again.
#[test]
fn a_gateway_that_cannot_be_asked_charges_no_invoice_twice() -> Outcome {
    for seed in 0..seeds() {
        let (charges, doubtful) = paid("plain", seed)?;
        let twice: Vec<_> = charges.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "seed {seed}: {twice:?}");
        assert!(charges.len() + doubtful >= INVOICES, "seed {seed}");
        assert!(doubtful > 0, "seed {seed}: the gateway's faults leave some");
    }
    Ok(())
}
