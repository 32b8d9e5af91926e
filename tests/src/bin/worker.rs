//! A worker that makes calls and drains a tray of a log that somebody else holds, whoever that is.
//!
//! ```text
//! worker LOG WORLD NAME FIRST CALLS handle|command RUNSTONE
//! output  did call-N, did task-N, lost, nothing, passed, twice WHAT, done
//! input   a line after each did, lost and nothing
//!
//! worker LOG WORLD NAME handle|command RUNSTONE
//! output  took TASK ATTEMPT FENCE, did TASK, late TASK, nothing, drained, twice WHAT, done
//! input   a line after each took, did, late and nothing
//! ```
//!
//! What it does is a file in the folder WORLD that must not be there yet. It begins with the call FIRST
//! of so many CALLS. When it is not told what became of a request it looks, as docs/ATTACH.md says.
//!
//! Without calls it drains the tray, and says of each task that it has it before it does anything: whoever
//! watches may kill it there, or let it come late. Its leases are short, and who holds the log stays.

use runstone::effects::{Change, Claim, Claimed};
use runstone::trays::{self, TrayError, Trays};
use runstone::{EffectError, Hold, Position, Runstone, TaskState};
use runstone_tests::command::{Ended, Runstone as Command};
use runstone_tests::tamper::Outcome;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, ErrorKind, Write as _};
use std::path::PathBuf;
use std::time::Duration;

const TRAY: &str = "in";
const STALE: &str = "stale_claim";
/// Where nothing is given up no lease ends.
const LONG_S: u64 = 3_600;
const SHORT_S: u64 = 60;

/// What came of a request.
enum Told<T> {
    Answer(T),
    /// Nobody knows, or nobody was there: it is asked again.
    Lost,
}

/// A task that this worker holds.
struct Task {
    id: String,
    fence: u64,
    attempt: u64,
}

/// What a tray answers to a claim.
enum Next {
    Task(Task),
    /// Others hold what there is.
    Nothing,
    Drained,
}

/// How the log is asked.
trait Way {
    /// The fence of a call that this worker holds; `None` if it is another's.
    fn claim_call(&mut self, key: &str) -> Outcome<Told<Option<u64>>>;
    fn complete_call(&mut self, key: &str, fence: u64) -> Outcome<Told<()>>;
    fn claim_task(&mut self) -> Outcome<Told<Next>>;
    /// Tasks that this worker holds, after a claim of which it was told nothing.
    fn held_tasks(&mut self) -> Outcome<Told<Vec<Task>>>;
    /// Whether it was recorded: not if the claim is not in force.
    fn complete_task(&mut self, task: &Task) -> Outcome<Told<bool>>;
}

/// A handle of its own.
struct ByHandle {
    log: Runstone,
    name: String,
    lease_s: u64,
}

/// Of what may be asked again.
fn is_lost(code: &str) -> bool {
    ["holder_lost", "outcome_unknown"].contains(&code)
}

fn told<T>(result: Result<T, TrayError>) -> Outcome<Told<T>> {
    match result {
        Ok(answer) => Ok(Told::Answer(answer)),
        Err(error) if is_lost(error.code()) => Ok(Told::Lost),
        Err(error) => Err(error.into()),
    }
}

impl ByHandle {
    fn claim(&self, key: &str) -> Claim {
        let hold = Hold::For(Duration::from_secs(self.lease_s));
        let claim = Claim::tool("scripts", "pay").request(key);
        claim.holder(self.name.clone()).hold(hold)
    }

    fn trays(&self) -> Trays {
        Trays::new(&self.log)
    }
}

impl Way for ByHandle {
    fn claim_call(&mut self, key: &str) -> Outcome<Told<Option<u64>>> {
        match self.log.effects().claim_blocking(&self.claim(key)) {
            Ok(Claimed::Held(held)) => Ok(Told::Answer(Some(held.fence.get()))),
            Ok(_) => Ok(Told::Answer(None)),
            Err(EffectError::InFlight(effect)) => {
                let is_own = effect.holder == self.name;
                Ok(Told::Answer(is_own.then_some(effect.fence.get())))
            }
            Err(error) if is_lost(error.code()) => Ok(Told::Lost),
            Err(error) => Err(error.into()),
        }
    }

