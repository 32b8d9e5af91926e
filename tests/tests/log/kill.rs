//! `runstone append -`, killed in the middle, fifty times in a row on one log.
//!
//! Acknowledged means present; not acknowledged means whole or absent. What was not acknowledged
//! is sent again after the next start, with the same ids, as a caller would.

use runstone_projections::standard_folds;
use runstone_store::{Log, OpenOptions, Query, Read, VerifyLevel};
use runstone_tests::command::Runstone;
use runstone_tests::tamper::Seeded;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout};
use uuid::Uuid;

const ROUNDS: u64 = 50;
/// Rounds after which the command itself checks the log too.
const COMMAND_CHECKS: u64 = 10;
/// One round in so many is killed when it has recorded what it could not acknowledge.
const UNHEARD: u64 = 4;

/// A line of input: events that belong together.
#[derive(Clone, Debug)]
struct Line {
    /// Payloads, by which the events are told.
    payloads: Vec<String>,
    text: String,
}

impl Line {
    /// One event, or a few that stand or fall together.
    fn new(number: u64, seeded: &mut Seeded) -> Self {
        let count = [1, 1, 1, 1, 4][seeded.below(5)];
        let filler = "lorem ipsum ".repeat([1, 1, 4, 900][seeded.below(4)]);
        let events: Vec<_> = (0..count)
            .map(|part| {
                let id = Uuid::from_u128(u128::from(number * 10 + part + 1));
                let data = json!({"line": number, "part": part, "text": filler});
                let stream = format!("run-{}", (number + part) % 5);
                json!({"type": "tool.called", "stream": stream, "id": id, "data": data,
                       "tags": [format!("line:{number}")]})
            })
            .collect();
        Self {
            payloads: events
                .iter()
                .map(|event| event["data"].to_string())
                .collect(),
            text: if count == 1 {
                events[0].to_string()
            } else {
                Value::from(events).to_string()
            },
        }
    }
}

/// The running command, being fed.
struct Victim {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// Positions of the lines that it acknowledged, in order.
    acknowledged: Vec<(u64, u64)>,
}

impl Victim {
    fn new(runstone: &Runstone) -> Self {
        let mut child = runstone.command(["append", "-"]).spawn().unwrap();
        Self {
            input: child.stdin.take(),
            output: BufReader::new(child.stdout.take().unwrap()),
            acknowledged: Vec::new(),
            child,
        }
    }

    /// Reads one answer; false at the end. Half a line, written when it died, is none.
    fn read_answer(&mut self) -> bool {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        if !line.ends_with('\n') {
            return false;
        }
        let answer: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            answer["line"],
            self.acknowledged.len() as u64 + 1,
            "{answer}"
        );
        let place = |name: &str| answer[name].as_u64().unwrap_or_else(|| panic!("{answer}"));
        self.acknowledged.push((place("first"), place("last")));
        true
    }

    /// Feeds all lines and kills it when it has answered so many, whatever it is doing then.
    fn killed_when_answered(mut self, lines: &[Line], count: usize) -> Vec<(u64, u64)> {
        let text = text_of(lines);
        let mut input = self.input.take().unwrap();
        let feeder = std::thread::spawn(move || {
            // It breaks off when the process is gone; until then the input stays open.
            let _ = input.write_all(text.as_bytes());
            input
        });
        for _ in 0..count {
            assert!(self.read_answer(), "it ended by itself");
        }
        self.child.kill().unwrap();
        // What it had written when it died counts.
        while self.read_answer() {}
        self.child.wait().unwrap();
        drop(feeder.join().unwrap());
        self.acknowledged
    }

    /// Feeds so many lines, reads the answers, then stops listening, feeds the rest and kills it
    /// when something has been recorded that it could not tell.
    fn killed_when_unheard(mut self, lines: &[Line], count: usize, head: &Path) -> Vec<(u64, u64)> {
        let (heard, unheard) = lines.split_at(count);
        let mut input = self.input.take().unwrap();
        input.write_all(text_of(heard).as_bytes()).unwrap();
        for _ in 0..count {
            assert!(self.read_answer(), "it ended by itself");
        }
        drop(self.output);
        let before = std::fs::read(head).unwrap();
        input.write_all(text_of(unheard).as_bytes()).unwrap();
        while std::fs::read(head).unwrap() == before {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended by itself");
            std::thread::yield_now();
        }
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.acknowledged
    }
}

fn text_of(lines: &[Line]) -> String {
    let mut text = String::new();
    for line in lines {
        text.push_str(&line.text);
        text.push('\n');
    }
    text
}

/// Everything after the genesis, by position; the log must be sound.
fn recorded(path: &Path) -> Vec<String> {
    let mut open = OpenOptions::default();
    open.folds = standard_folds();
    let log = Log::open(path, open).unwrap();
    let report = log.verify(VerifyLevel::Commitments, &|_, _| {});
    assert!(report.valid, "{report:?}");
    for check in log.check_folds(None, &|_, _| {}).unwrap() {
        assert!(check.is_equal(), "{check:?}");
    }
    let read = Read::new(Query::everything()).from(1_u64);
    let payloads = log.read(read).unwrap().map(|record| {
        let record = record.unwrap();
        String::from_utf8(record.payload.bytes().unwrap().to_vec()).unwrap()
    });
    let payloads: Vec<_> = payloads.collect();
    assert_eq!(payloads.len() as u64 + 1, log.size());
    payloads
}

