//! What a person reads in a pack, and the program that checks one.

use runstone_receipt::checkpoint::SignedCheckpoint;
use runstone_receipt::note::Vkey;

/// Checks a pack; it shares no code with this library.
pub(super) const PROGRAM: &str = include_str!("verify.py");
/// Checks a pack with the packages of the Go toolchain.
const GO_PROGRAM: &str = include_str!("check.go.txt");
const GUIDE: &str = include_str!("VERIFY.md");

/// The guide to a pack under this checkpoint.
pub(super) fn text(checkpoint: &SignedCheckpoint, previous: Option<u64>) -> String {
    let head = checkpoint.checkpoint();
    let signer = checkpoint.signed_by().last();
    let previous = previous.map_or_else(|| "none".to_owned(), |size| size.to_string());
    GUIDE
        .replace("{go}", GO_PROGRAM.trim_end())
        .replace("{origin}", &head.origin)
        .replace("{size}", &head.size.to_string())
        .replace("{previous}", &previous)
        .replace("{line}", &line_of(checkpoint, signer).to_string())
        .replace("{vkey}", &signer.map(Vkey::to_string).unwrap_or_default())
}

/// The line of the checkpoint that a key signed, from 1.
fn line_of(checkpoint: &SignedCheckpoint, signer: Option<&Vkey>) -> usize {
    // Three lines, an empty one, and one for each signer in order.
    const FIRST: usize = 5;
    let others = checkpoint.signed_by().iter();
    FIRST + others.take_while(|key| Some(*key) != signer).count()
}
