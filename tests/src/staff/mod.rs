//! A plain model of agents, their helpers and what they are told, written from the description and not
//! from the code that decides them.

mod ask;
mod helper;

pub use ask::ask;
pub(crate) use ask::{heard, new_helper, of_agent, of_spawned};
pub(crate) use helper::gone;
pub use helper::{Helper, Spawn};

use crate::calls::{Said, Time};
use crate::office::PEOPLE;
use runstone_codec::Authority;
use runstone_projections::agents::{RetireReason, TTL_S};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Agents by number; behind them are those that may be spawned as helpers.
pub const AGENTS: usize = 3;
/// Names of agents and helpers.
pub const NAMES: usize = 16;
/// Helpers of one parent that may be there, and those of them that may run, in the settings.
pub const REGISTERED: u64 = 3;
/// See [`REGISTERED`].
pub const RUNNING: u64 = 2;
/// Seconds for which an order is valid, in the settings.
pub const WINDOW_S: u64 = 600;
/// What a person's sentence begins with that is an order, in the settings.
pub const MARKER: &str = "go to sleep";

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A program without a credential.
    Program,
    /// One of [`PEOPLE`].
    Person(usize),
    /// An agent with its credential: one of [`PROVEN`].
    Agent(usize),
}

/// Agents and helpers that have a credential of their own.
pub const PROVEN: [usize; 6] = [2, 3, 5, 7, 9, 11];

/// What is asked of agents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StaffAsk {
    /// Something is done to an agent.
    Change(usize, Change),
    /// A message to one, or to all, which says its number.
    Send(Option<usize>, Sort, u64),
    /// An agent looks what there is for it.
    Attend(usize),
    /// An agent has read up to the message at this position.
    Mark(usize, u64),
    /// To spawn a helper of this name.
    Spawn(usize, Spawn),
    /// A helper goes, for this reason.
    Retire(usize, RetireReason),
    /// Helpers go whose time is over, or whose parent must exit.
    Reap,
}

/// What is done to an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is known.
    Register,
    /// It has nothing to do.
    Sleep,
    /// It works again.
    Wake,
    /// Whether it should run.
    Power(bool),
    /// It gives no commands any more.
    Revoke,
}

/// What kind of message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// An order by its type.
    Order,
    /// An order by its directive.
    Directive,
    /// An order if a person says so.
    Sentence,
    /// Nothing but text.
    Talk,
    /// Text that asks about an order.
    Question,
    /// It was received, whatever else it says.
    Ack,
    /// The work is done: as an order.
    Done,
}

/// A question and who puts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staffed {
    /// Who.
    pub by: By,
    /// What.
    pub ask: StaffAsk,
}

/// How an agent stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It works.
    Runs,
    /// It sleeps.
    Sleeps,
    /// It must exit.
    Stops,
    /// It is gone for good.
    Retired,
}

/// An agent, as it may stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// How.
    pub doing: Doing,
    /// A supervisor should not run it.
    pub is_stopped: bool,
    /// Its commands are refused.
    pub is_revoked: bool,
    /// What it is besides, if it is a helper.
    pub helper: Option<Helper>,
    /// A person or a commander stopped it: its parent does not let it run.
    needs_person: bool,
    /// How many messages there were when it became known.
    since: usize,
    /// Orders up to this message are settled.
    seen: usize,
}

/// A message, as it may have been sent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Letter {
    number: u64,
    to: Option<usize>,
    sort: Sort,
    by: By,
    at_us: u64,
    /// Where it is recorded, if that was told.
    at: Option<u64>,
}

/// Agents as they may stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Staff {
    /// Those that are known.
    pub agents: BTreeMap<usize, Agent>,
    letters: Vec<Letter>,
    /// How many messages each has read.
    marks: BTreeMap<usize, usize>,
}

fn authority(by: By) -> Authority {
    match by {
        By::Program => Authority::System,
        By::Person(number) => PEOPLE[number].1,
        By::Agent(_) => Authority::Agent,
    }
}

