//! Loops: each kind is found, nothing else is, and few rows are looked at whatever was recorded.

use super::fold::{Digest, named_key, take, task_key};
use super::loops::{Bounds, Judged, Look, Loop, WALK, Wanted, judge};
use super::{TaskState, field};
use crate::MemoryRows;
use crate::rows::{self, TaskRow};
use crate::seen::Seen;
use bincode::Decode;
use runstone_codec::{Authority, Control, Header, NewEvent, Uuid};
use runstone_store::FoldError;
use std::collections::{BTreeMap, BTreeSet};

const SCOPE: &str = "default";
const BOUNDS: Bounds = Bounds {
    max_depth: 10,
    identity_window: 1,
    completed_window: 1000,
};

/// No chain is too deep.
const ENDLESS: Bounds = Bounds {
    max_depth: u64::MAX,
    identity_window: 0,
    completed_window: 0,
};

fn name(number: usize) -> Digest {
    (number as u128 + 1).to_be_bytes()
}

/// Rows, and how many were read.
struct Counting<'a> {
    rows: &'a MemoryRows,
    read: usize,
}

impl Look for Counting<'_> {
    type Error = FoldError;

    fn get<T: Decode<()>>(&mut self, key: &[u8]) -> Result<Option<T>, FoldError> {
        self.read += 1;
        self.rows.get(key).map(rows::decode).transpose()
    }

    fn has(&mut self, key: &[u8]) -> Result<bool, FoldError> {
        self.read += 1;
        Ok(self.rows.get(key).is_some())
    }
}

#[derive(Clone, Copy, Default)]
struct Node {
    agent: Option<usize>,
    task_type: Option<usize>,
    parent: Option<usize>,
    creator: Option<usize>,
}

/// A log of tasks, without the log.
struct World {
    rows: MemoryRows,
    headers: BTreeMap<&'static str, Header>,
    next: u64,
}

impl World {
    fn new() -> Self {
        let header = |event_type: &'static str| {
            let event = NewEvent::new(event_type, "tasks");
            let header = event.header(Uuid::nil(), SCOPE, "system", Authority::System, None);
            (event_type, header)
        };
        let kinds = ["task.created", "task.moved", "task.refused", "task.claimed"];
        Self {
            rows: MemoryRows::new(),
            headers: kinds.into_iter().map(header).collect(),
            next: 1,
        }
    }

    fn fold(&mut self, event_type: &str, control: &Control) {
        let seen = Seen {
            position: self.next,
            recorded_at_us: self.next,
            header: &self.headers[event_type],
            control,
        };
        take(&mut self.rows, &seen).unwrap();
        self.next += 1;
    }

    /// What is recorded of a task, whether it might be or not.
    fn record(&mut self, task: usize, node: Node, depth: u64) {
        let mut control = Control::new()
            .bytes(field::TASK, name(task))
            .u64(field::DEPTH, depth)
            .u64(field::TO, TaskState::Todo.number());
        for (number, value) in [
            (field::AGENT, node.agent),
            (field::TYPE, node.task_type),
            (field::PARENT, node.parent),
            (field::CREATOR, node.creator),
        ] {
            if let Some(value) = value {
                control = control.bytes(number, name(value));
            }
        }
        self.fold("task.created", &control);
    }

    fn end(&mut self, task: usize, to: TaskState) {
        let control = Control::new()
            .bytes(field::TASK, name(task))
            .u64(field::TO, to.number());
        self.fold("task.moved", &control);
    }

    fn row(&self, task: usize) -> Option<TaskRow> {
        let row = self.rows.get(&task_key(&name(task), SCOPE))?;
        Some(rows::decode(row).unwrap())
    }

    /// What would become of a creation, and how many rows were read for it.
    fn judge(&self, task: usize, node: Node, bounds: &Bounds) -> (Judged, usize) {
        let wanted = Wanted {
            task: name(task),
            scope: SCOPE,
            agent: node.agent.map(name),
            task_type: node.task_type.map(name),
            parent: node.parent.map(name),
            creator: node.creator.map(name),
        };
        let mut rows = Counting {
            rows: &self.rows,
            read: 0,
        };
        let judged = judge(&mut rows, &wanted, bounds).unwrap();
        (judged, rows.read)
    }

    fn found(&self, task: usize, node: Node, bounds: &Bounds) -> Option<Loop> {
        match self.judge(task, node, bounds).0 {
            Judged::Found(found) => Some(found),
            _ => None,
        }
    }

    /// Creates it, if it is allowed.
    fn create(&mut self, task: usize, node: Node, bounds: &Bounds) -> Judged {
        let (judged, _) = self.judge(task, node, bounds);
        if let Judged::Allowed { depth } = judged {
            self.record(task, node, depth);
        }
        judged
    }
}

