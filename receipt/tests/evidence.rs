//! What an auditor relies on: files of evidence verify, and nothing like them does.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that does not hold panics"
)]

#[path = "evidence/consistency.rs"]
mod consistency;
#[path = "evidence/disclosure.rs"]
mod disclosure;
#[path = "evidence/mutation.rs"]
mod mutation;
#[path = "evidence/policy.rs"]
mod policy;
#[path = "evidence/receipt.rs"]
mod receipt;
#[path = "evidence/sample.rs"]
mod sample;
