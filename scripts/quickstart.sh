#!/bin/sh
# From a fresh clone to results: bash scripts/quickstart.sh [RESULTS_DIR]
# Creates .venv, installs the requirements, and runs all graders' scripts: on synthetic digits or, if HW3_DATA is set, on
# the test digits in that folder.
set -eu
root=$(readlink -f -- "$0")
root=${root%/scripts/*}
. "$root/scripts/environment.sh"

results=${1:-$root/quickstart_results}
mkdir -p -- "$results" 2> /dev/null && [ -w "$results" ] || fail "the folder $results cannot be created or written to; choose another"
results=$(CDPATH='' cd -- "$results" && pwd)
data=$results/made_up_digits
if [ -n "${HW3_DATA:-}" ]; then
    [ -d "$HW3_DATA/digits" ] || fail "HW3_DATA is $HW3_DATA, which does not contain a folder digits"
    data=$(CDPATH='' cd -- "$HW3_DATA" && pwd)
fi

install requirements.txt
only_one "$results"
[ -n "${HW3_DATA:-}" ] || [ -e "$data/digits/svhn/test.csv" ] || program common.synthetic --to "$data" --count 500

for problem in 1 2; do
    script=$root/hw3_p$problem.sh
    [ -e "$script" ] || continue
    echo "hw3_p$problem.sh: faces"
    sh "$script" "$results"
done
for problem in 3 4; do
    script=$root/hw3_p$problem.sh
    [ -e "$script" ] || continue
    for target in mnistm svhn; do
        images=$data/digits/$target/test
        csv=$results/p${problem}_$target.csv
        sh "$script" "$images" "$target" "$csv"
        score=predicted
        [ ! -e "$images.csv" ] || score=$(program scripts.score "$csv" "$images.csv")
        echo "hw3_p$problem.sh, $target: $score"
    done
done
[ -n "${HW3_DATA:-}" ] || echo "(on synthetic digits, on which no network was trained; chance is 10%)"
echo "results: $results"
