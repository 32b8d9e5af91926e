//! What is measured.

mod agent;
mod append;
mod condition;
mod loops;
mod open;
mod read;
mod receipt;
mod size;
mod streams;
mod subscribers;
mod travel;
mod verify;

pub(crate) use streams::fill as fill_streams;

use crate::bench::Bench;
use crate::contender::{Contender, Need};
use crate::sample::Sample;
use anyhow::Result;

/// A workload. Its round is one measurement of one contender.
#[derive(Clone, Copy)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) clients: usize,
    /// Events of one commit of one client.
    pub(crate) batch: usize,
    pub(crate) unit: Unit,
    pub(crate) need: Need,
    pub(crate) place: Place,
    pub(crate) bars: &'static [Bar],
    pub(crate) round: fn(&Bench, &Self, &Contender) -> Result<Sample>,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    EventsPerSecond,
    CallsPerSecond,
    MebibytesPerSecond,
    Microseconds,
    Seconds,
    BytesPerEvent,
    Bytes,
    Megabytes,
}

impl Unit {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::EventsPerSecond => "events/s",
            Self::CallsPerSecond => "calls/s",
            Self::MebibytesPerSecond => "MiB/s",
            Self::Microseconds => "us",
            Self::Seconds => "s",
            Self::BytesPerEvent => "bytes/event",
            Self::Bytes => "bytes",
            Self::Megabytes => "MB",
        }
    }
}

/// What a workload runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Disk,
    /// Memory: what is left when syncing costs nothing.
    Tmpfs,
    /// The disk, with recordings.
    Recordings,
}

/// What is demanded of a contender.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bar {
    pub(crate) contender: &'static str,
    pub(crate) demand: Demand,
}