fn is_entitled(by: By) -> bool {
    matches!(authority(by), Authority::Human | Authority::Commander)
}

/// Another agent may not act for one.
fn acts_for(by: By, name: usize) -> bool {
    match by {
        By::Agent(agent) => agent == name,
        _ => true,
    }
}

impl Agent {
    fn new(letters: usize) -> Self {
        Self {
            doing: Doing::Runs,
            is_stopped: false,
            is_revoked: false,
            helper: None,
            needs_person: false,
            since: letters,
            seen: letters,
        }
    }

    /// Whether it must exit.
    pub fn must_exit(&self) -> bool {
        self.is_revoked || matches!(self.doing, Doing::Stops | Doing::Retired)
    }

    /// Whether a person or a commander stopped it.
    pub fn needs_person(&self) -> bool {
        self.needs_person
    }

    /// It stops, unless it is gone.
    fn stop(&mut self) {
        if self.doing != Doing::Retired {
            self.doing = Doing::Stops;
        }
    }
}

impl Letter {
    /// Whether it is an order, and whether it counts from its sender.
    fn order(&self) -> Option<bool> {
        match self.sort {
            Sort::Order | Sort::Directive | Sort::Done => Some(is_entitled(self.by)),
            Sort::Sentence => (authority(self.by) == Authority::Human).then_some(true),
            Sort::Talk | Sort::Question | Sort::Ack => None,
        }
    }

    fn is_fresh(&self, time: &Time) -> bool {
        time.now_us.saturating_sub(self.at_us) <= WINDOW_S * 1_000_000
    }

    fn is_to(&self, agent: usize) -> bool {
        self.to.is_none_or(|to| to == agent)
    }
}

impl Staff {
    /// Whether these messages were sent, and no others; learns where those are that nobody was told
    /// of.
    pub fn were_sent(&mut self, found: &BTreeMap<u64, u64>) -> bool {
        let is_found = |letter: &mut Letter| {
            let found = found.get(&letter.number);
            found.is_some_and(|at| *letter.at.get_or_insert(*at) == *at)
        };
        self.letters.len() == found.len() && self.letters.iter_mut().all(is_found)
    }

    /// Up to which message an agent has read, by its position: none if it never said.
    pub fn mark(&self, agent: usize) -> Option<Option<u64>> {
        let read = self.marks.get(&agent)?;
        Some(self.letters.get(read - 1).and_then(|letter| letter.at))
    }

    /// An agent that has a credential is known by its first command.
    pub fn enter(&mut self, by: By) {
        if let By::Agent(name) = by {
            self.register(name);
        }
    }

    fn register(&mut self, name: usize) {
        let letters = self.letters.len();
        let agent = self.agents.entry(name);
        agent.or_insert_with(|| Agent::new(letters));
    }

    /// The agent that asks, if one does.
    pub fn caller(&self, by: By) -> Option<&Agent> {
        match by {
            By::Agent(name) => self.agents.get(&name),
            _ => None,
        }
    }

    /// Whether the commands of who asks are refused.
    pub fn is_barred(&self, by: By) -> bool {
        self.caller(by).is_some_and(|agent| agent.is_revoked)
    }

