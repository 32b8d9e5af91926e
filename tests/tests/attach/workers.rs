//! Processes make the same calls and drain one tray of a log that another one holds, half of them
//! through the command and half through a handle of their own, while the holder is killed and replaced:
//! every call is made once, every task is done once, nothing is lost and nobody hangs.
//!
//! `RUNSTONE_ATTACH_EFFECTS` is how many calls, `RUNSTONE_ATTACH_TASKS` how many tasks.

mod killed;

use runstone::Runstone;
use runstone::trays::Trays;
use runstone_tests::command::{Runstone as Command, binary};
use runstone_tests::held::{PATIENCE, Process, Site};
use runstone_tests::tamper::Outcome;
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{ChildStdin, Command as Program, Stdio};
use std::sync::mpsc::{Sender, channel};

const EFFECTS: usize = 48;
const TASKS: usize = 48;
const WORKERS: usize = 16;
/// How often the holder is killed.
const KILLS: usize = 5;

fn size(name: &str, default: usize) -> usize {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test may be told how much it does"
    )]
    let asked = std::env::var(name).ok();
    asked.map_or(default, |text| text.parse().unwrap())
}

/// What a worker said; `None` when it has ended.
type Said = (usize, Option<String>);

/// A process that works.
struct Worker {
    process: Process,
    input: ChildStdin,
    by_handle: bool,
}

impl Worker {
    /// One that makes so many calls, or none and is watched.
    fn start(
        site: &Site,
        number: usize,
        calls: Option<usize>,
        said: Sender<Said>,
    ) -> Outcome<Self> {
        let by_handle = number.is_multiple_of(2);
        let way = if by_handle { "handle" } else { "command" };
        let calls = calls.map(|calls| [number * calls / WORKERS, calls]);
        let mut process = Program::new(env!("CARGO_BIN_EXE_worker"))
            .args([&site.log, &site.path("world")])
            .arg(format!("worker-{number}"))
            .args(calls.iter().flatten().map(usize::to_string))
            .args([Path::new(way), binary()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (process.stdin.take(), process.stdout.take());
        let worker = Self {
            process: Process(process),
            input: input.ok_or("no stdin")?,
            by_handle,
        };
        let lines = BufReader::new(output.ok_or("no stdout")?).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // A test that failed hears nothing any more.
                let _ = said.send((number, Some(line)));
            }
            let _ = said.send((number, None));
        });
        Ok(worker)
    }
}

/// What the workers did, by what.
#[derive(Default)]
struct Done {
    once: BTreeSet<String>,
    by_handle: usize,
    by_command: usize,
    /// Requests that nobody answered: of commands, and of handles.
    lost: [usize; 2],
}

