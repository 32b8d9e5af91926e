//! The agent of the demonstration: a process of its own, which may be killed at any time.
//!
//! It asks whoever started it for payments: one [`Word`] a line on stdout, each answered by one line of
//! JSON on stdin.

use crate::error::{Exit, Failure, Report};
use runstone::{
    Amounts, CallError, EffectClass, EffectError, Run, RunError, Runstone, Status, StepError,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::io::{self, BufRead as _, Write as _};
use std::path::Path;

/// Its run.
pub(super) const RUN: &str = "pay-run";
/// Its name, and that of its budget.
pub(super) const NAME: &str = "invoice-bot";
/// What it asks people about, in dollars.
pub(super) const ASKS_FROM: u64 = 500;

/// What it is to pay.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Invoice {
    #[serde(rename = "invoice")]
    pub(super) id: &'static str,
    pub(super) payee: &'static str,
    pub(super) usd: u64,
}

pub(super) const INVOICES: [Invoice; 5] = [
    invoice("inv-1", "Harbor Cleaning", 20),
    invoice("inv-2", "Pine Street Print", 35),
    invoice("inv-3", "Lakeside Catering", 30),
    invoice("inv-4", "Northern Freight", 60),
    invoice("inv-5", "Granite Legal", 600),
];

const fn invoice(id: &'static str, payee: &'static str, usd: u64) -> Invoice {
    Invoice { id, payee, usd }
}

/// What the gateway answers to a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Payment {
    pub(super) payment: usize,
    pub(super) usd: u64,
}

/// What the agent says to whoever started it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word {
    /// It wants this paid; the answer is a [`Payment`].
    Charge { invoice: String, usd: u64 },
    /// It asks whether this was paid; the answer is a [`Payment`] or null.
    Find { invoice: String },
    /// It tells what it does; there is no answer.
    Said(String),
}

type Called = CallError<io::Error>;

fn tell(word: &Word) -> io::Result<()> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

fn say(text: impl Into<String>) -> io::Result<()> {
    tell(&Word::Said(text.into()))
}

fn ask<T: DeserializeOwned>(word: &Word) -> io::Result<T> {
    tell(word)?;
    let mut answer = String::new();
    if io::stdin().lock().read_line(&mut answer)? == 0 {
        return Err(io::Error::other("the gateway went away"));
    }
    Ok(serde_json::from_str(&answer)?)
}

/// Pays what is left to pay, as far as it may.
pub(super) fn work(path: &Path, stream: &str) -> Result<Exit, Failure> {
    let log = Runstone::options().open(path)?;
    let run = log.run(NAME).resume_or_start_blocking(stream)?;
    let how = if run.is_resumed() {
        "goes on"
    } else {
        "begins"
    };
    said(say(format!(
        "process {} {how} with {stream}",
        std::process::id()
    )))?;
    for invoice in &INVOICES {
        let is_charged = Cell::new(false);
        let step = run.step(invoice.id);
        match step.run_blocking(|| pay(&run, invoice, &is_charged)) {
            Ok(paid) => {
                let how = if is_charged.get() {
                    "charged"
                } else {
                    "from the log"
                };
                let (id, payment, usd) = (invoice.id, paid.payment, paid.usd);
                said(say(format!("{id}: {how}, payment {payment}, ${usd}")))?;
            }
            Err(StepError::Work(CallError::Effect(error))) => {
                return stop(&log, run, invoice, &error);
            }
            Err(StepError::Run(error)) => return Err(error.into()),
            Err(error) => {
                let (code, why) = (error.code(), error.to_string());
                return Err(Report::new(error.kind().into(), code, why).into());
            }
        }
    }
    run.finish_blocking(Status::Success)?;
    said(say("every invoice is paid"))?;
    log.close_blocking()?;
    Ok(Exit::Done)
}

/// One payment, which the log lets happen once.
fn pay(run: &Run, invoice: &Invoice, is_charged: &Cell<bool>) -> Result<Payment, Called> {
    let id = invoice.id;
    let mut call = run
        .effect("send_payment")
        .key(("invoice", id))
        .class(EffectClass::Write)
        .args(invoice)
        .budget(NAME, Amounts::new().usd_micros(invoice.usd * 1_000_000))
        .reconcile(move |_| async move {
            let invoice = id.to_owned();
            let found: Option<Payment> = ask(&Word::Find { invoice })?;
            let answer = if found.is_some() {
                "it did"
            } else {
                "it did not"
            };
            say(format!(
                "{id}: I was cut off; did the gateway charge it? {answer}"
            ))?;
            Ok::<_, io::Error>(found)
        });
    if invoice.usd >= ASKS_FROM {
        call = call.approval(format!("pay {id} to {}, ${}", invoice.payee, invoice.usd));
    }
    let paid = call.call_blocking(|| {
        is_charged.set(true);
        ask::<Payment>(&Word::Charge {
            invoice: id.to_owned(),
            usd: invoice.usd,
        })
    })?;
    recorded(run.session().append_blocking("/paid", &id), id)?;
    Ok(paid)
}

/// A payment whose note in the session is refused is no failed payment: the run is somebody else's.
fn recorded<T>(noted: Result<T, RunError>, invoice: &str) -> Result<T, Called> {
    noted.map_err(|error| CallError::Result {
        name: invoice.to_owned(),
        why: error.to_string(),
    })
}

/// Lets go of the run until somebody has decided what it cannot.
fn stop(log: &Runstone, run: Run, at: &Invoice, why: &EffectError) -> Result<Exit, Failure> {
    said(say(format!("{}: {why}", at.id)))?;
    let node = Some(at.id.to_owned());
    let request = match why {
        EffectError::NotApproved { request, .. } => *request,
        _ => None,
    };
    match request {
        Some(request) => {
            let request = log.approvals().get(request)?;
            run.pause_for_blocking(node, &request)?;
        }
        None => {
            run.pause_blocking(node)?;
        }
    }
    said(say(
        "I stop here; nothing holds the run, and no process waits",
    ))?;
    log.close_blocking()?;
    Ok(Exit::No)
}

fn said(told: io::Result<()>) -> Result<(), Failure> {
    told.map_err(|error| {
        let error = format!("nobody hears the agent: {error}");
        Report::new(Exit::Storage, "storage_io", error).into()
    })
}
