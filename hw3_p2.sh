#!/bin/bash
# 10 pairs of the released ACGAN, smiling and not, OUT_DIR/fig2_2.jpg: bash hw3_p2.sh OUT_DIR
here="${BASH_SOURCE[0]%/*}"
[ "$here" = "${BASH_SOURCE[0]}" ] && here=.
python="$here/.venv/bin/python"
[ -x "$python" ] || python=python3
PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" exec "$python" -m acgan.generate --figure "$@"
