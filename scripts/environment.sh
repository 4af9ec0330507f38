# Sourced by quickstart.sh and test.sh: .venv at the root of the checkout, with what a requirements file names.

# install FILE: makes .venv where there is none, and installs where the requirements have changed since the last time
install() {
    local base="${PYTHON:-python3}" wanted
    python="$root/.venv/bin/python"
    if [ ! -x "$python" ]; then
        "$base" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || {
            echo "error: $base is not Python 3.10 or newer; set PYTHON to one that is" >&2
            exit 2
        }
        echo "making $root/.venv"
        "$base" -m venv "$root/.venv" || {
            echo "error: $base cannot make a virtual environment; install its venv module (python3-venv)" >&2
            exit 2
        }
    fi
    wanted="$(cat "$root/requirements.txt" "$root/$1" | cksum)"
    if [ "$(cat "$root/.venv/$1.installed" 2>/dev/null)" != "$wanted" ]; then
        echo "installing $1 (torch is large: minutes on a slow line)"
        "$python" -m pip install --quiet --disable-pip-version-check -r "$root/$1" || {
            echo "error: pip could not install $1; see its message above" >&2
            exit 2
        }
        echo "$wanted" > "$root/.venv/$1.installed"
    fi
}
