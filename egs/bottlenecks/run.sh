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
options="data out variants jobs stage stop_stage"
data='' out=runs/bottlenecks variants=$here/variants.txt jobs=1 stage=1 stop_stage=3
. "$here/../options.sh"
whole_number jobs
[ -f "$variants" ] || fail "--variants: $variants: no such file"
if wanted 3; then
    python -c "import pesq, pystoi" 2>/dev/null || fail "stage 3 needs the extra eval: pip install '.[eval]'"
fi

if wanted 1; then
    echo "1 prepare" >&2
    python "$here/../fsdd/prepare.py" "$data/fsdd" "$out/digits.jsonl"
    python "$here/prepare.py" "$out/digits.jsonl" "$data/kathleen" "$out/manifest.jsonl"
fi
if wanted 2; then
    echo "2 train" >&2
    [ -f "$out/manifest.jsonl" ] || fail "$out/manifest.jsonl: no such file; begin with stage 1"
    grep -v '^#' "$variants" | xargs -P "$jobs" -L 1 "$here/train.sh" "$out"
fi
if wanted 3; then
    echo "3 evaluate" >&2
    python "$here/evaluate.py" "$variants" "$out"
fi
