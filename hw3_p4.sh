#!/bin/sh
# Predictions of the improved model adapted to TARGET (mnistm or svhn): bash hw3_p4.sh IMAGE_DIR TARGET OUT_CSV
here=$(readlink -f -- "${BASH_SOURCE:-$0}")  # bash tells only BASH_SOURCE what it found on PATH
here=${here%/*}
python=$here/.venv/bin/python
[ -x "$python" ] || python=python3
exec "$python" -I -S "$here/scripts/start.py" adda.predict "$@"
