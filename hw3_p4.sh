#!/bin/bash
# Predictions of the improved model adapted to TARGET (mnistm or svhn): bash hw3_p4.sh IMAGE_DIR TARGET OUT_CSV
here="${BASH_SOURCE[0]%/*}"
[ "$here" = "${BASH_SOURCE[0]}" ] && here=.
python="$here/.venv/bin/python"
[ -x "$python" ] || python=python3
PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" exec "$python" -m adda.predict "$@"
