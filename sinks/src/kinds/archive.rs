//! Segments and checkpoints in a folder or an object store.
//!
//! ```text
//!  PREFIX/LOG_ID/segments/00000000000000000000.jsonl
//!  PREFIX/LOG_ID/segments/00000000000000000700.jsonl
//!  PREFIX/LOG_ID/checkpoints/00000000000000000931
//! ```

use crate::archived::{CHECKPOINTS, ENDING, SEGMENTS, number_of, size_name};
use crate::config::{ArchiveConfig, CheckpointsConfig, S3Config};
use crate::place::{Place, Put};
use crate::sink::{Batch, Delivery, Known, Part, Rejection, Sink, Telling};
use object_store::path::Path;
use runstone_codec::LogId;
use runstone_store::{SegmentEnd, SegmentSpan, read_segment};

/// Numbered objects of a log, which are never overwritten.
#[derive(Debug)]
struct Shelf {
    url: String,
    s3: S3Config,
    log: LogId,
    folder: &'static str,
    ending: &'static str,
    /// Up to where everything was there, if anything was.
    had: Option<u64>,
    place: Option<Place>,
}

/// The smallest number, and the two largest.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Numbers {
    first: Option<u64>,
    former: Option<u64>,
    last: Option<u64>,
}

impl Numbers {
    fn add(&mut self, number: u64) {
        self.first = Some(self.first.map_or(number, |first| first.min(number)));
        if Some(number) > self.last {
            self.former = self.last.replace(number);
        } else if Some(number) > self.former && Some(number) != self.last {
            self.former = Some(number);
        }
    }
}

impl Shelf {
    fn place(&self) -> Result<&Place, Rejection> {
        let place = self.place.as_ref();
        place.ok_or_else(|| Rejection::unavailable(format!("{} is not open", self.url)))
    }

    fn name(&self, place: &Place, number: u64) -> Path {
        let name = format!("{}{}", size_name(number), self.ending);
        place.path(&[&self.log.to_string(), self.folder, &name])
    }

    /// Opens the place. Only where nothing was put yet a folder is made, and a store has to show what
    /// it refuses: a folder that is gone is not mounted.
    async fn open(&mut self) -> Result<(), Rejection> {
        let is_new = self.had.is_none();
        let place = Place::open(&self.url, &self.s3, is_new)?;
        if is_new {
            place.check_create(&self.log.to_string()).await?;
        }
        self.place = Some(place);
        Ok(())
    }

    /// The numbers that are there, from one on.
    async fn list(&self, from: u64) -> Result<Numbers, Rejection> {
        let place = self.place()?;
        let folder = place.path(&[&self.log.to_string(), self.folder]);
        let after = from.checked_sub(1).map(|before| self.name(place, before));
        let mut numbers = Numbers::default();
        let listed = place.list(&folder, after.as_ref(), |path| {
            if let Some(number) = number_of(path, self.ending) {
                numbers.add(number);
            }
            Ok(())
        });
        listed.await?;
        Ok(numbers)
    }

    /// Nothing is there, which is right as long as nothing was put.
    fn empty(&self) -> Result<Known, Rejection> {
        match self.had {
            None => Ok(Known::Nothing),
            Some(_) => Err(Rejection::Unavailable(format!(
                "{} has nothing of what was put there: it may not be mounted; if it is to be filled anew, remove the sink and add it again",
                self.url
            ))),
        }
    }

    async fn put(&self, number: u64, bytes: &[u8]) -> Result<Put, Rejection> {
        let place = self.place()?;
        place.put_once(&self.name(place, number), bytes).await
    }

    async fn get(&self, number: u64) -> Result<Vec<u8>, Rejection> {
        let place = self.place()?;
        place.get(&self.name(place, number)).await
    }

    fn unusable(&self, number: u64, why: &str) -> Rejection {
        let place = self.place().map_or_else(
            |_| self.url.clone(),
            |place| place.shown(&self.name(place, number)),
        );
        Rejection::Unusable(format!("{place}: {why}"))
    }

    fn overwritten(&self, number: u64) -> Rejection {
        let why = "another one is there; nothing was overwritten. Somebody else writes there, or changed it";
        self.unusable(number, why)
    }
}

/// Segments.
#[derive(Debug)]
pub(super) struct Archive {
    shelf: Shelf,
    /// Most events of a segment.
    most: u64,
}

impl Archive {
    pub(super) fn new(config: &ArchiveConfig, log: LogId) -> Self {
        let shelf = Shelf {
            url: config.url.clone(),
            s3: config.s3.clone(),
            log,
            folder: SEGMENTS,
            ending: ENDING,
            had: None,
            place: None,
        };
        let most = config.segments.events;
        Self { shelf, most }
    }

    async fn put(&self, batch: &Batch) -> Result<(), Rejection> {
        let Some(Part::Segment(segment)) = batch.part() else {
            return Err(Rejection::unusable("an archive takes segments"));
        };
        let found = match self.shelf.put(segment.from, &segment.bytes).await? {
            Put::There => return Ok(()),
            Put::Another(found) => found,
        };
        // One that was given up earlier may have come first. Then it is gone on from, if the log grew
        // from it.
        match read_segment(found.as_slice()) {
            Ok(found) if (found.from, found.end.log_id) == (segment.from, self.shelf.log) => {
                Err(Rejection::Unavailable(format!(
                    "{}: another segment from position {} up to {} came first; it is looked at anew",
                    self.shelf.url, found.from, found.end.events
                )))
            }
            _ => Err(self.shelf.overwritten(segment.from)),
        }
    }

