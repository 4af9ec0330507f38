#!/bin/sh
# All checks that need a GPU: bash scripts/gpu_check.sh [HW3_DATA] [TABLE.md]
# Runs the tests that need a GPU, then benchmarks and complete trainings, which are written to a table; takes about ten
# minutes on one H100. PYTHON selects another interpreter than that of .venv, for machines on which torch is installed.
set -eu
root=$(readlink -f -- "$0")
root=${root%/scripts/*}
. "$root/scripts/environment.sh"
data=${1:-$root/hw3_data} table=${2:-$root/gpu.md}
[ -d "$data" ] || fail "$data does not exist; create it with: python -m scripts.prepare_data --from ORIGINALS --to $data"
data=$(CDPATH='' cd -- "$data" && pwd)
case "$table" in /*) ;; *) table=$PWD/$table ;; esac
if [ "${PYTHON:-}" ]; then python=$PYTHON; else install requirements-dev.txt; fi
CDPATH='' cd -- "$root"
"$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || fail "torch finds no GPU"
"$python" -m pytest -q -m gpu
exec "$python" -m scripts.gpu_check --data "$data" --output "$table"
