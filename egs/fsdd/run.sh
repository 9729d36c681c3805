#!/usr/bin/env bash
# The Free Spoken Digit Dataset, from recordings to new digits and a table of figures.
#
#     egs/fsdd/run.sh --data DIR [--out DIR] [--stage N] [--stop-stage N]
#
# 1 prepare, 2 train codec, 3 tokenize, 4 train prior, 5 sample, 6 evaluate. Called again with the
# same --out, every stage goes on where it was, and passes over what is done.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
recipes=$here/../../recipes
options="data out stage stop_stage"
data= out=runs/fsdd stage=1 stop_stage=6
temperature=0.6  # at which words are sampled, besides 1.0
. "$here/../options.sh"
if wanted 6; then
    python -c "import pystoi" 2>/dev/null || fail "stage 6 needs the extra eval: pip install '.[eval]'"
fi

if wanted 1; then
    echo "1 prepare" >&2
    python "$here/prepare.py" "$data" "$out/manifest.jsonl"
fi
if wanted 2; then
    echo "2 train codec" >&2
    # shellcheck disable=SC2046
    vqaudio train codec "$recipes/codec/small-8k.yaml" --data "$out/manifest.jsonl" \
        --out "$out/codec" $(resume "$out/codec")
fi
if wanted 3; then
    echo "3 tokenize" >&2
    vqaudio tokenize "$out/manifest.jsonl" --codec "$out/codec" --out "$out/tokens"
fi
if wanted 4; then
    echo "4 train prior" >&2
    # shellcheck disable=SC2046
    vqaudio train prior "$recipes/prior/small-labels.yaml" --tokens "$out/tokens" \
        --out "$out/prior" $(resume "$out/prior")
fi
if wanted 5; then
    echo "5 sample" >&2
    for t in $temperature 1.0; do
        for label in any 0 1 2 3 4 5 6 7 8 9; do
            folder=$out/samples/temperature-$t/$label
            [ -e "$folder/tokens-00000.parquet" ] && continue
            if [ $label = any ]; then what="-n 1000"; else what="-n 50 --label $label"; fi
            # shellcheck disable=SC2086
            vqaudio sample --prior "$out/prior" --codec "$out/codec" --out "$folder" $what --temperature $t
        done
    done
fi
if wanted 6; then
    echo "6 evaluate" >&2
    python "$here/evaluate.py" "$out"
fi
