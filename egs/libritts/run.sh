#!/usr/bin/env bash
# LibriTTS: many readers at 24 kHz, a codec and a prior that is told text and speaker: run.sh --help.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python3 "$here/../../recipes/pipeline" "$here" "$@"
