#!/usr/bin/env bash
# Kathleen: read sentences of one voice, a prior that is told the text: run.sh --help.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python3 "$here/../../recipes/pipeline" "$here" "$@"
