//! How runs stood at every point, against a fold from the first event that was written anew.
//!
//! By default it compares the points around those that are stored, and some others; with
//! `RUNSTONE_STATE_EVERY=1` every one.

use runstone::replay::{Fork, RollBack, fork_blocking, roll_back_blocking, state};
use runstone_codec::{Draft, Entry, NewEvent, Position};
use runstone_projections::budgets::{Amounts, BudgetLimits, Budgets, Dimension, Open, Window};
use runstone_projections::effects::{Change, Claim, Claimed, Effects, Executed, Held};
use runstone_projections::events::{
    Class, ErrorSaid, LlmCallCompleted, RunFinished, RunPaused, SessionAppended, SessionEnded,
    SessionPatched, StepBlocked, StepCompleted, StepFailed, StepOutput, StepSkipped, StepStarted,
    TaskState, ToolCallRequested, control, step_keys,
};
use runstone_projections::runs::{Begin, RunHeld, begin_blocking, record_blocking};
use runstone_projections::tasks::{Move, NewTask, Tasks};
use runstone_projections::{Hold, standard_folds};
use runstone_store::{
    CreateOptions, Log, ManualClock, OpenOptions, Query, Read, ReadError, Sealing,
};
use runstone_tests::clocked::{Clocked, START_US};
use runstone_tests::command::{Runstone, recordings};
use runstone_tests::states::{World, shown};
use runstone_tests::tamper::{ChunkParts, Outcome, RawRows, Seeded, Table};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Runs in one random log, and how many logs.
const RUNS: usize = 50;
const LOGS: u64 = 20;
/// Of so many points one is compared, besides the newest of every third run.
const ONE_OF: usize = 20;

/// Which points are compared.
struct Chosen {
    numbers: Seeded,
    is_every: bool,
    one_of: usize,
}

impl Chosen {
    fn new(seed: u64, one_of: usize) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "a test may be told how much to do"
        )]
        let is_every = std::env::var_os("RUNSTONE_STATE_EVERY").is_some();
        Self {
            numbers: Seeded::new(seed),
            is_every,
            one_of,
        }
    }

    /// Of a run of more than a few events, the points around those that are stored.
    fn is_meant(&mut self, revision: u64) -> bool {
        let is_stored = revision > 3 && matches!(revision % 64, 62..=63 | 0);
        let is_stored = is_stored && self.numbers.below(4) == 0;
        self.is_every || is_stored || self.numbers.below(self.one_of) == 0
    }
}

/// Every point that is meant; how many they were. The log ends with an event of no run.
fn compare(log: &Log, chosen: &mut Chosen) -> Outcome<usize> {
    log.append_blocking(NewEvent::new("data.end", "end"))?;
    let (mut world, mut newest, mut compared) = (World::default(), BTreeMap::new(), 0);
    let last = log.size() - 1;
    let mut all = Vec::new();
    for record in log.read(Read::new(Query::everything()))? {
        let record = record?;
        newest.insert(record.header.stream.to_string(), record.position);
        all.push(record);
    }
    for record in &all {
        world.take(record);
        let (stream, at) = (record.header.stream.as_str(), record.position);
        let is_newest = newest.get(stream) == Some(&at);
        if stream == "log" || at.get() == last {
            continue;
        }
        let is_newest = is_newest && chosen.numbers.below(3) == 0;
        if is_newest || chosen.is_meant(record.revision.get()) {
            let told = state(log, stream, at)?.map(|state| shown(&state));
            let expected = world.state(stream, (at.get(), record.recorded_at_us));
            let told = told.unwrap_or_default();
            for (member, expected) in expected.unwrap().as_object().unwrap() {
                assert_eq!(&told[member], expected, "{member} of {stream} as of {at}");
            }
            compared += 1;
        }
    }
    Ok(compared)
}

#[test]
fn recordings_stand_as_their_events_tell() -> Outcome {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("log");
    let runstone = Runstone::on(&path);
    runstone.value(["init", "--plain"]);
    let mut is_any = false;
    let folders = [
        "claude-code",
        "claude-code-viewer",
        "inspect-logs",
        "openclaw-telemetry",
        "otel-genai-any-agent",
        "pi-sessions",
        "swe-agent",
        "tau-bench",
    ];
    for name in folders {
        let Some(folder) = recordings(&format!("{name}/dev")) else {
            continue;
        };
        let prefix = format!("{name}/");
        let folder = folder.display().to_string();
        runstone.value(["import", "--stream-prefix", &prefix, &folder]);
        is_any = true;
    }
    if !is_any {
        return Ok(());
    }
    let mut open = OpenOptions::default();
    open.folds = standard_folds();
    let log = Log::open(&path, open)?;
    let compared = compare(&log, &mut Chosen::new(1, 300))?;
    println!("{compared} points of {} events", log.size());
    assert!(compared > 80);
    Ok(())
}