    async fn read(&self, number: u64) -> Result<SegmentSpan, Rejection> {
        let bytes = self.shelf.get(number).await?;
        let read = read_segment(bytes.as_slice());
        let read = read.map_err(|error| self.shelf.unusable(number, &error.to_string()))?;
        if (read.from, read.end.log_id) == (number, self.shelf.log) {
            return Ok(read);
        }
        let why = "it is not the segment that its name says";
        Err(self.shelf.unusable(number, why))
    }

    /// The last segment. The one before it must be there, and the first one; the others are looked at
    /// when they are loaded.
    async fn find_last(&mut self) -> Result<Known, Rejection> {
        self.shelf.open().await?;
        let reach = self.most.saturating_mul(2);
        let from = self.shelf.had.unwrap_or(0).saturating_sub(reach);
        let mut numbers = self.shelf.list(from).await?;
        if from > 0 && numbers.former.is_none() {
            numbers = self.shelf.list(0).await?;
        } else if from > 0 {
            let place = self.shelf.place()?;
            let is_there = place.has(&self.shelf.name(place, 0)).await?;
            numbers.first = is_there.then_some(0);
        }
        let Some(last) = numbers.last else {
            return self.shelf.empty();
        };
        if numbers.first != Some(0) {
            let why = "the segment that begins with position 0 is missing";
            return Err(self.shelf.unusable(0, why));
        }
        let found = self.read(last).await?;
        if let Some(former) = numbers.former {
            let before = self.read(former).await?.end;
            if (before.events, before.digest) != (last, found.former) {
                let why = "the segment before it is missing, or is another one";
                return Err(self.shelf.unusable(last, why));
            }
        }
        Ok(Known::Parts(found.end))
    }
}

impl Sink for Archive {
    fn deliver<'a>(&'a mut self, batch: &'a Batch) -> Delivery<'a> {
        Box::pin(self.put(batch))
    }

    fn had_before(&mut self, position: u64) {
        self.shelf.had = Some(position);
    }

    fn last(&mut self) -> Telling<'_> {
        Box::pin(self.find_last())
    }
}

/// Checkpoints alone.
#[derive(Debug)]
pub(super) struct Checkpoints {
    shelf: Shelf,
}

impl Checkpoints {
    pub(super) fn new(config: &CheckpointsConfig, log: LogId) -> Self {
        let shelf = Shelf {
            url: config.url.clone(),
            s3: config.s3.clone(),
            log,
            folder: CHECKPOINTS,
            ending: "",
            had: None,
            place: None,
        };
        Self { shelf }
    }

    async fn put(&self, batch: &Batch) -> Result<(), Rejection> {
        let Some(Part::Checkpoint(checkpoint)) = batch.part() else {
            return Err(Rejection::unusable("checkpoints are due here"));
        };
        let size = checkpoint.end.events;
        match self.shelf.put(size, checkpoint.text.as_bytes()).await? {
            Put::There => Ok(()),
            Put::Another(_) => Err(self.shelf.overwritten(size)),
        }
    }

    async fn find_last(&mut self) -> Result<Known, Rejection> {
        self.shelf.open().await?;
        let from = self.shelf.had.unwrap_or(0);
        let mut numbers = self.shelf.list(from).await?;
        if from > 0 && numbers.last.is_none() {
            numbers = self.shelf.list(0).await?;
        }
        let Some(size) = numbers.last else {
            return self.shelf.empty();
        };
        let text = String::from_utf8(self.shelf.get(size).await?).unwrap_or_default();
        let end = SegmentEnd::of_checkpoint(self.shelf.log, &text);
        let end = end.filter(|end| end.events == size);
        end.map(Known::Parts).ok_or_else(|| {
            let why = "it is not the checkpoint that its name says";
            self.shelf.unusable(size, why)
        })
    }
}

impl Sink for Checkpoints {
    fn deliver<'a>(&'a mut self, batch: &'a Batch) -> Delivery<'a> {
        Box::pin(self.put(batch))
    }

    fn had_before(&mut self, position: u64) {
        self.shelf.had = Some(position);
    }

    fn last(&mut self) -> Telling<'_> {
        Box::pin(self.find_last())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_and_the_two_largest_are_kept_in_any_order() {
        for order in [[0, 5, 9, 10], [10, 9, 5, 0], [9, 0, 10, 5], [10, 0, 9, 5]] {
            let mut numbers = Numbers::default();
            for number in order {
                numbers.add(number);
                numbers.add(number);
            }
            let expected = Numbers {
                first: Some(0),
                former: Some(9),
                last: Some(10),
            };
            assert_eq!(numbers, expected, "{order:?}");
        }
        let mut one = Numbers::default();
        one.add(7);
        assert_eq!((one.first, one.former, one.last), (Some(7), None, Some(7)));
    }
}
