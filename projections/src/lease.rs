//! Who holds something, and until when.
//!
//! Something is held for a time, or as long as the opening of the log lasts in which it was taken.
//! The first is for holders elsewhere: found at open, a lease has its full length again, because
//! nothing tells how long the log was closed; within an opening it is measured by the monotonic
//! clock, so that nobody ends or stretches it by setting the wall clock. The second is for holders
//! in this process: another process that has the log open knows them to be gone. A holder that opens
//! the log itself for each thing that it does, as a script does, holds by the clock: that the log is
//! closed keeps it from nothing, and were its time given again at each open, it would never end.

use crate::rows::LeaseRow;
use runstone_codec::{Control, Position};
use runstone_store::{FoldRow, Log, Opening, ReadError, micros};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// First byte of the place of a lease in an index: what it ends by.
const BY_LENGTH: u8 = b'a';
const BY_CLOCK: u8 = b'c';
const BY_OPENING: u8 = b'o';
/// Most lengths of leases of one index that a command looks at. Of others a sweep says that they are
/// over.
pub(crate) const LENGTHS: usize = 32;

/// Longest name of a holder in bytes.
pub const MAX_HOLDER_LEN: usize = 256;

/// How long something is held without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Hold {
    /// As long as this opening of the log lasts: the holder is in this process.
    Opening,
    /// So long, unless it is renewed, and as long again when the log is opened. Counted in whole
    /// microseconds, which is what is recorded.
    For(
        #[serde(with = "crate::wire::microseconds")]
        #[schemars(with = "u64")]
        Duration,
    ),
    /// So long by the log's clock, unless it is renewed, however often the log is opened meanwhile:
    /// the holder opens it itself. Counted in whole microseconds.
    ByClock(
        #[serde(with = "crate::wire::microseconds")]
        #[schemars(with = "u64")]
        Duration,
    ),
    /// As long as the settings say, unless it is renewed.
    Default,
}

impl Hold {
    /// As it counts for a holder in another process, whose end this one does not see.
    pub(crate) fn seen_afar(self) -> Self {
        match self {
            Self::Opening => Self::Default,
            other => other,
        }
    }

    pub(crate) fn length(self, default_us: u64) -> Length {
        match self {
            Self::Opening => Length::Opening,
            Self::For(lease) => Length::Again(micros(lease)),
            Self::ByClock(lease) => Length::ByClock(micros(lease)),
            Self::Default => Length::Again(default_us),
        }
    }
}

/// How long something is held, once the settings are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    Opening,
    /// So many microseconds, and again when the log is opened.
    Again(u64),
    ByClock(u64),
}

impl Length {
    /// When it ends if it begins now; `None` as long as the opening lasts.
    pub(crate) fn ends_at_us(self, now_us: u64) -> Option<u64> {
        match self {
            Self::Opening => None,
            Self::Again(lease_us) | Self::ByClock(lease_us) => {
                Some(now_us.saturating_add(lease_us))
            }
        }
    }
}

/// From when a lease is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Moment {
    /// This opening of the log, and its clock.
    Now(Opening, u64),
    /// A time in the past. How often the log was opened by then is not recorded: a lease ended when
    /// it said it would, and one that was held by an opening was held.
    Then(u64),
}

impl Moment {
    /// The moment after an event: now, if it is the newest.
    pub(crate) fn at(log: &Log, position: Position) -> Result<Self, ReadError> {
        if position.get().saturating_add(1) >= log.size() {
            return Ok(Self::Now(log.opening(), log.steady_us()));
        }
        Ok(Self::Then(log.record(position)?.recorded_at_us))
    }
}

/// Fields of control that tell a lease.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeaseFields {
    pub(crate) holder: u16,
    pub(crate) opening: u16,
    pub(crate) lease_us: u16,
    pub(crate) expires_at_us: u16,
}

impl LeaseFields {
    /// What control says of a lease that begins now. One by the clock has no length.
    pub(crate) fn control(self, length: Length, steady_us: u64, opening: &Opening) -> Control {
        let control = match length {
            Length::Opening => Control::new().bytes(self.opening, opening.id),
            Length::Again(lease_us) => Control::new().u64(self.lease_us, lease_us),
            Length::ByClock(_) => Control::new(),
        };
        match length.ends_at_us(steady_us) {
            Some(ends_at_us) => control.u64(self.expires_at_us, ends_at_us),
            None => control,
        }
    }

