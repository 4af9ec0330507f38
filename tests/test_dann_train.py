"""Whole trainings on synthetic digits: every method and preset, resume, and what a training may not see."""

import dataclasses
import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from PIL import Image

from common import runs, synthetic
from dann.options import Options, command, preset
from dann.train import Data, learning_rate, train

CPU = torch.device("cpu")
TINY = {"width": 8, "batch": 16, "steps": 12, "held_out": 20}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for domain, count in (("mnistm", 120), ("svhn", 90)):
        for split in ("train", "test"):
            synthetic.write_digits(folder, domain, split, count, seed=len(domain + split))
    return folder


@pytest.fixture(autouse=True)
def one_thread():
    """Sums in a fixed order, and no wait for busy cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny(method="dann", name="default", **changes):
    return dataclasses.replace(preset(name, method, "mnistm", "svhn"), **{**TINY, "epochs": 0, **changes})


def fit(options, root, folder, state=None, first=0, steps=None):
    run = runs.Run(folder, steps or options.steps, first_step=first)
    folder.mkdir(exist_ok=True)
    return train(options, Data(options, root, CPU), run, state, CPU, "fp32", log_every=4, save_every=6)


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("name", ["default", "report"])
@pytest.mark.parametrize("method", ["source-only", "dann", "target-only"])
def test_every_method_trains_two_epochs_and_can_be_measured(method, name, root, tmp_path):
    """The programs themselves, from the command line to a report."""
    folder = tmp_path / "run"
    settings = ["--epochs", "2", "--batch", "32", "--held-out", "20", "--width", "8", "--device", "cpu", "--precision", "fp32"]
    call("dann.train", "--method", method, "--preset", name, "--data", root, "--run", folder, *settings)
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    labelled = 90 if method == "target-only" else 120
    assert records[-1]["step"] == 2 * ((labelled - min(20, labelled // 10)) // 32)
    assert ("domain loss" in records[-1]) == (method == "dann")
    card = json.loads((folder / "weights.json").read_text())
    assert card["steps"] == records[-1]["step"] and card["options"]["method"] == method

    output = call("dann.evaluate", "--weights", folder / "weights.safetensors", "--data", root, "--device", "cpu",
                  "--json", tmp_path / "figures.json").stdout
    figures = json.loads((tmp_path / "figures.json").read_text())["svhn test"]
    assert figures["count"] == 90 and f"{figures['accuracy']:.2f}" in output


def call(module, *arguments, code=0):
    result = subprocess.run([sys.executable, "-m", module, *map(str, arguments)], capture_output=True, text=True,
                            env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
    assert result.returncode == code, result.stderr
    return result


def test_resumed_run_equals_uninterrupted_run_bit_for_bit(root, tmp_path):
    options = tiny()
    whole = fit(options, root, tmp_path / "whole")
    # interrupted in the middle of an epoch of either domain; the schedule is that of all twelve steps
    torch.manual_seed(99)
    stopped = stop_after(6, options, root, tmp_path / "part")
    assert stopped is None
    run, state = runs.resume(tmp_path / "part", options.steps, CPU)
    torch.rand(5)  # whatever happened to the random state in between
    resumed = train(options, Data(options, root, CPU), run, state, CPU, "fp32", log_every=4, save_every=6)
    assert same(whole, resumed)

    def records(name):
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        return {r.pop("step"): r for r in map(json.loads, lines) if r.pop("seconds")}

    whole_records, part_records = records("whole"), records("part")
    assert set(whole_records) == {4, 8, 12} and all(part_records[step] == whole_records[step] for step in whole_records)


def stop_after(steps, options, root, folder):
    """Train, and send the process the Ctrl-C of step `steps`."""
    folder.mkdir()
    run = runs.Run(folder, options.steps)
    log = run.log

    def log_and_stop(step, *rest):
        log(step, *rest)
        if step == steps:
            os.kill(os.getpid(), signal.SIGINT)

    run.log = log_and_stop
    return train(options, Data(options, root, CPU), run, None, CPU, "fp32", log_every=2, save_every=100)


def test_ctrl_c_saves_and_the_handlers_are_given_back(root, tmp_path):
    before = signal.getsignal(signal.SIGINT)
    assert stop_after(4, tiny(), root, tmp_path / "run") is None
    assert signal.getsignal(signal.SIGINT) is before
    state = torch.load(tmp_path / "run/last.pt", weights_only=True)
    assert 4 <= state["step"] <= 5 and {"model", "averaged", "optimiser"} <= set(state)


@pytest.mark.parametrize("method", ["source-only", "dann"])
def test_target_labels_are_unreachable(method, root, tmp_path):
    """Wrong target labels, or none at all, train the very same network."""
    import shutil

    networks = []
    for name in ("true", "wrong", "none"):
        copy = tmp_path / name
        shutil.copytree(root, copy)
        table = copy / "digits/svhn/train.csv"
        if name == "wrong":
            header, *rows = table.read_text().split()
            table.write_text("\n".join([header, *(row.split(",")[0] + ",3" for row in rows)]) + "\n")
        elif name == "none":
            table.unlink()
        networks.append(fit(tiny(method), copy, tmp_path / f"run-{name}"))
    assert same(networks[0], networks[1]) and same(networks[0], networks[2])


def test_source_only_touches_no_target_image(root, tmp_path):
    import shutil

    shutil.copytree(root, tmp_path / "alone")
    shutil.rmtree(tmp_path / "alone/digits/svhn")
    assert same(fit(tiny("source-only"), root, tmp_path / "a"), fit(tiny("source-only"), tmp_path / "alone", tmp_path / "b"))


def test_seed_and_target_images_matter(root, tmp_path):
    first = fit(tiny(), root, tmp_path / "a")
    assert same(first, fit(tiny(), root, tmp_path / "b"))
    assert not same(first, fit(tiny(seed=1), root, tmp_path / "c"))
    assert not same(first, fit(tiny(adversary=0.0), root, tmp_path / "d"))


def test_progress_of_the_schedules_is_step_over_total_steps(root, tmp_path):
    """λ and the learning rate know the schedule's length, not the sizes of the two domains."""
    fit(tiny(adversary=1.0), root, tmp_path / "run")
    records = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    from dann.losses import reversal_schedule

    assert [r["λ"] for r in records] == [reversal_schedule((r["step"] - 1) / 12) for r in records]
    options = Options(steps=1000)
    assert learning_rate(options, 999, 0.999) < 1e-5 < learning_rate(options, 500, 0.5) < options.lr


