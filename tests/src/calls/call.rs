//! One call that happens once.

use super::{Held, Plain, Said, Time};
use runstone_projections::Hold;
use runstone_projections::effects::{Class, Executed};

/// Attempts that the settings allow by default.
const MAX_ATTEMPTS: u64 = 3;

/// What is asked of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallAsk {
    /// To make it.
    Claim {
        /// What it means to make it twice.
        class: Class,
        /// Which arguments.
        args: u8,
        /// How long it is held.
        hold: Hold,
        /// How long the result of a read is given again; `None`: for ever.
        fresh_us: Option<u64>,
    },
    /// Something is done to it: by the holder of a claim, or by an operator, who names none.
    Act(Option<u64>, Act),
}

/// What is done to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// It answered this.
    Complete(u8),
    /// It failed; `None`: as its class says.
    Fail(Option<Executed>),
    /// It is given up, begun or not.
    Cancel(bool),
    /// Nobody knows.
    Unknown,
    /// Its holder goes on.
    Renew(Hold),
    /// Somebody found out: what it answered, or that it was not made.
    Reconcile(Option<u8>, Who),
    /// It may be made again.
    Release(Who),
}

/// Who settles what nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// A person.
    Person,
    /// An agent that says so.
    Agent,
    /// A program that asked the other side.
    Program,
}

/// How a call stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has claimed it.
    #[default]
    New,
    /// Somebody holds it.
    InFlight(Held),
    /// It was made.
    Completed(u8),
    /// It was not made.
    NotMade,
    /// It was made, and failed.
    ForGood,
    /// It was given up before it was made.
    Cancelled,
    /// Nobody knows.
    Unknown,
}

/// A call, as it may stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// How.
    pub standing: Standing,
    /// Which attempt.
    pub attempt: u64,
    /// Class of the newest claim.
    pub class: Class,
    /// Position of the newest claim, if that was told.
    pub fence: Option<u64>,
    args: u8,
    fresh_us: Option<u64>,
    /// Attempts before a person let it be made again.
    released: u64,
    /// When and where the newest attempt ended.
    ended_us: u64,
    ended: Option<u64>,
}

impl Default for Call {
    fn default() -> Self {
        Self {
            standing: Standing::New,
            attempt: 0,
            class: Class::Write,
            fence: None,
            args: 0,
            fresh_us: None,
            released: 0,
            ended_us: 0,
            ended: None,
        }
    }
}

pub(crate) fn may_repeat(class: Class) -> bool {
    class == Class::Read || class == Class::Idempotent
}

impl Call {
    fn end(&self, standing: Standing, time: &Time, at: Option<u64>) -> Self {
        Self {
            standing,
            ended_us: time.now_us,
            ended: at,
            ..self.clone()
        }
    }

    fn claim(&self, ask: &CallAsk, time: &Time, at: Option<u64>) -> (Said, Self) {
        let CallAsk::Claim {
            class,
            args,
            hold,
            fresh_us,
        } = ask
        else {
            unreachable!("it is no claim")
        };
        let granted = |attempt| {
            let next = Self {
                standing: Standing::InFlight(Held::from(time, *hold)),
                attempt,
                class: *class,
                fence: at,
                args: *args,
                fresh_us: *fresh_us,
                released: self.released,
                ended_us: 0,
                ended: None,
            };
            (Said::Held(attempt), next)
        };
        let again = || {
            if self.attempt.saturating_sub(self.released) < MAX_ATTEMPTS {
                granted(self.attempt + 1)
            } else {
                (Said::Refused("attempts_exhausted"), self.clone())
            }
        };
        let no = |code| (Said::Refused(code), self.clone());
        match &self.standing {
            Standing::New => granted(1),
            _ if *args != self.args => no("key_conflict"),
            Standing::InFlight(held) if !held.is_over(time) => no("in_flight"),
            Standing::InFlight(_) if may_repeat(self.class) => again(),
            Standing::InFlight(_) => (Said::Refused("call_unknown"), self.lapsed(time)),
            Standing::Unknown => no("call_unknown"),
            Standing::ForGood => no("failed_for_good"),
            Standing::NotMade | Standing::Cancelled => again(),
            Standing::Completed(result) => {
                let is_stale = |fresh_us: u64| time.now_us >= self.ended_us + fresh_us;
                if self.class == Class::Read && self.fresh_us.is_some_and(is_stale) {
                    return granted(1);
                }
                (Said::Stored(result.to_string()), self.clone())
            }
        }
    }

