"""Tests that need a GPU, skipped without one. `bash scripts/gpu_check.sh` runs them, then benchmarks."""

import copy
import dataclasses

import pytest
import torch
from conftest import open_run, records

import acgan.generate
import acgan.models
import acgan.options
import acgan.train
import adda.options
import adda.predict
import adda.train
import dann.options
import dann.predict
import dann.train
import gan.generate
import gan.models
import gan.options
import gan.train
from common import synthetic
from common.classify import predict_classes
from common.device import choose_device, choose_precision
from common.domains import Data
from common.faces import read_faces

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]
CPU, GPU = torch.device("cpu"), torch.device("cuda")
PENALISED = {"network": "default", "gamma": 1.0, "betas": (0.0, 0.99)}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    synthetic.write_faces(folder, "train", 400, seed=0)
    for domain in synthetic.DOMAINS:
        for split in ("train", "test"):
            synthetic.write_digits(folder, domain, split, 1000, seed=1)
    return folder


def digits(options, train, root, run, device):
    options = dataclasses.replace(options, width=8, batch=32)  # small, since the CPU runs the same steps
    return train(options, Data(root, options.source, options.target, 100, device), run, device, "fp32")


def dann_steps(root, run, device):
    return digits(dann.options.preset("default", "dann", "mnistm", "svhn"), dann.train.train, root, run,
                  device)


def adda_steps(root, run, device):
    """All three stages."""
    options = adda.options.Options(source_steps=10, adversarial_steps=7, self_training_steps=16,
                                   method="adda+st")
    return digits(options, adda.train.train, root, run, device)


def gan_steps(root, run, device, **other):
    options = gan.options.Options(width=16, batch=16, **other)
    return gan.train.train(options, read_faces(root, "train").images.to(device), run, device, "fp32")


def acgan_steps(root, run, device, **other):
    options = acgan.options.Options(width=16, d_width=16, batch=16, **other)
    faces = read_faces(root, "train", acgan.options.columns(options))
    return acgan.train.train(options, faces.images.to(device), faces.attributes.to(device), run, device,
                             "fp32")


TRAININGS = {"dann": dann_steps, "adda": adda_steps, "gan": gan_steps, "acgan": acgan_steps,
             "gan, penalised": lambda *given: gan_steps(*given, **PENALISED),
             "acgan, penalised": lambda *given: acgan_steps(*given, **PENALISED)}


@pytest.mark.parametrize("name", TRAININGS)
def test_fifty_steps_are_those_of_the_cpu(name, root, tmp_path, monkeypatch):
    """Steps in float32, with the same initial weights and random numbers. Rounding differs with the order of
    summation, so that the trainings diverge slowly: all logged values must be within 5 % or 0.05 of the
    CPU's, the first within 0.1 %."""
    for package in (gan, acgan):
        monkeypatch.setattr(package.train, "show", lambda *_: None)
    found = {}
    for device in (CPU, GPU):
        choose_precision("fp32", device)
        run = open_run(tmp_path / device.type, 50)
        run.log_every = 1
        TRAININGS[name](root, run, device)
        found[device.type] = records(tmp_path / device.type)
    for step, expected in found["cpu"].items():
        near = {"rel": 1e-3, "abs": 1e-3} if step == 1 else {"rel": 0.05, "abs": 0.05}
        for what, value in expected.items():
            # fractions of the images of a batch change in steps of one image
            allowed = ({"abs": 5.0} if what in ("domain", "held-out", "mask", "named real", "named fake")
                       else near)
            assert found["cuda"][step][what] == pytest.approx(value, **allowed), f"{what} after {step} steps"


@pytest.mark.parametrize("package", [dann, adda])
@pytest.mark.parametrize("target", ["svhn", "mnistm"])
def test_released_digits_networks_predict_the_same_classes(package, target):
    """Up to 5 of 2,000 noisy images, close to a decision boundary, may differ."""
    torch.manual_seed(0)
    network = package.predict.load_network(package.predict.released(target), CPU)[0]
    images = torch.randint(0, 256, (2000, 3, 28, 28), dtype=torch.uint8)
    expected = predict_classes(network, images)
    choose_device("cuda")
    predicted = predict_classes(copy.deepcopy(network).to(GPU), images.to(GPU)).cpu()
    assert (predicted != expected).sum() <= 5


def test_released_generators_draw_the_same_pictures():
    """Within one grey level."""
    faces, pairs = [], []
    for device in (CPU, GPU):
        choose_device(device.type)
        generator = gan.generate.load_generator(gan.generate.WEIGHTS, device)
        faces.append(gan.generate.generate(generator, gan.models.noise(64, 0)).int())
        generator, strength = acgan.generate.load_generator(acgan.generate.WEIGHTS, device)
        pairs.append(acgan.train.pairs(generator, acgan.models.noise(32, 0), strength).int())
    for on_cpu, on_gpu in (faces, pairs):
        assert (on_cpu - on_gpu).abs().max() <= 1
