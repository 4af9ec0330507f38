"""Start a program of this repository from any folder:
`python3 -I -S scripts/start.py MODULE[,MODULE] ARGUMENTS`.

`python -m` searches the working directory first, which may contain a dann.py or a random.py. Here the search
order is the repository, the standard library, installed packages, and the folders in PYTHONPATH; the working
directory is not searched. -I keeps Python itself from searching it and from using environment variables. -S
defers the search for packages to `set_path`, so that Ctrl-C ends the process without a traceback as early as
possible.
"""

import _signal  # type: ignore[import-not-found]  # the C part of the signal module, which is slower to import
import sys

if __name__ == "__main__" and _signal.getsignal(_signal.SIGINT) != _signal.SIG_IGN:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # until common.cli.run_main catches it


def set_path() -> None:
    """Set up sys.path."""
    import os
    import site

    standard = list(sys.path)
    site.main()
    packages = [folder for folder in sys.path if folder not in standard]
    sys.path[:] = [os.path.dirname(os.path.dirname(os.path.realpath(__file__))), *standard]
    user = site.getusersitepackages()
    # packages of `pip install --user`, which -I disables: before other packages, but not in a .venv
    if sys.prefix == sys.base_prefix and not os.environ.get("PYTHONNOUSERSITE") and os.path.isdir(user):
        site.addsitedir(user)
    sys.path += packages
    for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        if os.path.isabs(folder) and not is_callers(folder):
            sys.path.append(folder)


def is_callers(folder: str) -> bool:
    """Whether a folder is the working directory."""
    import os

    try:
        return os.path.samefile(folder, ".")
    except OSError:
        return False


def main() -> None:
    """Run main() of the modules, one after the other, with the same arguments."""
    if sys.version_info < (3, 10):  # noqa: UP036
        print(f"error: {sys.executable} is Python {sys.version.split()[0]}; this needs 3.10 or newer",
              file=sys.stderr)
        sys.exit(2)
    set_path()
    import os
    from importlib import import_module

    from common.cli import fail, run_main

    if not sys.argv[1:]:
        fail("a module is required, as in scripts/start.py dann.predict")
    modules, sys.argv = sys.argv[1].split(","), sys.argv[1:]
    try:
        os.getcwd()  # MKL cannot be loaded if this fails
    except OSError:
        fail("the working directory does not exist any more; change to another one")
    try:
        programs = [import_module(module).main for module in modules]
    except ModuleNotFoundError as problem:
        fail(f"{problem} (in {sys.executable}); install requirements.txt, for example with "
             "bash scripts/quickstart.sh")
    except ImportError as problem:
        fail(f"{problem} (in {sys.executable})")
    for program in programs:
        run_main(program)


if __name__ == "__main__":
    main()
