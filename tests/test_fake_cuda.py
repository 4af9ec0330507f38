"""GPU trainings without a GPU, on fake tensors, which have a shape, a type and a device but no data. This
detects errors such as operations on tensors of different devices, but nothing that depends on values."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

import acgan.options
import acgan.train
import adda.options
import adda.train
import dann.options
import dann.train
import gan.options
import gan.train
from common import adversary, runs
from common.batches import Balanced

GPU = torch.device("cuda")
OLD = tuple(map(int, torch.__version__.split(".")[:2])) < (2, 8)
# torch warns about copies of tensors without data
pytestmark = [pytest.mark.filterwarnings("ignore:Accessing the data pointer"),
              pytest.mark.skipif(
                  OLD, reason="before torch 2.8 tensors without content ask for a driver of CUDA")]


@pytest.fixture
def gpu(monkeypatch):
    """In the test, all tensors are fake, `.item()` returns 1, and what needs a GPU or data is replaced."""
    monkeypatch.setattr(torch.Tensor, "backward", fill_gradients)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr(nn.Module, "to", move)
    sgd = torch.optim.SGD
    monkeypatch.setattr(torch.optim, "SGD", lambda *given, fused, **settings: sgd(*given, **settings))
    for package in (dann, adda):
        monkeypatch.setattr(package.train, "save_tensors", lambda *_: None)
    # without the gradient, which autograd would compute
    monkeypatch.setattr(adversary, "gradient_penalty", lambda discriminate, faces: discriminate(faces).mean())
    monkeypatch.setattr(Balanced, "__init__", ten_classes)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    for name in ("item", "__float__"):
        monkeypatch.setattr(FakeTensor, name, lambda tensor: 1.0, raising=False)
    monkeypatch.setattr(FakeTensorMode, "__deepcopy__", lambda mode, memo: mode, raising=False)
    with FakeTensorMode():
        yield


def fill_gradients(loss):
    """Set a gradient for all parameters that affect the loss. (Autograd itself would access CUDA streams.)"""
    assert loss.device.type == "cuda" and loss.dim() == 0
    waiting, seen = [loss.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            node.variable.grad = torch.zeros_like(node.variable)
        waiting += [node for node, _ in node.next_functions]


def move(network, device=None, **_):
    """Replacement for nn.Module.to, which cannot swap tensors without data."""
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            tensor = parameter.detach().to(device or parameter.device)
            module._parameters[name] = nn.Parameter(tensor, parameter.requires_grad)
        for name, buffer in module.named_buffers(recurse=False):
            module._buffers[name] = buffer.to(device or buffer.device)
    return network


def ten_classes(batches, labels, batch, seed, purpose):
    """Replacement for Balanced.__init__, which counts labels."""
    batches.counts = torch.empty(10, dtype=torch.int64, device=labels.device)
    batches.members = torch.empty(10, 7, dtype=torch.int64, device=labels.device)
    batches.batch, batches.seed, batches.purpose = batch, seed, purpose


def images(count, size):
    return torch.empty(count, 3, size, size, dtype=torch.uint8, device=GPU)


def classes(count, *more):
    return torch.empty(count, *more, dtype=torch.int64, device=GPU)


def fit_gan(options, run, precision):
    return gan.train.train(options, images(40, 64), run, GPU, precision)


def fit_acgan(options, run, precision):
    return acgan.train.train(options, images(40, 64), classes(40, len(acgan.options.columns(options))), run,
                             GPU, precision)


def digits():
    return SimpleNamespace(classes="0123456789", images=images(40, 28), labels=classes(40),
                           unlabelled=images(50, 28), held_images=images(8, 28), held_labels=classes(8))


def fit_dann(options, run, precision):
    return dann.train.train(options, digits(), run, GPU, precision)


def fit_adda(options, run, precision):
    return adda.train.train(options, digits(), run, GPU, precision)


# for each program, steps of the default recipe, of the report's, and with a gradient penalty; the remaining
# options do not affect devices
TRAININGS = {
    "gan": (fit_gan, gan.options.preset("default"), {"batch": 8}),
    "gan-penalised": (fit_gan, gan.options.preset("default"), {
        "network": "default", "gamma": 0.1, "batch": 8}),
    "gan-report": (fit_gan, gan.options.preset("report"), {"batch": 8}),
    "acgan": (fit_acgan, acgan.options.preset("default"), {"batch": 8}),
    "acgan-penalised": (fit_acgan, acgan.options.preset("default"), {
        "network": "default", "gamma": 0.1, "batch": 8}),
    "acgan-report": (fit_acgan, acgan.options.preset("report"), {"batch": 8}),
    "dann": (fit_dann, dann.options.preset("default", "dann", "mnistm", "svhn"), {"batch": 8}),
    "dann-report": (fit_dann, dann.options.preset("report", "dann", "mnistm", "svhn"), {
        "batch": 8, "epochs": 1}),
    "adda": (fit_adda, adda.options.preset("default", "adda+st", "mnistm", "svhn"), {
        "batch": 8, "source_steps": 1, "adversarial_steps": 1, "self_training_steps": 1}),
    "adda-report": (fit_adda, adda.options.preset("report", "adda", "mnistm", "svhn"), {
        "batch": 8, "epochs": 1, "source_steps": 1, "adversarial_steps": 1})}


@pytest.mark.parametrize("training", TRAININGS)
def test_steps_on_a_gpu(training, gpu, tmp_path):
    fit, options, other = TRAININGS[training]
    precision = "fp32" if training.endswith("report") else "bf16"
    steps = 5 if training == "adda" else 2
    run = runs.Run(tmp_path, steps, log_every=1)
    run.save, run.stage = lambda state: None, lambda name, end, network, make: make()
    types = set()
    watch = nn.modules.module.register_module_forward_hook(
        lambda module, given, made: types.add(made.dtype) if torch.is_tensor(made) else None)
    try:
        network = fit(dataclasses.replace(options, **other), run, precision)
    finally:
        watch.remove()
    assert {tensor.device.type for tensor in [*network.parameters(), *network.buffers()]} == {"cuda"}
    assert (torch.bfloat16 in types) == (precision == "bf16")
    assert [record["step"] for record in runs.read_records(tmp_path)] == [*range(1, steps + 1)]