    /// The lease that the control of an event at `since` tells.
    pub(crate) fn read(self, control: &Control, since: u64) -> LeaseRow {
        let opening = control.get_bytes(self.opening);
        LeaseRow {
            holder: control.get_text(self.holder).unwrap_or_default().to_owned(),
            opening: opening.and_then(|id| id.try_into().ok()),
            since,
            lease_us: control.get_u64(self.lease_us).unwrap_or_default(),
            expires_at_us: control.get_u64(self.expires_at_us).unwrap_or_default(),
        }
    }
}

impl LeaseRow {
    /// When it ends if nobody renews it; `None` as long as its opening lasts.
    pub(crate) fn expires_at_us(&self, opening: &Opening) -> Option<u64> {
        if self.opening == Some(opening.id) {
            return None;
        }
        if self.opening.is_some() {
            return Some(opening.at_us);
        }
        if self.since >= opening.size.get() || self.lease_us == 0 {
            return Some(self.expires_at_us);
        }
        Some(opening.at_us.saturating_add(self.lease_us))
    }

    /// When it ends, and whether it has, as seen from a moment.
    pub(crate) fn seen(&self, moment: &Moment) -> (Option<u64>, bool) {
        match moment {
            Moment::Now(opening, steady_us) => (
                self.expires_at_us(opening),
                self.is_over(opening, *steady_us),
            ),
            Moment::Then(_) if self.opening.is_some() => (None, false),
            Moment::Then(then_us) => (Some(self.expires_at_us), *then_us >= self.expires_at_us),
        }
    }

    /// Its place in an index of leases.
    ///
    /// ```text
    ///  'a' length(8) since(8)
    ///  'c' end(8) since(8)
    ///  'o' opening(16) since(8)
    /// ```
    ///
    /// Leases of one length end in the order in which they began, whichever opening of the log that
    /// was: so the first of each length tells whether one of them is over.
    pub(crate) fn place(&self) -> Vec<u8> {
        let (by, end) = match self.opening {
            Some(opening) => (BY_OPENING, opening.to_vec()),
            None if self.lease_us > 0 => (BY_LENGTH, self.lease_us.to_be_bytes().to_vec()),
            None => (BY_CLOCK, self.expires_at_us.to_be_bytes().to_vec()),
        };
        [&[by], end.as_slice(), &self.since.to_be_bytes()].concat()
    }

    /// Whether it ended.
    pub(crate) fn is_over(&self, opening: &Opening, steady_us: u64) -> bool {
        self.expires_at_us(opening)
            .is_some_and(|expires_at_us| steady_us >= expires_at_us)
    }
}

/// Rows of an index of leases, wherever they are.
pub(crate) trait LeaseIndex {
    /// Why one cannot be read.
    type Error;

    /// The first row whose key begins so and is not below `from`.
    fn first(&self, prefix: &[u8], from: &[u8]) -> Result<Option<FoldRow>, Self::Error>;

    /// The lease that a row is about, if it is in force.
    fn lease(&self, row: &FoldRow) -> Result<Option<LeaseRow>, Self::Error>;
}

/// Rows of the index under a prefix whose leases are over, so many at most. It reads those, and the
/// first of each of so many lengths, whatever number of leases there is.
pub(crate) fn over<I: LeaseIndex>(
    index: &I,
    prefix: &[u8],
    (opening, steady_us): (&Opening, u64),
    (most, lengths): (usize, usize),
) -> Result<Vec<FoldRow>, I::Error> {
    let mut found = Vec::new();
    // Of those that are held by an opening, those that are held by another one than this.
    let by = [prefix, &[BY_OPENING]].concat();
    let this = [by.as_slice(), &opening.id].concat();
    let mut from = by.clone();
    while found.len() < most
        && let Some(row) = index.first(&by, &from)?
    {
        if row.0.starts_with(&this) {
            from = behind(this.clone());
        } else {
            from = next(&row.0);
            found.push(row);
        }
    }
    let by = [prefix, &[BY_CLOCK]].concat();
    first_over(index, &by, (opening, steady_us), most, &mut found)?;
    let by = [prefix, &[BY_LENGTH]].concat();
    let mut from = by.clone();
    for _ in 0..lengths {
        let Some((key, _)) = index.first(&by, &from)? else {
            break;
        };
        let length = by.len().saturating_add(size_of::<u64>());
        let of_length = key.get(..length).unwrap_or(&key).to_vec();
        first_over(index, &of_length, (opening, steady_us), most, &mut found)?;
        from = behind(of_length);
    }
    Ok(found)
}

