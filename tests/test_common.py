"""Batches, random streams, averaged networks, precision, threads and synthetic digits."""

from __future__ import annotations

import itertools
import shutil

import pytest
import torch
from conftest import CPU
from torch import nn

from common import device, synthetic
from common.batches import Balanced, Shuffled
from common.cli import InputError
from common.domains import read_split
from common.ema import EMA, estimate_statistics
from common.streams import key, stream


def test_every_purpose_seed_and_step_has_a_stream_of_its_own():
    keys = {key(seed, purpose, step) for seed in range(3)
            for purpose in ("views", "labelled batches", "dropout") for step in range(1000)}
    assert len(keys) == 9000
    drawn = torch.stack([torch.rand(4000, generator=stream(seed, purpose, step))
                         for seed, purpose, step in itertools.product(
                             (0, 1), ("views", "labelled batches"), (0, 1, 2**40))])
    assert (torch.corrcoef(drawn) - torch.eye(len(drawn))).abs().max() < 0.06
    assert torch.equal(*(torch.rand(9, generator=stream(2**63 - 1, "views", 7)) for _ in range(2)))


def test_precision_depends_only_on_the_hardware(monkeypatch):
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: True)
    assert device.choose_precision("auto", CPU) == "bf16" and device.choose_precision("fp32", CPU) == "fp32"
    monkeypatch.setattr(device, "cpu_has_bf16", lambda: False)
    assert {device.choose_precision("auto", CPU) for _ in range(20)} == {"fp32"}


def test_a_users_number_of_threads_is_kept(monkeypatch, one_thread):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    device.choose_device("cpu")
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("name", ["meta", "cuda:99", "tpu", "cpu:5", ""])
def test_an_unavailable_device_gives_a_one_line_error(name):
    with pytest.raises(InputError, match="device"):
        device.choose_device(name)


@pytest.mark.parametrize(("count", "batch"), [(100, 10), (103, 10), (5, 10)])
def test_every_image_once_an_epoch_in_a_new_order(count, batch):
    batches = Shuffled(count, batch, 0, "batches", CPU)
    per_epoch = count // min(batch, count)
    epochs = [torch.cat([batches(epoch * per_epoch + step) for step in range(per_epoch)])
              for epoch in range(2)]
    for epoch in epochs:
        assert len(epoch.unique()) == len(epoch) == per_epoch * min(batch, count)
    assert epochs[0].tolist() != sorted(epochs[0].tolist()) and epochs[0].tolist() != epochs[1].tolist()


def test_batches_depend_only_on_the_step():
    labels = torch.arange(50) % 3
    for make in (lambda: Shuffled(50, 8, 1, "batches", CPU), lambda: Balanced(labels, 8, 1, "batches")):
        one, other = make(), make()
        for step in (0, 1, 2, 9):
            one(step)
        assert (torch.equal(one(40), other(40)) and torch.equal(one(3), other(3))
                and not torch.equal(one(3), one(4)))


def test_balanced_batches_hold_rare_classes_as_often():
    labels = torch.tensor([0] * 990 + [7] * 10)
    drawn = torch.cat([Balanced(labels, 100, 0, "batches")(step) for step in range(50)])
    assert labels[drawn].eq(7).float().mean() == pytest.approx(0.5, abs=0.05)
    assert drawn[labels[drawn] == 0].unique().numel() > 800  # the whole class, not only its first images


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(),
                         nn.Linear(4 * 36, 2))


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


@pytest.mark.parametrize("domain", synthetic.DOMAINS)
def test_synthetic_digits_are_balanced_reproducible_and_legible(domain):
    images, labels = synthetic.digits(600, 0, domain)
    again, _ = synthetic.digits(600, 0, domain)
    others, other_labels = synthetic.digits(200, 1, domain)
    assert images.shape == (600, 28, 28, 3) and (images == again).all() and not (images[:200] == others).all()
    assert [int((labels == digit).sum()) for digit in range(10)] == [60] * 10

    def edges(pictures):  # independent of colours
        grey = torch.from_numpy(pictures).float().mean(3)
        out = (grey[:, 1:, :-1] - grey[:, :-1, :-1]).abs() + (grey[:, :-1, 1:] - grey[:, :-1, :-1]).abs()
        flat = nn.functional.avg_pool2d(out[:, None], 3, 2).flatten(1)
        return nn.functional.normalize(flat - flat.mean(1, keepdim=True))

    means = torch.stack([edges(images[labels == digit]).mean(0) for digit in range(10)])
    found = (edges(others) @ means.T).argmax(1)
    assert (found.numpy() == other_labels).mean() > 0.3


def test_an_earlier_mnistm_is_refused_and_other_peoples_is_taken(root, tmp_path):
    shutil.copytree(root, tmp_path / "data")
    note = tmp_path / "data/digits/mnistm/.train.json"
    note.write_text('{"made_from": "0123456789abcdef-0"}')
    with pytest.raises(InputError, match="blended the digits' grey levels"):
        read_split(tmp_path / "data", "mnistm", "train", labelled=True)
    note.write_text('{"made_from": "0123456789abcdef-0-binarised", "blend": "binarised"}')
    first = read_split(tmp_path / "data", "mnistm", "train", labelled=True)
    note.unlink()
    assert torch.equal(first.images, read_split(tmp_path / "data", "mnistm", "train", labelled=True).images)
