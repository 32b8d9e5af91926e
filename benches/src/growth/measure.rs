//! What is measured of a log at each of its sizes.

use crate::sample::quantile;
use serde::Serialize;
use std::collections::BTreeMap;

/// What a number is, so that it can be summed up and compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The median counts, and more is better.
    Rate,
    /// The median counts, and less is better.
    Cost,
    /// The highest counts, and less is better.
    Peak,
    /// A comparison with the smallest log already.
    Ratio,
}

/// Something that is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measure {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) kind: Kind,
}

const fn measure(name: &'static str, unit: &'static str, kind: Kind) -> Measure {
    Measure { name, unit, kind }
}

pub(crate) const FILL: &str = "fill, 1,000 a commit";
pub(crate) const FILL_CPU: &str = "fill, 1,000 a commit, processor";
pub(crate) const FILL_MEMORY: &str = "memory while filled";
pub(crate) const APPEND: &str = "append, 1 a commit";
pub(crate) const APPEND_CPU: &str = "append, 1 a commit, processor";
pub(crate) const APPEND_RATIO: &str = "append, 1 a commit, to the smallest";
pub(crate) const BULK: &str = "append, 1,000 a commit";
pub(crate) const BULK_CPU: &str = "append, 1,000 a commit, processor";
pub(crate) const BULK_RATIO: &str = "append, 1,000 a commit, to the smallest";
pub(crate) const OPEN_CRASHED: &str = "open after a crash";
pub(crate) const OPEN: &str = "open";
pub(crate) const OPEN_COLD: &str = "open, not in the page cache";
pub(crate) const OPEN_MEMORY: &str = "memory when open";
pub(crate) const MEMORY: &str = "memory, reads and appends";
pub(crate) const POINT: &str = "read of one event";
pub(crate) const RUN: &str = "read of a run of 60";
pub(crate) const BYTES: &str = "bytes on the disk";
pub(crate) const REFOLD: &str = "folding again";
pub(crate) const REFOLD_MEMORY: &str = "memory while folding again";
pub(crate) const VERIFY: &str = "verify, payloads as stored";
pub(crate) const VERIFY_OPEN: &str = "verify, payloads opened";
pub(crate) const VERIFY_MEMORY: &str = "memory while verifying";

/// Every measure, in the order of the table.
pub(crate) const MEASURES: [Measure; 22] = [
    measure(FILL, "events/s", Kind::Rate),
    measure(FILL_CPU, "us/event", Kind::Cost),
    measure(FILL_MEMORY, "MB", Kind::Peak),
    measure(APPEND, "events/s", Kind::Rate),
    measure(APPEND_CPU, "us/event", Kind::Cost),
    measure(APPEND_RATIO, "x", Kind::Ratio),
    measure(BULK, "events/s", Kind::Rate),
    measure(BULK_CPU, "us/event", Kind::Cost),
    measure(BULK_RATIO, "x", Kind::Ratio),
    measure(OPEN_CRASHED, "s", Kind::Cost),
    measure(OPEN, "s", Kind::Cost),
    measure(OPEN_COLD, "s", Kind::Cost),
    measure(OPEN_MEMORY, "MB", Kind::Cost),
    measure(MEMORY, "MB", Kind::Peak),
    measure(POINT, "us", Kind::Cost),
    measure(RUN, "us", Kind::Cost),
    measure(BYTES, "bytes/event", Kind::Cost),
    measure(REFOLD, "events/s", Kind::Rate),
    measure(REFOLD_MEMORY, "MB", Kind::Peak),
    measure(VERIFY, "events/s", Kind::Rate),
    measure(VERIFY_OPEN, "events/s", Kind::Rate),
    measure(VERIFY_MEMORY, "MB", Kind::Peak),
];

/// What was measured, under the names of [`MEASURES`]: a number a round.
pub(crate) type Measured = BTreeMap<String, Vec<f64>>;

/// A log at one of its sizes.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Step {
    /// Those it was filled with; rounds of appends came on top.
    pub(crate) events: u64,
    pub(crate) measured: Measured,
}

impl Step {
    pub(crate) fn add(&mut self, name: &str, value: f64) {
        self.measured
            .entry(name.to_owned())
            .or_default()
            .push(value);
    }

    pub(crate) fn value(&self, measure: &Measure) -> Option<f64> {
        let mut values = self.measured.get(measure.name)?.clone();
        let share = match measure.kind {
            Kind::Peak => 1.0,
            Kind::Rate | Kind::Cost | Kind::Ratio => 0.5,
        };
        Some(quantile(&mut values, share))
    }
}

/// One store at all its sizes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Grown {
    pub(crate) contender: &'static str,
    pub(crate) steps: Vec<Step>,
}

impl Grown {
    /// Whether some step has it.
    pub(crate) fn has(&self, measure: &Measure) -> bool {
        let mut steps = self.steps.iter();
        steps.any(|step| step.value(measure).is_some())
    }

    /// What it costs at a step, where the smallest log that has it costs 1. Rates are turned round.
    pub(crate) fn cost(&self, measure: &Measure, step: &Step) -> Option<f64> {
        let first = self.steps.iter().find_map(|step| step.value(measure))?;
        let value = step.value(measure)?;
        let cost = match measure.kind {
            Kind::Rate => first / value,
            Kind::Cost | Kind::Peak => value / first,
            Kind::Ratio => return None,
        };
        cost.is_finite().then_some(cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(events: u64, name: &str, values: &[f64]) -> Step {
        let mut step = Step {
            events,
            ..Step::default()
        };
        for value in values {
            step.add(name, *value);
        }
        step
    }

    #[test]
    fn costs_are_relative() {
        let of = |name: &str, first: &[f64], last: &[f64]| {
            let grown = Grown {
                contender: "none",
                steps: vec![step(10, name, first), step(100, name, last)],
            };
            let measure = MEASURES.iter().find(|m| m.name == name).unwrap();
            grown.cost(measure, &grown.steps[1])
        };
        assert_eq!(of(BULK, &[100.0], &[1.0, 50.0, 70.0]), Some(2.0));
        assert_eq!(of(OPEN, &[0.5], &[2.0]), Some(4.0));
        assert_eq!(of(MEMORY, &[10.0, 20.0], &[30.0, 1.0]), Some(1.5));
        assert_eq!(of(BULK_RATIO, &[1.0], &[0.9]), None);
        assert_eq!(of(OPEN, &[0.0], &[2.0]), None);
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<_> = MEASURES.iter().map(|m| m.name).collect();
        assert_eq!(names.len(), MEASURES.len());
    }
}
