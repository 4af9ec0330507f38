#!/bin/sh
# Everything that has to be proved on a GPU: bash scripts/gpu_check.sh [HW3_DATA] [TABLE.md]
# The tests that need one, then times and whole trainings as a table; about ten minutes on one H100. PYTHON names another Python
# than the one of .venv, for a machine whose own has torch already.
set -eu
root=$(readlink -f -- "$0")
root=${root%/scripts/*}
. "$root/scripts/environment.sh"
data=${1:-$root/hw3_data} table=${2:-$root/gpu.md}
[ -d "$data" ] || fail "$data does not exist; make it with: python -m scripts.prepare_data --from ORIGINALS --to $data"
data=$(CDPATH='' cd -- "$data" && pwd)
case "$table" in /*) ;; *) table=$PWD/$table ;; esac
if [ "${PYTHON:-}" ]; then python=$PYTHON; else install requirements-dev.txt; fi
CDPATH='' cd -- "$root"
"$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || fail "torch sees no GPU here"
"$python" -m pytest -q -m gpu
exec "$python" -m scripts.gpu_check --data "$data" --output "$table"
