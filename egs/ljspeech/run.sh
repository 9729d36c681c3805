#!/usr/bin/env bash
# LJ Speech: one voice, read books, a prior that is told the text: run.sh --help.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python3 "$here/../../recipes/pipeline" "$here" "$@"
