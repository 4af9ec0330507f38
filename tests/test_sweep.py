"""The sweep of scripts/results.sh: if it is killed and continued, the cards are the same; runs with a card
are not repeated; figures are created again if their weights, data or code have changed."""

from __future__ import annotations

import fcntl
import importlib
import itertools
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import call, records

from common import training

needs_snakemake = pytest.mark.skipif(find_spec("snakemake") is None,
                                     reason="requirements-sweep.txt is not installed")
ROOT = Path(__file__).parent.parent
TINY = "--width 4 --batch 8 --held-out 10"
DIGITS = "--source mnistm --target svhn"
TABLE = {"one": ("dann/results/one.json", f"{DIGITS} {TINY} --steps 10"),
         "two": ("adda/results/ablation/two.json",
                 f"{DIGITS} {TINY} --method adda --source-steps 6 --adversarial-steps 4"),
         "three": ("dann/weights/three.safetensors", f"{DIGITS} {TINY} --steps 40 --seed 1")}
CARDS = ["dann/results/one.json", "adda/results/ablation/two.json", "dann/weights/three.json"]


@pytest.fixture
def place(tmp_path):
    """A checkout without cards and weights, with the Python environment of the tests."""
    place = tmp_path / "a checkout"
    for name in ("common", "gan", "acgan", "dann", "adda", "scripts"):
        shutil.copytree(ROOT / name, place / name,
                        ignore=shutil.ignore_patterns("weights", "results", "__pycache__"))
    for name in ("requirements.txt", "requirements-sweep.txt"):
        shutil.copy(ROOT / name, place)
    write_table(place, TABLE)
    python = place / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    wanted = subprocess.run("cat requirements.txt requirements-sweep.txt | cksum", shell=True, cwd=place,
                            capture_output=True, text=True, check=True).stdout
    (place / ".venv/requirements-sweep.txt.installed").write_text(wanted)
    return place


def write_table(place, table):
    lines = [f"{run}  {card}  {options}" for run, (card, options) in table.items()]
    (place / "scripts/runs.txt").write_text("# three runs\n\n" + "\n".join(lines) + "\n")


def start(place, *arguments, **settings):
    return subprocess.Popen(["sh", place / "scripts/results.sh", *map(str, arguments)],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            start_new_session=True, cwd=place, **settings)


def sweep(place, *arguments, code=0):
    process = start(place, *arguments)
    output = process.communicate()[0]
    assert process.returncode == code, output
    return output


def without_seconds(card):
    return {name: value for name, value in json.loads(card.read_text()).items() if name != "seconds"}


def wait_for(condition, process):
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)


# replaces scripts/start.py: logs its arguments, and creates the output files; fails if a file `<run> fails`
# exists
NOTES = '''
import json, os, sys, time
from pathlib import Path
program, arguments, status = sys.argv[1], sys.argv[2:], 0
named = dict(zip(arguments[::2], arguments[1::2]))
begin = time.time()
if program.endswith(".train"):
    folder = Path(named.get("--resume") or named["--run"])
    time.sleep(0.3)
    status = 2 if Path(f"{folder.name} fails").exists() else 0
    files = [] if status else [folder / name for name in ("last.pt", "weights.json", "weights.safetensors")]
elif program == "scripts.report":
    part, _, name = named.get("--only", "").partition("-")
    files = {"faces": [f"fig{1 + (name == 'acgan')}_2.jpg"], "losses": [f"losses_{name}.png"],
             "text": ["report.md", "notebook.md", "results.json"],
             "tsne": [f"tsne_{name}_digit.png", f"tsne_{name}_domain.png", f"tsne_{name}.json"],
             "digits": [f"measured/{name}.json", f"confusion_{name}.png"]}.get(part, [])
    files = [Path("report", file) for file in files]
else:
    save = Path(arguments[arguments.index("--save") + 1])
    files = [save, save.with_suffix(".json")]
for file in files:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("made")
with open("noted", "a") as notes:
    call = [program, arguments, os.environ.get("CUDA_VISIBLE_DEVICES"), begin, time.time()]
    notes.write(json.dumps(call) + "\\n")
sys.exit(status)
'''