def test_resume_refuses_other_options_and_finished_folders_are_kept(root, tmp_path):
    folder = tmp_path / "run"
    settings = ["--data", root, "--device", "cpu", "--steps", "3", "--batch", "16", "--width", "8", "--precision", "fp32"]
    call("dann.train", *settings, "--run", folder)
    for arguments, says in ((["--resume", folder, "--lr", "0.5"], "lr 0.001 -> 0.5"), ([*settings, "--run", folder], "--resume")):
        result = call("dann.train", *arguments, code=2)
        assert result.stderr.count("\n") == 1 and says in result.stderr
    call("dann.visualize", "--weights", folder / "weights.safetensors", "--data", root, "--count", "60", "--output",
         tmp_path / "tsne.png", "--device", "cpu")
    assert Image.open(tmp_path / "tsne.png").size[0] > 1000


@pytest.mark.parametrize(("arguments", "says"), [
    (["--source", "svhn", "--target", "svhn"], "svhn"), (["--steps", "0"], "steps"), (["--data", "nowhere"], "prepare_data"),
    (["--device", "cuda:99"], "cuda:99"), (["--method", "magic"], "magic"), (["--resume", "nowhere"], "nowhere")])
def test_bad_options_are_one_sentence(arguments, says, root):
    result = call("dann.train", "--data", root, *arguments, code=2)
    assert says in result.stderr and result.stderr.count("\n") == 1


def test_dry_run_writes_nothing(root, tmp_path):
    result = call("dann.train", "--data", root, "--run", tmp_path / "run", "--dry-run", "--method", "source-only")
    assert "source-only" in result.stdout and "parameters" in result.stdout and not (tmp_path / "run").exists()


def test_a_finished_card_names_its_command():
    options = dataclasses.replace(preset("default", "dann", "svhn", "mnistm"), seed=2, balanced=False, source_zoom=(0.5, 1.0))
    line = command("default", options)
    assert line.endswith("--source svhn --target mnistm --source-zoom 0.5 1.0 --no-balanced --seed 2")
