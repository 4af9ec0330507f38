"""Starting the programs: from any folder, in any way, with any environment; Ctrl-C; closed or full outputs.

Most tests start a copy of the scripts in a repository with minimal programs, since only the start is tested.
"""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import common

ROOT = Path(__file__).parent.parent
GRADERS = {"hw3_p1.sh": "gan.generate", "hw3_p2.sh": "acgan.generate",
           "hw3_p3.sh": "dann.predict", "hw3_p4.sh": "adda.predict"}
SHELL_SCRIPTS = sorted([*ROOT.glob("*.sh"), *ROOT.glob("scripts/*.sh"), ROOT / ".ci/run"])
STRANGERS = ("numpy", "torch", "PIL", "random", "signal", "runpy", "site", "json", "common", "scripts",
             "dann", "sitecustomize")

# a program that prints its arguments, and from where modules are imported
TELLS = """
import importlib.util, json, sys
def main():
    names = ("common", "dann", "numpy", "torch", "PIL", "random", "signal")
    places = {name: importlib.util.find_spec(name).origin for name in names}
    print(json.dumps({"program": __name__, "arguments": sys.argv[1:], "places": places, "path": sys.path}))
"""
WAITS = "import sys\nprint('importing', flush=True)\nsys.stdin.read(1)\n"


def repository(folder, program=TELLS):
    """Create a repository in which all programs are the same."""
    for package in ("common", "scripts", "gan", "acgan", "dann", "adda"):
        (folder / package).mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / package / "__init__.py", folder / package)
    for path in (*SHELL_SCRIPTS, ROOT / "scripts/start.py", ROOT / "common/cli.py"):
        (folder / path.relative_to(ROOT)).parent.mkdir(exist_ok=True)
        shutil.copy(path, folder / path.relative_to(ROOT))
    for module in (*GRADERS.values(), "dann.train", "dann.evaluate", "common.synthetic", "scripts.score"):
        (folder / f"{module.replace('.', '/')}.py").write_text(program)
    return folder