    fn complete_call(&mut self, key: &str, fence: u64) -> Outcome<Told<()>> {
        let found = match self.log.effects().find(&self.claim(key)) {
            Ok(found) => found.ok_or("there is no such call")?,
            Err(error) if is_lost(error.code()) => return Ok(Told::Lost),
            Err(error) => return Err(error.into()),
        };
        assert_eq!(found.fence.get(), fence, "{key} was claimed by another");
        let target = found.target().fence(Position::new(fence));
        let done = Change::completed(&fence)?;
        match self.log.effects().change_blocking(&target, &done) {
            Ok(_) => Ok(Told::Answer(())),
            Err(error) if is_lost(error.code()) => Ok(Told::Lost),
            Err(error) => Err(error.into()),
        }
    }

    fn claim_task(&mut self) -> Outcome<Told<Next>> {
        let hold = Hold::For(Duration::from_secs(self.lease_s));
        let claimed = told(self.trays().claim_blocking(TRAY, &self.name, hold))?;
        let Told::Answer(claimed) = claimed else {
            return Ok(Told::Lost);
        };
        Ok(Told::Answer(match claimed {
            trays::Claim::Claimed(held) => {
                let said = held.said.ok_or("it says nothing")?;
                Next::Task(Task {
                    id: said.id,
                    fence: held.fence.get(),
                    attempt: held.attempt,
                })
            }
            trays::Claim::NotClaimed(nothing) if nothing.drained => {
                assert_eq!((nothing.open, nothing.in_progress), (0, 0));
                Next::Drained
            }
            _ => Next::Nothing,
        }))
    }

    fn held_tasks(&mut self) -> Outcome<Told<Vec<Task>>> {
        let trays = self.trays();
        let found = || -> Result<Vec<_>, TrayError> {
            let mut own = Vec::new();
            for found in trays.list(TRAY)? {
                let is_own = found.task.holder == self.name;
                let is_held = found.task.state == TaskState::InProgress;
                if let (true, true, Some(fence)) = (is_own, is_held, found.task.fence) {
                    let said = trays.content(&found)?.ok_or_else(|| TrayError::NotFound {
                        tray: TRAY.to_owned(),
                    })?;
                    own.push(Task {
                        id: said.id,
                        fence: fence.get(),
                        attempt: found.task.attempt,
                    });
                }
            }
            Ok(own)
        };
        told(found())
    }

    fn complete_task(&mut self, task: &Task) -> Outcome<Told<bool>> {
        let trays = self.trays();
        let found = match trays.find(TRAY, &task.id) {
            Ok(found) => found.ok_or("there is no such task")?,
            Err(error) if is_lost(error.code()) => return Ok(Told::Lost),
            Err(error) => return Err(error.into()),
        };
        let fence = Position::new(task.fence);
        let done = trays.complete_blocking(&found.task.id, fence, "done");
        match done {
            Err(error) if error.code() == STALE => Ok(Told::Answer(false)),
            done => told(done.map(|_| true)),
        }
    }
}

/// A process for each request.
struct ByCommand {
    command: Command,
    name: String,
    lease_s: u64,
}

impl ByCommand {
    /// Its answers if it ended so, or nothing if it could not reach the log to its end.
    fn run(&self, words: &[&str], exits: &[i32]) -> Outcome<Told<(i32, Vec<Value>)>> {
        Self::told(words, self.command.ended(words), exits)
    }

