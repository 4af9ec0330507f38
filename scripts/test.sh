#!/bin/bash
# Lint, types and tests: bash scripts/test.sh [pytest's arguments]. Installs what it lacks into .venv.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
. "$root/scripts/environment.sh"
install requirements-dev.txt
cd "$root"
"$python" -m ruff check .
"$python" -m mypy
exec "$python" -m pytest -q "$@"