@pytest.fixture
def noted(place, tmp_path, monkeypatch):
    """A function that returns the sweep's commands since its last call, sorted; only logged, not executed."""
    (place / "scripts/start.py").write_text(NOTES)
    (tmp_path / "data/digits").mkdir(parents=True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    def read(raw=False):
        path = place / "noted"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        path.unlink(missing_ok=True)
        return lines if raw else sorted(" ".join([program, *arguments]) for program, arguments, *_ in lines)

    return read


def by_hand(folder, root):
    """Run the commands of the table one after the other, without interruption. Returns the cards by name."""
    cards = {}
    for run, (name, options) in TABLE.items():
        package, card = name.split("/")[0], folder / Path(name).name
        folder.mkdir(exist_ok=True)
        call(f"{package}.train", "--data", root, "--run", folder / run, *options.split())
        call(f"{package}.evaluate", *(["--adabn"] if package == "dann" else []),
             "--weights", folder / run / "weights.safetensors", "--data", root, "--save", card)
        cards[str(Path(name).with_suffix(".json"))] = without_seconds(card.with_suffix(".json"))
    return cards


@needs_snakemake
def test_killed_and_continued_it_ends_with_the_same_cards(place, root, tmp_path, one_thread):
    """The sweep is killed with SIGKILL when one card exists and another run has its first checkpoint."""
    runs, arguments = tmp_path / "the runs", (root, tmp_path / "the runs", "--cores", 2, "cards")
    process = start(place, *arguments)
    stopped = []

    def in_the_middle():
        stopped[:] = [run for run, (card, _) in TABLE.items()
                      if (runs / run / "last.pt").exists() and not (runs / run / "weights.json").exists()]
        return stopped and any((place / card).exists() for card in CARDS)

    wait_for(in_the_middle, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    made = {card: (place / card).stat().st_mtime_ns for card in CARDS if (place / card).exists()}
    assert 0 < len(made) < 3
    assert sweep(place, *arguments).count("train ") == 3 - len(made)
    expected = by_hand(tmp_path / "by hand", root)
    assert {card: without_seconds(place / card) for card in CARDS} == expected
    assert all((place / card).stat().st_mtime_ns == time for card, time in made.items())
    for run in stopped:  # started once, and resumed once
        assert (runs / run / "log.txt").read_text().count(" steps, seed ") == 2
    for run in TABLE:
        assert records(runs / run) == records(tmp_path / "by hand" / run)
    assert ((place / "dann/weights/three.safetensors").exists()
            and not (place / "dann/results/one.safetensors").exists())


@needs_snakemake
def test_each_rule_is_a_command_and_runs_with_a_card_are_complete(place, noted, tmp_path):
    data, runs = tmp_path / "data", tmp_path / "runs"

    def commands(run, how):
        card, options = TABLE[run]
        package = card.split("/")[0]
        measure = f"{package}.evaluate{' --adabn' if package == 'dann' else ''}"
        return [f"{package}.train --data {data} --preset default --seed 0 --{how} {runs / run} {options}",
                f"{measure} --weights {runs / run}/weights.safetensors --data {data} --save {card}"]

    (place / "two fails").touch()  # the others are still trained
    assert "start it again" in sweep(place, data, runs, "cards", code=2)
    assert noted() == sorted(commands("one", "run") + commands("two", "run")[:1] + commands("three", "run"))
    (place / "two fails").unlink()
    for path in place.rglob("*.json"):
        os.utime(path, (10, 10))  # older than all weights, as after a git clone
    (place / CARDS[0]).unlink()
    (place / "one fails").touch()  # for example, because the options of its run differ
    sweep(place, data, runs, "cards", code=2)
    assert noted() == sorted(commands("one", "resume")[:1] + commands("two", "run"))
    assert (runs / "one/weights.safetensors").exists() and not (place / CARDS[0]).exists()


@needs_snakemake
def test_a_figure_is_made_again_where_its_weights_data_or_code_changed(place, noted, tmp_path):
    data = tmp_path / "data"
    for domain in ("mnistm", "svhn"):
        (data / f"digits/{domain}/test").mkdir(parents=True)
        (data / f"digits/{domain}/test.csv").touch()
    table = {"dcgan": ("gan/weights/dcgan.safetensors", ""),
             "dann-svhn": ("dann/weights/dann-svhn-mnistm.safetensors", "")}
    write_table(place, table)
    for card, _ in table.values():
        (place / card).parent.mkdir()
        (place / card).touch()
        (place / card).with_suffix(".json").touch()
    (place / "scripts/weights").mkdir()
    (place / "scripts/weights/attributes.json").touch()
    for path in [*place.rglob("*"), *data.rglob("*")]:
        os.utime(path, (10, 10))
    sweep(place, data)
    text = ["scripts.report --only text", "scripts.report --write"]
    faces, digits = ([f"scripts.report --data {data} --only {part}" for part in parts]
                     for parts in (["faces-dcgan", "losses-dcgan"],
                                   ["digits-dann-svhn-mnistm", "tsne-dann-svhn-mnistm"]))
    assert noted() == sorted(text + faces + digits)
    (place / "gan/weights/dcgan.safetensors").write_text("others")
    (place / "gan/weights/dcgan.json").write_text("others")
    (place / "dann/weights/dann-svhn-mnistm.json").touch()  # with the same content
    sweep(place, data)
    assert noted() == sorted(text + faces)
    (data / "digits/mnistm/test.csv").write_text("others")
    (place / "gan/models.py").write_text("others")
    sweep(place, data)
    assert noted() == sorted(text + faces[:1] + digits)


@needs_snakemake
@pytest.mark.skipif(shutil.which("flock") is None, reason="flock is not installed")
def test_a_gpu_makes_one_run_at_a_time(place, noted, tmp_path, monkeypatch):
    write_table(place, {f"run{n}": (f"dann/results/{n}.json", "") for n in range(5)})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "test-3,test-5")
    sweep(place, tmp_path / "data", tmp_path / "runs", "--cores", 5, "cards")
    times = {"test-3": [], "test-5": []}
    for program, _, gpu, begin, end in noted(raw=True):
        if program == "dann.train":
            times[gpu].append((begin, end))
    assert sum(map(len, times.values())) == 5 and all(times.values())
    for spans in times.values():
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(sorted(spans)))


