#!/bin/bash
# Every number of the README's tables: bash scripts/results.sh [HW3_DATA] [RUNS]
# Trains and measures what has no card yet, one run after the other (about two hours on two cores), and continues the run that
# was stopped. EPOCHS=50 gives the report's recipe its full length, as a GPU allows.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
. "$root/scripts/environment.sh"
install requirements.txt
data="$(cd "${1:-$root/hw3_data}" && pwd)"
mkdir -p "${2:-$root/runs/results}"
runs="$(cd "${2:-$root/runs/results}" && pwd)"
cd "$root"

# measure CARD NAME OPTIONS...: CARD is the weights' file to release, or a .json to keep the card alone
measure() {
    local card="$1" run="$runs/$2"
    shift 2
    [ -e "${card%.*}.json" ] && return
    if [ -e "$run/last.pt" ]; then
        "$python" -m dann.train --data "$data" --resume "$run"
    elif [ ! -e "$run/options.json" ]; then
        "$python" -m dann.train --data "$data" --run "$run" "$@"
    else
        echo "error: $run was stopped before its first checkpoint; remove it and start again" >&2
        exit 2
    fi
    "$python" -m dann.evaluate --weights "$run/weights.safetensors" --data "$data" --adabn --save "$card"
}

for source in mnistm svhn; do
    if [ $source = mnistm ]; then target=svhn; else target=mnistm; fi
    domains="--source $source --target $target"
    measure dann/weights/dann-$source-$target.safetensors dann-$source $domains
    for method in source-only target-only; do
        measure dann/results/$method-$source-$target.json $method-$source --method $method $domains
    done
    for method in source-only dann target-only; do
        measure dann/results/report-$method-$source-$target.json report-$method-$source \
            --preset report --method $method $domains --epochs "${EPOCHS:-10}"
    done
    for seed in 1 2; do
        measure dann/results/dann-$source-$target-seed$seed.json dann-$source-seed$seed $domains --seed $seed
    done
done
"$python" -m scripts.report --write
