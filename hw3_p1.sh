#!/bin/sh
# 32 random faces of the released DCGAN, OUT_DIR/fig1_2.jpg: bash hw3_p1.sh OUT_DIR
here=$(readlink -f -- "${BASH_SOURCE:-$0}")  # bash tells only BASH_SOURCE what it found on PATH
here=${here%/*}
python=$here/.venv/bin/python
[ -x "$python" ] || python=python3
exec "$python" -I -S "$here/scripts/start.py" gan.generate --figure "$@"
