//! State of one's own: what each customer spent, folded from events and kept by the log.
//!
//! Run with `cargo run -p runstone --example fold`.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use runstone::{Fold, FoldError, FoldRecord, NewEvent, Rows, Runstone};
use std::sync::Arc;

/// Cents by customer. Both stand in tags, which no erasure takes away: so the sums are the same
/// before and after one.
#[derive(Debug)]
struct Spent;

impl Fold for Spent {
    fn name(&self) -> &'static str {
        "spent"
    }

    fn version(&self) -> u32 {
        1
    }

    fn apply(&self, rows: &mut dyn Rows, record: &FoldRecord<'_>) -> Result<(), FoldError> {
        if record.header.event_type != "order.paid" {
            return Ok(());
        }
        let tag = |name: &str| {
            let mut tags = record.header.tags.iter();
            tags.find_map(|tag| tag.strip_prefix(name))
        };
        let cents = tag("cents:").and_then(|cents| cents.parse::<u64>().ok());
        if let (Some(customer), Some(cents)) = (tag("customer:"), cents) {
            let before = rows.get(customer.as_bytes())?;
            let sum = number(before).saturating_add(cents);
            rows.put(customer.as_bytes(), sum.to_be_bytes().to_vec());
        }
        Ok(())
    }
}

fn number(row: Option<Vec<u8>>) -> u64 {
    let bytes = row.and_then(|row| row.try_into().ok());
    bytes.map_or(0, u64::from_be_bytes)
}

fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let options = || Runstone::options().fold(Arc::new(Spent));
    let log = options().create(folder.path().join("orders.redb"))?;
    for (customer, cents) in [("a", 1200), ("b", 500), ("a", 300)] {
        let paid = NewEvent::new("order.paid", format!("orders-{customer}"))
            .tag(format!("customer:{customer}"))
            .tag(format!("cents:{cents}"));
        log.append_blocking(paid)?;
    }
    log.close_blocking()?;
    drop(log);

    // It is kept in the file, and folded again it is the same.
    let log = options().open(folder.path().join("orders.redb"))?;
    for customer in ["a", "b"] {
        let cents = number(log.fold_row("spent", customer.as_bytes())?);
        println!("{customer} spent {cents} cents");
    }
    let checks = log.check_folds(Some("spent"), &|_, _| {})?;
    anyhow::ensure!(checks.iter().all(runstone::FoldCheck::is_equal));
    println!("folded again: the same");
    Ok(())
}
