"""Start a program of this repository from any folder: `python3 -I -S scripts/start.py MODULE[,MODULE] ARGUMENTS`.

`python -m` searches the caller's folder first, where a dann.py or a random.py may lie. Here the repository comes first, then the
standard library, then installed packages, last the folders of PYTHONPATH; the caller's own folder is not searched. -I keeps
Python itself from searching it and from heeding other environment variables. -S puts off the search for packages to `set_path`,
so that Ctrl-C ends the process without a traceback from the first milliseconds on.
"""

import _signal  # type: ignore[import-not-found]  # what the signal module is made of; that one takes a while to import
import sys

if __name__ == "__main__" and _signal.getsignal(_signal.SIGINT) != _signal.SIG_IGN:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # until common.cli.run_main catches it


def set_path() -> None:
    """Fill sys.path."""
    import os
    import site

    standard = list(sys.path)
    site.main()
    packages = [folder for folder in sys.path if folder not in standard]
    sys.path[:] = [os.path.dirname(os.path.dirname(os.path.realpath(__file__))), *standard]
    user = site.getusersitepackages()
    # what `pip install --user` installed: -I leaves it out; it comes before other packages, and a .venv does not see it
    if sys.prefix == sys.base_prefix and not os.environ.get("PYTHONNOUSERSITE") and os.path.isdir(user):
        site.addsitedir(user)
    sys.path += packages
    for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        if os.path.isabs(folder) and not is_callers(folder):
            sys.path.append(folder)


def is_callers(folder: str) -> bool:
    """Whether it is the folder that the program is called from."""
    import os

    try:
        return os.path.samefile(folder, ".")
    except OSError:
        return False


def main() -> None:
    """Run the modules' main, one after the other, with the same arguments."""
    if sys.version_info < (3, 10):  # noqa: UP036
        print(f"error: {sys.executable} is Python {sys.version.split()[0]}; this needs 3.10 or newer", file=sys.stderr)
        sys.exit(2)
    set_path()
    import os
    from importlib import import_module

    from common.cli import fail, run_main

    if not sys.argv[1:]:
        fail("name a module, as in scripts/start.py dann.predict")
    modules, sys.argv = sys.argv[1].split(","), sys.argv[1:]
    try:
        os.getcwd()  # MKL cannot be loaded without
    except OSError:
        fail("the folder that this is called from is gone; change to another one")
    try:
        programs = [import_module(module).main for module in modules]
    except ModuleNotFoundError as problem:
        fail(f"{problem} (by {sys.executable}); install what requirements.txt names: bash scripts/quickstart.sh does")
    except ImportError as problem:
        fail(f"{problem} (in {sys.executable})")
    for program in programs:
        run_main(program)


if __name__ == "__main__":
    main()