fn child(parent: usize) -> Node {
    Node {
        parent: Some(parent),
        ..Node::default()
    }
}

fn by(creator: usize) -> Node {
    Node {
        creator: Some(creator),
        ..Node::default()
    }
}

/// Numbers that are the same in every run (`SplitMix64`).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % end as u64).unwrap()
    }

    fn maybe(&mut self, end: usize) -> Option<usize> {
        (end > 0 && self.below(3) > 0).then(|| self.below(end))
    }
}

#[test]
fn the_depth_is_that_of_the_parent_and_one() {
    let mut world = World::new();
    assert_eq!(
        world.create(0, Node::default(), &BOUNDS),
        Judged::Allowed { depth: 0 }
    );
    for task in 1..=10 {
        let expected = Judged::Allowed { depth: task as u64 };
        assert_eq!(world.create(task, child(task - 1), &BOUNDS), expected);
    }
    let too_deep = Some(Loop::Depth {
        depth: 11,
        max_depth: 10,
    });
    assert_eq!(world.found(11, child(10), &BOUNDS), too_deep);
    // It is told before everything else.
    assert_eq!(world.found(5, child(10), &BOUNDS), too_deep);
    let none = Bounds {
        max_depth: 0,
        ..BOUNDS
    };
    assert!(world.found(11, child(0), &none).is_some());
    assert_eq!(world.found(11, Node::default(), &none), None);
    assert_eq!(world.judge(11, child(99), &BOUNDS).0, Judged::ParentUnknown);
    // A creator makes nothing deeper, and need not be known.
    assert_eq!(
        world.judge(11, by(99), &BOUNDS).0,
        Judged::Allowed { depth: 0 }
    );
}

/// By parents, by creators and by both.
#[test]
fn a_cycle_is_found_at_every_distance() {
    const AHEAD: usize = 9_999;
    for kind in 0..3 {
        let link = |to: usize| match (kind, to % 2) {
            (0, _) | (2, 0) => child(to),
            _ => by(to),
        };
        // A task that has ended, one that is open, and one that was named before it was there.
        let [mut ended, mut open, mut ahead] = [World::new(), World::new(), World::new()];
        ended.record(0, Node::default(), 0);
        ended.end(0, TaskState::Cancelled);
        open.record(0, Node::default(), 0);
        ahead.record(0, by(AHEAD), 0);
        for distance in 0..WALK + 10 {
            if distance > 0 {
                for world in [&mut ended, &mut open, &mut ahead] {
                    world.record(distance, link(distance - 1), 1);
                }
            }
            let new = link(distance);
            // Behind too many tasks it is refused because it cannot be ruled out.
            let expected = |looked: usize| {
                Some(if looked > WALK {
                    Loop::Tangle
                } else {
                    Loop::Cycle
                })
            };
            assert_eq!(ended.found(0, new, &ENDLESS), expected(distance), "{kind}");
            let found = ahead.found(AHEAD, new, &ENDLESS);
            assert_eq!(found, expected(distance + 1), "{kind}");
            match open.judge(0, new, &ENDLESS).0 {
                Judged::Found(Loop::Cycle) => assert!(distance <= WALK),
                other => assert!(distance > WALK && matches!(other, Judged::Exists(_))),
            }
            // Another task is in none.
            assert_eq!(ended.found(AHEAD, new, &ENDLESS), None);
        }
    }
}

#[test]
fn nothing_is_its_own_parent_or_creator() {
    let world = World::new();
    assert_eq!(world.found(0, child(0), &BOUNDS), Some(Loop::Cycle));
    assert_eq!(world.found(0, by(0), &BOUNDS), Some(Loop::Cycle));
    let none = Bounds {
        max_depth: 0,
        ..BOUNDS
    };
    assert_eq!(world.found(0, child(0), &none), Some(Loop::Cycle));
}

