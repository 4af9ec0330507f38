#!/bin/sh
# 10 pairs of the released ACGAN, smiling and not, OUT_DIR/fig2_2.jpg: bash hw3_p2.sh OUT_DIR
here=$(readlink -f -- "${BASH_SOURCE:-$0}")  # bash tells only BASH_SOURCE what it found on PATH
here=${here%/*}
python=$here/.venv/bin/python
[ -x "$python" ] || python=python3
exec "$python" -I -S "$here/scripts/start.py" acgan.generate --figure "$@"
