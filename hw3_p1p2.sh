#!/bin/bash
# The figures of both problems with faces, as the 2019 course asks for them: bash hw3_p1p2.sh OUT_DIR
here="${BASH_SOURCE[0]%/*}"
[ "$here" = "${BASH_SOURCE[0]}" ] && here=.
bash "$here/hw3_p1.sh" "$@" && exec bash "$here/hw3_p2.sh" "$@"
