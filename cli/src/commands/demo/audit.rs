//! An auditor who has two files, and of Runstone the crate `runstone-receipt` alone.

use runstone::receipt::{MAX_FILE_LEN, Policy, Receipt, VerifyOptions};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// What the receipt proves: the type of the event and who stands behind it. Else why it does not.
pub(super) fn verified(policy: &Path, receipt: &Path) -> Result<String, String> {
    let policy = read(policy).map_err(|error| error.to_string())?;
    let policy = Policy::parse(&policy).map_err(|error| error.to_string())?;
    let receipt = read(receipt).map_err(|error| error.to_string())?;
    let receipt = Receipt::parse(&receipt).map_err(|error| error.to_string())?;
    let verified = receipt.verify(&policy, &VerifyOptions::new());
    let verified = verified.map_err(|error| error.to_string())?;
    let header = verified.header();
    Ok(format!("{} by {}", header.event_type, header.principal))
}

/// One byte over the limit is enough to be told so.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = MAX_FILE_LEN as u64 + 1;
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}
