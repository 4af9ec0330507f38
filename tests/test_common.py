"""Command lines, files, batches, averaged networks, run folders, weights."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from common import options as command_line
from common import runs, synthetic
from common.batches import Balanced, Shuffled
from common.cli import InputError, Parser
from common.ema import EMA, estimate_statistics
from common.files import write_atomically
from common.weights import load_into, load_weights, save_weights
from dann.options import Options


def run(code):
    return subprocess.run([sys.executable, "-c", f"from common.cli import *\n{code}"], capture_output=True, text=True, check=False)


def test_bad_input_is_one_sentence_and_exit_code_2():
    result = run("def main(): raise InputError('a.csv is empty; fill it')\nrun_main(main)")
    assert (result.returncode, result.stderr, result.stdout) == (2, "error: a.csv is empty; fill it\n", "")
    result = run("p = Parser(prog='x'); p.add_argument('--n', type=int); p.parse_args(['--n', 'many'])")
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert run("def main(): raise KeyboardInterrupt\nrun_main(main)").returncode == 130


def test_write_is_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file.txt"
    write_atomically(path, "old")
    write_atomically(path, b"new")
    assert path.read_text() == "new" and [p.name for p in tmp_path.iterdir()] == ["file.txt"]
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="folder"):
        write_atomically(tmp_path / "folder", "x")
    with pytest.raises(InputError, match="absent"):
        write_atomically(tmp_path / "absent/file.txt", "x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file.txt", "folder"]


def test_options_on_the_command_line_stand_over_the_preset():
    parser = Parser(prog="x")
    command_line.add_options(parser, Options)
    args = parser.parse_args(["--lr", "0.5", "--no-balanced", "--source-zoom", "1", "2"])
    options = command_line.options_from(args, Options(steps=7))
    assert (options.lr, options.balanced, options.source_zoom, options.steps) == (0.5, False, (1.0, 2.0), 7)
    again = command_line.replace(Options(), json.loads(json.dumps({**vars(options), "unknown": 1})))
    assert again == options
    assert "(default: 0.998)" in parser.format_help()


@pytest.mark.parametrize(("count", "batch"), [(100, 10), (103, 10), (5, 10)])
def test_every_image_once_an_epoch_in_a_new_order(count, batch):
    batches = Shuffled(count, batch, seed=0)
    per_epoch = count // min(batch, count)
    epochs = [torch.cat([batches(epoch * per_epoch + step) for step in range(per_epoch)]) for epoch in range(2)]
    for epoch in epochs:
        assert len(epoch.unique()) == len(epoch) == per_epoch * min(batch, count)
    assert epochs[0].tolist() != sorted(epochs[0].tolist()) and epochs[0].tolist() != epochs[1].tolist()


def test_batches_depend_on_the_step_alone():
    labels = torch.arange(50) % 3
    for make in (lambda: Shuffled(50, 8, 1), lambda: Balanced(labels, 8, 1)):
        one, other = make(), make()
        for step in (0, 1, 2, 9):
            one(step)
        assert torch.equal(one(40), other(40)) and torch.equal(one(3), other(3)) and not torch.equal(one(3), one(4))


def test_balanced_batches_hold_rare_classes_as_often():
    labels = torch.tensor([0] * 990 + [7] * 10)
    drawn = torch.cat([Balanced(labels, 100, 0)(step) for step in range(50)])
    assert labels[drawn].eq(7).float().mean() == pytest.approx(0.5, abs=0.05)
    assert drawn[labels[drawn] == 0].unique().numel() > 800  # all of a class, not its beginning


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(4 * 36, 2))


def test_average_follows_the_weights_and_copies_the_buffers():
    student = network()
    teacher = EMA(student, 0.9)
    start = student[0].weight.clone()
    with torch.no_grad():
        student[0].weight += 1
        student[1].running_mean += 3
    teacher.update(student, step=0)
    torch.testing.assert_close(teacher.network[0].weight, start + 0.9)  # decay is still 1/10
    teacher.update(student, step=10_000)
    torch.testing.assert_close(teacher.network[0].weight, start + 1 - 0.1 * 0.9)
    assert torch.equal(teacher.network[1].running_mean, student[1].running_mean)
    assert not any(p.requires_grad for p in teacher.network.parameters())


def test_statistics_are_those_of_the_images_and_nothing_else_changes():
    original = network().train()
    before = {name: tensor.clone() for name, tensor in original.state_dict().items()}
    images = torch.rand(60, 3, 8, 8)
    fresh = estimate_statistics(original, list(images.split(20)))
    with torch.no_grad():
        seen = original[0](images)
    torch.testing.assert_close(fresh[1].running_mean, seen.mean((0, 2, 3)))
    torch.testing.assert_close(fresh[1].running_var, seen.var((0, 2, 3)), rtol=0.05, atol=0)
    assert not any(layer.training for layer in fresh.modules())
    assert original.training and all(torch.equal(before[k], v) for k, v in original.state_dict().items())
    assert torch.equal(fresh[0].weight, original[0].weight)


def test_resume_needs_a_whole_checkpoint_and_drops_what_came_after_it(tmp_path):
    folder, cpu = tmp_path / "run", torch.device("cpu")
    run = runs.start(folder, {"lr": 1.0}, 10)
    with pytest.raises(InputError, match="--resume"):
        runs.start(folder, {"lr": 1.0}, 10)
    with pytest.raises(InputError, match=r"last\.pt"):
        runs.resume(folder, 10, cpu)
    run.log(2, 8, {"loss": 1.0})
    run.step = 2
    run.save({"weights": torch.ones(2)})
    run.log(4, 8, {"loss": 0.5})  # killed before the next checkpoint
    again = runs.resume(folder, 10, cpu)
    assert again.first_step == 2 and again.state["weights"].tolist() == [1, 1] and again.elapsed() > run.seconds
    assert again.state_after(1) is again.state and again.state_after(2) is None
    assert [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()] == [2]
    (folder / "last.pt").write_bytes((folder / "last.pt").read_bytes()[:100])
    with pytest.raises(InputError, match="damaged"):
        runs.resume(folder, 10, cpu)
    with pytest.raises(InputError, match=r"options\.json"):
        runs.read_options(tmp_path)


def test_steps_save_now_and_then_and_at_the_end_of_a_stage(tmp_path):
    run, saved = runs.Run(tmp_path, 10, log_every=4, save_every=3), []
    run.save = lambda state: saved.append((run.step, state["x"]))
    assert list(run.steps(lambda: {"x": "first"}, 4)) == [0, 1, 2, 3]
    due = []
    for step in run.steps(lambda: {"x": "second"}):
        if run.log_due(step):
            due.append(step)
    assert due == [7, 9] and saved == [(3, "first"), (4, "first"), (6, "second"), (9, "second"), (10, "second")]
    assert list(run.steps(dict)) == []


def test_missing_tensorboard_is_a_sentence_and_starts_no_run(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # importing it fails, installed or not
    with pytest.raises(InputError, match="pip install tensorboard"):
        runs.start(tmp_path / "run", {"lr": 1.0}, 10, tensorboard=True)
    assert runs.start(tmp_path / "run", {"lr": 1.0}, 10).first_step == 0


def test_differences_name_what_changed():
    assert runs.differences({"lr": 1, "seed": 0}, {"lr": 2, "seed": 0}) == "lr 1 -> 2"
    assert runs.differences({"lr": 1}, {"lr": 1}) == ""


def test_weights_round_trip_and_damage_is_named(tmp_path):
    path = tmp_path / "weights.safetensors"
    original = network()
    save_weights(path, original, {"seed": 3})
    state, card = load_weights(path)
    assert card == {"seed": 3} and all(torch.equal(state[k], v) for k, v in original.state_dict().items())
    with pytest.raises(InputError, match=r"weights\.safetensors"):
        load_into(nn.Linear(2, 2), state, path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(InputError, match="damaged"):
        load_weights(path)
    path.with_suffix(".json").unlink()
    with pytest.raises(InputError, match=r"weights\.json"):
        load_weights(path)


@pytest.mark.parametrize("domain", synthetic.DOMAINS)
def test_synthetic_digits_are_balanced_reproducible_and_legible(domain):
    images, labels = synthetic.digits(600, 0, domain)
    again, _ = synthetic.digits(600, 0, domain)
    others, other_labels = synthetic.digits(200, 1, domain)
    assert images.shape == (600, 28, 28, 3) and (images == again).all() and not (images[:200] == others).all()
    assert [int((labels == digit).sum()) for digit in range(10)] == [60] * 10

    def edges(pictures):  # where the picture changes, whatever its colours
        grey = torch.from_numpy(pictures).float().mean(3)
        out = (grey[:, 1:, :-1] - grey[:, :-1, :-1]).abs() + (grey[:, :-1, 1:] - grey[:, :-1, :-1]).abs()
        flat = nn.functional.avg_pool2d(out[:, None], 3, 2).flatten(1)
        return nn.functional.normalize(flat - flat.mean(1, keepdim=True))

    means = torch.stack([edges(images[labels == digit]).mean(0) for digit in range(10)])
    found = (edges(others) @ means.T).argmax(1)
    assert (found.numpy() == other_labels).mean() > 0.3