/// Lets them work until all have ended; kills who holds the log now and then.
fn watch(site: &Site, calls: usize, tasks: usize) -> Outcome<Done> {
    let mut holder = site.holder()?;
    let (said, hear) = channel();
    let workers: Outcome<Vec<_>> = (0..WORKERS)
        .map(|number| Worker::start(site, number, Some(calls), said.clone()))
        .collect();
    let mut workers = workers?;
    drop(said);
    let mut done = Done::default();
    let (mut kills, mut waiting, mut idle) = (0, Vec::new(), Vec::new());
    let mut working: BTreeSet<usize> = (0..WORKERS).collect();
    while !working.is_empty() {
        let Ok((number, line)) = hear.recv_timeout(PATIENCE) else {
            let left = Command::on(&site.log).values(["tray", "list", "in"]);
            let left: Vec<_> = left.iter().filter(|task| task["state"] != "done").collect();
            // Who asks nothing any more is told from who asks again and again.
            let processes: Vec<_> = workers.iter().map(|one| one.process.0.id()).collect();
            let asking = [(); 2].map(|()| Command::on(&site.log).value(["attach"]).to_string());
            return Err(format!(
                "{working:?} hang, {waiting:?} of them wait; left: {left:?}; of {processes:?} {asking:#?}"
            )
            .into());
        };
        match line.as_deref().map(|line| line.split_once(' ')) {
            None => {
                assert!(workers[number].process.0.wait()?.success());
                working.remove(&number);
            }
            Some(Some(("did", what))) => {
                assert!(done.once.insert(what.to_owned()), "{what} was done twice");
                let by_handle = workers[number].by_handle;
                done.by_handle += usize::from(by_handle);
                done.by_command += usize::from(!by_handle);
                waiting.push(number);
            }
            Some(None) if line.as_deref() == Some("lost") => {
                // It may hold something that others wait for.
                let worker = &mut workers[number];
                done.lost[usize::from(worker.by_handle)] += 1;
                worker.input.write_all(b"go\n")?;
            }
            Some(None) if line.as_deref() == Some("nothing") => idle.push(number),
            Some(None) if line.as_deref() == Some("passed") => {}
            Some(_) => assert_eq!(line.as_deref(), Some("done")),
        }
        if kills < KILLS && done.once.len() * (KILLS + 1) > (kills + 1) * (calls + tasks) {
            kills += 1;
            holder.kill()?;
            holder = site.holder()?;
        }
        // Handles are far faster than processes: they wait, so that both do their part.
        let is_over = !working.iter().any(|number| !workers[*number].by_handle);
        let is_ahead = done.by_handle > done.by_command + WORKERS / 4;
        let (go, stay) = std::mem::take(&mut waiting)
            .into_iter()
            .partition::<Vec<_>, _>(|number| is_over || !is_ahead || !workers[*number].by_handle);
        waiting = stay;
        // Who found nothing looks again when somebody else has gone on, or when nobody does.
        let is_still = idle.len() + waiting.len() >= working.len();
        let looks = is_still || line.as_deref() != Some("nothing");
        let again = looks.then(|| std::mem::take(&mut idle));
        for number in go.into_iter().chain(again.into_iter().flatten()) {
            workers[number].input.write_all(b"go\n")?;
        }
    }
    assert_eq!(kills, KILLS);
    drop(holder);
    Ok(done)
}

/// I66, I72.
#[test]
fn what_many_processes_do_happens_once_whoever_holds_the_log() -> Outcome {
    let _alone = crate::alone();
    let (calls, tasks) = (
        size("RUNSTONE_ATTACH_EFFECTS", EFFECTS),
        size("RUNSTONE_ATTACH_TASKS", TASKS),
    );
    let site = Site::new()?;
    std::fs::create_dir(site.path("world"))?;
    let log = Runstone::create(&site.log)?;
    let trays = Trays::new(&log);
    trays.open_blocking("in")?;
    for number in 0..tasks {
        let task = runstone::tasks::NewTask::new(format!("task-{number}"));
        trays.add_blocking("in", &task.into())?;
    }
    trays.close_blocking("in")?;
    log.close_blocking()?;
    drop(log);

    let done = watch(&site, calls, tasks)?;
    println!(
        "{} by handles, {} by commands; unanswered: {:?}",
        done.by_handle, done.by_command, done.lost
    );
    // Of what a handle asks only what is on its way when the holder dies, and what it asks before it is
    // told of the next one.
    assert!(done.lost[1] <= 2 * KILLS * WORKERS, "{:?}", done.lost);
    assert_eq!(done.once.len(), calls + tasks);
    assert!(done.by_handle > 0 && done.by_command > 0);
    let world = std::fs::read_dir(site.path("world"))?.count();
    assert_eq!(world, calls + tasks);
    let runstone = Command::on(&site.log);
    let effects = runstone.values(["effect", "list"]);
    assert_eq!(effects.len(), calls);
    for effect in effects {
        let is_once = effect["state"] == "completed" && effect["attempt"] == 1;
        assert!(is_once, "{effect}");
    }
    let left = runstone.values(["tray", "list", "in"]);
    assert_eq!(left.len(), tasks);
    for task in left {
        assert!(task["state"] == "done" && task["attempt"] == 1, "{task}");
    }
    runstone.check();
    Ok(())
}
