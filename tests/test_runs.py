"""Run folders: checkpoints, records, resuming, and interruptions."""

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
import torch
from conftest import CPU, call, records
from torch import nn

from common import runs
from common.cli import InputError
from common.files import only_one
from common.weights import load_into, load_tensors, load_weights, read_card, save_weights
from dann.options import Options

ROOT = Path(__file__).parent.parent
SMALL = ["--device", "cpu", "--batch", "16", "--width", "4", "--precision", "fp32"]


def parts():
    torch.manual_seed(0)
    network = nn.Linear(2, 2)
    optimiser = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    return {"network": network, "optimiser": optimiser}


def test_resume_needs_a_complete_checkpoint_and_drops_later_records(tmp_path):
    folder = tmp_path / "run"
    run = runs.start(folder, {"lr": 1.0}, 10)
    run.log(1, 8, {"loss": 1.0})
    assert runs.resume(folder, 10, CPU).first_step == 0  # no checkpoint yet: starts from the beginning
    assert runs.start(folder, {"lr": 1.0}, 10).first_step == 0
    run = runs.start(folder, {"lr": 1.0}, 10)
    run.log(2, 8, {"loss": 1.0})
    run.step = 2
    run.save({"weights": torch.ones(2)})
    run.log(4, 8, {"loss": 0.5})  # killed before the next checkpoint
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')  # and an incomplete line
    with pytest.raises(InputError, match="--resume"):
        runs.start(folder, {"lr": 1.0}, 10)
    again = runs.resume(folder, 10, CPU)
    assert (again.first_step == 2 and again.state["weights"].tolist() == [1, 1]
            and again.elapsed() > run.seconds)
    assert [record["step"] for record in runs.read_records(folder)] == [2]
    (folder / "last.pt").write_bytes((folder / "last.pt").read_bytes()[:100])
    with pytest.raises(InputError, match="damaged"):
        runs.resume(folder, 10, CPU)
    with pytest.raises(InputError, match=r"options\.json"):
        runs.read_options(tmp_path)


@pytest.mark.parametrize("change", [
    {"step": -1}, {"step": 10**9}, {"step": 2.5}, {"step": None}, {"seconds": float("nan")},
    {"seconds": -1.0}, {"seconds": "now"}])
def test_a_checkpoint_of_impossible_progress_is_named(change, tmp_path):
    torch.save({"step": 2, "seconds": 1.0, **change}, tmp_path / "last.pt")
    with pytest.raises(InputError, match=r"last\.pt is damaged"):
        runs.resume(tmp_path, 10, CPU)


@pytest.mark.parametrize("content", [[1], 3, {"step": 2}, {}, torch.ones(2)])
def test_a_checkpoint_of_another_form_is_named(content, tmp_path):
    torch.save(content, tmp_path / "last.pt")
    with pytest.raises(InputError, match=r"last\.pt is damaged"):
        runs.resume(tmp_path, 10, CPU)


