#!/bin/sh
# Reproduces all numbers in the README's tables: bash scripts/results.sh [HW3_DATA] [RUNS] [snakemake's arguments]
# Trains and evaluates all runs without a card (most of a day on two cores), draws figures that are older than their weights,
# and updates the report and README.md. An interrupted sweep is continued. --dry-run lists the jobs. Each training uses one
# core; the number of parallel trainings is that of cores (--cores 8) and GPUs. --profile scripts/profiles/slurm submits
# them to Slurm.
set -eu
root=$(readlink -f -- "$0")
root=${root%/scripts/*}
. "$root/scripts/environment.sh"
data=$root/hw3_data runs=$root/runs/results
case "${1--}" in -*) ;; *) data=${1:-$data} && shift ;; esac
case "${1--}" in -*) ;; *) runs=${1:-$runs} && shift ;; esac
[ -d "$data" ] || fail "$data does not exist; create it with: python -m scripts.prepare_data --from ORIGINALS --to $data"
mkdir -p -- "$runs" 2> /dev/null || fail "the folder $runs cannot be created; choose another"
data=$(CDPATH='' cd -- "$data" && pwd)
runs=$(CDPATH='' cd -- "$runs" && pwd)
chosen=$base
if works "$python"; then chosen=$python; fi
"$chosen" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null ||
    fail "$chosen is not Python 3.11 or newer, which snakemake needs; set PYTHON to one that is, and remove $root/.venv"
install requirements-sweep.txt
CDPATH='' cd -- "$root"

more='' gpus=''
case " $* " in
    *" -n"* | *" --dry-run "* | *" --dryrun "*) more="--quiet host progress reason" ;;
    *) # Snakemake's own lock would remain after a sweep is killed
        mkdir -p .snakemake
        only_one .snakemake ;;
esac
case " $* " in
    *" --profile"* | *" --executor"* | *" -e "* | *" --res"*) ;;
    *) gpus=${CUDA_VISIBLE_DEVICES-$(nvidia-smi --query-gpu=index --format=csv,noheader 2> /dev/null || true)} ;;
esac
HW3_GPUS=$(echo "$gpus" | tr ',\n' '  ')  # the Snakefile assigns one to each run
export HW3_GPUS
gpus=$(echo "$HW3_GPUS" | wc -w)
[ "$gpus" -eq 0 ] || more="$more --resources gpu=$((gpus))"
"$python" -I -m snakemake --snakefile scripts/Snakefile --config data="$data" runs="$runs" $more --nolock "$@" ||
    fail "the sweep is incomplete; start it again to continue (see above for errors, if any)"
