#!/bin/sh
# Lint, types, tests and notebooks: bash scripts/test.sh [pytest's arguments]. Installs the requirements into .venv if necessary.
set -eu
root=$(readlink -f -- "$0")
root=${root%/scripts/*}
. "$root/scripts/environment.sh"
install requirements-dev.txt
CDPATH='' cd -- "$root"
"$python" -m ruff check .
"$python" -m mypy
exec "$python" -m pytest -q -n auto --dist loadfile --nbmake --nbmake-timeout 120 "$@"  # seconds a cell