/// Adds those under a prefix that are over, until one is not.
fn first_over<I: LeaseIndex>(
    index: &I,
    prefix: &[u8],
    (opening, steady_us): (&Opening, u64),
    most: usize,
    found: &mut Vec<FoldRow>,
) -> Result<(), I::Error> {
    let mut from = prefix.to_vec();
    while found.len() < most
        && let Some(row) = index.first(prefix, &from)?
    {
        from = next(&row.0);
        match index.lease(&row)? {
            Some(lease) if lease.is_over(opening, steady_us) => found.push(row),
            Some(_) => break,
            None => {}
        }
    }
    Ok(())
}

/// Behind a key.
fn next(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// Behind every key that begins so: what follows in a place has eight bytes.
fn behind(mut prefix: Vec<u8>) -> Vec<u8> {
    prefix.extend_from_slice(&[u8::MAX; size_of::<u64>() + 1]);
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;
    use runstone_store::{CreateOptions, OpenOptions};
    use std::cell::Cell;
    use std::collections::BTreeMap;

    /// Leases by their places, and how often a row was asked for.
    #[derive(Default)]
    struct Counted(BTreeMap<Vec<u8>, LeaseRow>, Cell<usize>);

    impl LeaseIndex for Counted {
        type Error = ReadError;

        fn first(&self, prefix: &[u8], from: &[u8]) -> Result<Option<FoldRow>, ReadError> {
            self.1.set(self.1.get() + 1);
            let row = self.0.range(from.to_vec()..).next();
            let row = row.filter(|(key, _)| key.starts_with(prefix));
            Ok(row.map(|(key, _)| (key.clone(), Vec::new())))
        }

        fn lease(&self, (key, _): &FoldRow) -> Result<Option<LeaseRow>, ReadError> {
            Ok(self.0.get(key).cloned())
        }
    }

    impl Counted {
        fn add(&mut self, length: Length, opening: &Opening, (since, at_us): (u64, u64)) {
            let fields = LeaseFields {
                holder: 1,
                opening: 2,
                lease_us: 3,
                expires_at_us: 4,
            };
            let row = fields.read(&fields.control(length, at_us, opening), since);
            self.0.insert(row.place(), row);
        }

        fn over(&self, moment: (&Opening, u64), looked_at: (usize, usize)) -> Vec<u64> {
            let found = over(self, &[], moment, looked_at).unwrap();
            found.iter().map(|(key, _)| self.0[key].since).collect()
        }
    }

    fn opening() -> Opening {
        let log = Log::memory(&CreateOptions::default(), OpenOptions::default()).unwrap();
        log.opening()
    }

    #[test]
    fn what_is_over_is_found_and_little_else_is_read() {
        let (this, other) = (opening(), opening());
        let mut index = Counted::default();
        for since in 0..1_000 {
            index.add(Length::Again(100 + since % 2), &this, (since, since));
            index.add(Length::ByClock(200), &this, (1_000 + since, since));
            index.add(Length::Opening, &this, (2_000 + since, since));
        }
        assert_eq!(index.over((&this, 99), (1_000, LENGTHS)), [0; 0]);
        assert!(index.1.take() < 10, "nothing is over");
        index.add(Length::Opening, &other, (3_000, 0));
        let found = index.over((&this, 201), (1_000, LENGTHS));
        assert_eq!(found[..3], [3_000, 1_000, 1_001]);
        // Of each length those that began up to 100 before; by the clock two.
        assert_eq!(found.len(), 1 + 2 + 51 + 50);
        assert!(index.1.take() < 120);
        assert_eq!(index.over((&this, 201), (2, LENGTHS)), [3_000, 1_000]);
    }

    #[test]
    fn a_time_travels_in_microseconds() {
        let half = Duration::from_millis(500);
        for (hold, json) in [
            (Hold::For(half), r#"{"for":500000}"#),
            (Hold::ByClock(half), r#"{"by_clock":500000}"#),
            (Hold::Opening, r#""opening""#),
        ] {
            assert_eq!(serde_json::to_string(&hold).unwrap(), json);
            assert_eq!(serde_json::from_str::<Hold>(json).unwrap(), hold);
        }
        let schema = schemars::schema_for!(Hold).to_value().to_string();
        assert!(schema.contains(r#""format":"uint64""#), "{schema}");
        let longest = Hold::For(Duration::MAX).length(0);
        assert_eq!(longest, Length::Again(u64::MAX));
    }

    #[test]
    fn so_many_lengths_are_looked_at() {
        let this = opening();
        let mut index = Counted::default();
        for since in 0..100 {
            index.add(Length::Again(1_000 - since), &this, (since, since * 11));
        }
        // The oldest has the greatest length.
        assert_eq!(index.over((&this, 1_000), (1, LENGTHS)), [0; 0]);
        assert_eq!(index.over((&this, 1_000), (1, usize::MAX)), [0]);
    }
}