/// The demands. A ratio is the contender's median divided by the other's.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Demand {
    AtLeast(f64),
    /// Of the rate by processor time: what one core would do.
    AtLeastACore(f64),
    AtMost(f64),
    RatioAtLeast(&'static str, f64),
    RatioAtMost(&'static str, f64),
    /// Of the latencies, in microseconds.
    P99AtMost(f64),
    /// Likewise, so many times their median.
    P99AtMostP50(f64),
    /// Of the value, for each gigabyte of the files.
    AtMostPerGigabyte(f64),
}

const fn whole(demand: Demand) -> Bar {
    Bar {
        contender: "runstone",
        demand,
    }
}

const fn followed(demand: Demand) -> Bar {
    Bar {
        contender: "runstone-followed",
        demand,
    }
}

/// Beside sinks that do not work.
const BESIDE_SINKS: Workload = Workload {
    need: Need::Sinks,
    bars: &[
        Bar {
            contender: "runstone-hung",
            demand: Demand::RatioAtLeast("runstone", 0.95),
        },
        Bar {
            contender: "runstone-beset",
            demand: Demand::RatioAtLeast("runstone", 0.95),
        },
    ],
    ..APPEND
};

const fn plain(demand: Demand) -> Bar {
    Bar {
        contender: "runstone-plain",
        demand,
    }
}

const APPEND: Workload = Workload {
    name: "",
    clients: 1,
    batch: 1,
    unit: Unit::EventsPerSecond,
    need: Need::Append,
    place: Place::Disk,
    bars: &[],
    round: append::on_disk,
};

/// How long durable appends take, beside flushes of the index, merges and folds.
const LATENCY: Workload = Workload {
    unit: Unit::Microseconds,
    need: Need::Read,
    round: append::latencies,
    ..APPEND
};

/// A log of many streams, filled by a process of its own.
const STREAMS: Workload = Workload {
    batch: 1000,
    need: Need::Streams,
    ..APPEND
};

/// One child more for a hostile graph of tasks.
const LOOPS: Workload = Workload {
    unit: Unit::Microseconds,
    need: Need::Receipt,
    bars: &[
        whole(Demand::AtMost(1000.0)),
        whole(Demand::P99AtMost(1000.0)),
    ],
    ..APPEND
};

/// Every workload, in the order of the table.
pub(crate) const WORKLOADS: [Workload; 50] = [
    Workload {
        name: "append-1",
        bars: &[
            whole(Demand::RatioAtLeast("redb-bare", 0.80)),
            whole(Demand::RatioAtLeast("sqlite", 1.0)),
        ],
        ..APPEND
    },
    Workload {
        name: "append-64",
        clients: 64,
        ..APPEND
    },
    Workload {
        name: "append-followed",
        clients: 64,
        need: Need::Follow,
        bars: &[followed(Demand::RatioAtLeast("runstone", 0.95))],
        ..APPEND
    },
    Workload {
        name: "append-1-sinks",
        ..BESIDE_SINKS
    },
    Workload {
        name: "append-64-sinks",
        clients: 64,
        ..BESIDE_SINKS
    },
    Workload {
        name: "append-1024",
        clients: 1024,
        ..APPEND
    },
    Workload {
        name: "append-if-64",
        clients: 64,
        need: Need::Condition,
        bars: &[whole(Demand::RatioAtLeast("umadb", 2.0))],
        round: append::conditional,
        ..APPEND
    },
    Workload {
        name: "append-if-1024",
        clients: 1024,
        need: Need::Condition,
        bars: &[whole(Demand::RatioAtLeast("umadb", 3.0))],
        round: append::conditional,
        ..APPEND
    },
    Workload {
        name: "bulk-tmpfs",
        clients: 2,
        batch: 1000,
        need: Need::Bulk,
        place: Place::Tmpfs,
        bars: &[
            whole(Demand::RatioAtLeast("umadb", 2.0)),
            plain(Demand::RatioAtLeast("umadb", 5.0)),
        ],
        round: append::on_tmpfs,
        ..APPEND
    },
    Workload {
        name: "bulk-disk",
        clients: 2,
        batch: 1000,
        ..APPEND
    },
    Workload {
        name: "long-64k",
        unit: Unit::MebibytesPerSecond,
        place: Place::Recordings,
        round: append::long_64k,
        ..APPEND
    },
    Workload {
        name: "long-1m",
        unit: Unit::MebibytesPerSecond,
        place: Place::Recordings,
        round: append::long_1m,
        ..APPEND
    },
    Workload {
        name: "long-16m",
        unit: Unit::MebibytesPerSecond,
        place: Place::Recordings,
        round: append::long_16m,
        ..APPEND
    },
    Workload {
        name: "tiny-64",
        clients: 64,
        round: append::tiny,
        ..APPEND
    },
    Workload {
        name: "tiny-bulk",
        clients: 2,
        batch: 1000,
        round: append::tiny,
        ..APPEND
    },
    Workload {
        name: "latency-1",
        ..LATENCY
    },
    Workload {
        name: "latency-16",
        clients: 16,
        ..LATENCY
    },
    Workload {
        name: "latency-64",
        clients: 64,
        ..LATENCY
    },
    Workload {
        name: "latency-256",
        clients: 256,
        ..LATENCY
    },
    Workload {
        name: "latency-1024",
        clients: 1024,
        ..LATENCY
    },
    Workload {
        name: "flush-tmpfs",
        need: Need::Receipt,
        place: Place::Tmpfs,
        bars: &[whole(Demand::P99AtMostP50(3.0))],
        round: append::flushed,
        ..LATENCY
    },
    Workload {
        name: "streams-first",
        round: streams::first,
        ..STREAMS
    },
    Workload {
        name: "streams-again",
        round: streams::again,
        ..STREAMS
    },
    Workload {
        name: "streams-head",
        unit: Unit::Microseconds,
        round: streams::head,
        ..STREAMS
    },
    Workload {
        name: "streams-memory",
        unit: Unit::Megabytes,
        round: streams::most_memory,
        ..STREAMS
    },
    Workload {
        name: "stream-append",
        need: Need::Revisions,
        round: streams::long_append,
        ..APPEND
    },
    Workload {
        name: "stream-page",
        unit: Unit::Microseconds,
        need: Need::Revisions,
        round: streams::long_page,
        ..APPEND
    },
    Workload {
        name: "append-subscribed",
        clients: 64,
        need: Need::Subscribers,
        ..APPEND
    },
    Workload {
        name: "subscribed-lag",
        unit: Unit::Microseconds,
        need: Need::Subscribed,
        round: subscribers::lag,
        ..APPEND
    },
    Workload {
        name: "subscribed-delivery",
        batch: 1000,
        need: Need::Subscribed,
        round: subscribers::delivery,
        ..APPEND
    },
    Workload {
        name: "scan",
        need: Need::Scan,
        bars: &[whole(Demand::AtLeast(900_000.0))],
        round: read::scan,
        ..APPEND
    },
    Workload {
        name: "scan-real",
        need: Need::Read,
        place: Place::Recordings,
        bars: &[whole(Demand::AtLeast(300_000.0))],
        round: read::scan_real,
        ..APPEND
    },
    Workload {
        name: "read-run",
        unit: Unit::Microseconds,
        need: Need::Run,
        bars: &[plain(Demand::AtMost(60.0))],
        round: read::runs,
        ..APPEND
    },
    Workload {
        name: "type-condition",
        unit: Unit::Microseconds,
        need: Need::TypeCondition,
        place: Place::Tmpfs,
        bars: &[whole(Demand::AtMost(200.0))],
        round: condition::type_only,
        ..APPEND
    },
    Workload {
        name: "open-crash",
        unit: Unit::Seconds,
        need: Need::Read,
        bars: &[whole(Demand::AtMostPerGigabyte(1.0))],
        round: open::after_crash,
        ..APPEND
    },
    Workload {
        name: "bytes-real",
        batch: size::GROUP_EVENTS,
        unit: Unit::BytesPerEvent,
        need: Need::Read,
        place: Place::Recordings,
        bars: &[
            whole(Demand::RatioAtMost("umadb", 0.4)),
            whole(Demand::RatioAtMost("sqlite", 0.5)),
        ],
        round: size::imported,
        ..APPEND
    },
    Workload {
        name: "receipt-make",
        unit: Unit::Microseconds,
        need: Need::Receipt,
        bars: &[whole(Demand::AtMost(100.0))],
        round: receipt::make,
        ..APPEND
    },
    Workload {
        name: "receipt-verify",
        unit: Unit::Microseconds,
        need: Need::Receipt,
        bars: &[whole(Demand::AtMost(100.0))],
        round: receipt::verify,
        ..APPEND
    },
    Workload {
        name: "receipt-size",
        unit: Unit::Bytes,
        need: Need::Receipt,
        bars: &[whole(Demand::AtMost(2048.0))],
        round: receipt::size,
        ..APPEND
    },
    Workload {
        name: "calls",
        unit: Unit::CallsPerSecond,
        bars: &[whole(Demand::RatioAtLeast("redb-bare", 0.80))],
        round: agent::calls,
        ..APPEND
    },
    Workload {
        name: "session-size",
        unit: Unit::Bytes,
        need: Need::Receipt,
        bars: &[whole(Demand::AtMost(1_048_576.0))],
        round: agent::session_size,
        ..APPEND
    },
    Workload {
        name: "session-turn",
        unit: Unit::Microseconds,
        need: Need::Receipt,
        bars: &[whole(Demand::AtMost(5000.0))],
        round: agent::session_turn,
        ..APPEND
    },
    Workload {
        name: "refold",
        need: Need::Receipt,
        bars: &[whole(Demand::AtLeast(500_000.0))],
        round: agent::refold,
        ..APPEND
    },
    Workload {
        name: "verify-1",
        need: Need::Verify,
        bars: &[whole(Demand::AtLeastACore(500_000.0))],
        round: verify::payloads,
        ..APPEND
    },
    Workload {
        name: "verify-2",
        need: Need::Verify,
        bars: &[whole(Demand::AtLeastACore(300_000.0))],
        round: verify::commitments,
        ..APPEND
    },
    Workload {
        name: "loops-chain",
        round: loops::chain,
        ..LOOPS
    },
    Workload {
        name: "loops-wide",
        round: loops::wide,
        ..LOOPS
    },
    Workload {
        name: "loops-cycle",
        round: loops::cycle,
        ..LOOPS
    },
    Workload {
        name: "state-at-long",
        unit: Unit::Microseconds,
        need: Need::Travel,
        bars: &[whole(Demand::AtMost(5000.0))],
        round: travel::long,
        ..APPEND
    },
    Workload {
        name: "state-at-short",
        unit: Unit::Microseconds,
        need: Need::Travel,
        bars: &[whole(Demand::AtMost(1000.0))],
        round: travel::short,
        ..APPEND
    },
];
