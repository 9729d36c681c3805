#!/usr/bin/env bash
# Read sentences of one voice: from recordings with texts to a prior that reads.
#
#     egs/kathleen/run.sh --data DIR [--out DIR] [--layouts "flat delay cascade"] [--stage N] [--stop-stage N]
#
# 1 prepare, 2 tokenize with the shipped codec, 3 train prior, 4 sample and evaluate. Called again with
# the same --out, every stage goes on where it was, and passes over what is done.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
recipes=$here/../../recipes
options="data out layouts stage stop_stage"
data= out=runs/kathleen layouts=delay stage=1 stop_stage=4
. "$here/../options.sh"

if wanted 1; then
    echo "1 prepare" >&2
    python "$here/prepare.py" "$data" "$out/manifest.jsonl"
fi
if wanted 2; then
    echo "2 tokenize" >&2
    vqaudio tokenize "$out/manifest.jsonl" --out "$out/tokens"
fi
if wanted 3; then
    for layout in $layouts; do
        echo "3 train prior, $layout" >&2
        # shellcheck disable=SC2046
        vqaudio train prior "$recipes/prior/text-16k.yaml" prior.layout="$layout" \
            --tokens "$out/tokens" --out "$out/prior-$layout" $(resume "$out/prior-$layout")
    done
fi
if wanted 4; then
    echo "4 sample and evaluate" >&2
    python "$here/evaluate.py" "$out"
fi
