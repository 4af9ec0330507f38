"""Two CPU processes (gloo) started by torchrun: the same steps as a single process, one run folder, and
termination."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import several
import torch
from conftest import call, records
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.modules.batchnorm import _BatchNorm

from common import processes, synthetic
from common.cli import InputError, fail
from common.ema import estimate_statistics

ROOT = Path(__file__).parent.parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are found in /proc")


def gone(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


def start(arguments, checkpoint, temporary):
    """Start two processes; wait until the checkpoint exists or they have ended. Also returns PIDs by rank."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)}
    training = subprocess.Popen([*TORCHRUN, *map(str, arguments)], cwd=ROOT, env=environment, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 300
    while not checkpoint.exists() and training.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    found = {}
    for child in Path(f"/proc/{training.pid}/task/{training.pid}/children").read_text().split():
        settings = Path(f"/proc/{child}/environ").read_text().split("\0")
        found[next(int(line[5:]) for line in settings if line.startswith("RANK="))] = int(child)
    return training, found


def ended(training, found):
    """The output of a training, and whether its processes have ended."""
    began = time.monotonic()
    try:
        out, err = training.communicate(timeout=60)
    finally:
        training.kill()
    return SimpleNamespace(
        returncode=training.returncode, stdout=out, stderr=err, seconds=time.monotonic() - began,
        gone=len(found) == 2 and all(map(gone, found.values())))


@pytest.fixture(scope="module")
def data(root):
    """Faces beside the digits."""
    synthetic.write_faces(root, "train", 40, seed=0)
    return root


@pytest.fixture(scope="module")
def one(data, tmp_path_factory):
    """The output folder of one process. FOLDER/stopped is an interrupted training."""
    folder = tmp_path_factory.mktemp("one")
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        several.quick(patch)
        several.means_over_the_batch(patch)
        for name, arguments in several.STEPS.items():
            several.train(name, arguments, data, folder)
        several.stop_after_two(patch)
        with pytest.raises(KeyboardInterrupt):
            several.train("stopped", several.STEPS["dann"], data, folder)
    return folder


@pytest.fixture(scope="module")
def two(data, one, tmp_path_factory):
    """The output folder of two processes, which also resume FOLDER/stopped."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "stopped").mkdir()
    for file in ("options.json", "last.pt"):
        (folder / "stopped" / file).write_bytes((one / "stopped" / file).read_bytes())
    training, found = start(["tests/several.py", data, folder], folder / "endless/last.pt", folder)
    training.send_signal(signal.SIGINT)
    return folder, ended(training, found)


def weights(folder, name, rank=0):
    return torch.load(folder / f"{name}.{rank}.pt", weights_only=True)


@pytest.mark.parametrize("name", several.STEPS)
def test_the_steps_of_two_processes_are_those_of_one(name, one, two):
    """With gradient descent, equal weights mean that the averaged gradients are those of the whole batch."""
    expected, found = weights(one, name), weights(two[0], name)
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-3, atol=1e-5)


def test_a_run_of_one_process_goes_on_with_two(one, two):
    assert torch.load(one / "stopped/last.pt", weights_only=True)["step"] == 2
    assert torch.load(two[0] / "stopped/last.pt", weights_only=True)["step"] == 4
    for key, value in weights(one, "dann").items():
        torch.testing.assert_close(weights(two[0], "stopped")[key], value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", [*several.PROGRAMS, *several.STEPS])
def test_both_processes_end_with_the_same_weights_and_one_run_folder(name, two):
    folder, result = two
    first, second = (weights(folder, name, rank) for rank in (0, 1))
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert {"options.json", "metrics.jsonl", "log.txt", "last.pt", "weights.safetensors", "weights.json"} <= {
        path.name for path in (folder / name).iterdir()}
    assert result.stdout.count(f"{folder / name}/weights.safetensors after") == 1
    assert "2 processes" in (folder / name / "weights.json").read_text()
    assert len((folder / name / "metrics.jsonl").read_text().splitlines()) == len(records(folder / name)) > 0
    assert not list(folder.glob("hw3-*")) and "UserWarning" not in result.stderr


def test_ctrl_c_ends_all_and_keeps_the_checkpoint(two):
    folder, result = two
    assert result.returncode == 1 and result.gone
    assert result.seconds < 25, "torchrun itself would kill after 30"
    assert result.stdout.count("continue with: torchrun --nproc-per-node 2 -m dann.train") == 1
    assert str(ROOT / "common") not in result.stderr  # no traceback from this repository
    assert torch.load(folder / "endless/last.pt", weights_only=True)["step"] > 0


def test_a_killed_process_ends_all_and_the_checkpoint_is_kept(data, tmp_path):
    run = tmp_path / "run"
    arguments = ["dann.train", "--data", data, "--run", run, "--steps", "100000", *several.DIGITS]
    training, found = start(["-m", "--", *arguments], run / "last.pt", tmp_path)
    os.kill(found[1], signal.SIGKILL)
    result = ended(training, found)
    assert result.returncode == 1 and result.seconds < 25 and result.gone
    assert result.stderr.count("another process of this training has ended") == 1
    assert f"-9 (pid: {found[1]})" in result.stderr
    assert str(ROOT / "common") not in result.stderr
    assert torch.load(run / "last.pt", weights_only=True)["step"] > 0


@pytest.fixture
def second_of_three(monkeypatch):
    monkeypatch.setattr(processes, "RANK", 1)
    monkeypatch.setattr(processes, "COUNT", 3)


def test_shares_make_up_the_batch_and_keep_halves_together(second_of_three, monkeypatch):
    batch, shares = torch.arange(12).view(12, 1), []
    assert processes.share(batch[:, 0]).tolist() == [1, 4, 7, 10]
    for rank in range(3):
        monkeypatch.setattr(processes, "RANK", rank)
        shares.append(processes.share(batch[:, 0]))
        one, other = shares[-1].chunk(2)
        assert (other - one == 6).all()  # the i-th and the (N/2 + i)-th
    assert torch.cat(shares).sort().values.tolist() == list(range(12))
    with pytest.raises(InputError, match="10 samples of a batch cannot be shared equally among 3 processes"):
        processes.share(torch.arange(10))


@pytest.mark.parametrize(("arguments", "says"), [
    (["--batch", "16"], "--batch 16 cannot be shared equally among 3"),
    (["--batch", "12", "--source-batch", "8"], "--source-batch 8 cannot"),
    (["--batch", "12", "--source-batch", "6", "--device", "cuda:1"], "torchrun takes cuda")])
def test_unsupported_options_with_several_processes_give_one_line_errors(arguments, says, second_of_three,
                                                                         data):
    result = call("adda.train", "--data", data, *arguments, code=2)
    assert says in result.stderr and result.stderr.count("\n") == 1


def test_the_first_process_that_fails_says_why(monkeypatch, tmp_path, capsys):
    for rank in ("1", "0"):
        (tmp_path / rank).mkdir()
        monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / rank / "error.json"))
        with pytest.raises(SystemExit):
            fail(f"said by {rank}")
    assert capsys.readouterr().err == "error: said by 1\n"
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", "/nowhere/0/error.json")
    with pytest.raises(SystemExit):
        fail("said anyway")
    assert capsys.readouterr().err == "error: said anyway\n"


def test_one_process_gets_everything_back_unchanged():
    batch, network = torch.rand(4, 3), nn.Linear(2, 2)
    assert processes.share(batch) is batch and processes.parallel(network) is network
    assert processes.own(7) == 7
    assert processes.join("cuda:1") == "cuda:1" and processes.scratch(None) is None
    assert processes.anyone(True) and not processes.anyone(False) and not processes.lost(RuntimeError("gloo"))


def test_a_parallel_network_shares_its_tensors_and_nothing_else(monkeypatch):
    monkeypatch.setattr(processes, "COUNT", 2)
    monkeypatch.setattr(nn.parallel, "DistributedDataParallel", lambda part: nn.Sequential(part))
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2).requires_grad_(False))
    other = processes.parallel(network)
    assert [type(part) for part in other] == [nn.Sequential, nn.Sequential, nn.Linear]
    assert all(a is b for a, b in zip(network.parameters(), other.parameters(), strict=True))
    assert all(a is b for a, b in zip(network.buffers(), other.buffers(), strict=True))
    assert all("0.0" not in name for name in network.state_dict())


def test_on_gpus_batchnorm_sees_the_whole_batch(monkeypatch):
    """On fake tensors, since there may be no GPU."""
    monkeypatch.setattr(processes, "COUNT", 2)
    monkeypatch.setattr(nn.parallel, "DistributedDataParallel", lambda part: nn.Sequential(part))
    with FakeTensorMode():
        layers = nn.Conv2d(3, 4, 3, device="cuda"), nn.BatchNorm2d(4, device="cuda")
        network = nn.Sequential(nn.Sequential(*layers))
        other = processes.parallel(network)
    before, now = network[0][1], other[0][0][1]
    assert type(before) is nn.BatchNorm2d and type(now) is nn.SyncBatchNorm
    assert now.weight is before.weight and now.running_var is before.running_var


def test_statistics_are_estimated_of_either_batchnorm(monkeypatch):
    monkeypatch.setattr(nn.SyncBatchNorm, "forward", _BatchNorm.forward)  # SyncBatchNorm requires GPUs
    monkeypatch.setattr(nn.SyncBatchNorm, "_check_input_dim", lambda *_: None)
    images = [torch.rand(4, 3, 8, 8) for _ in range(3)]
    found = [estimate_statistics(nn.Sequential(kind(3)), images)[0]
             for kind in (nn.BatchNorm2d, nn.SyncBatchNorm)]
    assert torch.equal(found[0].running_mean, found[1].running_mean) and not found[1].training
    torch.testing.assert_close(found[1].running_mean, torch.cat(images).mean((0, 2, 3)))
