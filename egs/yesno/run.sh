#!/usr/bin/env bash
# YesNo: eight times yes or no, at 8 kHz; the smallest data set there is: run.sh --help.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python3 "$here/../../recipes/pipeline" "$here" "$@"
