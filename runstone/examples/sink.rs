//! A sink of one's own: events, given to whoever wants them, each as one line.
//!
//! Run with `cargo run -p runstone --example sink`.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use anyhow::Context as _;
use runstone::sinks::{Batch, Delivery, Destination, Rejection, Sink};
use runstone::{Kinds, NewEvent, RunOptions, Runstone, SinkConfig};
use std::sync::mpsc::{Sender, channel};

/// Sends lines down a channel.
struct Lines(Sender<Vec<u8>>);

impl Sink for Lines {
    fn deliver<'a>(&'a mut self, batch: &'a Batch) -> Delivery<'a> {
        Box::pin(async move {
            for event in batch.events() {
                let sent = self.0.send(event.line());
                sent.map_err(|_| Rejection::unavailable("nobody listens"))?;
            }
            Ok(()) // all of them are kept, whatever becomes of this process next
        })
    }
}

fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (sender, lines) = channel();
    let kinds = Kinds::new().kind("lines", move |_| Ok(Box::new(Lines(sender.clone()))));
    let options = Runstone::options().sinks(RunOptions::new(kinds));
    let log = options.create(folder.path().join("agent.redb"))?;

    // Of content there leaves what is named: here the sum, and not whose.
    let config = SinkConfig::new("mine", Destination::custom("lines")).fields(["usd"]);
    log.sinks().add_blocking(&config)?;
    let paid = NewEvent::new("order.paid", "order-7");
    log.append_blocking(paid.payload(br#"{"customer":"Mara Lind","usd":30}"#))?;

    let runner = log
        .runner()
        .context("whoever holds the log runs its sinks")?;
    runner.caught_up_blocking(log.durable_size());
    log.close_blocking()?;
    for line in lines.try_iter() {
        let line = String::from_utf8(line)?;
        anyhow::ensure!(!line.contains("Mara"));
        print!("{line}");
    }
    Ok(())
}
