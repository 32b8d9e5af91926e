//! One run and its session.

use super::{Held, Plain, Said, Time};
use runstone_projections::Hold;
use serde_json::{Map, Value, json};

/// What is asked of a run.
#[derive(Clone, Debug, PartialEq)]
pub enum RunAsk {
    /// To hold it.
    Begin {
        /// Whether one that is not there is started.
        may_start: bool,
        /// Whether one that is there is resumed.
        may_resume: bool,
        /// How long it is held.
        hold: Hold,
    },
    /// To record something in it, by who began or resumed it there.
    Record(u64, What),
    /// To go on in it from a run that stood so after this position; its stream.
    Fork(String, u64, Value),
    /// To go back to how it stood after a change, by who began or resumed it there, or by a person.
    RollBack(Option<u64>, u64),
}

/// What is recorded in a run.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// An item at the end of a list of its session.
    Append(u64),
    /// A member of its session, or none.
    Patch(u8, Option<u64>),
    /// It waits for somebody.
    Pause,
    /// Its holder lets go of it.
    LetGo,
    /// It ends.
    Finish,
}

/// A run, as it may stand.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    is_there: bool,
    held: Option<Held>,
    is_paused: bool,
    /// How it stands since nobody holds it.
    let_go: Option<&'static str>,
    is_finished: bool,
    /// The stream and the position that it was forked from.
    forked: Option<(String, u64)>,
    /// Changes whose positions are known, and the document after each.
    pub history: Vec<(u64, Value)>,
    /// Where it was begun or resumed, if that was told.
    pub fence: Option<u64>,
    /// The document of its session.
    pub document: Value,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            is_there: false,
            held: None,
            is_paused: false,
            let_go: None,
            is_finished: false,
            forked: None,
            history: Vec::new(),
            fence: None,
            document: json!({}),
        }
    }
}

impl Run {
    /// How it is listed; `None` if there is no such run.
    pub fn status(&self, time: &Time) -> Option<&'static str> {
        let word = if self.is_finished {
            "success"
        } else if self.is_paused {
            "paused"
        } else if self.held.is_some_and(|held| held.is_over(time)) {
            "crashed"
        } else {
            self.let_go.unwrap_or("running")
        };
        self.is_there.then_some(word)
    }

    fn take(&mut self, what: &What) {
        match what {
            What::Pause => (self.is_paused, self.held) = (true, None),
            What::LetGo => (self.let_go, self.held) = (Some("aborted"), None),
            What::Finish => (self.is_finished, self.held) = (true, None),
            What::Append(_) | What::Patch(..) => self.document = what.change(&self.document),
        }
    }
}

impl What {
    /// The patch or the items that it stands for.
    pub fn content(&self) -> Value {
        match self {
            Self::Append(item) => json!([item]),
            Self::Patch(member, value) => json!({ format!("m{member}"): value }),
            _ => Value::Null,
        }
    }

    fn change(&self, document: &Value) -> Value {
        let mut members: Map<String, Value> = document.as_object().cloned().unwrap_or_default();
        match self {
            Self::Append(item) => {
                let list = members.entry("list").or_insert_with(|| json!([]));
                list.as_array_mut()
                    .expect("nothing else is put there")
                    .push(json!(item));
            }
            Self::Patch(member, Some(value)) => {
                members.insert(format!("m{member}"), json!(value));
            }
            Self::Patch(member, None) => {
                members.remove(&format!("m{member}"));
            }
            _ => {}
        }
        members.into()
    }
}

impl Plain for Run {
    type Ask = RunAsk;

    fn ask(&self, ask: &RunAsk, time: &Time, at: Option<u64>) -> (Said, Self) {
        let no = |code| (Said::Refused(code), self.clone());
        match ask {
            RunAsk::Begin {
                may_start,
                may_resume,
                hold,
            } => {
                let is_held = self.held.is_some_and(|held| !held.is_over(time));
                match (self.is_there, may_start, may_resume) {
                    (false, false, _) => return no("run_not_found"),
                    (true, _, false) => return no("run_exists"),
                    (true, ..) if self.is_finished => return no("run_finished"),
                    (true, ..) if is_held => return no("run_held"),
                    _ => {}
                }
                let next = Self {
                    is_there: true,
                    held: Some(Held::from(time, *hold)),
                    is_paused: false,
                    let_go: None,
                    fence: at,
                    ..self.clone()
                };
                (Said::Begun(self.is_there), next)
            }
            RunAsk::Record(fence, what) => {
                if self.fence != Some(*fence) || self.held.is_none() {
                    return no("stale_run");
                }
                let mut next = self.clone();
                next.take(what);
                if matches!(what, What::Append(_) | What::Patch(..)) {
                    next.history
                        .extend(at.map(|at| (at, next.document.clone())));
                }
                (Said::At(None), next)
            }
            RunAsk::Fork(of, from, document) => {
                let forked = Some((of.clone(), *from));
                if self.is_there {
                    return if self.forked == forked {
                        (Said::Begun(true), self.clone())
                    } else {
                        no("run_exists")
                    };
                }
                let next = Self {
                    is_there: true,
                    let_go: Some("forked"),
                    forked,
                    document: document.clone(),
                    ..Self::default()
                };
                (Said::Begun(false), next)
            }
            RunAsk::RollBack(fence, to) => {
                let is_held = self.fence == *fence && self.held.is_some();
                if fence.is_some() && !is_held {
                    return no("stale_run");
                }
                let mut next = self.clone();
                let then = self.history.iter().find(|(at, _)| at == to);
                if let Some((_, document)) = then {
                    next.document = document.clone();
                }
                if fence.is_none() {
                    (next.held, next.let_go) = (None, Some("rolled_back"));
                    (next.is_paused, next.is_finished) = (false, false);
                }
                (Said::At(None), next)
            }
        }
    }
}
