//! The command as operators and auditors use it: proofs that leave the house, erasure and its
//! certificate, keys and logs that follow each other.

mod erase;
mod kek;
mod killed;
mod proofs;
mod site;
mod succession;
