//! A log in a tokio program: append, lose a race, follow, shut down in time.
//!
//! Run with `cargo run -p runstone --example embed`.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use anyhow::{Context as _, bail};
use runstone::events::ChatMessage;
use runstone::{Append, AppendError, Condition, NewEvent, Query, Read, Runstone, runs};
use std::time::Duration;
use tokio_stream::StreamExt as _;

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("agents.redb");
    // Opening reads files, so it does not belong on a thread of the runtime.
    let log =
        tokio::task::spawn_blocking(move || Runstone::options().open_or_create(path)).await??;

    // Somebody follows the run from its beginning, while it goes on.
    let mut events = log.subscribe(Read::new(Query::stream("run-1")))?;
    let follower = tokio::spawn(async move {
        while let Some(record) = events.next().await {
            let record = record?;
            println!("{} {}", record.position, record.header.event_type);
            if record.header.event_type == "tool.call.completed" {
                break;
            }
        }
        anyhow::Ok(events.cursor())
    });

    // A typed event.
    let said = ChatMessage::new("user").text("pay order 1001");
    let said = log.append(NewEvent::typed(&said, "run-1")?).await?;

    // Two workers want to pay the order; the log takes one of them.
    let pay = |worker: &str| {
        let call = NewEvent::new("tool.call.requested", "run-1")
            .source(worker)
            .tag("order:1001");
        Append::new([call]).condition(Condition::none_after(Query::tag("order:1001"), said.last))
    };
    let paid = log.append(pay("worker-a")).await?;
    match log.append(pay("worker-b")).await {
        Err(AppendError::ConditionFailed { position }) => println!("lost to position {position}"),
        other => bail!("both workers paid: {other:?}"),
    }
    let call = *paid.ids.first().context("an append answers the ids")?;
    log.append(NewEvent::new("tool.call.completed", "run-1").causation(call))
        .await?;

    // What it comes to, and the signed statement of the whole log.
    let cursor = tokio::time::timeout(PATIENCE, follower).await???;
    let run = runs::get(&log, "run-1")?.context("the run is indexed")?;
    println!(
        "followed to {cursor}: {} calls, {}",
        run.counts.tool_calls, run.status
    );
    println!("{}", log.checkpoint()?.text());

    // Drains, flushes and signs. When time runs out it goes on behind; a killed process loses
    // nothing that was answered.
    tokio::time::timeout(PATIENCE, log.close()).await??;
    Ok(())
}
