//! Many callers at once: of those that want the same thing exactly one gets it, and nobody fails
//! because somebody else did.

use runstone_codec::NewEvent;
use runstone_store::{
    Append, AppendError, Appended, Condition, Disk, Durability, Expected, Log, MemoryDisk, Query,
    Read, ReadError, Sealing,
};
use runstone_tests::contract::{Place, check_sound, everything, in_memory, numbered, plainly};
use runstone_tests::tamper::{Ending, Sample};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread::ScopedJoinHandle;

const THREADS: u64 = 64;
const THREAD_ROUNDS: u64 = 40;
const TASKS: u64 = 1024;
const TASK_ROUNDS: u64 = 8;
/// A stream whose scope nobody can change any more.
const SETTLED: &str = "settled";

type Answer = Result<Appended, AppendError>;

/// What a caller does in a round: three requests, of which one can be won, one cannot fail and one
/// cannot succeed.
fn requests(caller: u64, round: u64) -> [Append; 3] {
    let claim = NewEvent::new("data.claimed", format!("claims-{}", round % 2))
        .tag(format!("hot:{round}"))
        .tag(format!("by:{caller}"));
    let contended = if round.is_multiple_of(2) {
        Append::new([claim]).condition(Condition::none(Query::tag(format!("hot:{round}"))))
    } else {
        // Every odd round adds one event to this stream: its winner's.
        let expected = (round / 2)
            .checked_sub(1)
            .map_or(Expected::NoStream, Expected::Exact);
        Append::new([claim, numbered("beside", round)]).expect("claims-1", expected)
    };
    let own = Append::from(numbered(&format!("own-{caller}"), round));
    let bad = match caller % 4 {
        0 => Append::from(NewEvent::new("run.started", "s")),
        1 => Append::from(numbered(SETTLED, round).scope("another")),
        2 => Append::from(numbered("s", round)).expect("nowhere", Expected::Exact(7)),
        _ => Append::new([numbered("s", round), numbered("s", round).payload("{")]),
    };
    [contended, own, bad]
}

/// Answers of a round, by caller.
#[derive(Default)]
struct Round {
    winners: Vec<u64>,
    losers: usize,
}

impl Round {
    fn add(&mut self, caller: u64, round: u64, answers: [Answer; 3]) {
        let [contended, own, bad] = answers;
        match contended {
            Ok(_) => self.winners.push(caller),
            Err(error) => {
                let wanted = ["condition_failed", "conflict"][usize::from(round % 2 == 1)];
                assert_eq!(error.code(), wanted, "{error}");
                self.losers += 1;
            }
        }
        own.unwrap_or_else(|error| panic!("caller {caller} in round {round}: {error}"));
        let codes = [
            "owned_namespace",
            "scope_mismatch",
            "conflict",
            "payload_not_json",
        ];
        let code = codes[usize::try_from(caller % 4).unwrap()];
        assert_eq!(bad.unwrap_err().code(), code);
    }
}

/// One winner a round, and everything that was promised is there.
fn check(log: &Log, callers: u64, rounds: &BTreeMap<u64, Round>) {
    for (number, round) in rounds {
        assert_eq!(round.winners.len(), 1, "round {number}");
        assert_eq!(round.losers as u64, callers - 1, "round {number}");
        let claims = Read::new(Query::tag(format!("hot:{number}")));
        let claims: Vec<_> = log.read(claims).unwrap().map(Result::unwrap).collect();
        assert_eq!(claims.len(), 1);
        let winner = format!("by:{}", round.winners[0]);
        assert!(claims[0].header.has_tag(&winner));
    }
    let count = rounds.len() as u64;
    for caller in 0..callers {
        let own = Query::stream(format!("own-{caller}"));
        assert_eq!(log.count(&own).unwrap(), count);
    }
    assert_eq!(log.count(&Query::stream("beside")).unwrap(), count / 2);
    assert_eq!(log.count(&Query::stream("s")).unwrap(), 0);
    assert_eq!(log.size(), 2 + count * (callers + 1) + count / 2);
    let ids: BTreeSet<_> = everything(log)
        .iter()
        .map(|record| record.header.event_id)
        .collect();
    assert_eq!(ids.len() as u64, log.size());
    check_sound(log);
}

