#!/usr/bin/env bash
# NSynth: notes of instruments, a prior that is told the family: run.sh --help.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python3 "$here/../../recipes/pipeline" "$here" "$@"
