//! A runtime whose log has sinks, to be killed at any moment.
//!
//! ```text
//! copier LOG KIND WHERE SEED       appends until it is killed; output: a line with each position acknowledged
//! copier LOG KIND WHERE            ends when the sinks have everything
//! ```
//!
//! | kind | sinks |
//! |---|---|
//! | `files` | two: `exact`, a file of lines beside WHERE that tells what it has, and `plain`, which appends lines to WHERE and does not |
//! | `webhook`, `otlp` | one of that kind, which posts to WHERE |

use runstone::sinks::{
    Batch, Delivery, Destination, Kinds, OtlpConfig, Rejection, RunOptions, Sink, sinks_folder,
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

/// The sinks of a kind, by name.
fn sinks(kind: &str, place: &str) -> Result<Vec<(&'static str, Destination)>, String> {
    let exact = Path::new(place).with_extension("exact");
    Ok(match kind {
        "files" => vec![
            ("exact", Destination::jsonl(exact)),
            ("plain", Destination::custom("plain")),
        ],
        "webhook" => vec![("posted", Destination::webhook(place))],
        "otlp" => vec![("posted", Destination::Otlp(OtlpConfig::new(place)))],
        _ => return Err(format!("there is no kind `{kind}`")),
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let (path, place) = (Path::new(&words[0]), Path::new(&words[2]));
    let options = Runstone::options().sinks(RunOptions::new(kinds(place.to_owned())));
    let log = options.open_or_create(path)?;
    let wanted = sinks(&words[1], &words[2])?;
    for (name, to) in &wanted {
        if log.sinks().get(name).is_err() {
            let cursor = sinks_folder(path).join(format!("{name}.cursor"));
            assert!(!cursor.exists());
            let config = SinkConfig::new(*name, to.clone()).batch_events(50);
            log.sinks().add_blocking(&config)?;
        }
    }
    let Some(seed) = words.get(3) else {
        let runner = log.runner().ok_or("no sinks run")?;
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
