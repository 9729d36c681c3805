#!/usr/bin/env bash
# Wake words at 16 kHz, by many voices on their own microphones, to new ones and tables: run.sh --help.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python3 "$here/../../recipes/pipeline" "$here" "$@"
