//! An agent that pays invoices, drops dead in the middle, and goes on without paying twice.
//!
//! Run with `cargo run -p runstone --example agent`.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use anyhow::Context as _;
use runstone::{EffectClass, EffectState, Run, Runstone, Status, effects, runs};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the gateway really charged, in dollars: it survives the agent.
static CHARGED: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Serialize, Deserialize)]
struct Payment {
    usd: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("the gateway did not answer")]
struct NoAnswer;

async fn charge(usd: u64, is_answering: bool) -> Result<Payment, NoAnswer> {
    tokio::task::yield_now().await;
    CHARGED.fetch_add(usd, Ordering::Relaxed);
    if is_answering {
        Ok(Payment { usd })
    } else {
        Err(NoAnswer)
    }
}

/// A step of the run, with a call in it: done once, it is not done again, and neither is the call.
async fn pay(run: &Run, invoice: &str, usd: u64, is_answering: bool) -> anyhow::Result<Payment> {
    let call = run
        .effect("send_payment")
        .key(("invoice", invoice))
        .class(EffectClass::Write)
        .args(&json!({"invoice": invoice, "usd": usd}))
        .reconcile(|effect| async move {
            println!("  asking the gateway about the claim at {}", effect.fence);
            Ok::<_, NoAnswer>(Some(Payment { usd: 30 }))
        });
    let step = run.step(invoice).run(|| async {
        let paid = call.call(|| charge(usd, is_answering)).await?;
        println!("  {invoice}: {} dollars", paid.usd);
        run.session().append("/paid", &invoice).await?;
        anyhow::Ok(paid)
    });
    Ok(step.await?)
}

/// The agent's work; the first time, the gateway does not answer the last call.
async fn work(path: &Path, is_answering: bool) -> anyhow::Result<()> {
    let log = Runstone::options().open_or_create(path)?;
    let run = log.run("invoice-bot").resume_or_start("run-1").await?;
    println!(
        "run-1 {}",
        if run.is_resumed() {
            "goes on"
        } else {
            "begins"
        }
    );
    for (invoice, usd) in [("inv-1", 10), ("inv-2", 20)] {
        pay(&run, invoice, usd, true).await?;
    }
    pay(&run, "inv-3", 30, is_answering).await?;
    run.finish(Status::Success).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("agent.redb");
    if let Err(error) = work(&path, false).await {
        println!("  the agent dies: {error}");
    }
    let log = Runstone::open(&path)?;
    let doubtful = effects::list(
        &log,
        &effects::EffectFilter::new().state(EffectState::Unknown),
    )?;
    println!("in doubt: {}", doubtful.len());
    drop(log);

    work(&path, true).await?;
    let log = Runstone::open(&path)?;
    let run = runs::get(&log, "run-1")?.context("the run is indexed")?;
    println!(
        "{}; charged {} dollars",
        run.status,
        CHARGED.load(Ordering::Relaxed)
    );
    Ok(())
}
