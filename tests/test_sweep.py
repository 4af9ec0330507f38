"""The sweep of scripts/results.sh: killed and continued, it ends with the cards of the commands that nobody stopped; what has a card
is not made again; a run of other options is not continued."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import call, records

pytest.importorskip("snakemake", reason="requirements-sweep.txt is not installed")

ROOT = Path(__file__).parent.parent
TINY = "--width 4 --batch 8 --held-out 10"
DIGITS = "--source mnistm --target svhn"
TABLE = {"one": ("dann/results/one.json", f"{DIGITS} {TINY} --steps 10"),
         "two": ("adda/results/ablation/two.json", f"{DIGITS} {TINY} --method adda --source-steps 6 --adversarial-steps 4"),
         "three": ("dann/weights/three.safetensors", f"{DIGITS} {TINY} --steps 40 --seed 1")}
CARDS = ["dann/results/one.json", "adda/results/ablation/two.json", "dann/weights/three.json"]


@pytest.fixture
def place(tmp_path):
    """A checkout with the programs, without cards and weights, whose environment is that of the tests."""
    place = tmp_path / "a checkout"
    for name in ("common", "gan", "acgan", "dann", "adda", "scripts"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("weights", "results", "__pycache__"))
    for name in ("requirements.txt", "requirements-sweep.txt"):
        shutil.copy(ROOT / name, place)
    write_table(place, TABLE)
    python = place / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    wanted = subprocess.run("cat requirements.txt requirements-sweep.txt | cksum", shell=True, cwd=place, capture_output=True,
                            text=True, check=True).stdout
    (place / ".venv/requirements-sweep.txt.installed").write_text(wanted)
    return place


def write_table(place, table):
    lines = [f"{run}  {card}  {options}" for run, (card, options) in table.items()]
    (place / "scripts/runs.txt").write_text("# three runs\n\n" + "\n".join(lines) + "\n")


def start(place, *arguments, **settings):
    return subprocess.Popen(["sh", place / "scripts/results.sh", *map(str, arguments)], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, start_new_session=True, cwd=place, **settings)


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


def by_hand(folder, root):
    """The commands of the table, one after the other, without interruption; the cards by their names."""
    cards = {}
    for run, (name, options) in TABLE.items():
        package, card = name.split("/")[0], folder / Path(name).name
        folder.mkdir(exist_ok=True)
        call(f"{package}.train", "--data", root, "--run", folder / run, *options.split())
        call(f"{package}.evaluate", *(["--adabn"] if package == "dann" else []), "--weights", folder / run / "weights.safetensors",
             "--data", root, "--save", card)
        cards[str(Path(name).with_suffix(".json"))] = without_seconds(card.with_suffix(".json"))
    return cards


def test_killed_and_continued_it_ends_with_the_same_cards(place, root, tmp_path, one_thread):
    """The whole sweep is killed, without a chance to save, when a card is there and another run has its first checkpoint."""
    runs, arguments = tmp_path / "the runs", (root, tmp_path / "the runs", "--cores", 1, "cards")
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
    for run in stopped:  # begun once, and continued once
        assert (runs / run / "log.txt").read_text().count(" steps, seed ") == 2
    for run in TABLE:
        assert records(runs / run) == records(tmp_path / "by hand" / run)
    assert (place / "dann/weights/three.safetensors").exists() and not (place / "dann/results/one.safetensors").exists()
