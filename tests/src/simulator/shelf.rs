//! Destinations of the sinks of a simulated log. They outlive its crashes, and do not always behave.

use super::Machine;
use crate::sinks::{Seen, lines};
use crate::tamper::Seeded;
use runstone::sinks::{Batch, Delivery, Destination, Kinds, Known, Rejection, Sink, Telling};
use runstone::{Position, SinkConfig};
use runstone_codec::LogId;
use runstone_store::Log;
use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::yield_now;
use uuid::Uuid;

/// What a destination says of what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tells {
    Nothing,
    /// The position of the last event.
    Position,
    /// Its id, too.
    Event,
    /// It is a file of lines.
    Lines,
}

/// How a destination behaves for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Calm,
    /// It fails, panics and hangs, before it took anything, after a half, or after everything.
    Rough,
    /// Every third event it refuses for itself, beginning with this one.
    Picky(u64),
    /// It refuses credentials.
    Denies,
    /// Somebody has to change something.
    Broken,
}

/// Refusals of credentials after which nothing more comes.
const UNAUTHORISED_MOST: u32 = 5;

/// How a delivery ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Taken,
    Fails,
    Panics,
    Hangs,
    Refused,
    Denied,
    Broken,
}

/// A destination.
#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) tells: Tells,
    /// The file of lines, if it is one.
    pub(super) path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    mood: Mood,
    numbers: Seeded,
    /// What it has, but for lines.
    taken: Vec<Seen>,
    /// The newest event that came in its turn.
    last: Option<(u64, Uuid)>,
    offered: BTreeSet<u64>,
    /// How often each event was refused for itself, alone.
    refusals: BTreeMap<u64, u64>,
    /// How often in a row it said that it is of no use to ask again, as long as nobody resumed the sink.
    stops: u32,
    /// Faults of the machine by then. After one, or where the disk has no room, it may be that nobody
    /// recorded that the sink stopped, and then it is run again.
    struck: u64,
    /// How many deliveries may still come, once it was paused or removed.
    left: Option<u32>,
    /// What should not have come.
    wrong: Vec<String>,
}