@pytest.fixture(scope="module")
def python3(tmp_path_factory):
    """A folder for PATH, in which python3 is the interpreter of the tests."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (folder / "python3").chmod(0o755)
    return folder


@pytest.fixture
def environment(python3):
    return {**os.environ, "PATH": f"{python3}:{os.environ['PATH']}"}


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    """A folder with modules of many names, none of which may be imported."""
    folder = tmp_path_factory.mktemp("strangers")
    for name in STRANGERS:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("raise SystemExit('a stranger')\n")
    return folder


def run(*command, **settings):
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **settings)


def told(result):
    assert (result.returncode, result.stderr) == (0, "")
    return json.loads(result.stdout)


@pytest.mark.parametrize("start", [
    "sh", "bash", "itself", "a symlink", "below a symlink", "on PATH", "a name with a dash"])
def test_a_script_is_started_in_any_way_at_any_place(start, environment, tmp_path):
    place = repository(tmp_path / "a folder" / ("-it's" if start == "on PATH" else "-it's \"x\":\nb"))
    script, elsewhere = place / "hw3_p3.sh", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "script").symlink_to("../a folder/" + place.name + "/hw3_p3.sh")
    (elsewhere / "folder").symlink_to(place)
    command = {"a symlink": ["./script"], "below a symlink": ["sh", "folder/hw3_p3.sh"], "itself": [script],
               "a name with a dash": ["bash", "--", f"{place.name}/hw3_p3.sh"],
               "on PATH": ["bash", "hw3_p3.sh"]}
    if start == "on PATH":
        environment["PATH"] = f"{place}:{environment['PATH']}"
    cwd = place.parent if start == "a name with a dash" else elsewhere
    answer = told(run(*command.get(start, [start, script]), "a b", "", 'c"', cwd=cwd, env=environment))
    assert answer["program"] == "dann.predict" and answer["arguments"] == ["a b", "", 'c"']
    assert answer["places"]["dann"] == str(place / "dann/__init__.py")


@pytest.mark.parametrize(("script", "program"), GRADERS.items())
def test_each_script_starts_its_program(script, program, environment, tmp_path):
    answer = told(run("sh", repository(tmp_path) / script, "out", env=environment))
    assert answer["program"] == program and answer["arguments"][-1] == "out"


def test_the_script_for_both_figures_starts_both(environment, tmp_path):
    result = run("sh", repository(tmp_path) / "hw3_p1p2.sh", tmp_path, env=environment)
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["program"] for answer in answers] == ["gan.generate", "acgan.generate"]
    assert all(answer["arguments"] == ["--figure", str(tmp_path)] for answer in answers)


@pytest.mark.parametrize("settings", [
    {}, {"PYTHONPATH": ".:numpy"}, {"PYTHONPATH": ":HERE:"},
    {"PYTHONSTARTUP": "HERE/signal/__init__.py", "PYTHONINSPECT": "1"},
    {"PYTHONHOME": "/nowhere", "PYTHONOPTIMIZE": "2", "PYTHONWARNINGS": "error", "PYTHONIOENCODING": "ascii"},
    {"LC_ALL": "POSIX", "CDPATH": "/", "HOME": ""}], ids=lambda settings: " ".join(settings) or "nothing set")
def test_nothing_of_the_callers_folder_is_imported(settings, environment, strangers, tmp_path):
    settings = {name: value.replace("HERE", str(strangers)) for name, value in settings.items()}
    answer = told(run("sh", repository(tmp_path) / "hw3_p3.sh", "ä", cwd=strangers,
                      env={**environment, **settings}))
    assert (answer["arguments"] == ["ä"] and str(strangers) not in answer["path"]
            and all(map(os.path.isabs, answer["path"])))


def test_folders_of_pythonpath_come_last(environment, strangers, tmp_path):
    environment["PYTHONPATH"] = str(strangers)
    answer = told(run("sh", repository(tmp_path) / "hw3_p3.sh", cwd=tmp_path, env=environment))
    assert answer["path"][-1] == str(strangers)
    assert not any(place.startswith(str(strangers)) for place in answer["places"].values())


def test_packages_installed_for_the_user_are_found_unless_in_a_venv(tmp_path):
    """Packages installed by `python3 -m pip install --user` take precedence over those of the system."""
    place, base = repository(tmp_path / "place"), Path(sys.base_prefix, "bin/python3")
    user = tmp_path / f"home/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    user.mkdir(parents=True)
    (place / "dann/predict.py").write_text("import sys\ndef main(): print(*sys.path, sep='\\n')\n")
    for python, found in ((base, True), (sys.executable, sys.prefix == sys.base_prefix)):
        result = run(python, "-I", "-S", place / "scripts/start.py", "dann.predict",
                     env={**os.environ, "PYTHONUSERBASE": str(tmp_path / "home")})
        folders = result.stdout.splitlines()
        assert (str(user) in folders) == found and folders[0] == str(place)
        assert not found or folders.index(str(user)) < min(
            i for i, name in enumerate(folders)
            if name.startswith(sys.base_prefix) and name.endswith("-packages"))


def test_the_checkouts_own_environment_comes_first(environment, tmp_path):
    place = repository(tmp_path)
    (place / ".venv/bin").mkdir(parents=True)
    (place / ".venv/bin/python").write_text('#!/bin/sh\necho "the environment\'s" "$4"\n')
    (place / ".venv/bin/python").chmod(0o755)
    for script, program in GRADERS.items():
        assert run("sh", place / script, env=environment).stdout == f"the environment's {program}\n"


@pytest.mark.parametrize(("program", "says"), [
    ("import not_installed\n", "not_installed"),
    ("raise ImportError('it cannot be loaded')\n", "it cannot be loaded")])
def test_a_failing_import_gives_a_one_line_error(program, says, environment, tmp_path):
    result = run("sh", repository(tmp_path, program) / "hw3_p3.sh", env=environment)
    assert result.returncode == 2 and says in result.stderr and result.stderr.count("\n") == 1
    assert ("requirements.txt" in result.stderr) == (says == "not_installed")


def test_a_removed_working_directory_gives_a_one_line_error(tmp_path):
    (tmp_path / "gone").mkdir()
    leave_and_start = "import os, sys; os.rmdir(os.getcwd()); os.execv(sys.argv[1], sys.argv[1:])"
    result = run(sys.executable, "-c", leave_and_start, *starts(repository(tmp_path))["start.py"],
                 cwd=tmp_path / "gone")
    assert result.returncode == 2 and "working directory" in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.parametrize("script", SHELL_SCRIPTS, ids=lambda path: path.name)
def test_shell_scripts_are_for_any_shell_and_can_be_run(script):
    for shell in ("bash", "sh"):
        assert run(shell, "-n", script).returncode == 0
    assert script.name == "environment.sh" or (
        os.access(script, os.X_OK) and script.read_text().startswith("#!/bin/sh\n"))


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_clone_with_windows_line_ends_has_the_same_bytes(tmp_path):
    files = (".gitattributes", "hw3_p3.sh", ".ci/run", "README.md", "scripts/start.py",
             "dann/weights/dann-svhn-mnistm.json")
    for name in files:
        (tmp_path / "one" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / "one" / name)
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false",
           "-C", tmp_path / "one"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "one"]):
        assert run(*git, *command).returncode == 0
    run("git", "clone", "-q", "-c", "core.autocrlf=true", tmp_path / "one", tmp_path / "two")
    for name in files:
        assert (tmp_path / "two" / name).read_bytes() == (ROOT / name).read_bytes()


def starts(place):
    """The ways to start a program."""
    return {"start.py": [sys.executable, "-I", "-S", place / "scripts/start.py", "dann.predict"],
            "-m": [sys.executable, "-m", "dann.predict"]}


@pytest.mark.parametrize("start", ["start.py", "-m"])
@pytest.mark.parametrize("ignored", [False, True])
def test_ctrl_c_during_the_imports_is_quiet(start, ignored, tmp_path):
    place = repository(tmp_path, WAITS + "def main(): print('main')\nif __name__ == '__main__': main()\n")
    process = subprocess.Popen(
        list(map(str, starts(place)[start])), cwd=place, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.SIG_DFL))
    assert process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate("x", 20) == ("main\n" if ignored else "", "")
    assert process.returncode == (0 if ignored else -signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_main_tidies_up(number, tmp_path):
    body = "\n    ".join(["def main():", "try:", "    print('working', flush=True)", "    sys.stdin.read(1)",
                          "finally:", "    print('tidied')"])
    place = repository(tmp_path, f"import sys\n{body}\n")
    process = subprocess.Popen(list(map(str, starts(place)["start.py"])), text=True, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               # even if the tests ignore it
                               preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
    assert process.stdout.readline() == "working\n"
    process.send_signal(number)
    assert process.wait(20) == 128 + number
    assert process.communicate() == ("tidied\n", "")


def test_importing_the_packages_changes_nothing(monkeypatch):
    """Only starting a program with -m restores the default handler, and only if the signal is not ignored."""
    before = signal.getsignal(signal.SIGINT)
    try:
        caught, default, ignored = signal.default_int_handler, signal.SIG_DFL, signal.SIG_IGN
        for arguments, handler, expected in ((["pytest"], caught, caught), ([], caught, caught),
                                             (["-m", "x"], caught, default), (["-m"], ignored, ignored)):
            signal.signal(signal.SIGINT, handler)
            monkeypatch.setattr(sys, "argv", arguments)
            importlib.reload(common)
            assert signal.getsignal(signal.SIGINT) == expected
    finally:
        signal.signal(signal.SIGINT, before)


PRINTS = "import sys\ndef main():\n    print('a line')\n    if sys.argv[1:]: open(sys.argv[1])\n"


@pytest.mark.parametrize(("redirections", "code", "out", "says"), [
    ("", 0, "a line\n", ""), ("<&-", 0, "a line\n", ""), ("2>&-", 0, "a line\n", ""),
    (">&-", 2, "", "error: standard output cannot be written to"),
    (">/dev/full", 2, "", "error: standard output"),
    ("<&- >&- 2>&-", 2, "", ""), (">/dev/full 2>/dev/full", 2, "", "")])
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_closed_and_full_outputs(redirections, code, out, says, environment, tmp_path):
    result = run("sh", "-c", f'exec "$0" {redirections}', repository(tmp_path, PRINTS) / "hw3_p3.sh",
                 env=environment)
    assert result.returncode == code and result.stdout == out
    assert result.stderr.startswith(says) and result.stderr.count("\n") == bool(says)


def test_an_output_without_a_reader_and_an_error(environment, tmp_path):
    """The error is reported once, although the output before it cannot be written."""
    read, write = os.pipe()
    os.close(read)
    script = repository(tmp_path, PRINTS) / "hw3_p3.sh"
    for arguments, says in (([], "standard output cannot be written to"), (["/nowhere"], "/nowhere")):
        result = subprocess.run(["sh", str(script), *arguments], stdout=write, stderr=subprocess.PIPE,
                                text=True, check=False, env=environment)
        assert result.returncode == 2 and says in result.stderr and result.stderr.count("\n") == 1
    os.close(write)


# An interpreter that only logs what it should install. If there is a file `broken` beside it, its pip fails.
INSTALLS = """#!/bin/sh
here=$(dirname "$0")
case "$*" in
    "-I -m venv "*)
        echo "venv" >> "{log}"
        mkdir -p "$4/bin" && cp "{python}" "$4/bin/python" ;;
    "-I -m pip --version") [ ! -e "$here/broken" ] ;;
    "-I -m pip "*) echo "pip ${{PIP_NO_CACHE_DIR:-cached}}" >> "{log}"; [ ! -e "{log}.fails" ] ;;
    *) exec "{real}" "$@" ;;
