//! The table as text.

use super::{Machine, Report, Row};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// Contenders that every row is compared with in a column of its own.
const COMPARED: [&str; 4] = ["raw", "redb-bare", "sqlite", "umadb"];
/// Columns of text; the others hold numbers.
const TEXT_COLUMNS: [usize; 4] = [0, 1, 8, 13];

pub(crate) fn table(report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_content_arrangement(ContentArrangement::Disabled);
    let head = [
        "workload",
        "contender",
        "clients",
        "batch",
        "median",
        "spread",
        "p99 us",
        "cpu us",
        "unit",
    ];
    let head = head.into_iter().map(str::to_owned);
    let compared = COMPARED.iter().map(|name| format!("x {name}"));
    table.set_header(head.chain(compared).chain(["bar".to_owned()]));
    for row in &report.rows {
        table.add_row(cells(report, row));
    }
    for (at, column) in table.column_iter_mut().enumerate() {
        if !TEXT_COLUMNS.contains(&at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

fn cells(report: &Report, row: &Row) -> Vec<String> {
    let summary = &row.summary;
    let mut cells = vec![
        row.workload.name.to_owned(),
        row.contender.name.to_owned(),
        row.workload.clients.to_string(),
        row.workload.batch.to_string(),
        number(summary.median),
        format!("{}..{}", number(summary.low), number(summary.high)),
        summary
            .latency
            .map_or_else(String::new, |latency| number(latency.p99)),
        summary.cpu_us.map_or_else(String::new, number),
        row.workload.unit.as_str().to_owned(),
    ];
    let ratios = COMPARED.iter().map(|other| report.ratio(row, other));
    cells.extend(ratios.map(|ratio| ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"))));
    cells.push(verdicts(report, row));
    cells
}

fn verdicts(report: &Report, row: &Row) -> String {
    let verdicts = report.verdicts(row).into_iter().map(|verdict| {
        let met = match verdict.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "not compared",
        };
        format!("{}: {met}", verdict.text)
    });
    verdicts.collect::<Vec<_>>().join(", ")
}

/// Quantiles of the workloads that are about them, if there are any.
pub(crate) fn latencies(report: &Report) -> Option<String> {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header([
        "workload",
        "contender",
        "clients",
        "events/s",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "worst us",
        "bar",
    ]);
    let rows = report.rows.iter();
    for row in rows {
        let (Some(rate), Some(latency)) = (row.summary.per_second, row.summary.latency) else {
            continue;
        };
        let numbers = [rate, latency.p50, latency.p99, latency.p999, latency.worst];
        let mut cells = vec![
            row.workload.name.to_owned(),
            row.contender.name.to_owned(),
            row.workload.clients.to_string(),
        ];
        cells.extend(numbers.map(number));
        cells.push(verdicts(report, row));
        table.add_row(cells);
    }
    for column in table.column_iter_mut().skip(2).take(6) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    (!table.is_empty()).then(|| table.to_string())
}

/// Three digits that matter, or whole numbers.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A line about the machine.
pub(crate) fn machine(machine: &Machine) -> String {
    format!(
        "{} x {}, {} GiB, Linux {}, {}; load {}; {} rounds{}",
        machine.cores,
        machine.cpu,
        machine.memory_gib,
        machine.kernel,
        machine.file_system,
        machine.load,
        machine.rounds,
        if machine.quick { ", quick" } else { "" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let shown = [1234.5, 56.78, 1.234, 0.1234].map(number);
        assert_eq!(shown, ["1234", "56.8", "1.23", "0.123"]);
    }
}
