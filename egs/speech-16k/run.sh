#!/usr/bin/env bash
# Open speech, from sound files to the two models that ship with the package.
#
#     egs/speech-16k/run.sh --data DIR [--out DIR] [--stage N] [--stop-stage N]
#
# 1 prepare, 2 train codec, and then its decoder alone, 3 ship codec, 4 tokenize the sounds and copies of them,
# perturbed and in other voices (pip install pyworld), 5 train prior, and go on with the voices, 6 ship prior,
# 7 fit code tables. Called again with the same --out, every stage goes on where it was.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
recipes=$here/../../recipes
options="data out stage stop_stage"
data='' out=runs/speech-16k stage=1 stop_stage=7
. "$here/../options.sh"
mkdir -p "$out"

if wanted 1; then
    python "$here/prepare.py" "$data" "$out/manifest.jsonl"
fi
if wanted 2; then
    # shellcheck disable=SC2046
    vqaudio train codec "$recipes/codec/speech-16k.yaml" --data "$out/manifest.jsonl" \
        --out "$out/codec" $(resume "$out/codec")
    # shellcheck disable=SC2046
    vqaudio train codec "$recipes/codec/speech-16k.yaml" keep_codes=true optimization.steps=4500 \
        optimization.learning_rate=5e-4 losses.envelopes=10 losses.loudness=1 \
        codec.levels.1.dropout=0.02 codec.levels.1.bottleneck.dropout=0.8 \
        --from "$out/codec" --data "$out/manifest.jsonl" --out "$out/decoder" $(resume "$out/decoder")
fi
if wanted 3; then
    python "$here/ship.py" "$out/decoder" speech-16k
fi
if wanted 4; then
    vqaudio tokenize "$out/manifest.jsonl" --codec speech-16k --out "$out/tokens"
    python "$here/perturb.py" "$out/manifest.jsonl" "$out/perturbed"
    vqaudio tokenize "$out/perturbed" --codec speech-16k --out "$out/perturbed-tokens"
    python "$here/voices.py" "$out/manifest.jsonl" "$out/voices"
    vqaudio tokenize "$out/voices" --codec speech-16k --out "$out/voices-tokens"
fi
if wanted 5; then
    # shellcheck disable=SC2046
    vqaudio train prior "$recipes/prior/speech-16k.yaml" --tokens "$out/tokens" \
        --tokens "$out/perturbed-tokens" --codec speech-16k --out "$out/prior" $(resume "$out/prior")
    # shellcheck disable=SC2046
    vqaudio train prior "$recipes/prior/speech-16k.yaml" --from "$out/prior" optimization.steps=3000 \
        optimization.learning_rate=1e-3 run.validate_every=200 patience=8 --tokens "$out/tokens" \
        --tokens "$out/perturbed-tokens" --tokens "$out/voices-tokens" --codec speech-16k \
        --out "$out/prior-voices" $(resume "$out/prior-voices")
fi
if wanted 6; then
    python "$here/ship.py" "$out/prior-voices" speech-16k-prior
fi
if wanted 7; then
    python -m vqaudio.applications.fit_tables "$out/tokens" "$out/perturbed-tokens" "$out/voices-tokens" \
        --codec "$here/../../vqaudio/pretrained/speech-16k"
fi