#[test]
fn an_ancestor_of_the_same_agent_and_type_is_found_within_the_window() {
    let same = |parent| Node {
        agent: Some(500),
        task_type: Some(600),
        parent,
        creator: None,
    };
    for distance in 1..=10_usize {
        let mut world = World::new();
        world.record(0, same(None), 0);
        for task in 1..distance {
            // Half of it is not enough.
            let node = Node {
                agent: Some(500),
                task_type: Some(601),
                ..child(task - 1)
            };
            world.record(task, node, task as u64);
        }
        let new = same(Some(distance - 1));
        for window in 0..=11_u64 {
            let bounds = Bounds {
                identity_window: window,
                ..BOUNDS
            };
            let expected = (window >= distance as u64).then_some(Loop::Identity);
            assert_eq!(
                world.found(99, new, &bounds),
                expected,
                "{distance} {window}"
            );
        }
    }
    // Nobody is the same as nobody.
    let mut world = World::new();
    world.record(0, Node::default(), 0);
    assert_eq!(world.found(1, child(0), &BOUNDS), None);
}

#[test]
fn one_of_the_last_completed_does_not_come_again() {
    let mut world = World::new();
    for task in 0..20 {
        world.record(task, Node::default(), 0);
        world.end(task, TaskState::Done);
    }
    for window in 0..=20_u64 {
        let bounds = Bounds {
            completed_window: window,
            ..BOUNDS
        };
        for task in 0..20_usize {
            let is_among_them = 20 - task as u64 <= window;
            let expected = is_among_them.then_some(Loop::Reprocess);
            assert_eq!(world.found(task, Node::default(), &bounds), expected);
        }
    }
    // Another life does not count as completed, and one that is cancelled was not.
    let none = Bounds {
        completed_window: 0,
        ..BOUNDS
    };
    assert!(matches!(
        world.create(0, Node::default(), &none),
        Judged::Allowed { .. }
    ));
    assert!(matches!(
        world.judge(0, Node::default(), &BOUNDS).0,
        Judged::Exists(_)
    ));
    world.end(0, TaskState::Cancelled);
    let nineteen = Bounds {
        completed_window: 19,
        ..BOUNDS
    };
    assert_eq!(world.found(0, Node::default(), &nineteen), None);
    // What was completed in an earlier life counts for a wider window.
    let found = world.found(0, Node::default(), &BOUNDS);
    assert_eq!(found, Some(Loop::Reprocess));
    world.record(0, Node::default(), 0);
    world.end(0, TaskState::Done);
    assert_eq!(
        world.found(0, Node::default(), &nineteen),
        Some(Loop::Reprocess)
    );
    assert_eq!(world.row(0).and_then(|row| row.completed), Some(21));
    // Moving what is done does not complete it again.
    world.end(0, TaskState::Done);
    assert_eq!(world.row(0).and_then(|row| row.completed), Some(21));
}

/// Whether links lead from these to a task, by the plainest of searches.
fn reaches(links: &BTreeMap<usize, Node>, from: Node, task: usize) -> bool {
    let both = |node: &Node| [node.parent, node.creator].into_iter().flatten();
    let mut open: Vec<usize> = both(&from).collect();
    let mut seen = BTreeSet::new();
    while let Some(next) = open.pop() {
        if next == task {
            return true;
        }
        if seen.insert(next) {
            open.extend(links.get(&next).into_iter().flat_map(both));
        }
    }
    false
}

/// Ten thousand graphs, with ids that are named ahead of time and ids that come again.
#[test]
fn cycles_are_found_and_nothing_else_is() {
    let mut numbers = Numbers(1);
    let (mut cycles, mut legal, mut again) = (0, 0, 0);
    for _ in 0..10_000 {
        let mut world = World::new();
        let mut links: BTreeMap<usize, Node> = BTreeMap::new();
        let ids = 2 + numbers.below(12);
        for _ in 0..ids * 2 {
            let task = numbers.below(ids);
            let known: Vec<usize> = links.keys().copied().collect();
            let node = Node {
                parent: numbers.maybe(known.len()).map(|at| known[at]),
                creator: numbers.maybe(ids),
                ..Node::default()
            };
            let is_cycle = reaches(&links, node, task);
            let is_open = links.contains_key(&task) && numbers.below(4) == 0;
            if links.contains_key(&task) && !is_open {
                world.end(task, TaskState::Cancelled);
            }
            let judged = world.create(task, node, &ENDLESS);
            match &judged {
                Judged::Found(Loop::Cycle) => assert!(is_cycle, "{task} of {ids}"),
                Judged::Exists(_) => assert!(!is_cycle && links.contains_key(&task)),
                Judged::Allowed { .. } => assert!(!is_cycle, "{task} of {ids}"),
                other => panic!("{other:?}"),
            }
            cycles += usize::from(is_cycle);
            if matches!(judged, Judged::Allowed { .. }) {
                legal += 1;
                again += usize::from(links.insert(task, node).is_some());
            }
        }
    }
    assert!(
        cycles > 10_000 && legal > 10_000 && again > 1_000,
        "{cycles} {legal} {again}"
    );
}

