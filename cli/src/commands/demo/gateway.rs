//! The payment gateway of the demonstration, and the agent that pays through it.
//!
//! The gateway charges whatever it is asked to charge, twice if it is asked twice, and writes each charge
//! into a file of its own, which no log takes back.

use super::agent::{Payment, Word};
use crate::error::{Exit, Failure, Report};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// Its file.
pub(super) const BOOK: &str = "gateway.txt";

/// What charges.
#[derive(Debug)]
pub(super) struct Gateway {
    book: File,
    path: PathBuf,
}

impl Gateway {
    /// With an empty book, in a folder that has none.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join(BOOK);
        let book = File::create_new(&path)?;
        Ok(Self { book, path })
    }

    /// What it really charged: invoice and dollars, in order, as its book has it.
    pub(super) fn charges(&self) -> io::Result<Vec<(String, u64)>> {
        let book = std::fs::read_to_string(&self.path)?;
        let lines = book.lines().map(|line| {
            let mut words = line.split(' ').skip(2);
            let invoice = words.next()?.to_owned();
            let usd = words.next()?.strip_prefix('$')?.parse().ok()?;
            Some((invoice, usd))
        });
        let charges: Option<Vec<_>> = lines.collect();
        charges.ok_or_else(|| io::Error::other("the gateway's book cannot be read"))
    }

    fn charge(&mut self, invoice: &str, usd: u64) -> io::Result<Payment> {
        let payment = self.charges()?.len() + 1;
        writeln!(self.book, "charge {payment} {invoice} ${usd}")?;
        self.book.sync_data()?;
        Ok(Payment { payment, usd })
    }

    fn find(&self, invoice: &str) -> io::Result<Option<Payment>> {
        let charges = self.charges()?;
        let found = charges.iter().zip(1..).find(|((of, _), _)| of == invoice);
        Ok(found.map(|((_, usd), payment)| Payment { payment, usd: *usd }))
    }
}

/// How one life of the agent went.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) process: u32,
    pub(super) status: ExitStatus,
    /// How often it asked whether something was paid.
    pub(super) asked: usize,
}

impl Life {
    /// Whether it was killed, and by nothing else than SIGKILL.
    pub(super) fn is_killed(&self) -> bool {
        self.status.signal() == Some(signal_hook::consts::SIGKILL)
    }
}

/// A child that does not outlive who looks after it.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        // It has ended, or there is nothing left to be done about it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lets the agent live until it ends, or kills it as soon as the gateway has charged `killed_at`, which
/// the agent never hears of. What it says goes to `hear`.
pub(super) fn live(
    mut command: Command,
    gateway: &mut Gateway,
    killed_at: Option<&str>,
    mut hear: impl FnMut(&str) -> Result<(), Failure>,
) -> Result<Life, Failure> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut agent = Agent(command.spawn().map_err(|error| failed(&error))?);
    let process = agent.0.id();
    let (Some(mut answers), Some(words)) = (agent.0.stdin.take(), agent.0.stdout.take()) else {
        return Err(failed(&io::ErrorKind::BrokenPipe.into()));
    };
    let mut asked = 0;
    for line in BufReader::new(words).lines() {
        let line = line.map_err(|error| failed(&error))?;
        let word = serde_json::from_str(&line).map_err(|error| failed(&error.into()))?;
        let answer = match word {
            Word::Said(text) => {
                hear(&text)?;
                continue;
            }
            Word::Charge { invoice, usd } => {
                let paid = gateway
                    .charge(&invoice, usd)
                    .map_err(|error| failed(&error))?;
                if killed_at == Some(invoice.as_str()) {
                    agent.0.kill().map_err(|error| failed(&error))?;
                    continue;
                }
                serde_json::to_string(&paid)
            }
            Word::Find { invoice } => {
                asked += 1;
                let found = gateway.find(&invoice).map_err(|error| failed(&error))?;
                serde_json::to_string(&found)
            }
        };
        let answer = answer.map_err(|error| failed(&error.into()))?;
        // Whoever died does not hear it.
        let _ = writeln!(answers, "{answer}");
    }
    let status = agent.0.wait().map_err(|error| failed(&error))?;
    Ok(Life {
        process,
        status,
        asked,
    })
}

fn failed(error: &io::Error) -> Failure {
    let message = format!("the agent of the demonstration: {error}");
    Report::new(Exit::Storage, "storage_io", message).into()
}