def test_a_checkpoint_executes_nothing(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    torch.save({"step": 2, "seconds": 1.0, "evil": Evil()}, tmp_path / "last.pt")
    with pytest.raises(InputError, match="damaged"):
        runs.resume(tmp_path, 10, CPU)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("spoil", [
    lambda state: state.pop("network"), lambda state: state["network"].pop("bias"),
    lambda state: state.update(network=[1]), lambda state: state["network"].update(bias=torch.ones(5)),
    lambda state: state.update(optimiser={}),
    lambda state: state["optimiser"]["state"][0].update(exp_avg=torch.ones(7))])
def test_a_checkpoint_of_other_parts_is_named(spoil, tmp_path):
    state = {name: part.state_dict() for name, part in parts().items()}
    spoil(state)
    run = runs.Run(tmp_path, 10, 2, 1.0, state)
    with pytest.raises(InputError, match=r"last\.pt is not of this training"):
        run.restore(parts())
    runs.Run(tmp_path, 10, 2, 1.0, state).restore(parts(), begin=2)  # an earlier stage: nothing to restore


def test_checkpoints_are_saved_first_at_intervals_and_at_the_end_of_a_stage(tmp_path):
    run, saved = runs.Run(tmp_path, 10, log_every=4, save_every=3), []
    run.save = lambda state: saved.append((run.step, *state))
    assert list(run.steps({"first": nn.Identity()}, 4)) == [0, 1, 2, 3]
    due = []
    for step in run.steps({"second": nn.Identity()}):
        if run.log_due(step):
            due.append(step)
    assert due == [7, 9]
    assert saved == [(1, "first"), (3, "first"), (4, "first"), (6, "second"), (9, "second"), (10, "second")]
    assert list(run.steps({})) == []


def test_a_failing_figure_and_a_closed_output_do_not_end_a_training(tmp_path, monkeypatch, capsys):
    run = runs.start(tmp_path / "run", {}, 10)

    def draw(colour):
        raise FileNotFoundError(f"no {colour} paint")

    run.try_drawing(draw, "blue")
    assert ("the training goes on" in (run.folder / "log.txt").read_text()
            and "blue" in capsys.readouterr().out)

    class Closed:
        def write(self, text):
            raise BrokenPipeError(32, "Broken pipe")

        flush = write

    monkeypatch.setattr(sys, "stdout", Closed())
    run.say("one λ")
    run.say("two")
    assert "one λ\ntwo\n" in (run.folder / "log.txt").read_text(encoding="utf-8")
    assert capsys.readouterr().err.count("\n") == 1


def test_two_runs_of_one_second_have_two_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(time, "strftime", lambda form: "20260101-000000")
    assert len({runs.new_folder("dann", "x") for _ in range(3)}) == 3


def test_missing_tensorboard_gives_an_error_and_starts_no_run(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # makes the import fail
    with pytest.raises(InputError, match="pip install tensorboard"):
        runs.start(tmp_path / "run", {"lr": 1.0}, 10, tensorboard=True)
    assert runs.start(tmp_path / "run", {"lr": 1.0}, 10).first_step == 0


def test_differences_name_what_changed():
    assert runs.differences({"lr": 1, "seed": 0}, {"lr": 2, "seed": 0}) == "lr 1 -> 2"
    assert runs.differences({"lr": 1}, {"lr": 1}) == ""


@pytest.fixture(scope="module")
def started(root, tmp_path_factory):
    """A finished run of three steps, to be copied."""
    folder = tmp_path_factory.mktemp("started") / "run"
    call("dann.train", "--data", root, "--run", folder, "--steps", "3", *SMALL)
    return folder


def test_resume_goes_on_with_the_same_images_only(root, started, tmp_path):
    shutil.copytree(started, tmp_path / "run")
    before = (tmp_path / "run/weights.json").read_bytes()
    shutil.copytree(root, tmp_path / "fewer")
    for name in ("00003.png", "00004.png"):
        (tmp_path / f"fewer/digits/mnistm/train/{name}").unlink()
    shutil.copytree(root, tmp_path / "relabelled")
    table = tmp_path / "relabelled/digits/mnistm/train.csv"
    table.write_text(table.read_text().replace(",3\n", ",5\n"))
    for data in ("fewer", "relabelled"):
        message = call("dann.train", "--data", tmp_path / data, "--resume", tmp_path / "run", code=2).stderr
        assert "does not hold the images" in message.splitlines()[-1] and "mnistm" in message
        assert (tmp_path / "run/weights.json").read_bytes() == before
    assert call("dann.train", "--data", root, "--resume", tmp_path / "run").stderr == ""


@pytest.mark.parametrize(("arguments", "says"), [
    (["--precision", "bf16"], "precision"), (["--preset", "report"], "preset"),
    (["--run", "elsewhere"], "--run"), (["--lr", "0.5"], "lr 0.001 -> 0.5"),
    (["--steps", "9"], "steps 3 -> 9")])
def test_resume_refuses_options_of_another_run(arguments, says, root, started):
    result = call("dann.train", "--data", root, "--resume", started, *arguments, code=2)
    assert says in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.parametrize("content", [
    "null", "3", "{}", '{"program": "gan.train"}', '{"program": "dann.train"}', "", "{"])
def test_damaged_options_are_named(content, root, started, tmp_path):
    shutil.copytree(started, tmp_path / "run")
    (tmp_path / "run/options.json").write_text(content)
    result = call("dann.train", "--data", root, "--resume", tmp_path / "run", code=2)
    assert result.stderr.count("\n") == 1 and str(tmp_path / "run") in result.stderr


def test_a_run_is_locked_and_not_started_twice(root, started):
    with only_one(started, "another training goes on there"):
        assert "in use" in call("dann.train", "--data", root, "--resume", started, code=2).stderr
    assert "--resume" in call("dann.train", "--data", root, "--run", started, "--steps", "3", *SMALL,
                              code=2).stderr


def test_without_held_out_images_a_training_uses_all_of_them(root, tmp_path):
    result = call("dann.train", "--data", root, "--run", tmp_path / "run", "--held-out", "0", "--steps", "2",
                  *SMALL)
    assert "held-out" not in result.stdout and (tmp_path / "run/weights.safetensors").exists()


def test_progress_is_told_as_often_as_asked(root, tmp_path):
    """Which leaves the result as it is."""
    folder = tmp_path / "run"
    arguments = ("dann.train", "--data", root, "--run", folder, "--steps", "5", *SMALL)
    result = call(*arguments, "--log-every", "2")
    assert [*records(folder)] == [2, 4, 5] and "2/5" in result.stdout
    weights = (folder / "weights.safetensors").read_bytes()
    shutil.rmtree(folder)
    call(*arguments)
    assert [*records(folder)] == [5] and (folder / "weights.safetensors").read_bytes() == weights
    assert "--log-every" in call(*arguments, "--log-every", "0", code=2).stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_ends_the_process(number, root, tmp_path):
    """SIGINT, SIGTERM and SIGHUP."""
    command = [sys.executable, "-m", "dann.train", "--data", str(root), "--run", str(tmp_path / "run"),
               "--steps", "100000", *SMALL]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as training:
        deadline = time.monotonic() + 60
        while not (tmp_path / "run/last.pt").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        training.send_signal(number)
        out, err = training.communicate(timeout=60)
    assert training.returncode == 130 and err == "" and "continue with" in out
    assert torch.load(tmp_path / "run/last.pt", weights_only=True)["step"] > 0
    assert not [path for path in (tmp_path / "run").iterdir() if path.name.startswith(".")]


def test_a_closed_output_does_not_lose_a_training(root, tmp_path):
    command = [sys.executable, "-m", "dann.train", "--data", str(root), "--run", str(tmp_path / "run"),
               "--steps", "3", *SMALL]
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(command, cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert result.returncode == 0 and result.stderr.count("\n") == 1 and "log.txt" in result.stderr
    assert (tmp_path / "run/weights.safetensors").exists()


def card(**changes):
    return {"program": "dann.train", "options": {"network": "default", "width": 4, "conditional": True},
            **changes}


def test_weights_round_trip_and_damage_is_named(tmp_path):
    path = tmp_path / "weights.safetensors"
    original = parts()["network"]
    save_weights(path, original, card(seed=3))
    state, options, read = load_weights(path, "dann.train", Options, "network", "width")
    assert read["seed"] == 3 and options.width == 4 and torch.equal(state["bias"], original.bias)
    load_into(nn.Linear(2, 2), state, path)
    with pytest.raises(InputError, match=r"weights\.safetensors does not fit"):
        load_into(nn.Linear(2, 3), state, path)
    with pytest.raises(InputError, match=r"weights\.safetensors does not fit"):
        load_into(nn.BatchNorm1d(2), state, path)
    state["bias"][0] = float("nan")
    with pytest.raises(InputError, match="not finite"):
        load_into(nn.Linear(2, 2), state, path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InputError, match="fetch it again"):
        load_tensors(path)
    path.with_suffix(".json").unlink()
    with pytest.raises(InputError, match=r"weights\.json"):
        load_weights(path, "dann.train", Options)


@pytest.mark.parametrize("content", [
    None, [], 3, {}, {"options": {}}, {"program": "dann.train"}, card(program="gan.train"),
    card(program=["dann.train"]), card(options=[]), card(options={}), card(metrics=[1]),
    card(options={"network": "magic", "width": 4}), card(options={"network": "default", "width": -1}),
    card(options={"network": "default", "width": "64"})])
def test_invalid_cards_are_named(content, tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, parts()["network"], {})
    (tmp_path / "w.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"w\.json"):
        load_weights(path, "dann.train", Options, "network", "width")


def test_two_weights_do_not_share_a_card(tmp_path):
    for name in ("a.v1", "a", "folder.safetensors"):
        (tmp_path / "folder.safetensors").mkdir(exist_ok=True)
        with pytest.raises(InputError, match=name):
            save_weights(tmp_path / name, nn.Linear(1, 1), card())
    (tmp_path / "c.json").write_text('{"options": {}}')
    with pytest.raises(InputError, match="names no program"):
        read_card(tmp_path / "c.json", "dann.train")
