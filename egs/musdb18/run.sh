#!/usr/bin/env bash
# MUSDB18-HQ: songs at 44.1 kHz, a codec and a prior: run.sh --help.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python3 "$here/../../recipes/pipeline" "$here" "$@"