    /// Whether its holder let the lease pass, and nobody has recorded that yet.
    pub(crate) fn is_lapsed(&self, time: &Time) -> bool {
        match &self.standing {
            Standing::InFlight(held) => !may_repeat(self.class) && held.is_over(time),
            _ => false,
        }
    }

    /// As it stands when that is recorded.
    pub(crate) fn lapsed(&self, time: &Time) -> Self {
        self.end(Standing::Unknown, time, None)
    }

    fn act(&self, by: Option<u64>, act: &Act, time: &Time, at: Option<u64>) -> (Said, Self) {
        let no = |code| (Said::Refused(code), self.clone());
        let is_in_flight = matches!(self.standing, Standing::InFlight(_));
        let is_unknown = self.standing == Standing::Unknown;
        // An operator settles it as it stands; whoever speaks for a claim names it.
        let names_none = matches!(
            act,
            Act::Release(_) | Act::Reconcile(_, Who::Person | Who::Agent)
        );
        let is_stale = match by {
            Some(_) => by != self.fence,
            None => !names_none,
        };
        if self.standing == Standing::New || is_stale {
            return no("stale_claim");
        }
        if let (Act::Complete(result), Standing::Completed(before)) = (act, &self.standing) {
            return if result == before {
                (Said::At(self.ended), self.clone())
            } else {
                no("stale_claim")
            };
        }
        let is_lapsed = self.is_lapsed(time);
        let done = |standing| (Said::At(None), self.end(standing, time, at));
        let doubt = if may_repeat(self.class) {
            Executed::No
        } else {
            Executed::Unknown
        };
        match act {
            Act::Reconcile(..) if !is_unknown && !is_lapsed => no("nothing_to_settle"),
            Act::Release(_) if !is_unknown && !is_in_flight => no("nothing_to_settle"),
            Act::Reconcile(_, Who::Agent) | Act::Release(Who::Agent | Who::Program) => {
                no("not_allowed")
            }
            Act::Reconcile(Some(result), _) => done(Standing::Completed(*result)),
            Act::Reconcile(None, _) => done(Standing::NotMade),
            Act::Release(_) => {
                let (said, mut next) = done(Standing::NotMade);
                next.released = self.attempt;
                (said, next)
            }
            _ if !is_in_flight => no("stale_claim"),
            Act::Complete(result) => done(Standing::Completed(*result)),
            Act::Fail(executed) => done(match executed.unwrap_or(doubt) {
                Executed::No => Standing::NotMade,
                Executed::Yes => Standing::ForGood,
                _ => Standing::Unknown,
            }),
            Act::Cancel(true) if !may_repeat(self.class) => done(Standing::Unknown),
            Act::Cancel(_) => done(Standing::Cancelled),
            Act::Unknown => done(Standing::Unknown),
            Act::Renew(hold) => {
                let next = Self {
                    standing: Standing::InFlight(Held::from(time, *hold)),
                    ..self.clone()
                };
                (Said::At(None), next)
            }
        }
    }
}

impl Plain for Call {
    type Ask = CallAsk;

    fn ask(&self, ask: &CallAsk, time: &Time, at: Option<u64>) -> (Said, Self) {
        match ask {
            CallAsk::Claim { .. } => self.claim(ask, time, at),
            CallAsk::Act(by, act) => self.act(*by, act, time, at),
        }
    }
}
