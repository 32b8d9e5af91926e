//! Another file with the same log: a replica, which takes one segment after the other and checks each.

use crate::config::MirrorConfig;
use crate::sink::{Batch, Delivery, Known, Part, Rejection, Sink, Telling};
use runstone_store::{
    ErrorKind, LoadError, Log, Segment, SegmentInput, SegmentSource, UnsignedTail,
};
use std::future::ready;
use std::io::Cursor;
use std::path::Path;

/// A replica.
#[derive(Debug)]
pub(super) struct Mirror {
    config: MirrorConfig,
    /// Whether it had something.
    had: bool,
}

impl Mirror {
    pub(super) fn new(config: MirrorConfig) -> Self {
        Self { config, had: false }
    }

    fn end(&self) -> Result<Known, Rejection> {
        let path = &self.config.path;
        if !path.exists() {
            if !self.had {
                return Ok(Known::Nothing);
            }
            return Err(Rejection::Unavailable(format!(
                "{} is gone: its folder may not be mounted; if it is to be made anew, remove the sink and add it again",
                path.display()
            )));
        }
        let end = Log::replica_end(path).map_err(|error| rejection(path, &error))?;
        Ok(Known::Parts(end))
    }

    fn add(&self, segment: &Segment) -> Result<(), Rejection> {
        let path = &self.config.path;
        let taken = if segment.from == 0 {
            // The log itself gives it: its key may be named later.
            let tail = UnsignedTail::Taken;
            let made = Log::load_segments(&mut First(segment), path, tail, &|_, _| {});
            made.map(|made| made.root)
        } else {
            let added = Log::append_segment(segment.bytes.as_slice(), path);
            added.map(|end| end.root)
        };
        let root = taken.map_err(|error| rejection(path, &error))?;
        if root == segment.end.root {
            return Ok(());
        }
        let place = path.display();
        Err(Rejection::unusable(format!("{place} has another history")))
    }
}

/// What there is to begin with.
struct First<'a>(&'a Segment);

impl SegmentSource for First<'_> {
    fn open(&mut self, from: u64) -> Result<Option<SegmentInput>, LoadError> {
        let input = (from == self.0.from).then(|| {
            let bytes = Cursor::new(self.0.bytes.clone());
            SegmentInput::new("the first one", Box::new(bytes))
        });
        Ok(input)
    }

    fn events(&self) -> u64 {
        self.0.end.events
    }
}

fn rejection(path: &Path, error: &LoadError) -> Rejection {
    let why = format!("{}: {error}", path.display());
    match error.kind() {
        ErrorKind::Busy | ErrorKind::Storage | ErrorKind::NotFound => Rejection::Unavailable(why),
        _ => Rejection::Unusable(format!("{why}; name another file, or move this one away")),
    }
}

impl Sink for Mirror {
    fn deliver<'a>(&'a mut self, batch: &'a Batch) -> Delivery<'a> {
        let taken = match batch.part() {
            Some(Part::Segment(segment)) => self.add(segment),
            _ => Err(Rejection::unusable("a mirror takes segments")),
        };
        Box::pin(ready(taken))
    }

    fn had_before(&mut self, _position: u64) {
        self.had = true;
    }

    fn last(&mut self) -> Telling<'_> {
        Box::pin(ready(self.end()))
    }
}