/// Somebody who does whatever comes to his mind.
struct Someone {
    log: Log,
    clock: Arc<ManualClock>,
    numbers: Seeded,
    runs: Vec<(String, RunHeld)>,
    claims: Vec<Held>,
    reserved: Vec<Position>,
}

const OWNERS: [&str; 4] = ["office", "desk", "shelf", "other"];

impl Someone {
    fn new(seed: u64) -> Outcome<Self> {
        let clock = Arc::new(ManualClock::new(START_US));
        let mut create = CreateOptions::default();
        if !seed.is_multiple_of(4) {
            create.sealing = Sealing::Plain;
        }
        let mut open = OpenOptions::default();
        open.options.clock = Arc::<ManualClock>::clone(&clock);
        open.folds = standard_folds();
        let log = Log::memory(&create, open)?;
        let budgets = Budgets::new(&log);
        let limits = |steps| {
            BudgetLimits::new().of(Dimension::Steps, steps).within(
                Window::Day,
                Dimension::Tokens,
                3000,
            )
        };
        budgets.open_blocking(&Open::new("office").limits(limits(400)))?;
        for (owner, parent) in [("desk", "office"), ("shelf", "desk")] {
            budgets.open_blocking(&Open::new(owner).parent(parent).limits(limits(90)))?;
        }
        budgets.open_blocking(&Open::new("other").limits(limits(9)))?;
        Ok(Self {
            log,
            clock,
            numbers: Seeded::new(seed),
            runs: Vec::new(),
            claims: Vec::new(),
            reserved: Vec::new(),
        })
    }