impl Shelf {
    pub(super) fn new(tells: Tells, path: PathBuf, seed: u64) -> Self {
        let state = State {
            mood: Mood::Calm,
            numbers: Seeded::new(seed),
            taken: Vec::new(),
            last: None,
            offered: BTreeSet::new(),
            refusals: BTreeMap::new(),
            stops: 0,
            struck: 0,
            left: None,
            wrong: Vec::new(),
        };
        Self {
            tells,
            path,
            state: Mutex::new(state),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn behave(&self, mood: Mood) {
        self.lock().mood = mood;
        self.resume();
    }

    /// The sink is run anew, or resumed: it may ask again.
    pub(super) fn resume(&self) {
        let mut state = self.lock();
        (state.stops, state.left) = (0, None);
    }

    /// The sink is paused or removed: what is under way may come, and what is begun before that is heard.
    pub(super) fn pause(&self) {
        self.lock().left.get_or_insert(2);
    }

    /// What it has, in the order in which it came, without so many.
    pub(super) fn taken(&self, without: usize) -> Vec<Seen> {
        let taken = match self.tells {
            Tells::Lines => lines(&self.path),
            _ => self.lock().taken.clone(),
        };
        taken.get(without..).unwrap_or_default().to_vec()
    }

    /// How often it refused an event for itself.
    pub(super) fn refusals(&self, position: u64) -> u64 {
        self.lock()
            .refusals
            .get(&position)
            .copied()
            .unwrap_or_default()
    }

    pub(super) fn offered(&self) -> BTreeSet<u64> {
        self.lock().offered.clone()
    }

    pub(super) fn was_offered(&self, position: u64) -> bool {
        self.lock().offered.contains(&position)
    }

    /// Panics if something came that should not have.
    pub(super) fn check(&self) {
        let state = self.lock();
        assert!(state.wrong.is_empty(), "{:?}", state.wrong);
    }

    /// A crash has cut the end off the file of lines.
    pub(super) fn cut(&self) {
        let last = lines(&self.path).into_iter().rev();
        let last = last.filter(|seen| !seen.is_duplicate).map(|seen| {
            let id = super::copies::value_of(&seen)["id"]
                .as_str()
                .unwrap()
                .parse();
            (seen.position, id.unwrap())
        });
        let newest = last.max_by_key(|(position, _)| *position);
        self.lock().last = newest;
    }

    /// What is offered now, and what becomes of it: how many it takes, and how that ends.
    fn meets(&self, batch: &Batch, around: &Around) -> (usize, End) {
        let (durable, struck) = (around.log.durable_size(), around.machine.struck());
        let mut state = self.lock();
        let events = batch.events();
        for event in events {
            let position = event.position().get();
            state.offered.insert(position);
            if position >= durable {
                state.wrong.push(format!("{position} is not durable"));
            }
            let has = state.last.is_some_and(|(last, _)| position <= last);
            if self.tells != Tells::Nothing && has && !event.is_duplicate() {
                state.wrong.push(format!("{position} is given again"));
            }
        }
        match &mut state.left {
            Some(0) => state.wrong.push("it was told to end".to_owned()),
            Some(left) => *left -= 1,
            None => {}
        }
        let most = match state.mood {
            Mood::Denies => UNAUTHORISED_MOST,
            Mood::Broken => 1,
            _ => 0,
        };
        if state.struck != struck || around.machine.is_short_of_room() {
            (state.struck, state.stops) = (struck, 0);
        }
        state.stops += u32::from(most > 0);
        if state.stops > most {
            state.wrong.push("asked again".to_owned());
        }
        match state.mood {
            Mood::Calm => (events.len(), End::Taken),
            Mood::Denies => (0, End::Denied),
            Mood::Broken => (0, End::Broken),
            Mood::Picky(first) => {
                let is_refused = |position: u64| position % 3 == first % 3;
                let mut refused = events.iter().map(|event| event.position().get());
                let Some(refused) = refused.find(|position| is_refused(*position)) else {
                    return (events.len(), End::Taken);
                };
                if events.len() == 1 {
                    *state.refusals.entry(refused).or_default() += 1;
                }
                (0, End::Refused)
            }
            Mood::Rough => {
                let end = match state.numbers.below(6) {
                    0 => End::Fails,
                    1 => End::Panics,
                    2 => End::Hangs,
                    _ => return (events.len(), End::Taken),
                };
                let half = match self.tells {
                    // It writes a batch at once.
                    Tells::Lines => 0,
                    _ => events.len() / 2,
                };
                let takes = [0, half, events.len()][state.numbers.below(3)];
                (takes, end)
            }
        }
    }

    /// Whether it does not even say what it has.
    fn is_away(&self) -> bool {
        let mut state = self.lock();
        state.mood == Mood::Rough && state.numbers.below(4) == 0
    }

    fn took(&self, batch: &Batch, count: usize) {
        let mut state = self.lock();
        for event in batch.events().iter().take(count) {
            let (position, is_duplicate) = (event.position().get(), event.is_duplicate());
            if state.last.is_none_or(|(last, _)| position > last) {
                state.last = Some((position, event.record().header.event_id));
            }
            if self.tells != Tells::Lines {
                state.taken.push(Seen {
                    position,
                    is_duplicate,
                    line: String::from_utf8(event.line()).unwrap(),
                });
            }
        }
    }

    fn known(&self) -> Known {
        let last = self.lock().last;
        match (self.tells, last) {
            (Tells::Nothing, _) => Known::Untold,
            (_, None) => Known::Nothing,
            (Tells::Position, Some((last, _))) => Known::Last(Position::new(last)),
            (_, Some((last, id))) => Known::LastEvent(Position::new(last), id),
        }
    }
}

/// What destinations are of: the machine that goes down, and the log that it has.
#[derive(Clone, Debug)]
pub(super) struct Around {
    pub(super) machine: Machine,
    pub(super) log: Log,
    /// Deliveries so far.
    pub(super) deliveries: Arc<AtomicUsize>,
}

impl Around {
    /// Nothing happens any more once the machine is down.
    async fn unless_down(&self) {
        if self.machine.is_down() {
            pending::<()>().await;
        }
    }
}

/// The name of the kind of a destination.
pub(super) fn kind_of(number: usize) -> String {
    format!("shelf-{number}")
}

/// Kinds of sinks for these destinations.
pub(super) fn kinds<'a>(shelves: impl Iterator<Item = &'a Arc<Shelf>>, around: &Around) -> Kinds {
    let all = Kinds::new();
    shelves.enumerate().fold(all, |kinds, (number, shelf)| {
        let (shelf, around) = (Arc::clone(shelf), around.clone());
        kinds.kind(kind_of(number), move |config| {
            if shelf.is_away() {
                resume_unwind(Box::new("as it was asked to"));
            }
            let log = around.log.info().log_id;
            Ok(Box::new(Shelved {
                lines: writer(&shelf, config, log)?,
                shelf: Arc::clone(&shelf),
                around: around.clone(),
            }))
        })
    })
}

/// What writes the lines of a destination, if it is a file.
fn writer(
    shelf: &Shelf,
    config: &SinkConfig,
    log: LogId,
) -> Result<Option<Box<dyn Sink>>, Rejection> {
    if shelf.tells != Tells::Lines {
        return Ok(None);
    }
    let mut config = config.clone();
    config.to = Destination::jsonl(&shelf.path);
    Kinds::new().factory(&config, log, 0)(&config).map(Some)
}

/// What gives events to a destination.
struct Shelved {
    shelf: Arc<Shelf>,
    around: Around,
    lines: Option<Box<dyn Sink>>,
}

impl Sink for Shelved {
    fn deliver<'a>(&'a mut self, batch: &'a Batch) -> Delivery<'a> {
        Box::pin(async move {
            self.around.unless_down().await;
            self.around.deliveries.fetch_add(1, Ordering::SeqCst);
            let (takes, end) = self.shelf.meets(batch, &self.around);
            if takes > 0 {
                if let Some(lines) = &mut self.lines {
                    lines.deliver(batch).await?;
                }
                self.shelf.took(batch, takes);
                // It may be over before anybody is told.
                yield_now().await;
            }
            match end {
                End::Taken => Ok(()),
                End::Fails => Err(Rejection::unavailable("503")),
                End::Panics => resume_unwind(Box::new("as it was asked to")),
                End::Hangs => pending().await,
                End::Refused => Err(Rejection::Refused("422".to_owned())),
                End::Denied => Err(Rejection::Unauthorised("401".to_owned())),
                End::Broken => Err(Rejection::unusable("410")),
            }
        })
    }

    fn last(&mut self) -> Telling<'_> {
        Box::pin(async move {
            self.around.unless_down().await;
            if self.shelf.is_away() {
                return Err(Rejection::unavailable("503"));
            }
            match &mut self.lines {
                Some(lines) => lines.last().await,
                None => Ok(self.shelf.known()),
            }
        })
    }
}
