#!/usr/bin/env bash
# GTZAN: pieces of ten genres, a prior that is told the genre: run.sh --help.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python3 "$here/../../recipes/pipeline" "$here" "$@"