    fn one<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.numbers.below(all.len())]
    }

    fn number(&mut self, end: usize) -> u64 {
        self.numbers.below(end) as u64
    }

    fn begin(&mut self, stream: &str) {
        let mut begin = Begin::new(stream, "bot");
        if self.number(2) == 0 {
            begin.budget = Some((*self.one(&OWNERS)).into());
        }
        begin.hold = *self.one(&[
            Hold::Opening,
            Hold::For(Duration::from_secs(5)),
            Hold::ByClock(Duration::from_secs(9)),
        ]);
        begin.may_reopen = self.number(2) == 0;
        if let Ok(begun) = begin_blocking(&self.log, &begin) {
            let held = begun.into_held();
            self.runs.retain(|(known, _)| known != stream);
            self.runs.push((stream.to_owned(), held));
        }
    }

    /// Something that happens in a run.
    fn event(&mut self, stream: &str) -> Outcome<Draft> {
        let node = *self.one(&["a", "b", "c"]);
        let attempt = 1 + self.number(3);
        let of_step = |draft: Draft| step_keys(node).into_iter().fold(draft, Draft::keyed);
        let at = control::STEP_ATTEMPT;
        let attempted = runstone_codec::Control::new().u64(at, attempt);
        let node = node.to_owned();
        let patch = json!({
            format!("m{}", self.number(4)): *self.one(&[json!(1), json!(null), json!({"x": [2]})]),
        });
        Ok(match self.number(13) {
            0..=1 => NewEvent::typed(&SessionPatched { patch }, stream)?.into(),
            2..=3 => {
                // Some lead to what is no array.
                let path = (*self.one(&["/list", "/m1", "/deep/er", "no path"])).to_owned();
                let items = vec![json!(self.number(9)), json!({"turn": 1})];
                NewEvent::typed(&SessionAppended { path, items }, stream)?.into()
            }
            4 | 5 => {
                let started = StepStarted {
                    node,
                    kind: None,
                    attempt,
                };
                let event = Draft::new(NewEvent::typed(&started, stream)?);
                of_step(event.control(attempted))
            }
            6 | 7 => {
                let structured = match self.number(2) {
                    0 => None,
                    _ => Some(serde_json::value::to_raw_value(&patch)?),
                };
                let content = Some(serde_json::value::to_raw_value(&json!({"n": attempt}))?);
                let completed = StepCompleted {
                    node,
                    attempt,
                    output: Some(StepOutput {
                        content,
                        structured,
                    }),
                    tokens: Some(self.number(50)),
                    usd_micros: Some(7),
                    gco2_mg: Some(3),
                    ..StepCompleted::default()
                };
                let event = Draft::new(NewEvent::typed(&completed, stream)?);
                of_step(event.control(completed.control()))
            }
            8 => {
                let error = ErrorSaid::default();
                let failed = StepFailed {
                    node,
                    attempt,
                    error,
                };
                let event = Draft::new(NewEvent::typed(&failed, stream)?);
                of_step(event.control(attempted))
            }
            9 => {
                let event = if attempt == 1 {
                    let by = "guard".to_owned();
                    NewEvent::typed(&StepBlocked { node, by }, stream)?
                } else {
                    let because = "done".to_owned();
                    NewEvent::typed(&StepSkipped { node, because }, stream)?
                };
                of_step(Draft::new(event))
            }
            10 | 11 => {
                let call = LlmCallCompleted::new(format!("call-{}", self.number(6)))
                    .input_tokens(self.number(90))
                    .output_tokens(self.number(9))
                    .usd_micros(self.number(9));
                let draft = Draft::new(NewEvent::typed(&call, stream)?);
                let draft = draft.control(call.control()).keyed(call.keyed());
                match self.number(2) {
                    0 => draft,
                    _ => draft.keyed(LlmCallCompleted::keyed_of_step(&node)),
                }
            }
            _ => {
                let called = ToolCallRequested::new("t", "look").arguments(&json!({}))?;
                NewEvent::typed(&called, stream)?.into()
            }
        })
    }

    /// What is refused changes nothing, which is compared too.
    fn act(&mut self) -> Outcome {
        let micros = self.number(3) * self.number(1_000_000);
        self.clock.advance(micros);
        let (stream, held) = match self.runs.len() {
            0 => {
                self.begin("run-0");
                return Ok(());
            }
            len => self.runs[self.numbers.below(len)].clone(),
        };
        let log = self.log.clone();
        let budgets = Budgets::new(&log);
        let amounts = Amounts::new()
            .steps(self.number(3))
            .tokens(1 + self.number(40));
        match self.number(30) {
            0..=13 => {
                let draft = self.event(&stream)?;
                let _ = record_blocking(&log, &held, vec![draft]);
            }
            14..=16 => {
                let mut claim = Claim::tool(stream.as_str(), "pay");
                claim = match self.number(3) {
                    // Whoever claims it: it is one call for all runs.
                    0 => claim.request(format!("r{}", self.number(4))),
                    _ => claim.call_id(format!("c{}", self.number(3))),
                };
                claim = claim.class(*self.one(&[Class::Read, Class::Write, Class::Idempotent]));
                claim = claim.hold(*self.one(&[Hold::Opening, Hold::For(Duration::from_secs(2))]));
                if self.number(2) == 0 {
                    claim = claim.budget(*self.one(&OWNERS), amounts);
                }
                if let Ok(Claimed::Held(held)) = Effects::new(&log).claim_blocking(&claim) {
                    self.claims.push(held);
                }
            }
            17..=19 if !self.claims.is_empty() => {
                let at = self.numbers.below(self.claims.len());
                let target = self.claims[at].target();
                let error = ErrorSaid::default();
                let executed = *self.one(&[None, Some(Executed::No), Some(Executed::Yes)]);
                let change = match self.number(5) {
                    0..=1 => Change::completed(&self.number(9))?,
                    2 => Change::Fail { error, executed },
                    3 => Change::Renew(Hold::For(Duration::from_secs(4))),
                    _ => Change::Cancel {
                        reason: "enough".to_owned(),
                        begun: self.number(2) == 0,
                    },
                };
                let _ = Effects::new(&log).change_blocking(&target, &change);
            }
            20..=21 => {
                let tasks = Tasks::new(&log).stream(stream.as_str());
                let id = format!("{stream}/t{}", self.number(2));
                let to = *self.one(&[TaskState::Todo, TaskState::Cancelled, TaskState::Blocked]);
                let _ = match self.number(3) {
                    0 => tasks.create_blocking(&NewTask::new(id)).map(drop),
                    1 => tasks.claim_blocking(&id, "bot", Hold::Opening).map(drop),
                    _ => tasks.move_to_blocking(&Move::new(id, to)).map(drop),
                };
            }
            22 => {
                let hold = *self.one(&[Hold::Opening, Hold::For(Duration::from_secs(1))]);
                let owner = *self.one(&OWNERS);
                let reserved = budgets.reserve_blocking(owner, &amounts, hold);
                self.reserved
                    .extend(reserved.ok().map(|reserved| reserved.fence));
            }
            23 if !self.reserved.is_empty() => {
                let fence = self.reserved[self.numbers.below(self.reserved.len())];
                let _ = match self.number(2) {
                    0 => budgets.settle_blocking(fence, &amounts).map(drop),
                    _ => budgets.release_blocking(fence, None).map(drop),
                };
            }
            24 => {
                let _ = budgets.charge_blocking(*self.one(&OWNERS), &amounts);
            }
            25 => {
                let to = Position::new(self.number(usize::try_from(log.size())?));
                let back = RollBack::new(stream.as_str(), to).fence(held.fence);
                let _ = roll_back_blocking(&log, &back);
            }
            26 => {
                let ended = SessionEnded::default();
                let paused = NewEvent::typed(&RunPaused::default(), stream.as_str())?;
                let drafts = match self.number(3) {
                    0 => vec![paused.into()],
                    1 => {
                        let event = NewEvent::typed(&ended, stream.as_str())?;
                        vec![Draft::new(event).control(ended.control())]
                    }
                    _ => {
                        let finished = RunFinished {
                            status: "success".to_owned(),
                            ..RunFinished::default()
                        };
                        let event = NewEvent::typed(&finished, stream.as_str())?;
                        vec![Draft::new(event).control(finished.control())]
                    }
                };
                let _ = record_blocking(&log, &held, drafts);
            }
            27 => self.begin(&stream),
            _ => {}
        }
        Ok(())
    }

    /// Another run, often one that goes on from one that is there.
    fn another(&mut self, number: usize) -> Outcome {
        let stream = format!("run-{number}");
        if self.number(3) == 0 && !self.runs.is_empty() {
            let (of, held) = self.runs[self.numbers.below(self.runs.len())].clone();
            let span = usize::try_from(self.log.size() - held.fence.get())?;
            let at = Position::new(held.fence.get() + self.number(span));
            let _ = fork_blocking(&self.log, &Fork::new(stream.as_str(), of.as_str(), at));
        }
        self.begin(&stream);
        Ok(())
    }
}

