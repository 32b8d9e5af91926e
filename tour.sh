#!/usr/bin/env bash
# The main job, start to end, on a log that is thrown away: recordings of agent runs are imported
# into one encrypted log, queried and verified.
#
#   ./tour.sh                  the sample run in examples/
#   ./tour.sh FILE_OR_DIR ...  recordings of your own, in any format that `runstone import` knows
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cargo build --release --locked --quiet --manifest-path "$here/Cargo.toml" -p runstone-cli
runstone="${CARGO_TARGET_DIR:-$here/target}/release/runstone"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export RUNSTONE_LOG="$scratch/tour.redb"
[ $# -gt 0 ] || set -- "$here/examples/refund-run.json"

step() { printf '\n$ runstone %s\n' "$*"; "$runstone" "$@"; }

step init
step import "$@"
step import "$@"                                  # the same again: nothing is added
step runs
step log --type 'tool.call.*' --limit 6
printf '%s\n' '{"type":"note.taken","stream":"tour","data":{"text":"reviewed"}}' >"$scratch/note.jsonl"
step append "$scratch/note.jsonl" --expect none
step append "$scratch/note.jsonl" --expect none || echo "(refused: the stream exists by now, exit $?)"
step checkpoint
step verify --level 2
step rebuild --check