#[test]
fn one_of_64_threads_wins_each_round() {
    let place = Place::new(Sealing::Required);
    let log = place.create(plainly());
    log.append_blocking(numbered(SETTLED, 0)).unwrap();
    let barrier = Barrier::new(usize::try_from(THREADS).unwrap());
    let answers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|caller| {
                let (log, barrier) = (&log, &barrier);
                scope.spawn(move || {
                    let mut answers = Vec::new();
                    for round in 0..THREAD_ROUNDS {
                        barrier.wait();
                        let requests = requests(caller, round);
                        let done = requests.map(|request| log.append_blocking(request));
                        answers.push((caller, round, done));
                    }
                    answers
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    let mut rounds = BTreeMap::<u64, Round>::new();
    for (caller, round, answers) in answers {
        rounds.entry(round).or_default().add(caller, round, answers);
    }
    check(&log, THREADS, &rounds);
    let (size, root) = (log.size(), log.root());
    drop(log);
    let log = place.open(plainly());
    assert_eq!((log.size(), log.root()), (size, root));
}

#[test]
fn one_of_1024_tasks_wins_each_round() {
    let log = in_memory(Sealing::Required, plainly());
    log.append_blocking(numbered(SETTLED, 0)).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut rounds = BTreeMap::<u64, Round>::new();
    for round in 0..TASK_ROUNDS {
        let answers = runtime.block_on(async {
            let tasks: Vec<_> = (0..TASKS)
                .map(|caller| {
                    let log = log.clone();
                    tokio::spawn(async move {
                        let [contended, own, bad] = requests(caller, round);
                        let done =
                            tokio::join!(log.append(contended), log.append(own), log.append(bad),);
                        (caller, [done.0, done.1, done.2])
                    })
                })
                .collect();
            let mut answers = Vec::new();
            for task in tasks {
                answers.push(task.await.unwrap());
            }
            answers
        });
        for (caller, answers) in answers {
            rounds.entry(round).or_default().add(caller, round, answers);
        }
    }
    check(&log, TASKS, &rounds);
}

/// A future that is dropped appended nothing or appends whole; others do not notice.
#[test]
fn dropped_futures_leave_no_halves() {
    let log = in_memory(Sealing::Required, plainly());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..400_u64)
            .map(|caller| {
                let log = log.clone();
                let events = [0, 1, 2].map(|part| numbered(&format!("s{caller}"), part));
                tokio::spawn(async move { log.append(Append::new(events)).await.unwrap() })
            })
            .collect();
        for (caller, task) in tasks.into_iter().enumerate() {
            if caller % 3 == 0 {
                task.abort();
                // Cancelled, or done before that.
                let _ = task.await;
            } else {
                task.await.unwrap();
            }
        }
    });
    // What is on its way is ahead of this.
    log.sync_blocking().unwrap();
    for caller in 0..400 {
        let count = log.count(&Query::stream(format!("s{caller}"))).unwrap();
        assert!(
            count == 3 || (count == 0 && caller % 3 == 0),
            "{caller}: {count}"
        );
    }
    check_sound(&log);
}

/// Readers find every event whole while tiles and index are stored under them.
#[test]
fn readers_find_everything_while_writing_goes_on() {
    let mut open = plainly();
    open.options.maintenance_commits = 4;
    let log = in_memory(Sealing::Plain, open);
    for n in 0..300 {
        log.append_blocking(numbered("s", n)).unwrap();
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 300.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                log.append_blocking(numbered("s", n)).unwrap();
            }
        });
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let from = log.size() - 200;
                        let read = log.read(Read::new(Query::everything()).from(from)).unwrap();
                        let places = read
                            .map(|record| record.map(|record| record.position.get()))
                            .collect::<Result<Vec<_>, _>>()?;
                        assert!(places.len() >= 200);
                        assert!(
                            (from..)
                                .zip(&places)
                                .all(|(wanted, place)| wanted == *place)
                        );
                    }
                    Ok::<_, ReadError>(())
                })
            })
            .collect();
        let outcomes = readers.into_iter().map(ScopedJoinHandle::join);
        let outcomes: Vec<_> = outcomes.collect();
        stop.store(true, Ordering::Relaxed);
        for outcome in outcomes {
            outcome.unwrap().unwrap();
        }
    });
}

/// A disk of which a sync that fails leaves what the one before left.
#[derive(Clone, Debug)]
struct Forgetful {
    disk: MemoryDisk,
    synced: Arc<Mutex<Vec<u8>>>,
    fails: Arc<AtomicBool>,
}

impl Forgetful {
    fn with_bytes(bytes: Vec<u8>) -> Self {
        Self {
            disk: MemoryDisk::with_bytes(bytes.clone()),
            synced: Arc::new(Mutex::new(bytes)),
            fails: Arc::default(),
        }
    }
}

impl Disk for Forgetful {
    fn len(&self) -> io::Result<u64> {
        self.disk.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut synced = self.synced.lock().unwrap();
        if self.fails.swap(false, Ordering::SeqCst) {
            self.disk.set_len(synced.len() as u64)?;
            self.disk.write(0, &synced)?;
            return Err(io::Error::other("the disk forgot what it was told"));
        }
        *synced = self.disk.to_vec();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.write(offset, data)
    }
}

/// A read that began while events were only buffered ends where the log ends after a failed commit
/// took them back: nothing of it is damaged.
#[test]
fn a_read_under_way_does_not_miss_what_was_taken_back() {
    for reverse in [false, true] {
        let sample = Sample::new(Sealing::Required, Ending::Closed).unwrap();
        let disk = Forgetful::with_bytes(sample.log.clone());
        let head = MemoryDisk::with_bytes(sample.head.clone());
        let log = sample.open_on(disk.clone(), head).unwrap();
        let durable = log.size();
        for n in 0..5 {
            let event = Append::from(numbered("s", n)).durability(Durability::Buffered);
            log.append_blocking(event).unwrap();
        }
        let mut read = Read::new(Query::everything());
        read.reverse = reverse;
        let buffered = Read::new(Query::everything()).from(durable);
        let (read, buffered) = (log.read(read).unwrap(), log.read(buffered).unwrap());
        disk.fails.store(true, Ordering::SeqCst);
        let error = log.append_blocking(numbered("s", 5)).unwrap_err();
        assert_eq!(error.code(), "outcome_unknown");
        let left = log.size();
        assert!(left < durable + 5);
        let mut places: Vec<_> = read.map(|record| record.unwrap().position.get()).collect();
        if reverse {
            places.reverse();
        }
        assert_eq!(places, (0..left).collect::<Vec<_>>());
        let places: Vec<_> = buffered
            .map(|record| record.unwrap().position.get())
            .collect();
        assert_eq!(places, (durable..left).collect::<Vec<_>>());
    }
}
