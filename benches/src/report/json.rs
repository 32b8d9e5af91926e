//! The table as JSON.

use super::{Report, Row};
use crate::sample::Quantiles;
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Serialize)]
struct JsonReport<'a> {
    machine: &'a super::Machine,
    rows: Vec<JsonRow>,
}

#[derive(Serialize)]
struct JsonRow {
    workload: &'static str,
    contender: &'static str,
    clients: usize,
    batch: usize,
    median: f64,
    /// Of the latency of a request, in microseconds.
    p99: Option<f64>,
    /// The other quantiles, likewise.
    latency_us: Option<Quantiles>,
    /// Requests answered in a second, where `median` is a latency.
    per_second: Option<f64>,
    unit: &'static str,
    ratio_to_raw: Option<f64>,
    ratio_to: BTreeMap<&'static str, f64>,
    /// Of all threads, for each event (or run that is read), in microseconds.
    cpu_us: Option<f64>,
    low: f64,
    high: f64,
    bars: Vec<JsonBar>,
}

#[derive(Serialize)]
struct JsonBar {
    bar: String,
    met: Option<bool>,
}

pub(crate) fn write(report: &Report, path: &Path) -> Result<()> {
    let rows = report.rows.iter().map(|row| json_row(report, row));
    let json = JsonReport {
        machine: &report.machine,
        rows: rows.collect(),
    };
    let mut text = serde_json::to_string_pretty(&json)?;
    text.push('\n');
    std::fs::write(path, text)?;
    Ok(())
}

fn json_row(report: &Report, row: &Row) -> JsonRow {
    let others = report.rows.iter().filter(|other| {
        other.workload.name == row.workload.name && other.contender.name != row.contender.name
    });
    let ratio_to = others
        .map(|other| {
            let ratio = row.summary.median / other.summary.median;
            (other.contender.name, ratio)
        })
        .collect();
    let verdicts = report.verdicts(row).into_iter();
    JsonRow {
        workload: row.workload.name,
        contender: row.contender.name,
        clients: row.workload.clients,
        batch: row.workload.batch,
        median: row.summary.median,
        p99: row.summary.latency.map(|latency| latency.p99),
        latency_us: row.summary.latency,
        per_second: row.summary.per_second,
        unit: row.workload.unit.as_str(),
        ratio_to_raw: report.ratio(row, "raw"),
        ratio_to,
        cpu_us: row.summary.cpu_us,
        low: row.summary.low,
        high: row.summary.high,
        bars: verdicts
            .map(|verdict| JsonBar {
                bar: verdict.text,
                met: verdict.met,
            })
            .collect(),
    }
}
