# shellcheck shell=bash disable=SC2154 # the script that sources this sets stage and the others
#
# Sourced by every run.sh: reads its options, and says which stages are wanted.
#
# The script first sets `options`, the names of its options, and a default for each, then sources this
# with its own arguments.

fail() {
    echo "error: $1" >&2
    exit 2
}
whole_number() { case ${!1} in '' | *[!0-9]*) fail "--${1//_/-}: ${!1} is not a whole number" ;; esac; }
wanted() { [ "$stage" -le "$1" ] && [ "$stop_stage" -ge "$1" ]; }
resume() { if [ -d "$1/training_state" ]; then echo --resume; fi; }

while [ $# -gt 0 ]; do
    name=${1#--}
    name=${name//-/_}
    case " $options " in *" $name "*) ;; *) fail "$1: no such option; see the head of $0" ;; esac
    [ $# -gt 1 ] || fail "$1: give a value"
    printf -v "$name" %s "$2"
    shift 2
done
whole_number stage
whole_number stop_stage
if wanted 1 && [ -z "$data" ]; then fail "--data: give the folder of the data set"; fi
command -v vqaudio >/dev/null || fail "no vqaudio on the PATH; activate its environment, or pip install ."