#[test]
fn random_runs_stand_as_their_events_tell() -> Outcome {
    let (mut events, mut compared) = (0, 0);
    for seed in 0..LOGS {
        let mut someone = Someone::new(seed)?;
        for number in 0..RUNS {
            someone.another(number)?;
            for _ in 0..8 {
                someone.act()?;
            }
        }
        compared += compare(&someone.log, &mut Chosen::new(seed, ONE_OF))?;
        events += someone.log.size();
    }
    println!("{compared} points of {events} events");
    assert!(events > LOGS * 250 && compared > 500);
    Ok(())
}

/// Of long runs points are stored, and what they came to is kept in memory.
#[test]
fn long_runs_stand_as_their_events_tell() -> Outcome {
    let mut someone = Someone::new(7)?;
    let streams = ["run-0", "run-1"];
    for stream in streams {
        someone.begin(stream);
    }
    for _ in 0..40 {
        for number in 0..streams.len() {
            let (stream, held) = someone.runs[number].clone();
            let drafts = (0..30).map(|_| someone.event(&stream));
            let drafts = drafts.collect::<Outcome<Vec<_>>>()?;
            // Without a budget, or with one that has run out, what spends is left out.
            if record_blocking(&someone.log, &held, drafts.clone()).is_err() {
                let spends = |draft: &Draft| draft.event.event_type == "step.started";
                let drafts = drafts.into_iter().filter(|draft| !spends(draft)).collect();
                record_blocking(&someone.log, &held, drafts)?;
            }
        }
        someone.act()?;
        let held = someone.runs.iter().map(|(stream, _)| stream.as_str());
        assert!(held.eq(streams), "both are held all the time");
    }
    let compared = compare(&someone.log, &mut Chosen::new(7, 60))?;
    println!("{compared} points of {} events", someone.log.size());
    // As of a point in the past, once more, from what is kept by now.
    compare(&someone.log, &mut Chosen::new(8, 60))?;
    Ok(())
}

