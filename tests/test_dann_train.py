"""Whole trainings on synthetic digits: every method and preset, resume, and what a training may not see."""

import dataclasses
import json
import shutil
import signal

import pytest
import torch
from conftest import CPU, call, copy_without_labels, open_run, records, resume, same
from PIL import Image

from common import runs
from common.cli import InputError
from common.domains import Data
from common.schedules import warm_cosine
from dann.losses import reversal_schedule
from dann.options import command, preset
from dann.train import train

TINY = {"width": 8, "batch": 16, "steps": 12, "held_out": 20}
pytestmark = pytest.mark.usefixtures("one_thread")


def tiny(method="dann", name="default", **changes):
    return dataclasses.replace(preset(name, method, "mnistm", "svhn"), **{**TINY, "epochs": 0, **changes})


def fit(options, root, run):
    data = Data(root, options.source, "svhn" if options.method == "dann" else None, options.held_out, CPU)
    with runs.interruptible(run.interrupted):
        return train(options, data, run, CPU, "fp32")


@pytest.mark.parametrize("name", ["default", "report"])
@pytest.mark.parametrize("method", ["source-only", "dann", "target-only"])
def test_every_method_trains_two_epochs_and_can_be_measured(method, name, root, tmp_path):
    """The programs themselves, from the command line to a report."""
    folder = tmp_path / "run"
    settings = ["--epochs", "2", "--batch", "32", "--held-out", "20", "--width", "8", "--device", "cpu", "--precision", "fp32"]
    call("dann.train", "--method", method, "--preset", name, "--data", root, "--run", folder, *settings)
    labelled = 90 if method == "target-only" else 120
    last = 2 * ((labelled - min(20, labelled // 10)) // 32)
    assert max(records(folder)) == last and ("domain loss" in records(folder)[last]) == (method == "dann")
    card = json.loads((folder / "weights.json").read_text())
    assert card["steps"] == last and card["options"]["method"] == method

    output = call("dann.evaluate", "--weights", folder / "weights.safetensors", "--data", root, "--device", "cpu",
                  "--json", tmp_path / "figures.json").stdout
    figures = json.loads((tmp_path / "figures.json").read_text())["svhn test"]
    assert figures["count"] == 90 and f"{figures['accuracy']:.2f}" in output


def test_resumed_run_equals_uninterrupted_run_bit_for_bit(root, tmp_path):
    options = tiny()
    whole = fit(options, root, open_run(tmp_path / "whole", 12))
    # interrupted in the middle of an epoch of either domain; the schedule is that of all twelve steps
    torch.manual_seed(99)
    with pytest.raises(runs.Stopped):
        fit(options, root, open_run(tmp_path / "part", 12, stop_after=6))
    torch.rand(5)  # whatever happened to the random state in between
    resumed = fit(options, root, resume(tmp_path / "part", 12))
    assert same(whole, resumed)
    assert set(records(tmp_path / "whole")) == {2, 4, 6, 8, 10, 12} and records(tmp_path / "whole") == records(tmp_path / "part")


def test_ctrl_c_saves_and_the_handlers_are_given_back(root, tmp_path):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(runs.Stopped):
        fit(tiny(), root, open_run(tmp_path / "run", 12, stop_after=6))
    assert signal.getsignal(signal.SIGINT) is before
    state = torch.load(tmp_path / "run/last.pt", weights_only=True)
    assert state["step"] == 6 and {"model", "averaged", "optimiser"} <= set(state)


@pytest.mark.parametrize("method", ["source-only", "dann"])
def test_target_labels_are_unreachable(method, root, tmp_path):
    """Wrong target labels, or none at all, train the very same network."""
    copies = [root, copy_without_labels(root, tmp_path / "none"), copy_without_labels(root, tmp_path / "wrong", wrong=True)]
    networks = [fit(tiny(method), copy, open_run(tmp_path / f"run{index}", 12)) for index, copy in enumerate(copies)]
    assert same(networks[0], networks[1]) and same(networks[0], networks[2])


def test_source_only_touches_no_target_image(root, tmp_path):
    shutil.copytree(root, tmp_path / "alone")
    shutil.rmtree(tmp_path / "alone/digits/svhn")
    runs_of_both = [fit(tiny("source-only"), data, open_run(tmp_path / f"run{index}", 12))
                    for index, data in enumerate((root, tmp_path / "alone"))]
    assert same(*runs_of_both)


def test_seed_and_target_images_matter(root, tmp_path):
    first, again, seed, adversary = (fit(tiny(**changes), root, open_run(tmp_path / f"run{index}", 12)) for index, changes in
                                     enumerate(({}, {}, {"seed": 1}, {"adversary": 0.0})))
    assert same(first, again) and not same(first, seed) and not same(first, adversary)


def test_progress_of_the_schedules_is_step_over_total_steps(root, tmp_path):
    """λ and the learning rate know the schedule's length, not the sizes of the two domains."""
    fit(tiny(adversary=1.0), root, open_run(tmp_path / "run", 12))
    seen = records(tmp_path / "run")
    assert [seen[step]["λ"] for step in seen] == [reversal_schedule((step - 1) / 12) for step in seen]
    assert warm_cosine(1e-3, 999, 0.999) < 1e-5 < warm_cosine(1e-3, 500, 0.5) < 1e-3
    assert warm_cosine(1e-3, 0, 0) == pytest.approx(2e-5)


def test_a_loss_that_is_not_finite_stops_and_is_named(root, tmp_path):
    with pytest.raises(InputError, match="class loss is nan after 2 steps"):
        fit(tiny(lr=float("inf"), cosine=False), root, open_run(tmp_path / "run", 12))


def test_resume_refuses_other_options_and_finished_folders_are_kept(root, tmp_path):
    folder = tmp_path / "run"
    settings = ["--data", root, "--device", "cpu", "--steps", "3", "--batch", "16", "--width", "8", "--precision", "fp32"]
    call("dann.train", *settings, "--run", folder)
    for arguments, says in ((["--resume", folder, "--lr", "0.5"], "lr 0.001 -> 0.5"), ([*settings, "--run", folder], "--resume")):
        result = call("dann.train", *arguments, code=2)
        assert result.stderr.count("\n") == 1 and says in result.stderr
    options = json.loads((folder / "options.json").read_text())
    del options["balance"]
    (folder / "options.json").write_text(json.dumps(options))
    assert "had no balance" in call("dann.train", "--data", root, "--resume", folder, code=2).stderr
    call("dann.visualize", "--weights", folder / "weights.safetensors", "--data", root, "--count", "60", "--output",
         tmp_path / "tsne.png", "--device", "cpu")
    assert all(Image.open(tmp_path / f"tsne_{what}.png").size[0] > 1000 for what in ("digit", "domain"))


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
