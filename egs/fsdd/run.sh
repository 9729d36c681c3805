#!/usr/bin/env bash
# Spoken digits at 8 kHz, from recordings to new digits and tables: run.sh --help.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python3 "$here/../../recipes/pipeline" "$here" "$@"
