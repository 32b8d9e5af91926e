//! The table and its JSON.

mod json;
mod machine;
mod table;

pub(crate) use json::write as write_json;
pub(crate) use machine::Machine;
pub(crate) use table::{latencies, machine as machine_text, number, table};

use crate::contender::Contender;
use crate::sample::Summary;
use crate::workload::{Demand, Workload};

/// One workload with one contender.
pub(crate) struct Row {
    pub(crate) workload: &'static Workload,
    pub(crate) contender: &'static Contender,
    pub(crate) summary: Summary,
}

/// A bar beside the row that it is about.
pub(crate) struct Verdict {
    pub(crate) text: String,
    /// Not known if what it is compared with was not run.
    pub(crate) met: Option<bool>,
}

/// All rows of a run.
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) rows: Vec<Row>,
}

impl Report {
    fn median(&self, workload: &Workload, contender: &str) -> Option<f64> {
        let mut rows = self.rows.iter();
        let row =
            rows.find(|row| row.workload.name == workload.name && row.contender.name == contender)?;
        Some(row.summary.median)
    }

    /// The row's median divided by another contender's.
    pub(crate) fn ratio(&self, row: &Row, other: &str) -> Option<f64> {
        self.median(row.workload, other)
            .map(|median| row.summary.median / median)
    }

    pub(crate) fn verdicts(&self, row: &Row) -> Vec<Verdict> {
        let bars = row.workload.bars.iter();
        bars.filter(|bar| bar.contender == row.contender.name)
            .map(|bar| self.verdict(row, bar.demand))
            .collect()
    }

    fn verdict(&self, row: &Row, demand: Demand) -> Verdict {
        let unit = row.workload.unit.as_str();
        let value = row.summary.median;
        let (text, met) = match demand {
            Demand::AtLeast(limit) => (format!(">= {limit} {unit}"), Some(value >= limit)),
            Demand::AtLeastACore(limit) => (
                format!(">= {limit} {unit} a core"),
                row.summary.cpu_us.map(|us| 1e6 / us >= limit),
            ),
            Demand::AtMost(limit) => (format!("<= {limit} {unit}"), Some(value <= limit)),
            Demand::P99AtMost(limit) => (
                format!("p99 <= {limit} us"),
                row.summary.latency.map(|latency| latency.p99 <= limit),
            ),
            Demand::P99AtMostP50(limit) => (
                format!("p99 <= {limit} x p50"),
                row.summary
                    .latency
                    .map(|latency| latency.p99 <= limit * latency.p50),
            ),
            Demand::RatioAtLeast(other, limit) => (
                format!(">= {limit} x {other}"),
                self.ratio(row, other).map(|ratio| ratio >= limit),
            ),
            Demand::RatioAtMost(other, limit) => (
                format!("<= {limit} x {other}"),
                self.ratio(row, other).map(|ratio| ratio <= limit),
            ),
            Demand::AtMostPerGigabyte(limit) => {
                let size = row.summary.gigabytes;
                let of = size.map_or(String::new(), |size| format!(" ({size:.2} GB)"));
                (
                    format!("<= {limit} {unit} a GB{of}"),
                    size.map(|size| value <= limit * size),
                )
            }
        };
        Verdict { text, met }
    }
}
