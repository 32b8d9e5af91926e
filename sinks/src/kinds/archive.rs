//! Segments and checkpoints in a folder or an object store.
//!
//! ```text
//!  PREFIX/LOG_ID/segments/00000000000000000000-00000000000000000700.jsonl
//!  PREFIX/LOG_ID/segments/00000000000000000700-00000000000000000931.jsonl
//!  PREFIX/LOG_ID/checkpoints/00000000000000000931
//! ```

use crate::archived::{CHECKPOINTS, SEGMENTS, in_order, last_checkpoint, segment_name, size_name};
use crate::config::{ArchiveConfig, CheckpointsConfig};
use crate::place::Place;
use crate::sink::{Batch, Delivery, Known, Part, Rejection, Sink, Telling};
use runstone_codec::LogId;
use runstone_store::{SegmentEnd, read_segment};

/// Segments.
#[derive(Debug)]
pub(super) struct Archive {
    place: Place,
    log: LogId,
}

impl Archive {
    pub(super) fn open(config: &ArchiveConfig, log: LogId) -> Result<Self, Rejection> {
        let place = Place::open(&config.url, &config.s3, true)?;
        Ok(Self { place, log })
    }

    async fn put(&self, batch: &Batch) -> Result<(), Rejection> {
        let Some(Part::Segment(segment)) = batch.part() else {
            return Err(Rejection::unusable("an archive takes segments"));
        };
        let name = segment_name(segment.from, segment.end.events);
        let path = self.place.path(&[&self.log.to_string(), SEGMENTS, &name]);
        self.place.put_once(&path, &segment.bytes).await
    }

    /// The last segment, which has everything before it: names without gaps, and a digest of each.
    async fn find_last(&self) -> Result<Known, Rejection> {
        let folder = self.place.path(&[&self.log.to_string(), SEGMENTS]);
        let listed = self.place.list(&folder).await?;
        let segments = in_order(&listed)
            .map_err(|why| Rejection::Unusable(format!("{}: {why}", self.place.shown(&folder))))?;
        let Some(last) = segments.last() else {
            return Ok(Known::Nothing);
        };
        let bytes = self.place.get(&last.path).await?;
        let place = self.place.shown(&last.path);
        let unusable = |why: String| Rejection::Unusable(format!("{place}: {why}"));
        let (from, end) =
            read_segment(bytes.as_slice()).map_err(|error| unusable(error.to_string()))?;
        if (from, end.events) != (last.from, last.to) || end.log_id != self.log {
            return Err(unusable(
                "it is not the segment that its name says".to_owned(),
            ));
        }
        Ok(Known::Parts(end))
    }
}

impl Sink for Archive {
    fn deliver<'a>(&'a mut self, batch: &'a Batch) -> Delivery<'a> {
        Box::pin(self.put(batch))
    }

    fn last(&mut self) -> Telling<'_> {
        Box::pin(self.find_last())
    }
}

/// Checkpoints alone.
#[derive(Debug)]
pub(super) struct Checkpoints {
    place: Place,
    log: LogId,
}

impl Checkpoints {
    pub(super) fn open(config: &CheckpointsConfig, log: LogId) -> Result<Self, Rejection> {
        let place = Place::open(&config.url, &config.s3, true)?;
        Ok(Self { place, log })
    }

    async fn put(&self, batch: &Batch) -> Result<(), Rejection> {
        let Some(Part::Checkpoint(checkpoint)) = batch.part() else {
            return Err(Rejection::unusable("checkpoints are due here"));
        };
        let name = size_name(checkpoint.end.events);
        let path = self
            .place
            .path(&[&self.log.to_string(), CHECKPOINTS, &name]);
        self.place.put_once(&path, checkpoint.text.as_bytes()).await
    }

    async fn find_last(&self) -> Result<Known, Rejection> {
        let folder = self.place.path(&[&self.log.to_string(), CHECKPOINTS]);
        let listed = self.place.list(&folder).await?;
        let Some((size, path)) = last_checkpoint(&listed) else {
            return Ok(Known::Nothing);
        };
        let text = String::from_utf8(self.place.get(path).await?).unwrap_or_default();
        let end = SegmentEnd::of_checkpoint(self.log, &text).filter(|end| end.events == size);
        end.map(Known::Parts).ok_or_else(|| {
            let place = self.place.shown(path);
            Rejection::Unusable(format!(
                "{place}: it is not the checkpoint that its name says"
            ))
        })
    }
}

impl Sink for Checkpoints {
    fn deliver<'a>(&'a mut self, batch: &'a Batch) -> Delivery<'a> {
        Box::pin(self.put(batch))
    }

    fn last(&mut self) -> Telling<'_> {
        Box::pin(self.find_last())
    }
}
