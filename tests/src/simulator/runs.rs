//! What agents ask of the runs of a simulated log.

use super::Simulation;
use super::calls::{SCOPE, STREAMS};
use crate::calls::{RunAsk, What, begin, fork, record, roll_back};
use crate::tamper::Outcome;
use runstone_codec::Position;
use runstone_projections::{runs, sessions};

const RUNS: usize = 3;

impl Simulation {
    fn run_stream(&self, number: usize) -> String {
        format!("{STREAMS}run-{}-{number}", self.agents.round)
    }

    /// A change that everybody was told of, of a run of which all is known, and how that stood then.
    fn known_point(&mut self, number: usize) -> Option<(u64, serde_json::Value)> {
        let (worlds, _) = self.agents.runs.get(&number)?;
        let [world] = worlds.all() else {
            return None;
        };
        let len = world.history.len();
        let at = self.numbers.below(len.max(1));
        self.agents.runs.get(&number)?.0.all()[0]
            .history
            .get(at)
            .cloned()
    }

    /// Another run that goes on from one of these, or one that goes back.
    fn travel(&mut self, number: usize) -> Outcome<bool> {
        let log = self.asked_log();
        let stream = self.run_stream(number);
        let of = self.numbers.below(RUNS);
        let is_fork = of != number;
        let Some((at, document)) = self.known_point(of) else {
            return Ok(false);
        };
        let (ask, told) = if is_fork {
            let ask = RunAsk::Fork(self.run_stream(of), at, document);
            let told = fork(&log, &stream, &ask);
            (ask, told)
        } else {
            let person = if self.numbers.below(3) == 0 {
                self.person(&log, 0)?
            } else {
                None
            };
            let fence = self.agents.runs.get(&number);
            let fence = fence.and_then(|(_, held)| Some(held.last()?.fence.get()));
            let (by, fence) = match (person, fence) {
                (Some(person), _) => (person, None),
                (None, Some(fence)) => (log, Some(fence)),
                (None, None) => return Ok(false),
            };
            let ask = RunAsk::RollBack(fence, at);
            let told = roll_back(&by, &stream, &ask);
            (ask, told)
        };
        let time = self.asked_at();
        self.tally.requests += 1;
        self.say(|| format!("  {stream}: {ask:?} {told:?}"));
        let heard = self.heard(Some(told));
        let known = self.agents.runs.entry(number).or_default();
        known.0.take(&[(ask, heard)], &time);
        Ok(true)
    }

    pub(super) fn ask_runs(&mut self) -> Outcome {
        let log = self.asked_log();
        let number = self.numbers.below(RUNS);
        let stream = self.run_stream(number);
        for _ in 0..1 + self.numbers.below(4) {
            if self.numbers.below(6) == 0 && self.travel(number)? {
                if self.failed || self.machine.is_down() {
                    break;
                }
                continue;
            }
            let all_held = self.agents.runs.get(&number).map(|(_, held)| held.clone());
            let all_held = all_held.unwrap_or_default();
            let newest = all_held.len().saturating_sub(1);
            let late = self.numbers.below(8) == 0;
            let at = if late {
                self.numbers.below(newest + 1)
            } else {
                newest
            };
            let time = self.asked_at();
            let (ask, told, held) = match all_held.get(at) {
                Some(held) if self.numbers.below(4) > 0 => {
                    let what = match self.numbers.below(20) {
                        0..=8 => What::Append(self.numbers.below(1000) as u64),
                        9..=15 => {
                            let value = self.numbers.below(5) as u64;
                            What::Patch((value % 3) as u8, (value > 0).then_some(value))
                        }
                        16 => What::Pause,
                        17..=18 => What::LetGo,
                        _ => What::Finish,
                    };
                    let told = record(&log, held, &what);
                    (RunAsk::Record(held.fence.get(), what), told, None)
                }
                _ => {
                    let any = self.numbers.below(6);
                    let ask = RunAsk::Begin {
                        may_start: any != 1,
                        may_resume: any != 0,
                        hold: self.any_hold(),
                    };
                    let (told, held) = begin(&log, (&stream, SCOPE), &ask);
                    (ask, told, held)
                }
            };
            self.tally.requests += 1;
            self.say(|| format!("  {stream}: {ask:?} {told:?}"));
            let heard = self.heard(Some(told));
            let known = self.agents.runs.entry(number).or_default();
            known.0.take(&[(ask, heard)], &time);
            known.1.extend(held);
        }
        Ok(())
    }

    /// Runs and sessions are as the model expects; why that cannot be seen.
    pub(super) fn see_runs(&mut self) -> Option<String> {
        let (log, time) = (self.asked_log(), self.asked_at());
        let mut failed = None;
        let mut all = std::mem::take(&mut self.agents.runs);
        for (number, (worlds, _)) in &mut all {
            let stream = self.run_stream(*number);
            let seen =
                runs::get(&log, &stream).and_then(|run| Ok((run, sessions::state(&log, &stream)?)));
            // As of a point in the past it is what it was then, whatever came since.
            let points = worlds.all().first().map(|world| world.history.clone());
            let points = points.unwrap_or_default();
            let past = points.get(self.numbers.below(points.len().max(1)));
            if let Some((at, document)) = past {
                let end = Some(Position::new(*at));
                match sessions::state_at(&log, &stream, end) {
                    Ok(then) => worlds.see(&(at, &then), |world| {
                        let known = world.history.iter().find(|(known, _)| known == at);
                        known.is_none_or(|(_, known)| then.document == *known)
                    }),
                    Err(error) => failed = Some(format!("{document}: {error}")),
                }
            }
            match seen {
                Ok((run, session)) => worlds.see(&(&run, &session), |world| {
                    let Some(run) = &run else {
                        return world.status(&time).is_none();
                    };
                    let fence = run.fence.get();
                    *world.fence.get_or_insert(fence) == fence
                        && Some(run.status.as_str()) == world.status(&time)
                        && session.document == world.document
                        && session.missing == 0
                }),
                Err(error) => failed = Some(error.to_string()),
            }
        }
        self.agents.runs = all;
        failed
    }
}
