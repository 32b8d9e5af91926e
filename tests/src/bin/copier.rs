//! A runtime whose log has sinks, to be killed at any moment.
//!
//! ```text
//! copier LOG FILE SEED       appends until it is killed; output: a line with each position acknowledged
//! copier LOG FILE            ends when the sinks have everything
//! ```
//!
//! It has two: `exact`, a file of lines beside FILE that tells what it has, and `plain`, which appends
//! lines to FILE and does not.

use runstone::sinks::{
    Batch, Delivery, Destination, Kinds, Rejection, RunOptions, Sink, sinks_folder,
};
use runstone::{Append, NewEvent, Runstone, SinkConfig};
use runstone_tests::tamper::Seeded;
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::future::ready;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Appends what it is given to a file, and asks the file nothing.
struct Plain(File);

impl Sink for Plain {
    fn deliver<'a>(&'a mut self, batch: &'a Batch) -> Delivery<'a> {
        let lines: Vec<u8> = batch
            .events()
            .iter()
            .flat_map(runstone::sinks::Event::line)
            .collect();
        let written = self.0.write_all(&lines);
        Box::pin(ready(written.map_err(Rejection::unavailable)))
    }
}

fn kinds(path: PathBuf) -> Kinds {
    Kinds::new().kind("plain", move |_| {
        let opened = OpenOptions::new().append(true).create(true).open(&path);
        Ok(Box::new(Plain(opened.map_err(Rejection::unavailable)?)))
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let (log, file) = (Path::new(&words[0]), Path::new(&words[1]));
    let is_new = !log.exists();
    let options = Runstone::options().sinks(RunOptions::new(kinds(file.to_owned())));
    let log = options.open_or_create(log)?;
    if is_new || log.sinks().list()?.is_empty() {
        assert!(
            !sinks_folder(Path::new(&words[0]))
                .join("exact.cursor")
                .exists()
        );
        let exact = Destination::jsonl(file.with_extension("exact"));
        let exact = SinkConfig::new("exact", exact).batch_events(50);
        log.sinks().add_blocking(&exact)?;
    }
    if log.sinks().get("plain").is_err() {
        let plain = SinkConfig::new("plain", Destination::custom("plain")).batch_events(50);
        log.sinks().add_blocking(&plain)?;
    }
    let Some(seed) = words.get(2) else {
        let runner = log.runner().ok_or("no sinks run")?;
        while runner.running() < 2 {
            std::thread::yield_now();
        }
        runner.caught_up_blocking(log.durable_size());
        return Ok(log.close_blocking()?);
    };
    let mut seeded = Seeded::new(seed.parse()?);
    let mut out = std::io::stdout();
    loop {
        let count = 1 + seeded.below(20);
        let events = (0..count).map(|number| {
            let event = NewEvent::new("tool.called", format!("run-{}", number % 3));
            event.json(&json!({"filler": "lorem ipsum ".repeat(number)}))
        });
        let events = events.collect::<Result<Vec<_>, _>>()?;
        let appended = log.append_blocking(Append::new(events))?;
        writeln!(out, "{}", appended.last)?;
        out.flush()?;
    }
}
