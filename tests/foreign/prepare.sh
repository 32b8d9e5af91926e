#!/usr/bin/env bash
# Makes a virtual environment with programs that nobody here wrote, once for each state of its
# requirements, and prints where it is. Needs PyPI the first time and nothing afterwards.
#
#   prepare.sh [TARGET [SET]]      TARGET: cargo's target folder; SET: requirements (default) or s3
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=${1:-${CARGO_TARGET_DIR:-$here/../../target}}
set=${2:-requirements}
case $set in
    requirements)
        prefix=venv
        probe='import cloudevents, cryptography, importlib.util, opentelemetry.proto, pymerkle, proofbundle, standardwebhooks; assert importlib.util.find_spec("schemathesis")'
        ;;
    s3)
        prefix=s3
        probe='import flask_cors, moto.server'
        ;;
    *)
        printf 'there is no set %s\n' "$set" >&2
        exit 2
        ;;
esac
mkdir -p "$target/foreign"
folder=$(cd "$target/foreign" && pwd)
venv=$folder/$prefix-$(sha256sum "$here/$set.txt" | cut -c1-12)

# Tests that run side by side prepare it once.
exec 9>"$folder/lock"
flock 9
if ! { [[ -e $venv/ready ]] && "$venv/bin/python" -c "$probe"; } 2>/dev/null; then
    rm -rf "$folder/$prefix"-*
    python3 -m venv "$venv" >&2
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
        --require-hashes --only-binary :all: --requirement "$here/$set.txt" >&2
    touch "$venv/ready"
fi
printf '%s\n' "$venv"
