//! Plain models of calls that happen once and of runs, written from their description and not from
//! the code that decides them.
//!
//! ```text
//!  Call, Run   one of them, as it may stand; Plain::ask tells what is answered and what follows
//!  Worlds      all the ways that it may stand, as far as anybody was told
//!  ask         the same question put to a real log
//! ```
//!
//! What nobody was told about happened in one world and not in another; later answers tell which.

mod ask;
mod call;
mod run;

pub use ask::{Lost, Told, act, begin, call, claim, fork, record, roll_back, sweep_calls};
pub(crate) use ask::{of_append, of_command};
pub(crate) use call::may_repeat;
pub use call::{Act, Call, CallAsk, Standing, Who};
pub use run::{Run, RunAsk, What};

use runstone_projections::Hold;
use runstone_store::micros;
use std::fmt::Debug;

/// When something is asked.
#[derive(Clone, Copy, Debug)]
pub struct Time {
    /// The log's clock.
    pub now_us: u64,
    /// Which opening of the log.
    pub opening: [u8; 16],
    /// When that began.
    pub opened_at_us: u64,
    /// How long the monotonic clock has run since then.
    pub passed_us: u64,
}

impl Time {
    /// The clock that leases and helpers go by.
    pub fn steady_us(&self) -> u64 {
        self.opened_at_us + self.passed_us
    }
}

/// How long something is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// How.
    pub hold: Hold,
    /// The opening in which it was taken or renewed.
    pub opening: [u8; 16],
    /// How long that had lasted.
    pub since_us: u64,
    /// When that was, by the clock that leases go by.
    pub from_us: u64,
}

impl Held {
    /// From now on.
    pub fn from(time: &Time, hold: Hold) -> Self {
        Self {
            hold,
            opening: time.opening,
            since_us: time.passed_us,
            from_us: time.steady_us(),
        }
    }

    /// Whether it ended. One that is found at open has its full length again, unless it goes by the
    /// clock.
    pub fn is_over(&self, time: &Time) -> bool {
        let is_here = self.opening == time.opening;
        match self.hold {
            Hold::For(lease) => {
                let since_us = if is_here { self.since_us } else { 0 };
                time.passed_us >= since_us + micros(lease)
            }
            Hold::ByClock(lease) => time.steady_us() >= self.from_us + micros(lease),
            _ => !is_here,
        }
    }
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It is the caller's, in this attempt.
    Held(u64),
    /// What was next, this one, is the caller's, in this attempt.
    Taken(usize, u64),
    /// It was made, and this is its result.
    Stored(String),
    /// A run is the caller's; whether it was there.
    Begun(bool),
    /// It is recorded at this position; a model that does not know which says none.
    At(Option<u64>),
    /// So much was spent; whether a limit is exceeded now.
    Spent(bool),
    /// This is what there is to hear.
    Heard(String),
    /// No, with this code.
    Refused(&'static str),
    /// The log could not: it is not recorded, but for what was done on the way to it.
    Failed,
}

impl Said {
    fn agrees(&self, told: &Self) -> bool {
        matches!((self, told), (Self::At(None), Self::At(_))) || self == told
    }
}

/// Something as it may stand.
pub trait Plain: Clone + Debug + PartialEq + Default {
    /// What is asked of it.
    type Ask: Debug;

    /// What is answered, and how it stands then; `at`: where that was recorded, if that is known.
    fn ask(&self, ask: &Self::Ask, time: &Time, at: Option<u64>) -> (Said, Self);

    /// How it may stand besides while that is on its way, or given up.
    fn partly(&self, ask: &Self::Ask, time: &Time) -> Vec<Self> {
        let _ = (ask, time);
        Vec::new()
    }

    /// What time alone changes.
    fn pass(&mut self, time: &Time) {
        let _ = time;
    }
}

/// All the ways that something may stand.
#[derive(Clone, Debug)]
pub struct Worlds<P>(Vec<P>);

impl<P: Plain> Default for Worlds<P> {
    fn default() -> Self {
        Self(vec![P::default()])
    }
}

/// What was answered and where it was recorded; `None`: nobody was told, so it may have happened.
pub type Heard = Option<(Said, Option<u64>)>;

impl<P: Plain> Worlds<P> {
    /// Takes in what was asked at once, in whichever order it was decided.
    ///
    /// # Panics
    ///
    /// If there is no world in which all of that was answered so.
    pub fn take(&mut self, asked: &[(P::Ask, Heard)], time: &Time) {
        self.0.iter_mut().for_each(|world| world.pass(time));
        let mut next = Vec::new();
        for order in orders(asked.len()) {
            let mut worlds = self.0.clone();
            for (done, at) in order.iter().enumerate() {
                // Whoever comes later may have done a part of it already.
                for later in order.get(done..).unwrap_or_default() {
                    if let Some((ask, _)) = asked.get(*later) {
                        begin_some(&mut worlds, ask, time);
                    }
                }
                let Some((ask, heard)) = asked.get(*at) else {
                    continue;
                };
                worlds = step(&worlds, ask, heard.as_ref(), time);
            }
            for world in worlds {
                if !next.contains(&world) {
                    next.push(world);
                }
            }
        }
        assert!(
            !next.is_empty(),
            "no world answers {asked:?} at {time:?}: {:?}",
            self.0
        );
        self.0 = next;
    }

    /// Leaves the worlds that agree with what is seen; each learns what it could not know.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn see(&mut self, what: &dyn Debug, agrees: impl Fn(&mut P) -> bool) {
        let before = self.0.clone();
        self.0.retain_mut(agrees);
        let mut known: Vec<P> = Vec::new();
        for world in std::mem::take(&mut self.0) {
            if !known.contains(&world) {
                known.push(world);
            }
        }
        self.0 = known;
        assert!(!self.0.is_empty(), "seen is {what:?}, possible {before:?}");
    }

    /// How it may stand.
    pub fn all(&self) -> &[P] {
        &self.0
    }
}

/// Adds the worlds in which a part of what was asked is done.
fn begin_some<P: Plain>(worlds: &mut Vec<P>, ask: &P::Ask, time: &Time) {
    let begun: Vec<P> = worlds
        .iter()
        .flat_map(|world| world.partly(ask, time))
        .collect();
    for world in begun {
        if !worlds.contains(&world) {
            worlds.push(world);
        }
    }
}

fn step<P: Plain>(
    worlds: &[P],
    ask: &P::Ask,
    heard: Option<&(Said, Option<u64>)>,
    time: &Time,
) -> Vec<P> {
    let mut next: Vec<P> = Vec::new();
    let mut add = |world: P| {
        if !next.contains(&world) {
            next.push(world);
        }
    };
    for world in worlds {
        let at = heard.and_then(|(_, at)| *at);
        let (said, then) = world.ask(ask, time, at);
        match heard {
            Some((Said::Failed, _)) => {
                add(world.clone());
            }
            Some((told, _)) if said.agrees(told) => add(then),
            Some(_) => {}
            None => {
                add(world.clone());
                add(then);
            }
        }
    }
    next
}

/// Every order of so many; few are meant.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for shorter in orders(count - 1) {
        for place in 0..count {
            let mut order = shorter.clone();
            order.insert(place, count - 1);
            all.push(order);
        }
    }
    all
}
