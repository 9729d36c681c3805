#!/usr/bin/env bash
# Train one line of variants.txt: train.sh OUT NAME RECIPE [key=value ...]
#
# A key without a dot is that of the bottleneck of every level. What is trained is left as it is, and
# refused where the line has changed since.
set -euo pipefail
out=$1 name=$2 recipe=$3
shift 3
recipes=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/../../recipes
run=$out/codecs/$name
changes=()
for change in "$@"; do
    case "${change%%=*}" in
        *.* | warm_start_steps) changes+=("$change") ;;
        *) changes+=("codec.levels.*.bottleneck.$change") ;;
    esac
done
mkdir -p "$out/codecs"
echo "training $name" >&2
OMP_NUM_THREADS=1 vqaudio train codec "$recipes/bottlenecks/$recipe.yaml" ${changes+"${changes[@]}"} \
    --data "$out/manifest.jsonl" --out "$run" --resume >> "$run.log"
