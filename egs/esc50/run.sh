#!/usr/bin/env bash
# ESC-50: fifty kinds of sound at 44.1 kHz, a prior that is told the kind: run.sh --help.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python3 "$here/../../recipes/pipeline" "$here" "$@"