esac
"""


@pytest.fixture
def quickstart(environment, tmp_path):
    """A function that runs quickstart.sh of a repository in a shell, with environment variables, and the log
    of its python."""
    place = repository(tmp_path / "a place", "def main(): pass\n")
    for script in ("hw3_p1.sh", "hw3_p2.sh", "hw3_p4.sh"):
        (place / script).unlink()  # quickstart.sh runs only existing scripts
    for name in ("requirements.txt", "requirements-dev.txt"):
        (place / name).write_text("nothing\n")
    log, python = tmp_path / "log", tmp_path / "python"
    python.write_text(INSTALLS.format(log=log, python=python, real=sys.executable))
    python.chmod(0o755)

    def start(*arguments, shell="sh", **settings):
        return run(shell, place / "scripts/quickstart.sh", *arguments, cwd=tmp_path,
                   env={**environment, "HOME": str(tmp_path), "PYTHON": str(python), **settings})

    start.place, start.log = place, log
    return start


def asked(quickstart):
    words = quickstart.log.read_text().split("\n")[:-1]
    quickstart.log.write_text("")
    return words


def test_quickstart_installs_once_and_again_where_it_was_interrupted(quickstart, tmp_path):
    result = quickstart("-my results", shell="bash")
    assert result.returncode == 0 and f"results: {tmp_path / '-my results'}\n" in result.stdout
    assert asked(quickstart) == ["venv", "pip cached"]
    assert quickstart().returncode == 0 and asked(quickstart) == []
    (quickstart.place / "requirements.txt").write_text("something else\n")
    Path(f"{quickstart.log}.fails").touch()
    result = quickstart()
    assert (result.returncode == 2
            and result.stderr.startswith("error: pip could not install requirements.txt"))
    assert asked(quickstart) == ["pip cached"]
    Path(f"{quickstart.log}.fails").unlink()
    assert quickstart(HOME="").returncode == 0 and asked(quickstart) == ["pip 1"]
    (quickstart.place / ".venv/requirements.txt.installed").unlink()
    (quickstart.place / ".venv/bin/broken").touch()
    assert quickstart().returncode == 0 and asked(quickstart) == ["venv", "pip cached"]
    python = quickstart.place / ".venv/bin/python"
    python.unlink()
    python.symlink_to("/nowhere/python")
    assert quickstart().returncode == 0 and asked(quickstart) == ["venv", "pip cached"]


@pytest.mark.parametrize(("arguments", "settings", "says"), [
    (["a file"], {}, "a file"), (["a file/below"], {}, "a file/below"),
    ([], {"HW3_DATA": "nowhere"}, "nowhere"), ([], {"PYTHON": "nowhere"}, "nowhere")])
def test_quickstart_with_bad_arguments_gives_a_one_line_error(quickstart, arguments, settings, says,
                                                              tmp_path):
    (tmp_path / "a file").write_text("mine")
    result = quickstart(*arguments, **settings)
    assert (result.returncode == 2 and result.stdout == ""
            and result.stderr.count("\n") == 1 and says in result.stderr)
    assert not quickstart.log.exists() and (tmp_path / "a file").read_text() == "mine"


def test_quickstart_waits_for_another(quickstart, environment):
    folder = os.open(quickstart.place, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        process = subprocess.Popen(["sh", str(quickstart.place / "scripts/quickstart.sh")],
                                   stdout=subprocess.PIPE, text=True,
                                   env={**environment, "PYTHON": str(quickstart.log.parent / "python")})
        assert process.stdout.readline() == "waiting for another run\n" and not quickstart.log.exists()
    finally:
        os.close(folder)
    assert "results: " in process.communicate()[0] and process.returncode == 0


@pytest.mark.parametrize(("arguments", "settings", "says"), [
    (["nowhere"], {}, "prepare_data"), ([".", "a file"], {}, "a file"),
    ([".", "runs", "-n"], {"PYTHON": "nowhere"}, "nowhere"),
    (["."], {"PYTHON": "HERE/old"}, "3.11 or newer")])
def test_results_with_bad_arguments_gives_a_one_line_error(quickstart, environment, arguments, settings, says,
                                                           tmp_path):
    (tmp_path / "a file").write_text("mine")
    (tmp_path / "old").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "old").chmod(0o755)
    settings = {name: value.replace("HERE", str(tmp_path)) for name, value in settings.items()}
    result = run("sh", quickstart.place / "scripts/results.sh", *arguments, cwd=tmp_path,
                 env={**environment, **settings})
    assert (result.returncode == 2 and result.stdout == ""
            and result.stderr.count("\n") == 1 and says in result.stderr)
