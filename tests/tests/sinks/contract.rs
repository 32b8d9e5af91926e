//! Copies for others: every kind of sink keeps the contract, and one that does not behave harms
//! nobody.

use runstone::sinks::{
    Destination, Failure, JsonlConfig, Kinds, RunOptions, Runner, SinkChange, SinkState, Timer,
};
use runstone::store::keys::Credential;
use runstone::{Authority, Query, Runstone, SinkConfig, Sinks};
use runstone_codec::OsEntropy;
use runstone_tests::sinks::{CONTRACT, Made, Make, Memory, Site, lines, until};
use serde_json::json;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait that is passed: less than what a delivery has, so that none is cut short.
const REST_S: u64 = 300;
/// Seconds that a delivery has that nothing may cut short.
const PATIENT: Duration = Duration::from_secs(3_600);

fn timer(site: &Site) -> Arc<dyn Timer> {
    Arc::new(site.timer.clone())
}

fn custom(name: &str, kind: &str) -> SinkConfig {
    SinkConfig::new(name, Destination::custom(kind)).timeout(PATIENT)
}

fn keeps_the_contract(make: Make<'_>) {
    for (property, check) in CONTRACT {
        eprintln!("{property}");
        check(make);
    }
}

#[test]
fn memory_keeps_the_contract() {
    keeps_the_contract(&|site| {
        let memory = Memory::new();
        Made {
            to: Destination::custom("memory"),
            kinds: memory.kinds(Kinds::new(), "", &timer(site)),
            seen: Box::new(move || memory.with(|kept| kept.seen.clone())),
        }
    });
}

#[test]
fn files_of_lines_keep_the_contract() {
    for rotate_bytes in [None, Some(4_000)] {
        keeps_the_contract(&|site| {
            let path = site.path("out.jsonl");
            let to = JsonlConfig::new(&path).rotate_bytes(rotate_bytes);
            Made {
                to: Destination::Jsonl(to.rotate_daily(true)),
                kinds: Kinds::new(),
                seen: Box::new(move || lines(&path)),
            }
        });
    }
}

#[test]
fn one_that_does_not_behave_harms_nobody() {
    let site = Site::default();
    let timer = timer(&site);
    let names = ["hang", "block", "third", "panic", "deny", "memory"];
    let memories = names.map(|_| Memory::new());
    let kinds = names
        .iter()
        .zip(&memories)
        .fold(Kinds::new(), |kinds, (name, memory)| {
            memory.kinds(kinds, &format!("{name}-"), &timer)
        });
    let of = |name: &str| &memories[names.iter().position(|other| *other == name).unwrap()];
    for name in names {
        site.add(&custom(name, &format!("{name}-{name}")).batch_events(7));
    }
    let runner = site.run(&kinds);
    site.append(100);
    let everything = site.positions(Query::everything());

    // Not a second has passed: the healthy one waits for none of the others.
    let is_done = |name: &str| of(name).positions() == everything;
    of("memory").wait_until(|kept| kept.seen.len() == everything.len());
    assert!(is_done("memory"));
    for name in ["third", "panic"] {
        site.pass_until(REST_S, || is_done(name));
        of(name).check_order();
    }
    // Four times five minutes, then it stops, and says what is to be done.
    site.pass_until(REST_S, || site.status("deny").state == SinkState::Stopped);
    let calls = of("deny").with(|kept| kept.calls.clone());
    assert_eq!(calls.len(), 5);
    assert!(
        calls.windows(2).all(|two| two[1] - two[0] >= 300_000_000),
        "{calls:?}"
    );
    let advice = site.status("deny").advice().unwrap();
    assert!(
        advice.contains("runstone sink resume deny") && !advice.contains('\n'),
        "{advice}"
    );
    assert_eq!(site.said("sink.stopped", "deny"), 1);
    of("deny").with(|kept| kept.is_mended = true);
    site.sinks()
        .change_blocking("deny", SinkChange::Resume)
        .unwrap();
    of("deny").wait_until(|kept| kept.seen.len() == everything.len());
    assert!(is_done("deny"));

    // Those that hang hold one batch each, and are let go of with the log.
    for name in ["hang", "block"] {
        assert!(of(name).positions().is_empty());
        let (calls, largest) = of(name).with(|kept| (kept.calls.len(), kept.largest));
        assert!(calls == 1 && largest <= 7, "{calls} {largest}");
        assert_eq!(site.status(name).parked, 0);
    }
    for name in ["hang", "block", "third", "panic"] {
        assert!(site.said("sink.failed", name) <= 1, "{name}");
    }
    let stopping = std::thread::spawn(move || runner.stop());
    of("block").with(|kept| kept.is_mended = true);
    stopping.join().unwrap();
}