/// The most rows that a creation reads: of parent, task and mark, of ancestors and of the count.
const MOST: usize = 4 + WALK;

#[test]
fn graphs_of_any_shape_are_looked_at_for_few_rows() {
    const NODES: usize = 100_000;
    type Shape = (&'static str, fn(usize, &mut Numbers) -> Node);
    let shapes: [Shape; 6] = [
        ("a chain of creators", |task, _| by(task.saturating_sub(1))),
        ("a ring", |task, _| by((task + 1) % NODES)),
        ("a ring of parents", |task, _| {
            child((task + NODES - 1) % NODES)
        }),
        ("a star", |_, _| child(0)),
        ("two links each, back", |task, numbers| Node {
            parent: Some(numbers.below(task + 1)),
            creator: Some(numbers.below(task + 1)),
            ..Node::default()
        }),
        ("two links each, anywhere", |_, numbers| Node {
            parent: Some(numbers.below(NODES)),
            creator: Some(numbers.below(NODES)),
            ..Node::default()
        }),
    ];
    for (shape, link) in shapes {
        let (mut world, mut numbers) = (World::new(), Numbers(7));
        for task in 0..NODES {
            // What control says of the depth may be anything.
            let depth = if task % 3 == 0 { u64::MAX } else { task as u64 };
            let node = link(task, &mut numbers);
            world.record(task, node, depth);
            if task % 8 == 0 {
                world.end(task, TaskState::Done);
            }
        }
        let wide = Bounds {
            identity_window: 10,
            completed_window: 100_000,
            ..ENDLESS
        };
        let mut most = 0;
        for _ in 0..1_000 {
            let task = numbers.below(NODES + 10);
            let node = Node {
                agent: Some(1),
                task_type: Some(2),
                parent: numbers.maybe(NODES),
                creator: numbers.maybe(NODES),
            };
            let (judged, read) = world.judge(task, node, &wide);
            most = most.max(read);
            // One that nobody named is in no cycle.
            if task >= NODES {
                assert!(
                    matches!(judged, Judged::Allowed { .. }),
                    "{shape} {judged:?}"
                );
                assert!(read <= 4 + 10, "{shape}: {read}");
            }
        }
        assert!(most <= MOST + 10, "{shape}: {most}");
    }
}

/// What cannot be ruled out is refused, and says so.
#[test]
fn behind_too_many_tasks_a_cycle_is_not_ruled_out() {
    let mut world = World::new();
    world.record(0, Node::default(), 0);
    for task in 1..=WALK + 1 {
        world.record(task, by(task - 1), 0);
    }
    // Nobody named it, so nothing is followed.
    assert_eq!(world.found(9_999, by(WALK + 1), &BOUNDS), None);
    assert_eq!(world.judge(9_999, by(WALK + 1), &BOUNDS).1, 2);
    // One that was named, and is not behind.
    world.record(5_000, by(9_999), 0);
    assert_eq!(world.found(9_999, by(WALK - 1), &BOUNDS), None);
    assert_eq!(
        world.found(9_999, by(WALK + 1), &BOUNDS),
        Some(Loop::Tangle)
    );
    // One that is there is refused for that.
    world.record(5_001, child(5_000), 1);
    let (judged, _) = world.judge(5_000, by(WALK + 1), &BOUNDS);
    assert!(matches!(judged, Judged::Exists(_)), "{judged:?}");
}

#[test]
fn a_recording_is_no_work_of_this_log() {
    let mut world = World::new();
    let mut header = world.headers["task.created"].clone();
    header.tags = vec!["imported:zu".into()];
    world.headers.insert("task.created", header);
    world.record(0, child(1), 1);
    assert_eq!(world.rows, MemoryRows::new());
}

#[test]
fn control_that_says_nothing_changes_nothing() {
    let mut world = World::new();
    for event_type in ["task.created", "task.moved", "task.refused", "task.claimed"] {
        world.fold(event_type, &Control::new());
        world.fold(event_type, &Control::new().bytes(field::TASK, [1; 15]));
    }
    world.end(3, TaskState::Done);
    assert_eq!(world.rows, MemoryRows::new());
    world.record(3, Node::default(), 0);
    let before = world.rows.clone();
    let unknown = Control::new().bytes(field::TASK, name(3)).u64(field::TO, 7);
    world.fold("task.moved", &unknown);
    assert_eq!(world.rows, before);
    assert!(world.rows.get(&named_key(&name(3), SCOPE)).is_none());
}