    fn change(&mut self, by: By, name: usize, change: Change) -> Said {
        let is_allowed = match change {
            Change::Register | Change::Sleep | Change::Wake => acts_for(by, name),
            Change::Power(runs) => self.may_power(by, name, runs),
            Change::Revoke => is_entitled(by),
        };
        if !is_allowed {
            self.enter(by);
            return Said::Refused("not_allowed");
        }
        if change == Change::Register {
            self.register(name);
            return Said::At(None);
        }
        let is_known = self.agents.contains_key(&name);
        self.enter(by);
        if !is_known {
            return Said::Refused("agent_not_found");
        }
        if change == Change::Power(true)
            && let Some(why) = self.keeps_off(name)
        {
            return Said::Refused(why);
        }
        let letters = self.letters.len();
        let Some(agent) = self.agents.get_mut(&name) else {
            return Said::Refused("agent_not_found");
        };
        match change {
            // Whoever must exit neither sleeps nor wakes.
            Change::Sleep if agent.doing == Doing::Runs => agent.doing = Doing::Sleeps,
            Change::Wake if agent.doing == Doing::Sleeps => agent.doing = Doing::Runs,
            Change::Power(true) if agent.is_stopped || agent.doing == Doing::Stops => {
                (agent.is_stopped, agent.doing) = (false, Doing::Runs);
                agent.needs_person = false;
                // Whoever says that it should run says that later than any order before.
                agent.seen = letters;
            }
            Change::Power(false) if agent.doing != Doing::Retired => {
                (agent.is_stopped, agent.doing) = (true, Doing::Stops);
                agent.needs_person |= is_entitled(by);
            }
            Change::Revoke if !agent.is_revoked => {
                (agent.is_revoked, agent.needs_person) = (true, true);
                agent.stop();
            }
            _ => {}
        }
        Said::At(None)
    }

    fn send(&mut self, letter: Letter) -> Said {
        let is_known = letter.to.is_none_or(|to| self.agents.contains_key(&to));
        let by = letter.by;
        if is_known {
            self.letters.push(letter);
        }
        self.enter(by);
        if is_known {
            Said::At(None)
        } else {
            Said::Refused("agent_not_found")
        }
    }

    /// Lets every order pass that came too late, then takes the newest; how they stand in between.
    fn settle(&mut self, name: usize, time: &Time) -> Vec<Self> {
        let mut between = Vec::new();
        let Some(seen) = self.agents.get(&name).map(|agent| agent.seen) else {
            return between;
        };
        let counts = |one: &Letter| one.is_to(name) && one.order() == Some(true);
        let orders = self.letters.iter().enumerate().skip(seen);
        let orders: Vec<(usize, bool)> = orders
            .filter(|(_, one)| counts(one))
            .map(|(number, one)| (number, one.is_fresh(time)))
            .collect();
        let (fresh, stale): (Vec<_>, Vec<_>) = orders.into_iter().partition(|(_, fresh)| *fresh);
        for (number, is_fresh) in stale.into_iter().chain(fresh.last().copied()) {
            if let Some(agent) = self.agents.get_mut(&name) {
                agent.seen = number + 1;
                if is_fresh {
                    agent.needs_person = true;
                    agent.stop();
                }
            }
            between.push(self.clone());
        }
        between
    }

    /// Looks for orders, and lets helpers go; whether it can.
    fn look(&mut self, by: By, name: usize, time: &Time) -> Result<Vec<usize>, Said> {
        if !acts_for(by, name) {
            return Err(Said::Refused("not_allowed"));
        }
        if !self.agents.contains_key(&name) {
            return Err(Said::Refused("agent_not_found"));
        }
        let is_barred = self.is_barred(by);
        let before = self.clone();
        self.settle(name, time);
        // It gives a command only if there is an order to settle.
        if is_barred && *self != before {
            *self = before;
            return Err(Said::Refused("agent_revoked"));
        }
        Ok(if is_barred {
            Vec::new()
        } else {
            self.reap(time)
        })
    }

    fn hear(&self, name: usize, time: &Time) -> Said {
        let agent = &self.agents[&name];
        let after = agent.since.max(self.marks.get(&name).copied().unwrap_or(0));
        let mut heard = [String::new(), String::new(), String::new()];
        for letter in self
            .letters
            .iter()
            .skip(after)
            .filter(|one| one.is_to(name))
        {
            // What it said to all it does not hear itself.
            let is_own = letter.by == By::Agent(name);
            let place = match letter.order() {
                Some(true) if letter.is_fresh(time) => 2,
                Some(_) => continue,
                None if is_own => continue,
                None if letter.sort == Sort::Ack => 1,
                None => 0,
            };
            let _ = write!(heard[place], " {}", letter.number);
        }
        Said::Heard(told(&heard, agent.must_exit()))
    }