    fn told(
        words: &[&str],
        (exit, answers, code): Ended,
        exits: &[i32],
    ) -> Outcome<Told<(i32, Vec<Value>)>> {
        match exit {
            6 => Ok(Told::Lost),
            // What is recorded is looked up, or found done.
            7 if is_lost(&code) || code == "recorded_unread" => Ok(Told::Lost),
            _ if exits.contains(&exit) => Ok(Told::Answer((exit, answers))),
            _ => Err(format!("{words:?} ended with {exit} {code}: {answers:?}").into()),
        }
    }

    fn done(&self, words: &[&str]) -> Outcome<Told<()>> {
        Ok(match self.run(words, &[0])? {
            Told::Answer(_) => Told::Answer(()),
            Told::Lost => Told::Lost,
        })
    }
}

fn number(value: &Value) -> Outcome<u64> {
    Ok(value.as_u64().ok_or("it has no fence")?)
}

fn task(line: &Value) -> Outcome<Task> {
    let id = line["id"].as_str().ok_or("it has no id")?;
    Ok(Task {
        id: id.to_owned(),
        fence: number(&line["fence"])?,
        attempt: number(&line["attempt"])?,
    })
}

impl Way for ByCommand {
    fn claim_call(&mut self, key: &str) -> Outcome<Told<Option<u64>>> {
        let lease = self.lease_s.to_string();
        let words = [
            "effect", "claim", "--name", "pay", "--key", key, "--holder", &self.name, "--lease",
            &lease,
        ];
        let Told::Answer((_, answers)) = self.run(&words, &[0, 1])? else {
            return Ok(Told::Lost);
        };
        let line = answers.first().ok_or("it says nothing")?;
        let is_own = line["state"] == "in-flight" && line["holder"] == self.name.as_str();
        let fence = is_own.then(|| number(&line["fence"])).transpose()?;
        Ok(Told::Answer(fence))
    }

    fn complete_call(&mut self, key: &str, fence: u64) -> Outcome<Told<()>> {
        let fence = fence.to_string();
        self.done(&[
            "effect", "complete", key, "--fence", &fence, "--result", &fence,
        ])
    }

    fn claim_task(&mut self) -> Outcome<Told<Next>> {
        let lease = self.lease_s.to_string();
        let words = [
            "tray", "claim", TRAY, "--holder", &self.name, "--lease", &lease,
        ];
        let Told::Answer((exit, answers)) = self.run(&words, &[0, 1])? else {
            return Ok(Told::Lost);
        };
        let line = answers.first().ok_or("it says nothing")?;
        Ok(Told::Answer(match exit {
            0 => Next::Task(task(line)?),
            _ if line["drained"] == true => {
                assert!(line["open"] == 0 && line["in_progress"] == 0, "{line}");
                Next::Drained
            }
            _ => Next::Nothing,
        }))
    }

    fn held_tasks(&mut self) -> Outcome<Told<Vec<Task>>> {
        let Told::Answer((_, lines)) = self.run(&["tray", "list", TRAY], &[0])? else {
            return Ok(Told::Lost);
        };
        let own = lines
            .iter()
            .filter(|line| line["holder"] == self.name.as_str());
        let own: Outcome<Vec<_>> = own.map(task).collect();
        Ok(Told::Answer(own?))
    }

    fn complete_task(&mut self, task: &Task) -> Outcome<Told<bool>> {
        let fence = task.fence.to_string();
        let words = ["tray", "complete", TRAY, &task.id, "--fence", &fence];
        let (exit, answers, code) = self.command.ended(&words);
        if (exit, code.as_str()) == (3, STALE) {
            return Ok(Told::Answer(false));
        }
        let told = Self::told(&words, (exit, answers, code), &[0])?;
        Ok(match told {
            Told::Answer(_) => Told::Answer(true),
            Told::Lost => Told::Lost,
        })
    }
}

/// Says something, and goes on when it is told to.
fn say(what: &str) -> Outcome {
    println!("{what}");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(())
}

