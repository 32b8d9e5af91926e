//! Injected time.

use std::fmt::Debug;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A duration in whole microseconds; what `u64` does not hold is `u64::MAX`.
pub fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A duration in seconds, a part of one counted whole: no time but none comes to nothing.
pub fn whole_seconds(time: Duration) -> u64 {
    time.as_secs()
        .saturating_add(u64::from(time.subsec_nanos() > 0))
}

/// Where a log gets its time from.
///
/// The wall clock stamps events; the monotonic clock measures how far the wall clock should have
/// moved, so that a jump is noticed.
pub trait Clock: Send + Sync + Debug {
    /// Microseconds since the Unix epoch.
    fn wall_us(&self) -> u64;
    /// Microseconds since an arbitrary fixed point, never decreasing.
    fn monotonic_us(&self) -> u64;
}

/// The clocks of the operating system.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl Default for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the system clock enters"
    )]
    fn default() -> Self {
        Self {
            started: Instant::now(),
        }
    }
}

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where the system clock enters"
    )]
    fn wall_us(&self) -> u64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, micros)
    }

    fn monotonic_us(&self) -> u64 {
        micros(self.started.elapsed())
    }
}

/// A clock that moves only when it is told to, for tests and simulations.
#[derive(Debug)]
pub struct ManualClock {
    now: Mutex<(u64, u64)>,
}

impl ManualClock {
    /// A clock that shows `wall_us` and a monotonic time of zero.
    pub fn new(wall_us: u64) -> Self {
        Self {
            now: Mutex::new((wall_us, 0)),
        }
    }

    /// Moves both clocks forward.
    pub fn advance(&self, micros: u64) {
        let mut now = self.lock();
        now.0 = now.0.saturating_add(micros);
        now.1 = now.1.saturating_add(micros);
    }

    /// Sets the wall clock and leaves the monotonic one: somebody changed the time of the machine.
    pub fn set_wall(&self, wall_us: u64) {
        self.lock().0 = wall_us;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (u64, u64)> {
        self.now
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn wall_us(&self) -> u64 {
        self.lock().0
    }

    fn monotonic_us(&self) -> u64 {
        self.lock().1
    }
}

/// One hour: a wall clock further ahead than this is not believed at once.
const JUMP_US: u64 = 3_600_000_000;
/// A jump is believed when it still shows after this long.
const CONFIRM_US: u64 = 60_000_000;

/// Turns clock readings into `recorded_at` values that never decrease and do not follow a wall
/// clock that jumps ahead until it has stayed there for a minute.
#[derive(Debug)]
pub(crate) struct Timekeeper {
    last_us: u64,
    anchor_wall: u64,
    anchor_monotonic: u64,
    suspected_at: Option<u64>,
}

impl Timekeeper {
    /// Starts from the newest time of the log: a log that was closed for long opens at the wall
    /// clock, since nothing tells how long it was closed.
    pub(crate) fn new(clock: &dyn Clock, newest_us: u64) -> Self {
        let wall = clock.wall_us().max(newest_us);
        Self {
            last_us: newest_us,
            anchor_wall: wall,
            anchor_monotonic: clock.monotonic_us(),
            suspected_at: None,
        }
    }

    /// What [`next`](Self::next) would answer.
    pub(crate) fn peek(&self, clock: &dyn Clock) -> u64 {
        let mut keeper = Self { ..*self };
        keeper.next(clock)
    }

    /// The next `recorded_at`.
    pub(crate) fn next(&mut self, clock: &dyn Clock) -> u64 {
        let wall = clock.wall_us();
        let monotonic = clock.monotonic_us();
        let expected = self
            .anchor_wall
            .saturating_add(monotonic.saturating_sub(self.anchor_monotonic));
        let ahead = wall > expected.saturating_add(JUMP_US);
        let believed = match (ahead, self.suspected_at) {
            (false, _) => {
                self.suspected_at = None;
                true
            }
            (true, Some(since)) if monotonic.saturating_sub(since) >= CONFIRM_US => {
                self.suspected_at = None;
                true
            }
            (true, Some(_)) => false,
            (true, None) => {
                self.suspected_at = Some(monotonic);
                false
            }
        };
        let now = if believed {
            self.anchor_wall = wall.max(self.last_us);
            self.anchor_monotonic = monotonic;
            wall
        } else {
            expected
        };
        self.last_us = self.last_us.max(now);
        self.last_us
    }

    /// Adopts the wall clock at once.
    pub(crate) fn accept(&mut self, clock: &dyn Clock) {
        self.anchor_wall = clock.wall_us();
        self.anchor_monotonic = clock.monotonic_us();
        self.suspected_at = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_700_000_000_000_000;

    #[test]
    fn durations_count_in_whole_units_and_have_an_end() {
        let times = [0, 1, 1_999, 1_000_000_000, 1_000_000_001].map(Duration::from_nanos);
        assert_eq!(times.map(micros), [0, 0, 1, 1_000_000, 1_000_000]);
        assert_eq!(times.map(whole_seconds), [0, 1, 1, 1, 2]);
        let ends = [micros(Duration::MAX), whole_seconds(Duration::MAX)];
        assert_eq!(ends, [u64::MAX; 2]);
    }

    #[test]
    fn never_decreases() {
        let clock = ManualClock::new(START);
        let mut keeper = Timekeeper::new(&clock, 0);
        let first = keeper.next(&clock);
        clock.set_wall(START - 86_400_000_000);
        assert_eq!(keeper.next(&clock), first);
    }

    #[test]
    fn a_jump_is_adopted_after_a_minute() {
        let clock = ManualClock::new(START);
        let mut keeper = Timekeeper::new(&clock, 0);
        keeper.next(&clock);
        let year = 31_536_000_000_000;
        clock.set_wall(START + year);
        assert_eq!(keeper.next(&clock), START);
        clock.advance(30_000_000);
        assert_eq!(keeper.next(&clock), START + 30_000_000);
        clock.advance(31_000_000);
        assert_eq!(keeper.next(&clock), START + year + 61_000_000);
    }

    #[test]
    fn a_look_is_what_comes_next_and_changes_nothing() {
        let clock = ManualClock::new(START);
        let mut keeper = Timekeeper::new(&clock, 0);
        clock.set_wall(START + 2 * JUMP_US);
        for _ in 0..3 {
            clock.advance(CONFIRM_US);
            // However often somebody looks, nothing is suspected before it is to be recorded.
            let looks = [keeper.peek(&clock), keeper.peek(&clock)];
            assert_eq!(looks, [keeper.next(&clock); 2]);
        }
    }

    #[test]
    fn a_jump_that_goes_back_is_forgotten() {
        let clock = ManualClock::new(START);
        let mut keeper = Timekeeper::new(&clock, 0);
        keeper.next(&clock);
        clock.set_wall(START + 2 * JUMP_US);
        keeper.next(&clock);
        clock.set_wall(START);
        clock.advance(CONFIRM_US);
        assert_eq!(keeper.next(&clock), START + CONFIRM_US);
        clock.set_wall(START + 3 * JUMP_US);
        assert_eq!(keeper.next(&clock), START + CONFIRM_US);
    }

    #[test]
    fn accept_adopts_at_once() {
        let clock = ManualClock::new(START);
        let mut keeper = Timekeeper::new(&clock, 0);
        keeper.next(&clock);
        clock.set_wall(START + 5 * JUMP_US);
        keeper.next(&clock);
        keeper.accept(&clock);
        assert_eq!(keeper.next(&clock), START + 5 * JUMP_US);
    }
}