    fn read(&mut self, by: By, name: usize, up_to: u64) -> Said {
        if !acts_for(by, name) {
            self.enter(by);
            return Said::Refused("not_allowed");
        }
        let is_it = |letter: &Letter| letter.at == Some(up_to);
        let number = self.letters.iter().position(is_it);
        self.enter(by);
        if let Some(number) = number {
            let mark = self.marks.entry(name).or_default();
            *mark = (*mark).max(number + 1);
        }
        Said::At(None)
    }
}

/// What is heard, in a line: messages, acks, orders, and whether it must exit.
fn told([messages, acks, orders]: &[String; 3], must_exit: bool) -> String {
    format!("messages{messages}, acks{acks}, orders{orders}, exit {must_exit}")
}

impl Staff {
    /// What is answered, how they stand then, and which helpers were let go meanwhile.
    pub fn ask(
        &self,
        Staffed { by, ask }: &Staffed,
        time: &Time,
        at: Option<u64>,
    ) -> (Said, Self, Vec<usize>) {
        let mut next = self.clone();
        let mut gone = Vec::new();
        if let StaffAsk::Spawn(_, spawn) = ask
            && !TTL_S.contains(&spawn.ttl_s)
        {
            return (Said::Refused("bad_ttl"), next, gone);
        }
        let gives_command = match ask {
            StaffAsk::Attend(_) => false,
            StaffAsk::Reap => !self.due(time).is_empty(),
            _ => true,
        };
        if gives_command && self.is_barred(*by) {
            return (Said::Refused("agent_revoked"), next, gone);
        }
        let said = match *ask {
            StaffAsk::Change(name, change) => next.change(*by, name, change),
            StaffAsk::Send(to, sort, number) => next.send(Letter {
                number,
                to,
                sort,
                by: *by,
                at_us: time.now_us,
                at,
            }),
            StaffAsk::Attend(name) => match next.look(*by, name, time) {
                Ok(reaped) => {
                    if !reaped.is_empty() {
                        next.enter(*by);
                    }
                    gone = reaped;
                    next.hear(name, time)
                }
                Err(said) => said,
            },
            StaffAsk::Mark(name, up_to) => next.read(*by, name, up_to),
            StaffAsk::Spawn(name, spawn) => {
                gone = next.reap(time);
                next.spawn(*by, name, spawn, time)
            }
            StaffAsk::Retire(name, why) => {
                let said = next.retire(*by, name, why);
                if matches!(said, Said::At(_)) {
                    gone.push(name);
                }
                said
            }
            StaffAsk::Reap => {
                gone = next.reap(time);
                if !gone.is_empty() {
                    next.enter(*by);
                }
                Said::At(None)
            }
        };
        (said, next, gone)
    }

    /// How they may stand before all of that is done.
    pub fn partly(&self, Staffed { by, ask }: &Staffed, time: &Time) -> Vec<Self> {
        let (mut next, mut between) = (self.clone(), Vec::new());
        let looks = match *ask {
            StaffAsk::Attend(name) => {
                let (acts, is_known) = (acts_for(*by, name), self.agents.contains_key(&name));
                if acts && is_known {
                    between = next.settle(name, time);
                }
                acts && is_known
            }
            StaffAsk::Spawn(_, spawn) => TTL_S.contains(&spawn.ttl_s),
            StaffAsk::Reap => true,
            StaffAsk::Retire(name, why) => {
                next.retire(*by, name, why);
                false
            }
            _ => return Vec::new(),
        };
        if self.is_barred(*by) {
            return Vec::new();
        }
        let due = if looks { next.due(time) } else { Vec::new() };
        let mut all = vec![next];
        for name in due {
            let gone = all.iter().cloned().map(|mut world| {
                world.enter(*by);
                world.let_go(name, time);
                world
            });
            let gone: Vec<Self> = gone.collect();
            all.extend(gone);
        }
        between.append(&mut all);
        between
    }
}
