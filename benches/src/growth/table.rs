//! The numbers as text and as JSON.

use super::measure::{
    APPEND_RATIO, BULK_RATIO, FILL_MEMORY, Grown, Kind, MEASURES, MEMORY, Measure, Step,
};
use crate::report::{Machine, number};
use anyhow::Result;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;
use std::path::Path;

/// The contender with bars.
const WHOLE: &str = "runstone";
/// Of the rate at the smallest size.
const LEAST_RATIO: f64 = 0.9;
const MOST_MEGABYTES: f64 = 512.0;

/// What is demanded of a value at the largest size, and whether it is met.
fn bar(measure: &Measure, value: f64) -> Option<(String, bool)> {
    let unit = measure.unit;
    match measure.name {
        APPEND_RATIO | BULK_RATIO => {
            Some((format!(">= {LEAST_RATIO} {unit}"), value >= LEAST_RATIO))
        }
        FILL_MEMORY | MEMORY => Some((
            format!("<= {MOST_MEGABYTES} {unit}"),
            value <= MOST_MEGABYTES,
        )),
        _ => None,
    }
}

/// A bar, and whether it was met.
fn verdict(grown: &Grown, measure: &Measure) -> Option<(String, bool)> {
    let value = grown.steps.last()?.value(measure)?;
    bar(measure, value).filter(|_| grown.contender == WHOLE)
}

/// A row a measure, a column a size.
pub(super) fn table(all: &[Grown]) -> String {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_content_arrangement(ContentArrangement::Disabled);
    let sizes: Vec<_> = all.first().map_or_else(Vec::new, |grown| {
        grown.steps.iter().map(|step| step.events).collect()
    });
    let head = ["measure", "contender", "unit"].map(str::to_owned);
    let head = head.into_iter().chain(sizes.iter().copied().map(grouped));
    table.set_header(head.chain(["cost of the largest".to_owned(), "bar".to_owned()]));
    for measure in &MEASURES {
        for grown in all.iter().filter(|grown| grown.has(measure)) {
            table.add_row(cells(grown, measure));
        }
    }
    for column in table.column_iter_mut().skip(3).take(sizes.len() + 1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

fn cells(grown: &Grown, measure: &Measure) -> Vec<String> {
    let mut cells = [measure.name, grown.contender, measure.unit]
        .map(str::to_owned)
        .to_vec();
    let values = grown.steps.iter().map(|step| step.value(measure));
    cells.extend(values.map(|value| value.map_or_else(String::new, number)));
    let last: Option<&Step> = grown.steps.last();
    let cost = last.and_then(|step| grown.cost(measure, step));
    cells.push(cost.map_or_else(String::new, |cost| format!("{cost:.2} x")));
    cells.push(
        verdict(grown, measure).map_or_else(String::new, |(text, is_met)| {
            let met = if is_met { "met" } else { "MISSED" };
            format!("{text}: {met}")
        }),
    );
    cells
}

/// With a comma for every thousand.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[derive(Serialize)]
struct Json<'a> {
    machine: &'a Machine,
    measures: Vec<JsonMeasure>,
    grown: &'a [Grown],
    bars: Vec<JsonBar>,
}

#[derive(Serialize)]
struct JsonMeasure {
    name: &'static str,
    unit: &'static str,
    more_is_better: bool,
}

#[derive(Serialize)]
struct JsonBar {
    contender: &'static str,
    measure: &'static str,
    bar: String,
    met: bool,
}

/// Every number of every round.
pub(super) fn write_json(machine: &Machine, grown: &[Grown], path: &Path) -> Result<()> {
    let measures = MEASURES.iter().map(|measure| JsonMeasure {
        name: measure.name,
        unit: measure.unit,
        more_is_better: matches!(measure.kind, Kind::Rate | Kind::Ratio),
    });
    let bars = grown.iter().flat_map(|grown| {
        MEASURES.iter().filter_map(move |measure| {
            let (bar, met) = verdict(grown, measure)?;
            Some(JsonBar {
                contender: grown.contender,
                measure: measure.name,
                bar,
                met,
            })
        })
    });
    let json = Json {
        machine,
        measures: measures.collect(),
        grown,
        bars: bars.collect(),
    };
    let mut text = serde_json::to_string_pretty(&json)?;
    text.push('\n');
    std::fs::write(path, text)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_stands_beside_the_largest() {
        let mut steps = vec![Step::default(), Step::default()];
        steps[0].events = 10_000;
        steps[1].events = 10_000_000;
        steps[0].add(APPEND_RATIO, 1.0);
        steps[1].add(APPEND_RATIO, 0.85);
        steps[1].add(MEMORY, 300.0);
        let grown = |contender| Grown {
            contender,
            steps: steps.clone(),
        };
        let shown = table(&[grown(WHOLE), grown("other")]);
        assert!(shown.contains("10,000,000"), "{shown}");
        assert_eq!(shown.matches(">= 0.9 x: MISSED").count(), 1, "{shown}");
        assert_eq!(shown.matches("<= 512 MB: met").count(), 1, "{shown}");
    }

    #[test]
    fn thousands_are_grouped() {
        let shown = [1, 999, 1000, 10_000_000].map(grouped);
        assert_eq!(shown, ["1", "999", "1,000", "10,000,000"]);
    }
}
