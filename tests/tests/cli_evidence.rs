//! The command as operators and auditors use it: proofs that leave the house, erasure and its
//! certificate, keys and logs that follow each other.

#[path = "cli_evidence/erase.rs"]
mod erase;
#[path = "cli_evidence/kek.rs"]
mod kek;
#[path = "cli_evidence/killed.rs"]
mod killed;
#[path = "cli_evidence/proofs.rs"]
mod proofs;
#[path = "cli_evidence/site.rs"]
mod site;
#[path = "cli_evidence/succession.rs"]
mod succession;
