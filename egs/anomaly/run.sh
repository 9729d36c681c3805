#!/usr/bin/env bash
# Which sounds are unlike normal ones, told by a codec and a prior that are fitted on normal ones alone.
#
#     egs/anomaly/run.sh --data DIR [--other DIR] [--out DIR] [--prior MODEL] [--codec MODEL] [--stage N] [--stop-stage N]
#
# 1 prepare, 2 fit a detector on normal sounds, 3 score, 4 evaluate beside a baseline. Called again with
# the same --out, --stage N goes on from there.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
options="data other out prior codec stage stop_stage"
data='' other='' out=runs/anomaly prior=speech-16k-prior codec='' stage=1 stop_stage=4
. "$here/../options.sh"
models=(--prior "$prior" ${codec:+--codec "$codec"})

if wanted 1; then
    echo "1 prepare" >&2
    python "$here/prepare.py" "$data" "$out" ${other:+--other "$other"}
fi
for normal in "$out"/*/normal.jsonl; do
    machine=$(dirname "$normal")
    if wanted 2; then
        echo "2 fit a detector, $machine" >&2
        vqaudio score fit "$normal" "${models[@]}" --out "$machine/detector.safetensors"
    fi
    if wanted 3; then
        echo "3 score, $machine" >&2
        vqaudio score "$machine/test.jsonl" "${models[@]}" --detector "$machine/detector.safetensors" \
            --out "$machine/scores"
    fi
done
if wanted 4; then
    echo "4 evaluate" >&2
    python "$here/evaluate.py" "$out"
fi
