//! An auditor who gets two files, and has of Runstone the crate `runstone-receipt` alone.
//!
//! Run with `cargo run -p runstone --example auditor`.
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use anyhow::Context as _;
use runstone::{Append, NewEvent, Policy, Runstone};

/// What the auditor does. Nothing here knows of a log, a key or a network.
mod audit {
    use runstone_receipt::{Policy, Receipt, VerifyOptions};

    /// Who stands behind which event, if the receipt holds.
    pub(super) fn read(policy: &[u8], receipt: &[u8]) -> anyhow::Result<String> {
        let policy = Policy::parse(policy)?;
        let receipt = Receipt::parse(receipt)?;
        let verified = receipt.verify(&policy, &VerifyOptions::new())?;
        let (header, position) = (verified.header(), verified.position());
        Ok(format!(
            "event {position} of {}: {} by {}",
            verified.origin(),
            header.event_type,
            header.principal
        ))
    }
}

fn main() -> anyhow::Result<()> {
    let log = Runstone::options().origin("example.com/refunds").memory()?;
    let refund = NewEvent::new("refund.granted", "case-7").payload(br#"{"usd":40}"#);
    let granted = log.append_blocking(Append::new([refund]))?;

    // What leaves the house: neither shows content, and neither needs to be kept secret.
    let policy = Policy::of_logs(log.vkeys()?)?.to_text();
    let receipt = log.receipt(granted.first)?.encode();

    println!("{}", audit::read(policy.as_bytes(), &receipt)?);
    let forged = String::from_utf8(receipt)?.replacen("index 1", "index 0", 1);
    let refused = audit::read(policy.as_bytes(), forged.as_bytes()).err();
    println!(
        "forged: {}",
        refused.context("a forged receipt is refused")?
    );
    Ok(())
}
