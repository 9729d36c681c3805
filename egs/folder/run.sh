#!/usr/bin/env bash
# Any folder of sound files: the shipped codec goes on with it, and a prior learns it: run.sh --help.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python3 "$here/../../recipes/pipeline" "$here" "$@"