/// Asks until somebody answers.
fn until_told<T>(mut ask: impl FnMut() -> Outcome<Told<T>>) -> Outcome<T> {
    loop {
        match ask()? {
            Told::Answer(answer) => return Ok(answer),
            Told::Lost => say("lost")?,
        }
    }
}

/// The world outside, where what was done stays done.
struct World(PathBuf);

impl World {
    fn act(&self, what: &str) -> Outcome {
        match File::create_new(self.0.join(what)) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => println!("twice {what}"),
            made => drop(made?),
        }
        Ok(())
    }
}

fn work(way: &mut dyn Way, world: &World, (first, calls): (usize, usize)) -> Outcome {
    for turn in 0..calls {
        let key = format!("call-{}", (first + turn) % calls);
        if let Some(fence) = until_told(|| way.claim_call(&key))? {
            world.act(&key)?;
            until_told(|| way.complete_call(&key, fence))?;
            say(&format!("did {key}"))?;
        } else {
            // Another one has it; whoever watches hears that this one goes on.
            println!("passed");
        }
    }
    let mut own = BTreeSet::new();
    loop {
        let task = match way.claim_task()? {
            Told::Answer(Next::Task(task)) => task,
            Told::Answer(Next::Drained) => return Ok(()),
            // Whoever asked again and again would keep those from theirs who look up what they hold.
            Told::Answer(Next::Nothing) => {
                say("nothing")?;
                continue;
            }
            // A claim from a tray has no key: whether it got something is looked up.
            Told::Lost => {
                say("lost")?;
                let held = until_told(|| way.held_tasks())?;
                match held.into_iter().find(|task| !own.contains(&task.id)) {
                    Some(found) => found,
                    None => continue,
                }
            }
        };
        world.act(&task.id)?;
        let is_recorded = until_told(|| way.complete_task(&task))?;
        assert!(is_recorded, "nobody else has {}", task.id);
        say(&format!("did {}", task.id))?;
        own.insert(task.id);
    }
}

/// Drains the tray, as whoever watches lets it.
fn drain(way: &mut dyn Way, world: &World) -> Outcome {
    loop {
        match way.claim_task()? {
            Told::Answer(Next::Task(task)) => {
                let Task { id, fence, attempt } = &task;
                say(&format!("took {id} {attempt} {fence}"))?;
                world.act(&format!("{id}.{attempt}"))?;
                let word = match way.complete_task(&task)? {
                    Told::Answer(true) => "did",
                    Told::Answer(false) => "late",
                    Told::Lost => return Err("who holds the log stays".into()),
                };
                say(&format!("{word} {id}"))?;
            }
            Told::Answer(Next::Nothing) => say("nothing")?,
            Told::Answer(Next::Drained) => {
                println!("drained");
                return Ok(());
            }
            Told::Lost => return Err("who holds the log stays".into()),
        }
    }
}

fn main() -> Outcome {
    let args: Vec<String> = std::env::args().collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (log, world, name, calls, way, runstone) = match *args.as_slice() {
        [_, log, world, name, first, calls, way, runstone] => {
            let calls = (first.parse()?, calls.parse()?);
            (log, world, name, Some(calls), way, runstone)
        }
        [_, log, world, name, way, runstone] => (log, world, name, None, way, runstone),
        _ => return Err("worker LOG WORLD NAME [FIRST CALLS] handle|command RUNSTONE".into()),
    };
    let (world, name) = (World(world.into()), name.to_owned());
    let lease_s = calls.map_or(SHORT_S, |_| LONG_S);
    let mut way: Box<dyn Way> = if way == "handle" {
        let log = Runstone::open(log)?;
        assert!(log.is_attached());
        Box::new(ByHandle { log, name, lease_s })
    } else {
        let command = Command::on(log).by(runstone);
        Box::new(ByCommand {
            command,
            name,
            lease_s,
        })
    };
    match calls {
        Some(calls) => work(&mut *way, &world, calls)?,
        None => drain(&mut *way, &world)?,
    }
    println!("done");
    Ok(())
}