#[test]
fn one_that_hangs_is_given_up_and_tried_again_for_ever() {
    let site = Site::default();
    let (memory, timer) = (Memory::new(), timer(&site));
    let kinds = memory.kinds(Kinds::new(), "", &timer);
    for kind in ["hang", "block"] {
        site.add(
            &SinkConfig::new(kind, Destination::custom(kind)).timeout(Duration::from_secs(30)),
        );
    }
    site.append(5);
    let runner = site.run(&kinds);
    let failures = |name: &str| site.sinks().failures(name).unwrap();
    site.pass_until(60, || {
        failures("hang").len() >= 20 && failures("block").len() >= 20
    });
    for name in ["hang", "block"] {
        let status = site.status(name);
        assert_eq!((status.state, status.parked), (SinkState::Running, 0));
        assert!(status.is_failing);
        // On a busy machine the first one may come back late, too.
        let all = failures(name);
        let is_late = |failure: &Failure| ["timed_out", "hangs"].contains(&failure.code.as_str());
        assert!(all.iter().all(is_late), "{all:?}");
    }
    assert!(
        failures("block")
            .iter()
            .any(|failure| failure.code == "hangs")
    );
    memory.with(|kept| kept.is_mended = true);
    let everything = site.positions(Query::everything());
    let is_done = || {
        ["hang", "block"]
            .iter()
            .all(|name| !site.status(name).is_failing)
    };
    site.pass_until(60, is_done);
    assert_eq!(memory.positions(), everything);
    drop(runner);
}

#[test]
fn what_is_refused_for_itself_is_parked_alone_and_replayed() {
    let site = Site::default();
    let (memory, timer) = (Memory::new(), timer(&site));
    let kinds = memory.kinds(Kinds::new(), "", &timer);
    memory.with(|kept| kept.refused = [4, 9].into());
    site.add(&custom("picky", "refuse").tries(3));
    site.append(20);
    let everything = site.positions(Query::everything());
    let runner = site.run(&kinds);
    let has = |count: usize| memory.positions().len() == count;
    site.pass_until(60, || {
        has(everything.len() - 2) && site.status("picky").parked == 2
    });
    let parked = site.sinks().parked("picky").unwrap();
    let told: Vec<_> = parked
        .iter()
        .map(|parked| (parked.position, parked.code.as_str(), parked.tries))
        .collect();
    assert_eq!(told, [(4, "refused", 3), (9, "refused", 3)]);
    // What follows a parked event is not kept back by it, and its order stands.
    memory.check_order();

    // One is taken now, the other not yet: it stays.
    memory.with(|kept| kept.refused = [9].into());
    let sinks = site.sinks();
    sinks
        .change_blocking("picky", SinkChange::ReplayParked)
        .unwrap();
    let again = || sinks.parked("picky").unwrap();
    until(|| again().len() == 1 && again()[0].tries == 4, || {});
    let late = memory.with(|kept| kept.seen.last().unwrap().clone());
    assert_eq!((late.position, late.is_duplicate), (4, true));
    memory.with(|kept| kept.refused.clear());
    sinks
        .change_blocking("picky", SinkChange::ReplayParked)
        .unwrap();
    until(|| site.status("picky").parked == 0, || {});
    let mut all = memory.positions();
    all.sort_unstable();
    assert_eq!(all, everything);
    runner.stop();
    // What was done is not done again.
    let runner = site.run(&kinds);
    site.append(1);
    runner.caught_up_blocking(site.log().durable_size());
    assert_eq!(memory.positions().len(), everything.len() + 1);
}

