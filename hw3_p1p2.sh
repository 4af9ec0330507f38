#!/bin/sh
# The figures of both problems with faces, as the 2019 course asks for them: bash hw3_p1p2.sh OUT_DIR
here=$(readlink -f -- "${BASH_SOURCE:-$0}")  # bash tells only BASH_SOURCE what it found on PATH
here=${here%/*}
python=$here/.venv/bin/python
[ -x "$python" ] || python=python3
[ $# -ne 1 ] || [ -d "$1" ] || {
    echo "error: the folder $1 does not exist; make it first" >&2
    exit 2
}
exec "$python" -I -S "$here/scripts/start.py" gan.generate,acgan.generate --figure "$@"
