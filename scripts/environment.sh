# Sourced by the scripts beside it, which set $root: .venv at the root of the checkout, with what a requirements file names.
base=${PYTHON:-python3}
python=$root/.venv/bin/python

# fail SENTENCE
fail() {
    printf 'error: %s\n' "$1" >&2
    exit 2
}

# program MODULE ARGUMENTS: a program of the repository
program() {
    "$python" -I -S "$root/scripts/start.py" "$@"
}

# works PYTHON: whether it is one that the repository runs on
works() {
    "$1" -I -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2> /dev/null
}

# only_one FOLDER: waits for another script that holds the folder, and holds it until this script ends or holds another
only_one() {
    exec 9< "$1"
    if works "$python"; then set -- "$python"; else set -- "$base"; fi
    "$1" -I -c '
import fcntl, signal
signal.signal(signal.SIGINT, signal.SIG_DFL)
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("waiting for another run", flush=True)
    fcntl.flock(9, fcntl.LOCK_EX)
except OSError:
    pass  # a file system without locks'
}

# install FILE: makes .venv where there is none that works, and installs where the requirements have changed since the last time
install() {
    works "$python" || works "$base" || fail "$base is not Python 3.10 or newer; set PYTHON to one that is"
    only_one "$root"
    installed=$root/.venv/$1.installed
    wanted=$(cat "$root/requirements.txt" "$root/$1" | cksum)
    if ! works "$python" || [ "$(cat "$installed" 2> /dev/null)" != "$wanted" ]; then
        [ -w "${HOME:-/nowhere}" ] || export PIP_NO_CACHE_DIR=1
        { works "$python" && "$python" -I -m pip --version > /dev/null 2>&1; } || make_environment
        echo "installing $1 (torch is large: minutes on a slow line)"
        "$python" -I -m pip install --quiet --disable-pip-version-check -r "$root/$1" ||
            fail "pip could not install $1; see its message above"
        { echo "$wanted" > "$installed"; } 2> /dev/null || true  # a checkout that cannot be written to
    fi
    exec 9<&-
}

# make_environment: .venv anew, or what is lacking in one whose making was interrupted or whose Python has gone
make_environment() {
    works "$base" || fail "$base is not Python 3.10 or newer; set PYTHON to one that is"
    echo "making $root/.venv"
    rm -f "$root"/.venv/bin/python* "$root"/.venv/*.installed
    "$base" -I -m venv "$root/.venv" || fail "$base cannot make $root/.venv; see its message above"
}
