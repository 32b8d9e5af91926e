//! Runstone whole, while sinks run: one that hangs for ever alone, or beside others that fail, panic, are
//! refused and work.

use super::{Store, runstone};
use ::runstone::Runstone;
use ::runstone::sinks::{
    Batch, Delivery, Destination, Kinds, Rejection, RunOptions, Sink, SinkConfig,
};
use anyhow::Result;
use std::path::Path;

/// What a sink does with what it is given.
#[derive(Clone, Copy)]
enum Manner {
    Hangs,
    /// Does not take every third batch, at once.
    Fails {
        asked: u64,
    },
    Panics,
    /// Answers as a server does with 401.
    Refuses,
}

impl Sink for Manner {
    #[expect(clippy::panic, reason = "it stands for a sink that has a fault")]
    fn deliver<'a>(&'a mut self, _: &'a Batch) -> Delivery<'a> {
        Box::pin(async move {
            match self {
                Self::Hangs => std::future::pending().await,
                Self::Fails { asked } => {
                    *asked += 1;
                    if asked.is_multiple_of(3) {
                        return Err(Rejection::unavailable("every third"));
                    }
                    Ok(())
                }
                Self::Panics => panic!("a sink with a fault"),
                Self::Refuses => Err(Rejection::Unauthorised("401".to_owned())),
            }
        })
    }
}

fn open(folder: &Path, manners: &[(&'static str, Manner)]) -> Result<Runstone> {
    let kinds = manners.iter().fold(Kinds::new(), |kinds, (name, manner)| {
        let manner = *manner;
        kinds.kind(*name, move |_| Ok(Box::new(manner)))
    });
    let path = runstone::path(folder);
    let log = Runstone::options()
        .sinks(RunOptions::new(kinds))
        .open_or_create(&path)?;
    for (name, _) in manners {
        let config = SinkConfig::new(*name, Destination::custom(*name));
        log.sinks().add_blocking(&config)?;
    }
    Ok(log)
}

/// Beside a sink that hangs for ever.
pub(crate) fn hung(folder: &Path) -> Result<Box<dyn Store>> {
    Ok(runstone::of(open(folder, &[("hung", Manner::Hangs)])?))
}

/// Beside five sinks, of which a file of lines is the only one that works.
pub(crate) fn beset(folder: &Path) -> Result<Box<dyn Store>> {
    let manners = [
        ("hung", Manner::Hangs),
        ("failing", Manner::Fails { asked: 0 }),
        ("panicking", Manner::Panics),
        ("refused", Manner::Refuses),
    ];
    let log = open(folder, &manners)?;
    let healthy = Destination::jsonl(folder.join("healthy.jsonl"));
    log.sinks()
        .add_blocking(&SinkConfig::new("healthy", healthy))?;
    Ok(runstone::of(log))
}
