#!/bin/bash
# 32 random faces of the released DCGAN, OUT_DIR/fig1_2.jpg: bash hw3_p1.sh OUT_DIR
here="${BASH_SOURCE[0]%/*}"
[ "$here" = "${BASH_SOURCE[0]}" ] && here=.
python="$here/.venv/bin/python"
[ -x "$python" ] || python=python3
PYTHONPATH="$here${PYTHONPATH:+:$PYTHONPATH}" exec "$python" -m gan.generate --figure "$@"
