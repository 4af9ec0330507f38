#!/bin/sh
# Every number of the README's tables: bash scripts/results.sh [HW3_DATA] [RUNS]
# Trains and measures what has no card yet, one run after the other (about fourteen hours on two cores), and continues the run that
# was stopped.
set -eu
root=$(readlink -f -- "$0")
root=${root%/scripts/*}
. "$root/scripts/environment.sh"
data=${1:-$root/hw3_data} runs=${2:-$root/runs/results}
[ -d "$data" ] || fail "$data does not exist; make it with: python -m scripts.prepare_data --from ORIGINALS --to $data"
mkdir -p -- "$runs" 2> /dev/null || fail "the folder $runs cannot be made; name another"
data=$(CDPATH='' cd -- "$data" && pwd)
runs=$(CDPATH='' cd -- "$runs" && pwd)
install requirements.txt
CDPATH='' cd -- "$root"

# train PACKAGE RUN OPTIONS...: preset and seed are named, so that a run of other options is not continued
train() {
    package="$1" run="$2"
    shift 2
    if [ -e "$run/last.pt" ]; then set -- --resume "$run" "$@"; else set -- --run "$run" "$@"; fi
    program "$package.train" --data "$data" --preset default --seed 0 "$@"
}

# measure PACKAGE CARD NAME OPTIONS...: CARD is the weights' file to release, or a .json to keep the card alone
measure() {
    package="$1" card="$2" run="$runs/$3"
    shift 3
    [ -e "${card%.*}.json" ] && return
    mkdir -p "$(dirname "$card")"
    train "$package" "$run" "$@"
    case "$package" in
        gan | acgan) set -- scripts.evaluate_faces ;;
        dann) set -- dann.evaluate --adabn ;;
        adda) set -- adda.evaluate ;;
    esac
    program "$@" --weights "$run/weights.safetensors" --data "$data" --save "$card"
}

if [ -d "$data/face/test" ]; then
    measure gan gan/weights/dcgan.safetensors dcgan
    measure gan gan/results/relativistic-disturb.json dcgan-relativistic --epochs 5 --loss relativistic --disturb
    for seed in 0 1; do  # as many images of either recipe
        measure gan gan/results/short-seed$seed.json dcgan-short-seed$seed --epochs 3 --seed $seed
        measure gan gan/results/report-seed$seed.json dcgan-report-seed$seed --preset report --epochs 3 --seed $seed
    done
    measure acgan acgan/weights/acgan-smiling.safetensors acgan --epochs 14
    for deviation in 0.02 0.08; do  # how much the first weights matter
        measure gan gan/results/ablation/deviation-$deviation.json dcgan-deviation-$deviation --width 32 --epochs 1 --deviation $deviation
    done
fi

# ablation CARD OPTIONS...: one thing left out, of stage 1 alone (source-), or of all stages on a schedule an eighth as long;
# of a whole that inverts colours, and whose balance does not fade, in both directions
ablation() {
    card="$1" stages="--invert --no-fade --source-steps 1000 --adversarial-steps 500 --self-training-steps 1000 --ramp 0.1"
    shift
    case "$card" in source*) stages="--invert --method adda --source-steps 1000 --adversarial-steps 0" ;; esac
    measure adda adda/results/ablation/$card-$source-$target.json ablation-$card-$source $domains $stages "$@"
}

for source in mnistm svhn; do
    if [ $source = mnistm ]; then target=svhn; else target=mnistm; fi
    domains="--source $source --target $target"
    measure dann dann/weights/dann-$source-$target.safetensors dann-$source $domains
    measure adda adda/weights/adda-st-$source-$target.safetensors adda-st-$source $domains
    measure adda adda/results/adda-$source-$target.json adda-$source --method adda $domains
    for method in source-only target-only; do
        measure dann dann/results/$method-$source-$target.json $method-$source --method $method $domains
    done
    for method in source-only dann target-only; do
        measure dann dann/results/report-$method-$source-$target.json report-$method-$source \
            --preset report --method $method $domains
    done
    measure adda adda/results/report-target-only-grey-$source-$target.json report-target-only-grey-$source \
        --preset report --method target-only $domains
    measure adda adda/results/report-adda-$source-$target.json report-adda-$source --preset report --method adda $domains
    measure adda adda/results/report-adda-$source-$target-joint.json report-adda-$source-joint \
        --preset report --method adda $domains --joint
    for seed in 1 2; do
        measure adda adda/results/report-adda-$source-$target-seed$seed.json report-adda-$source-seed$seed \
            --preset report --method adda $domains --seed $seed
        measure dann dann/results/dann-$source-$target-seed$seed.json dann-$source-seed$seed $domains --seed $seed
        measure adda adda/results/adda-st-$source-$target-seed$seed.json adda-st-$source-seed$seed $domains --seed $seed
    done
    # the whole of it with inverted colours and a balance that does not fade, towards MNIST-M in fewer steps
    fewer="--self-training-steps 10000"
    if [ $source = mnistm ]; then
        fewer=""
        measure adda adda/results/ablation/no-fade-$source-$target.json no-fade-$source $domains --no-fade
    fi
    for seed in 0 1 2; do
        measure adda adda/results/ablation/inverted-$source-$target-seed$seed.json inverted-$source-seed$seed $domains \
            --invert --no-fade $fewer --seed $seed
    done
    measure adda adda/results/ablation/inverted-adda-$source-$target.json inverted-adda-$source $domains --method adda --invert
    ablation source
    ablation source-no-normalise --no-normalise
    ablation source-no-invert --no-invert
    ablation whole
    ablation no-normalise --no-normalise
    ablation no-invert --no-invert
    ablation no-adversary --adversarial-steps 0
    ablation no-self-training --method adda --self-training-steps 0
done
program scripts.report --write