/// What the kept lines of a long run answer is forgotten with what is erased.
#[test]
fn what_is_kept_in_memory_goes_with_what_is_erased() -> Outcome {
    let log = runstone::Runstone::memory()?;
    let mut begin = Begin::new("run", "bot");
    begin.scope = Some("ann".to_owned());
    let held = begin_blocking(&log, &begin)?.into_held();
    for _ in 0..40 {
        let patched = |n: u64| {
            let patch = json!({ "secret": n });
            NewEvent::typed(&SessionPatched { patch }, "run").map(Draft::from)
        };
        let drafts = (0..40).map(patched).collect::<Result<_, _>>()?;
        record_blocking(&log, &held, drafts)?;
    }
    let at = Position::new(log.size() - 1);
    let document = |log: &Log| -> Outcome<(Value, u64)> {
        let then = state(log, "run", at)?.ok_or("it is a run")?;
        Ok((then.session.document.to_value(), then.session.missing))
    };
    for _ in 0..2 {
        assert_eq!(document(&log)?, (json!({"secret": 39}), 0));
    }
    let ended = SessionEnded::default();
    let event = NewEvent::typed(&ended, "run")?;
    record_blocking(
        &log,
        &held,
        vec![Draft::new(event).control(ended.control())],
    )?;
    log.erase(
        &runstone::store::Erase::new("ann", "on-request"),
        &|_, _| {},
    )?;
    assert_eq!(document(&log)?, (json!({}), 1600));
    Ok(())
}

/// The streams of which nothing is damaged: those of the runs that are asked for, and the log's own.
const WHOLE: [&str; 3] = ["fork", "log", "run"];

/// Every event of other streams is damaged, so that whoever meets one says so.
#[test]
fn a_state_is_read_from_its_run_alone() -> Outcome {
    let site = Clocked::new()?;
    let log = site.create(Sealing::Required)?;
    let all: Result<Vec<_>, _> = ["run", "other"]
        .iter()
        .map(|stream| begin_blocking(&log, &Begin::new(*stream, "bot")))
        .collect();
    let all: Vec<RunHeld> = all?
        .into_iter()
        .map(runstone::runs::Begun::into_held)
        .collect();
    for n in 0..100 {
        log.append_blocking(NewEvent::new("data.row", "rows"))?;
        for held in &all {
            let stream = held.stream.as_str();
            let patch = json!({ "n": n });
            let patched = NewEvent::typed(&SessionPatched { patch }, stream)?;
            record_blocking(&log, held, vec![patched.into()])?;
            if n % 30 == 0 {
                let claim = Claim::tool(stream, "look").call_id(n.to_string());
                Effects::new(&log).claim_blocking(&claim)?;
                let tasks = Tasks::new(&log).stream(stream);
                tasks.create_blocking(&NewTask::new(format!("{stream}-{n}")))?;
            }
        }
    }
    let of_run = |revision| Ok::<_, ReadError>(log.record_by_revision("run", revision)?.position);
    let (middle, at) = (of_run(50)?, of_run(100)?);
    fork_blocking(&log, &Fork::new("fork", "run", middle))?;
    let forked = log.record_by_revision("fork", 0)?.position;
    let points = [("run", middle), ("run", at), ("fork", forked)];
    let told = |log: &Log| -> Outcome<Vec<Value>> {
        let states = points.map(|(stream, at)| state(log, stream, at));
        let mut told = Vec::new();
        for state in states {
            told.push(shown(&state?.ok_or("it is a run")?));
        }
        Ok(told)
    };
    let before = told(&log)?;
    log.close_blocking()?;
    drop(log);

    let rows = RawRows::open(&site.path())?;
    let mut damaged = 0;
    for (key, chunk) in rows.all(Table::Chunks)? {
        let mut chunk = ChunkParts::parse(&chunk)?;
        for (entry, _) in &mut chunk.events {
            let header = Entry::parse(entry)?.header().clone();
            if !WHOLE.contains(&header.stream.as_str()) {
                *entry.last_mut().ok_or("it is empty")? ^= 1;
                damaged += 1;
            }
        }
        rows.set(Table::Chunks, &key, Some(&chunk.encode()))?;
    }
    drop(rows);
    let log = Log::open(&site.path(), site.opening())?;
    let read = log.read(Read::new(Query::everything()))?;
    assert_eq!(read.filter(Result::is_err).count(), damaged);
    assert!(damaged > 200 && state(&log, "other", at).is_err());
    assert_eq!(told(&log)?, before);
    Ok(())
}
