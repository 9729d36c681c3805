#!/usr/bin/env bash
# Every bottleneck in the same codec, on the same digits and sentences: a table and a picture.
#
#     egs/bottlenecks/run.sh --data DIR [--out DIR] [--variants FILE] [--jobs N] [--stage N] [--stop-stage N]
#
# DIR holds the data sets `fsdd` and `kathleen`. 1 prepare, 2 train a codec for each line of FILE,
# which is variants.txt, N at once with a thread each, 3 evaluate. Called again with the same --out, every
# stage goes on where it was, and passes over what is done.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
data= out=runs/bottlenecks variants=$here/variants.txt jobs=1 stage=1 stop_stage=3
while [ $# -gt 0 ]; do
    case "$1" in
        --data) data=${2:?} ;;
        --out) out=${2:?} ;;
        --variants) variants=${2:?} ;;
        --jobs) jobs=${2:?} ;;
        --stage) stage=${2:?} ;;
        --stop-stage) stop_stage=${2:?} ;;
        *) echo "error: $1: no such option; see the head of $0" >&2; exit 2 ;;
    esac
    shift 2
done
wanted() { [ "$stage" -le "$1" ] && [ "$stop_stage" -ge "$1" ]; }

if wanted 1; then
    echo "1 prepare" >&2
    [ -n "$data" ] || { echo "error: --data: give the folder of the data sets" >&2; exit 2; }
    python "$here/../fsdd/prepare.py" "$data/fsdd" "$out/digits.jsonl"
    python "$here/prepare.py" "$out/digits.jsonl" "$data/kathleen" "$out/manifest.jsonl"
fi
if wanted 2; then
    echo "2 train" >&2
    grep -v '^#' "$variants" | xargs -P "$jobs" -L 1 "$here/train.sh" "$out"
fi
if wanted 3; then
    echo "3 evaluate" >&2
    python "$here/evaluate.py" "$variants" "$out"
fi