#[test]
fn a_line_that_was_cut_short_is_written_again() {
    let site = Site::default();
    let path = site.path("out.jsonl");
    site.add(&SinkConfig::new("file", Destination::jsonl(&path)));
    site.append(10);
    site.run(&Kinds::new())
        .caught_up_blocking(site.log().durable_size());
    let whole = fs::read(&path).unwrap();
    let cursor = site.files().join("file.cursor");
    let at_end = fs::read(&cursor).unwrap();
    // Cut at every byte of the last two lines, as a crash before the cursor was kept leaves it.
    let before = whole.len() - 340;
    let beginning = String::from_utf8(at_end.clone()).unwrap();
    let beginning = beginning.replace("\"next\":12", "\"next\":0");
    assert_ne!(beginning.as_bytes(), at_end);
    for cut in before..=whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        fs::write(&cursor, &beginning).unwrap();
        let runner = site.run(&Kinds::new());
        runner.caught_up_blocking(site.log().durable_size());
        drop(runner);
        assert_eq!(fs::read(&path).unwrap(), whole, "{cut} of {}", whole.len());
    }
}

#[test]
fn a_file_that_is_somebody_elses_is_left_alone() {
    let site = Site::default();
    let path = site.path("out.jsonl");
    // Without a line break at its end, as people write them.
    fs::write(&path, "shopping list").unwrap();
    site.add(&SinkConfig::new("file", Destination::jsonl(&path)));
    let runner = site.run(&Kinds::new());
    until(|| site.status("file").state == SinkState::Stopped, || {});
    until(|| runner.running() == 0, || {});
    let advice = site.status("file").advice().unwrap();
    assert!(
        advice.contains("out.jsonl") && advice.contains("resume file"),
        "{advice}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "shopping list");
    fs::remove_file(&path).unwrap();
    site.sinks()
        .change_blocking("file", SinkChange::Resume)
        .unwrap();
    runner.caught_up_blocking(site.log().durable_size());
    assert_eq!(
        lines(&path).len(),
        site.positions(Query::everything()).len()
    );
}

#[test]
fn two_sinks_do_not_write_one_file() {
    let site = Site::default();
    let (folder, link) = (site.path("out"), site.path("link"));
    fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(&folder, &link).unwrap();
    // By one name it is refused; nobody sees that two names lead to one file before it is locked.
    for (name, folder) in [("one", &folder), ("two", &link)] {
        let to = Destination::jsonl(folder.join("out.jsonl"));
        site.add(&SinkConfig::new(name, to));
    }
    let path = folder.join("out.jsonl");
    let again = SinkConfig::new("three", Destination::jsonl(&path));
    let refused = site.sinks().add_blocking(&again).unwrap_err();
    assert_eq!(refused.code(), "sink_config");
    site.append(50);
    let runner = site.run(&Kinds::new());
    let failing = || ["one", "two"].map(|name| site.status(name).is_failing);
    until(|| failing().contains(&true), || {});
    drop(runner);
    assert_eq!(lines(&path).len(), 51);
}

#[test]
fn whoever_waits_for_sinks_waits_for_one_just_added() {
    let site = Site::default();
    site.append(5);
    let runner = site.run(&Kinds::new());
    for count in 1..=10 {
        let path = site.path(&format!("{count}.jsonl"));
        let to = Destination::jsonl(&path);
        site.add(&SinkConfig::new(format!("sink-{count}"), to));
        let running = runner.caught_up_blocking(site.log().durable_size());
        assert_eq!(running, count);
        assert_eq!(
            lines(&path).len(),
            site.positions(Query::everything()).len()
        );
    }
}

#[test]
fn what_was_removed_begins_anew() {
    let site = Site::default();
    let (memory, timer) = (Memory::new(), timer(&site));
    let kinds = memory.kinds(Kinds::new(), "", &timer);
    site.append(5);
    let runner = site.run(&kinds);
    for _ in 0..3 {
        site.add(&custom("copy", "memory"));
        runner.caught_up_blocking(site.log().durable_size());
        let everything = site.positions(Query::everything());
        assert_eq!(memory.positions(), everything);
        memory.with(|kept| kept.seen.clear());
        site.sinks()
            .change_blocking("copy", SinkChange::Remove)
            .unwrap();
        until(|| runner.running() == 0, || {});
        until(|| !site.files().join("copy.cursor").exists(), || {});
    }
}

#[test]
fn an_agent_changes_no_sink() {
    let site = Site::default();
    site.add(&custom("copy", "memory"));
    let path = site.path("cred");
    let agent = Credential::create(&path, "scout", Authority::Agent, &OsEntropy).unwrap();
    let log = site.log();
    log.enrol("scout", Authority::Agent, &agent.public_key())
        .unwrap();
    let sinks = Sinks::new(&log.with_credential(&agent).unwrap());
    let refused = sinks.add_blocking(&custom("mine", "memory")).unwrap_err();
    assert_eq!(refused.code(), "not_allowed");
    for change in [
        SinkChange::Pause,
        SinkChange::Resume,
        SinkChange::ReplayParked,
        SinkChange::Remove,
    ] {
        let refused = sinks.change_blocking("copy", change).unwrap_err();
        assert_eq!(refused.code(), "not_allowed");
    }
    assert_eq!(sinks.list().unwrap().len(), 1);
}

#[test]
fn a_file_of_another_log_gets_nothing_of_this_one() {
    let (other, site) = (Site::default(), Site::default());
    let path = other.path("out.jsonl");
    for (site, events) in [(&other, 5), (&site, 20)] {
        site.add(&SinkConfig::new("file", Destination::jsonl(&path)));
        site.append(events);
    }
    let runner = other.run(&Kinds::new());
    runner.caught_up_blocking(other.log().durable_size());
    runner.stop();
    let whole = fs::read(&path).unwrap();
    let runner = site.run(&Kinds::new());
    until(|| site.status("file").state == SinkState::Stopped, || {});
    let status = site.status("file");
    assert_eq!(status.why.as_deref(), Some("ahead"));
    assert!(
        status
            .advice()
            .unwrap()
            .contains("a destination of its own")
    );
    assert_eq!(fs::read(&path).unwrap(), whole);
    drop(runner);
}

#[test]
fn after_a_restore_nothing_is_passed_over() {
    let site = Site::default();
    let (memory, timer) = (Memory::new(), timer(&site));
    let kinds = memory.kinds(Kinds::new(), "", &timer);
    site.add(&custom("copy", "memory"));
    site.append(10);
    let runner = site.run(&kinds);
    runner.caught_up_blocking(site.log().durable_size());
    runner.stop();
    let at_end = fs::read(site.files().join("copy.cursor")).unwrap();
    // The same sink of a log that went another way: as many events and more, none of them the same.
    let text = String::from_utf8(at_end).unwrap();
    let (before, rest) = text.split_once("\"last\":\"").unwrap();
    let (id, after) = rest.split_once('"').unwrap();
    let other = id.replace(|digit: char| digit.is_ascii_digit(), "a");
    let text = format!("{before}\"last\":\"{other}\"{after}");
    fs::write(site.files().join("copy.cursor"), text).unwrap();
    site.append(10);
    let runner = site.run(&kinds);
    until(|| site.status("copy").state == SinkState::Stopped, || {});
    assert_eq!(site.status("copy").why.as_deref(), Some("ahead"));
    assert_eq!(memory.positions().len(), 11);
    drop(runner);
}

#[test]
fn one_whose_files_cannot_be_understood_says_so_and_hides_no_other() {
    let site = Site::default();
    let (memory, timer) = (Memory::new(), timer(&site));
    let kinds = memory.kinds(Kinds::new(), "", &timer);
    for name in ["fine", "torn"] {
        site.add(&custom(name, "memory"));
    }
    let runner = site.run(&kinds);
    runner.caught_up_blocking(site.log().durable_size());
    runner.stop();
    let cursor = site.files().join("torn.cursor");
    let whole = fs::read(&cursor).unwrap();
    fs::write(&cursor, &whole[..9]).unwrap();
    let all = site.sinks().list().unwrap();
    assert_eq!(
        all.iter().map(|sink| sink.is_failing).collect::<Vec<_>>(),
        [false, true]
    );
    let runner = site.run(&kinds);
    until(|| site.status("torn").state == SinkState::Stopped, || {});
    let advice = site.status("torn").advice().unwrap();
    assert!(
        advice.contains("torn.cursor") && advice.contains("resume torn"),
        "{advice}"
    );
    assert_eq!(site.status("fine").state, SinkState::Running);
    // Put back as it was, it goes on.
    until(|| runner.running() == 1, || {});
    fs::write(&cursor, &whole).unwrap();
    site.sinks()
        .change_blocking("torn", SinkChange::Resume)
        .unwrap();
    runner.caught_up_blocking(site.log().durable_size());
    assert!(!site.status("torn").is_failing);
    runner.stop();
}

#[test]
fn one_that_gets_nothing_of_a_busy_log_keeps_how_far_it_looked() {
    let site = Site::default();
    let (memory, timer) = (Memory::new(), timer(&site));
    let kinds = memory.kinds(Kinds::new(), "", &timer);
    site.add(&custom("some", "memory").query(Query::parse("type=c.*").unwrap()));
    let runner = site.run(&kinds);
    let cursor = site.files().join("some.cursor");
    runner.caught_up_blocking(site.log().durable_size());
    let before = fs::read(&cursor).unwrap();
    // Never a second without an event.
    for _ in 0..20 {
        site.append(1);
        runner.caught_up_blocking(site.log().durable_size());
        site.timer.advance(200_000);
    }
    assert_ne!(fs::read(&cursor).unwrap(), before);
    runner.stop();
}

/// Two commits that come within the time that it waits are one delivery.
#[test]
fn one_that_keeps_up_takes_what_comes_meanwhile_at_once() {
    let site = Site::default();
    let (timer, memory) = (timer(&site), Memory::new());
    let kinds = memory.kinds(Kinds::new(), "m-", &timer);
    site.add(&custom("memory", "m-memory"));
    let options = RunOptions::new(kinds).timer(timer);
    let options = options.linger(Duration::from_secs(1));
    let runner = Runner::start(site.log(), &site.files(), options).unwrap();
    memory.wait_until(|kept| kept.seen.len() == 1);
    for _ in 0..2 {
        site.append(1);
        assert_eq!(memory.with(|kept| kept.calls.len()), 1);
    }
    site.pass_until(1, || memory.with(|kept| kept.seen.len()) == 3);
    let calls = memory.with(|kept| kept.calls.clone());
    assert_eq!(calls[1] - calls[0], 1_000_000);
    assert_eq!(calls.len(), 2);
    runner.stop();
}

#[test]
fn the_sinks_of_a_log_run_once() {
    let site = Site::default();
    let runner = site.run(&Kinds::new());
    let options = RunOptions::new(Kinds::new());
    let refused = Runner::start(site.log(), &site.files(), options.clone()).unwrap_err();
    assert_eq!(refused.code(), "sink_files");
    runner.stop();
    Runner::start(site.log(), &site.files(), options).unwrap();

    let path = site.path("another");
    let held = Runstone::options().create(&path).unwrap();
    let again = held.run_sinks(RunOptions::default()).unwrap();
    assert_eq!(again.runner().unwrap().running(), 0);
}

/// After an outage too: what it has was asked, so nothing of it is in doubt.
#[test]
fn a_file_that_could_not_be_written_has_everything_once_and_unmarked() {
    let site = Site::default();
    let folder = site.path("later");
    let path = folder.join("out.jsonl");
    site.add(&SinkConfig::new("file", Destination::jsonl(&path)).timeout(PATIENT));
    site.append(10);
    let runner = site.run(&Kinds::new());
    site.pass_until(60, || site.sinks().failures("file").unwrap().len() > 2);
    fs::create_dir(&folder).unwrap();
    let everything = site.positions(Query::everything());
    site.pass_until(60, || {
        site.status("file").delivered == everything.len() as u64
    });
    runner.stop();
    let told: Vec<_> = lines(&path)
        .iter()
        .map(|seen| (seen.position, seen.is_duplicate))
        .collect();
    let expected: Vec<_> = everything
        .iter()
        .map(|position| (*position, false))
        .collect();
    assert_eq!(told, expected);
}

#[test]
fn what_is_parked_stays_so_where_an_older_cursor_is_put_back() {
    for kind in ["refuse", "tell"] {
        let site = Site::default();
        let (memory, timer) = (Memory::new(), timer(&site));
        let kinds = memory.kinds(Kinds::new(), "", &timer);
        memory.with(|kept| kept.refused = [9].into());
        site.add(&custom("picky", kind).tries(1));
        site.append(5);
        let runner = site.run(&kinds);
        runner.caught_up_blocking(site.log().durable_size());
        runner.stop();
        let cursor = site.files().join("picky.cursor");
        let older = fs::read(&cursor).unwrap();
        site.append(15);
        let runner = site.run(&kinds);
        runner.caught_up_blocking(site.log().durable_size());
        let everything = site.positions(Query::everything());
        assert_eq!(memory.positions().len(), everything.len() - 1);
        assert_eq!(site.status("picky").parked, 1);
        runner.stop();

        fs::write(&cursor, older).unwrap();
        assert_eq!(site.status("picky").parked, 0);
        assert!(site.sinks().parked("picky").unwrap().is_empty());
        let runner = site.run(&kinds);
        runner.caught_up_blocking(site.log().durable_size());
        assert_eq!(site.status("picky").parked, 1, "{kind}");
        memory.with(|kept| kept.refused.clear());
        let replay = SinkChange::ReplayParked;
        site.sinks().change_blocking("picky", replay).unwrap();
        until(|| site.status("picky").parked == 0, || {});
        let mut all = memory.positions();
        all.sort_unstable();
        assert_eq!(all, everything, "{kind}");
    }
}

/// What is listed and was not passed over is given in its turn, once.
#[test]
fn what_a_crash_left_on_the_list_of_the_parked_comes_once() {
    let site = Site::default();
    let path = site.path("out.jsonl");
    site.add(&SinkConfig::new("file", Destination::jsonl(&path)));
    site.append(10);
    let runner = site.run(&Kinds::new());
    runner.caught_up_blocking(site.log().durable_size());
    runner.stop();
    // As it was when the process ended after the line and before the cursor.
    let whole = fs::read_to_string(&path).unwrap();
    let before: String = whole.split_inclusive('\n').take(4).collect();
    let next = lines(&path)[4].position;
    fs::write(&path, before).unwrap();
    let cursor = site.files().join("file.cursor");
    let text = fs::read_to_string(&cursor).unwrap();
    let end = format!("\"next\":{},", site.log().durable_size());
    let (head, rest) = text.split_once(&end).unwrap();
    let (_, rest) = rest.split_once("\"offered\"").unwrap();
    let text = format!("{head}\"next\":{next},\"last\":null,\"offered\"{rest}");
    fs::write(&cursor, text).unwrap();
    let line = json!({"position": next, "code": "refused", "why": "422", "tries": 5, "at_us": 1});
    fs::write(site.files().join("file.parked"), format!("{line}\n")).unwrap();
    let replay = SinkChange::ReplayParked;
    site.sinks().change_blocking("file", replay).unwrap();
    let runner = site.run(&Kinds::new());
    runner.caught_up_blocking(site.log().durable_size());
    until(|| site.status("file").parked == 0, || {});
    runner.stop();
    assert_eq!(fs::read_to_string(&path).unwrap(), whole);
}