@needs_snakemake
def test_a_second_sweep_waits_for_the_first(place, noted, tmp_path):
    (place / ".snakemake").mkdir()
    folder = os.open(place / ".snakemake", os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        process = start(place, tmp_path / "data", tmp_path / "runs", "cards")
        assert process.stdout.readline() == "waiting for another run\n" and noted() == []
        # does not wait for the lock
        listed = sweep(place, tmp_path / "data", tmp_path / "runs", "cards", "--dry-run")
        assert listed.count("rule train") == 3 and all(card in listed for card in CARDS) and noted() == []
    finally:
        os.close(folder)
    process.communicate()
    assert process.returncode == 0 and len(noted()) == 6


def test_the_cards_of_today_are_of_the_commands_in_the_list():
    """Each run in the list has valid options, and its card, if there is one, contains the same command."""
    lines = [line.split(None, 2) for line in (ROOT / "scripts/runs.txt").read_text().splitlines()
             if line and line[0] != "#"]
    assert len({run for run, *_ in lines}) == len({card for _, card, *_ in lines}) == len(lines) > 50
    for _, card, *rest in lines:
        package, path = card.split("/")[0], (ROOT / card).with_suffix(".json")
        recipe = importlib.import_module(f"{package}.options")
        parser = training.arguments(f"{package}.train", "", recipe.Options, recipe.PRESETS)
        args = parser.parse_args(["--preset", "default", "--seed", "0", *shlex.split(" ".join(rest))])
        if path.exists():
            assert (json.loads(path.read_text())["command"]
                    == recipe.command(args.preset, recipe.chosen(args))), card
    listed = {str(Path(card).with_suffix(".json")) for _, card, *_ in lines}
    cards = {str(path.relative_to(ROOT))
             for package in ("gan", "acgan", "dann", "adda") for folder in ("weights", "results")
             for path in (ROOT / package / folder).rglob("*.json")}
    assert cards <= listed
