#!/usr/bin/env bash
# SC09: ten spoken digits of thousands of speakers, judged as the field does: run.sh --help.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python3 "$here/../../recipes/pipeline" "$here" "$@"
