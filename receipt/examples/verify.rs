//! Verifies a receipt from two files, offline: `verify POLICY RECEIPT [ENVELOPE LOG_ID]`.
//!
//! The policy says whom to trust; it comes from somebody whom the auditor trusts, never with the
//! receipt. Exits 0 where the receipt holds, 1 where it does not, 2 where it was not asked well.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the command line"
)]

use std::error::Error;
use std::process::ExitCode;

use runstone_receipt::receipt::Verified;
use runstone_receipt::{MAX_FILE_LEN, Policy, Receipt, VerifyOptions};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (policy, receipt, besides) = match arguments[..] {
        [policy, receipt] => (policy, receipt, None),
        [policy, receipt, envelope, log_id] => (policy, receipt, Some((envelope, log_id))),
        _ => {
            eprintln!("usage: verify POLICY RECEIPT [ENVELOPE LOG_ID]");
            return ExitCode::from(2);
        }
    };
    match verify(policy, receipt, besides) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rejected: {error}");
            ExitCode::FAILURE
        }
    }
}

fn verify(
    policy: &str,
    receipt: &str,
    besides: Option<(&str, &str)>,
) -> Result<(), Box<dyn Error>> {
    let policy = Policy::parse(&std::fs::read(policy)?)?;
    let receipt = Receipt::parse(&read_bounded(receipt)?)?;
    let (envelope, log_id) = match besides {
        Some((envelope, log_id)) => (Some(std::fs::read(envelope)?), Some(log_id.parse()?)),
        None => (None, None),
    };
    let mut options = VerifyOptions::new();
    if let (Some(envelope), Some(log_id)) = (&envelope, log_id) {
        options = options.envelope(envelope).log_id(log_id);
    }
    let verified = receipt.verify(&policy, &options).map_err(|error| {
        let step = error.step();
        format!("step {step}: {error} [{}]", error.code())
    })?;
    show(&verified);
    Ok(())
}

/// One byte over the limit is enough to be told so.
fn read_bounded(path: &str) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let most = MAX_FILE_LEN as u64 + 1;
    std::fs::File::open(path)?
        .take(most)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn show(verified: &Verified<'_>) {
    let header = verified.header();
    println!("origin        {}", verified.origin());
    println!("size          {}", verified.size());
    println!("position      {}", verified.position());
    println!("event id      {}", header.event_id);
    println!("stream        {}", header.stream);
    println!("type          {}", header.event_type);
    println!("principal     {}", header.principal);
    println!("authority     {}", header.authority);
    println!("scope         {}", header.scope);
    println!("tags          {}", header.tags.join(" "));
    for key in verified.signed_by() {
        println!("signed by     {key}");
    }
    for witness in verified.cosigned_by() {
        println!("cosigned by   {} at {} s", witness.key(), witness.time_s());
    }
    println!(
        "recorded at   {} us, as the writer claims",
        verified.claimed_recorded_at_us()
    );
    if verified.checked().envelope {
        println!("envelope      is the stored form of the payload");
    }
}