/// Checks what became of each line, and leaves those that were not acknowledged; answers how many
/// of these are recorded all the same.
fn sorted_out(open: &mut Vec<Line>, answers: &[(u64, u64)], events: &[String]) -> usize {
    let mut places = BTreeMap::new();
    for (at, payload) in (1_u64..).zip(events) {
        let before = places.insert(payload.as_str(), at);
        assert_eq!(before, None, "twice: {payload:.60}");
    }
    let mut recorded = 0;
    for (at, line) in open.iter().enumerate() {
        let places = line
            .payloads
            .iter()
            .map(|payload| places.get(payload.as_str()));
        let present: Vec<u64> = places.flatten().copied().collect();
        let in_a_row = present.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        let is_whole = present.len() == line.payloads.len() && in_a_row;
        assert!(is_whole || present.is_empty(), "torn: {:.90}", line.text);
        match answers.get(at) {
            Some((first, last)) => {
                assert!(is_whole, "lost: {:.90}", line.text);
                assert_eq!((*first, *last), (present[0], present[present.len() - 1]));
            }
            None => recorded += usize::from(is_whole),
        }
    }
    open.drain(..answers.len());
    recorded
}

#[test]
fn acknowledged_lines_survive_fifty_kills() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.redb");
    let runstone = Runstone::on(&path);
    runstone.value(["init"]);
    let mut seeded = Seeded::new(0x6b69_6c6c);
    let (mut next, mut sent, mut events) = (0, 0, Vec::<String>::new());
    // Lines that nobody knows about: sent, not acknowledged.
    let mut open: Vec<Line> = Vec::new();
    let (mut acknowledged, mut lost, mut kept) = (0, 0, 0);
    for round in 0..ROUNDS {
        let count = 1 + seeded.below(16);
        for _ in 0..=count + seeded.below(20) {
            let line = Line::new(next, &mut seeded);
            sent += line.payloads.len();
            next += 1;
            open.push(line);
        }
        let victim = Victim::new(&runstone);
        let answers = if round % UNHEARD == 1 {
            victim.killed_when_unheard(&open, count, &folder.path().join("log.redb.head"))
        } else {
            // Without an answer it may be anywhere in its start.
            victim.killed_when_answered(&open, if round % UNHEARD == 3 { 0 } else { count })
        };

        let found = recorded(&path);
        assert!(found.len() >= events.len(), "round {round}");
        assert!(
            found[..events.len()] == events[..],
            "history changed in round {round}"
        );
        events = found;
        acknowledged += answers.len();
        let whole = sorted_out(&mut open, &answers, &events);
        (kept, lost) = (kept + whole, lost + open.len() - whole);
        if round % COMMAND_CHECKS == 0 {
            runstone.check();
        }
    }
    // Kills of every kind: behind the answer, behind the commit, before it. Those of the second
    // kind depend on chance but for the ones that were unheard.
    let unheard = usize::try_from(ROUNDS / UNHEARD).unwrap();
    assert!(
        acknowledged > 250 && kept >= unheard && lost > 0,
        "{acknowledged} {kept} {lost}"
    );

    let mut last = runstone.command(["append", "-"]).spawn().unwrap();
    let mut input = last.stdin.take().unwrap();
    input.write_all(text_of(&open).as_bytes()).unwrap();
    drop(input);
    let output = last.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(recorded(&path).len(), sent);
    runstone.check();
}

/// `init`, killed as soon as each of its files is there: it can be run again, and then there is a log.
#[test]
fn init_can_be_killed_anywhere() {
    const STEPS: [&str; 6] = [
        "log.redb.new",
        "log.redb.keys.new",
        "log.redb.keys",
        "log.redb.head",
        "log.redb.keys/table",
        "log.redb",
    ];
    for step in STEPS.iter().cycle().take(4 * STEPS.len()) {
        let folder = tempfile::tempdir().unwrap();
        let runstone = Runstone::on(folder.path().join("log.redb"));
        let mut init = runstone.command(["init"]).spawn().unwrap();
        while !folder.path().join(step).exists() && init.try_wait().unwrap().is_none() {}
        init.kill().unwrap();
        init.wait().unwrap();
        let named = folder.path().join("log.redb").exists();
        let again = runstone.run(["init"]);
        let told = String::from_utf8_lossy(&again.stderr);
        let made = again.status.code() == Some(0);
        // Killed before its last step it begins again; after it the log stands and is not touched.
        assert!(
            made != named || told.contains("log_exists"),
            "{step}: {told}"
        );
        let stats = runstone.value(["stats"]);
        assert_eq!(stats["events"], 1, "{step}: {stats}");
        assert!(!folder.path().join("log.redb.new").exists());
        assert_eq!(
            runstone.run(["verify", "--level", "2"]).status.code(),
            Some(0)
        );
    }
}
