#!/usr/bin/env bash
# Makes the virtual environment with the foreign verifiers, once for each requirements.txt, and prints
# where it is. Needs PyPI the first time and nothing afterwards.
#
#   prepare.sh [TARGET]      TARGET: cargo's target folder
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=${1:-${CARGO_TARGET_DIR:-$here/../../target}}
mkdir -p "$target/foreign"
folder=$(cd "$target/foreign" && pwd)
venv=$folder/venv-$(sha256sum "$here/requirements.txt" | cut -c1-12)

# Tests that run side by side prepare it once.
exec 9>"$folder/lock"
flock 9
if ! { [[ -e $venv/ready ]] && "$venv/bin/python" -c 'import cloudevents, cryptography, importlib.util, opentelemetry.proto, pymerkle, proofbundle, standardwebhooks; assert importlib.util.find_spec("schemathesis")'; } 2>/dev/null; then
    rm -rf "$folder"/venv-*
    python3 -m venv "$venv" >&2
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
        --require-hashes --only-binary :all: --requirement "$here/requirements.txt" >&2
    touch "$venv/ready"
fi
printf '%s\n' "$venv"
