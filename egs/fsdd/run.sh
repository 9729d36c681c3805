#!/usr/bin/env bash
# The Free Spoken Digit Dataset, from recordings to new digits and a table of figures.
#
#     egs/fsdd/run.sh --data DIR [--out DIR] [--layouts "flat delay cascade"] [--stage N] [--stop-stage N]
#
# 1 prepare, 2 train codec, 3 tokenize, 4 train prior, 5 sample, 6 evaluate. Called again with the
# same --out, every stage goes on where it was, and passes over what is done.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
recipes=$here/../../recipes
options="data out layouts stage stop_stage"
data= out=runs/fsdd layouts=flat stage=1 stop_stage=6
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
    for layout in $layouts; do
        echo "4 train prior, $layout" >&2
        # shellcheck disable=SC2046
        vqaudio train prior "$recipes/prior/small-labels.yaml" prior.layout="$layout" \
            --tokens "$out/tokens" --out "$out/prior-$layout" $(resume "$out/prior-$layout")
    done
fi
sample() {  # KIND NAME OPTION...: the sounds of one folder
    folder=$out/samples/$layout/$1/$2
    shift 2
    [ -e "$folder/tokens-00000.parquet" ] && return
    vqaudio sample --prior "$out/prior-$layout" --codec "$out/codec" --out "$folder" "$@"
}
if wanted 5; then
    for layout in $layouts; do
        echo "5 sample, $layout" >&2
        sample free any -n 1000
        for label in 0 1 2 3 4 5 6 7 8 9; do
            sample labels $label -n 50 --label $label
            sample labels-guided $label -n 50 --label $label --guidance 2 --temperature 0.8
        done
        for speaker in george jackson lucas nicolas theo yweweler; do
            sample speakers-guided $speaker -n 50 --speaker $speaker --guidance 2 --temperature 0.8
        done
    done
fi
if wanted 6; then
    echo "6 evaluate" >&2
    python "$here/evaluate.py" "$out"
fi
