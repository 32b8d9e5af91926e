//! What must hold of every kind of sink. One function a property.

use super::site::{SECRET, Site};
use super::strange::Seen;
use runstone::sinks::{Destination, Kinds, SinkChange, Start};
use runstone::{NewEvent, Query, SinkConfig};

/// A destination in the folder of a site, what makes it work, and what it has.
#[expect(missing_debug_implementations, reason = "it is mostly a function")]
pub struct Made<'a> {
    /// Where it is.
    pub to: Destination,
    /// The kinds that it takes.
    pub kinds: Kinds,
    /// What it has, in the order in which it came.
    pub seen: Box<dyn Fn() -> Vec<Seen> + 'a>,
}

/// Makes a destination.
pub type Make<'a> = &'a dyn for<'s> Fn(&'s Site) -> Made<'s>;

/// A property of every kind of sink.
pub type Property = fn(Make<'_>);

/// Those that hold of a kind that takes the log itself, in parts.
pub const CONTRACT_OF_PARTS: [(&str, Property); 2] = [
    ("it goes on where it was", goes_on),
    ("one that was paused misses nothing", misses_nothing),
];

/// All of them.
pub const CONTRACT: [(&str, Property); 6] = [
    ("it gets everything once, in order", gets_everything),
    ("it goes on where it was", goes_on),
    ("it begins where it is told", begins_where_it_is_told),
    ("it gets what its query selects", gets_what_is_selected),
    ("what is not named does not leave", lets_nothing_out),
    ("one that was paused misses nothing", misses_nothing),
];

fn positions(made: &Made<'_>) -> Vec<u64> {
    let seen = (made.seen)();
    assert!(seen.iter().all(|seen| !seen.is_duplicate), "{seen:?}");
    seen.into_iter().map(|seen| seen.position).collect()
}

fn run(site: &Site, made: &Made<'_>) {
    let runner = site.run(&made.kinds);
    runner.caught_up_blocking(site.log().durable_size());
    runner.stop();
}

fn gets_everything(make: Make<'_>) {
    let site = Site::default();
    let made = make(&site);
    site.append(1_000);
    site.add(&SinkConfig::new("copy", made.to.clone()).batch_events(64));
    let runner = site.run(&made.kinds);
    site.append(1_000);
    runner.caught_up_blocking(site.log().durable_size());
    assert_eq!(positions(&made), site.positions(Query::everything()));
    let status = site.status("copy");
    assert_eq!((status.lag_us, status.parked), (0, 0));
    assert_eq!(status.delivered, positions(&made).len() as u64);
    runner.stop();
}

fn goes_on(make: Make<'_>) {
    let site = Site::default();
    let made = make(&site);
    site.add(&SinkConfig::new("copy", made.to.clone()));
    for _ in 0..4 {
        site.append(30);
        run(&site, &made);
        assert_eq!(positions(&made), site.positions(Query::everything()));
    }
}

fn begins_where_it_is_told(make: Make<'_>) {
    for (start, from) in [(Start::Now, 41), (Start::At(12), 12)] {
        let site = Site::default();
        let made = make(&site);
        site.append(40);
        site.add(&SinkConfig::new("late", made.to.clone()).from(start));
        site.append(10);
        run(&site, &made);
        let mut expected = site.positions(Query::everything());
        expected.retain(|position| *position >= from);
        assert_eq!(positions(&made), expected, "{start:?}");
    }
}

fn gets_what_is_selected(make: Make<'_>) {
    let site = Site::default();
    let made = make(&site);
    let query = Query::parse("type=a.*;stream=run-1").unwrap();
    site.append(90);
    site.add(&SinkConfig::new("some", made.to.clone()).query(query.clone()));
    run(&site, &made);
    let expected = site.positions(query);
    assert!(expected.len() > 10);
    assert_eq!(positions(&made), expected);
    // It has looked at everything all the same.
    assert_eq!(site.status("some").lag_events, 0);
}

fn lets_nothing_out(make: Make<'_>) {
    for fields in [vec![], vec!["text"]] {
        let site = Site::default();
        let made = make(&site);
        site.append(20);
        site.log()
            .append_blocking(NewEvent::new("a.one", "s").payload(format!("[\"{SECRET}\"]")))
            .unwrap();
        site.add(&SinkConfig::new("copy", made.to.clone()).fields(fields.clone()));
        run(&site, &made);
        let seen = (made.seen)();
        assert_eq!(seen.len(), 22);
        for seen in &seen {
            assert!(!seen.line.contains(SECRET), "{}", seen.line);
        }
        let has_text = seen.iter().any(|seen| seen.line.contains("number 7"));
        assert_eq!(has_text, !fields.is_empty());
        let bytes = site.bytes_beside("out");
        let found = bytes
            .windows(SECRET.len())
            .position(|at| at == SECRET.as_bytes());
        assert_eq!(found, None);
    }
}

fn misses_nothing(make: Make<'_>) {
    let site = Site::default();
    let made = make(&site);
    site.add(&SinkConfig::new("copy", made.to.clone()));
    let runner = site.run(&made.kinds);
    site.append(10);
    runner.caught_up_blocking(site.log().durable_size());
    let sinks = site.sinks();
    sinks.change_blocking("copy", SinkChange::Pause).unwrap();
    super::until(|| runner.running() == 0, || {});
    site.append(10);
    let before = positions(&made);
    sinks.change_blocking("copy", SinkChange::Resume).unwrap();
    runner.caught_up_blocking(site.log().durable_size());
    let after = positions(&made);
    assert_eq!(after, site.positions(Query::everything()));
    assert_eq!(before.len() + 10, after.len());
    runner.stop();
}
