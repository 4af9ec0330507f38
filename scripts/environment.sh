# Sourced by the scripts in this folder, which set $root. Creates and updates .venv at the root of the checkout.
base=${PYTHON:-python3}
python=$root/.venv/bin/python

# fail SENTENCE
fail() {
    printf 'error: %s\n' "$1" >&2
    exit 2
}

# program MODULE ARGUMENTS: runs a program of the repository
program() {
    "$python" -I -S "$root/scripts/start.py" "$@"
}

# works PYTHON: whether this interpreter runs and is recent enough
works() {
    "$1" -I -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2> /dev/null
}

# only_one FOLDER: locks the folder until this script ends or locks another one; waits if another script holds the lock
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
    pass  # the file system does not support locks'
}

# install FILE: creates .venv if there is no working one, and installs FILE if the requirements have changed
install() {
    works "$python" || works "$base" || fail "$base is not Python 3.10 or newer; set PYTHON to one that is"
    only_one "$root"
    installed=$root/.venv/$1.installed
    wanted=$(cat "$root/requirements.txt" "$root/$1" | cksum)
    if ! works "$python" || [ "$(cat "$installed" 2> /dev/null)" != "$wanted" ]; then
        [ -w "${HOME:-/nowhere}" ] || export PIP_NO_CACHE_DIR=1
        { works "$python" && "$python" -I -m pip --version > /dev/null 2>&1; } || make_environment
        echo "installing $1 (torch is large; this may take minutes)"
        "$python" -I -m pip install --quiet --disable-pip-version-check -r "$root/$1" ||
            fail "pip could not install $1; see its message above"
        { echo "$wanted" > "$installed"; } 2> /dev/null || true  # the checkout may be read-only
    fi
    exec 9<&-
}

# make_environment: creates .venv, or repairs one that is incomplete or whose Python does not exist any more
make_environment() {
    works "$base" || fail "$base is not Python 3.10 or newer; set PYTHON to one that is"
    echo "creating $root/.venv"
    rm -f "$root"/.venv/bin/python* "$root"/.venv/*.installed
    "$base" -I -m venv "$root/.venv" || fail "$base cannot create $root/.venv; see its message above"
}
