"""DCGAN and ACGAN on synthetic faces: comparison with manual implementations of the papers, resuming, pairs,
and the programs."""

import contextlib
import copy
import dataclasses
import json
import math
import os
import signal
from types import SimpleNamespace

import pytest
import torch
from conftest import CPU, call, open_run, records, resume, same
from PIL import Image
from torch import nn
from torch.nn.functional import batch_norm, interpolate

import acgan.generate
import acgan.models
import acgan.options
import acgan.train
import gan.generate
import gan.models
import gan.options
import gan.train
from common import adversary, runs, synthetic
from common.batches import Balanced, Shuffled
from common.cli import InputError
from common.faces import read_faces, to_images
from common.streams import key, stream
from common.weights import load_tensors, save_weights

pytestmark = pytest.mark.usefixtures("one_thread")
PACKAGES = [gan, acgan]


def small(package, preset="default", **other):
    """A preset with small networks and batches."""
    options = package.options.preset(preset)
    return dataclasses.replace(
        options, **{"width": 4, "d_width": 4 if options.d_width else 0, "batch": 8, **other})


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    synthetic.write_faces(folder, "train", 40, seed=0)
    return folder


@pytest.fixture
def few(monkeypatch):
    """Estimate BatchNorm statistics on a tenth of the usual number of noise vectors: 200 at the end."""
    for package in PACKAGES:
        whole = package.train.final_network
        monkeypatch.setattr(package.train, "final_network",
                            lambda averaged, count, whole=whole: whole(averaged, count // 10))


@pytest.fixture
def quick(few, monkeypatch):
    """Like `few`, and without figures."""
    for package in PACKAGES:
        monkeypatch.setattr(package.train, "show", lambda *_: None)


def fit(package, options, root, run, precision="fp32"):
    faces = read_faces(root, "train", () if package is gan else acgan.options.columns(options), options.size)
    given = (faces.images,) if package is gan else (faces.images, faces.attributes)
    with runs.interruptible(run.interrupted):
        return package.train.train(options, *given, run, CPU, precision)


def shapes(network):
    """Class and size of every layer with weights, and every activation."""
    return [(type(layer).__name__, *(tuple(layer.weight.shape) if hasattr(layer, "weight") else ()))
            for layer in network]


@pytest.mark.parametrize("models", [gan.models, acgan.models])
def test_networks_are_the_reports_tables(models):
    g, d = models.Generator().layers, models.Discriminator()
    assert [x[0] for x in shapes(g)] == [
        "ConvTranspose2d", *["BatchNorm2d", "ReLU", "ConvTranspose2d"] * 4, "Tanh"]
    assert [x[1:] for x in shapes(g) if x[0] == "ConvTranspose2d"] == [
        (101, 512, 4, 4), (512, 256, 4, 4), (256, 128, 4, 4), (128, 64, 4, 4), (64, 3, 4, 4)]
    assert [x[0] for x in shapes(d.trunk)] == [
        "Conv2d", "LeakyReLU", *["Conv2d", "BatchNorm2d", "LeakyReLU"] * 3]
    assert [x[1:] for x in shapes(d.trunk) if x[0] == "Conv2d"] == [
        (64, 3, 4, 4), (128, 64, 4, 4), (256, 128, 4, 4), (512, 256, 4, 4)]
    heads = [d.output] if models is gan.models else [d.output, d.classifier]
    assert all(head.weight.shape == (1, 512, 4, 4) and head.bias is None for head in heads)
    convolutions = [layer for layer in [*g, *d.trunk] if is_convolution(layer)]
    assert all(layer.bias is None and (layer.padding == (0, 0) if index == 0 else layer.padding == (1, 1))
               for index, layer in enumerate(convolutions))
    # the second argument of BatchNorm is eps, not momentum: a mistake that is copied often
    assert all(layer.eps == 1e-5 for layer in [*g, *d.trunk] if isinstance(layer, nn.BatchNorm2d))
    assert all(layer.negative_slope == 0.2 for layer in d.trunk if isinstance(layer, nn.LeakyReLU))
    assert 0.018 < g[0].weight.std() < 0.022


def test_losses_of_the_game():
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 3.0])
    assert torch.isclose(adversary.discriminator_loss(real, fake),
                         -(real.sigmoid().log().mean() + (1 - fake.sigmoid()).log().mean()))
    assert torch.isclose(adversary.generator_loss(fake), -fake.sigmoid().log().mean())
    # no double sigmoid
    assert adversary.discriminator_loss(torch.full((4,), 30.0), torch.full((4,), -30.0)) < 1e-3
    assert adversary.collapse_warning(0.96, 0.02) and adversary.collapse_warning(0.7, 0.3) is None


# Manual implementations of the steps, from the papers' equations, in PyTorch's default layout and precision.

def log_sigma(x):
    return torch.sigmoid(x).log()


def adversary_by_hand(real, fake):
    """The loss of D: Goodfellow et al. 2014, equation 1."""
    return -(log_sigma(real).mean() + (1 - torch.sigmoid(fake)).log().mean())


def penalty_by_hand(options, d, progress, real):
    """γ/2 R1 of Mescheder et al. 2018, equation 9, one face at a time, multiplied by the number of steps for
    which it stands."""
    total = 0
    for face in real:
        face = face[None].clone().requires_grad_(True)
        logits = d(face)
        (slope,) = torch.autograd.grad(logits if isinstance(logits, torch.Tensor) else logits[0], face,
                                       create_graph=True)
        total = total + (slope ** 2).sum() / len(real)
    fallen = 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * progress)) if options.anneal else 1
    return adversary.PENALTY_EVERY * options.gamma * fallen / 2 * total


def class_by_hand(logits, c):
    """-L_C of Odena et al. 2017, equation 3."""
    p = torch.sigmoid(logits)
    return -torch.where(c == 1, p.log(), (1 - p).log()).mean()


def probabilities_by_hand(real, fake):
    return {"D(x)": torch.sigmoid(real).mean().item(), "D(G(z))": torch.sigmoid(fake).mean().item()}


def first_networks(models, options, *attributes):
    torch.manual_seed(key(options.seed, "first weights"))
    late = {} if models is gan.models else {"late": options.network == "default"}
    return (models.Generator(options.width, options.deviation, options.size, **late),
            models.Discriminator(options.d_width or options.width, *attributes, options.deviation,
                                 options.size, options.network == "report"))


class Hand:
    """Networks, optimisers, averaged weights, and the parts of a step that both programs share."""

    def __init__(self, options, g, d, images):
        self.options, self.g, self.d, self.images, self.records = options, g, d, images, []
        self.first = {"generator": copy.deepcopy(g.state_dict()),
                      "discriminator": copy.deepcopy(d.state_dict())}
        self.averaged = copy.deepcopy(g)
        self.g_adam, self.d_adam = (torch.optim.Adam(x.parameters(), options.lr, options.betas)
                                    for x in (g, d))

    def batch(self, index, step):
        draws = stream(self.options.seed, "noise and views", step)
        real = self.images[index].float() / 127.5 - 1
        if self.options.flip:
            mirrored = torch.rand(len(real), generator=draws) < 0.5
            real = torch.stack([face.flip(2) if m else face for face, m in zip(real, mirrored, strict=True)])
        return real, draws

    def rate(self, progress):
        for optimiser in (self.g_adam, self.d_adam):
            for group in optimiser.param_groups:
                fallen = 0.25 + 0.75 * 0.5 * (1 + math.cos(math.pi * progress)) if self.options.anneal else 1
                group["lr"] = self.options.lr * fallen

    def learn(self, loss, network, optimiser):
        optimiser.zero_grad()
        loss.backward(inputs=list(network.parameters()))
        optimiser.step()

    def average(self, step):
        decay = min(self.options.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, weight in zip(self.averaged.parameters(), self.g.parameters(), strict=True):
                mean.copy_(decay * mean + (1 - decay) * weight)
        for mine, other in zip(self.averaged.buffers(), self.g.buffers(), strict=True):
            mine.copy_(other)


def gan_by_hand(options, faces, steps):
    hand = Hand(options, *first_networks(gan.models, options), faces.images)
    batches = Shuffled(len(faces.images), options.batch, options.seed, "batches", CPU)
    for step in range(steps):
        real, draws = hand.batch(batches(step), step)
        z = torch.randn(options.batch, 101, generator=draws)
        fake = hand.g(z)
        d_real, d_fake = hand.d(real), hand.d(fake.detach())
        d_loss = adversary_by_hand(d_real, d_fake)
        total = d_loss
        if options.gamma and step % adversary.PENALTY_EVERY == 0:
            total = total + penalty_by_hand(options, hand.d, step / steps, real)
        hand.rate(step / steps)
        hand.learn(total, hand.d, hand.d_adam)
        d_fake = hand.d(fake)
        g_loss = -log_sigma(d_fake).mean()
        hand.learn(g_loss, hand.g, hand.g_adam)
        hand.average(step)
        hand.records.append({"D loss": d_loss.item(), "G loss": g_loss.item(),
                             **probabilities_by_hand(d_real, d_fake)})
    return hand


def acgan_by_hand(options, faces, steps):
    attributes, half = faces.attributes, options.batch // 2
    hand = Hand(options, *first_networks(acgan.models, options, attributes.shape[1]), faces.images)
    # faces of (not Smiling, not Male), (Smiling, not Male), … equally often
    kinds = torch.tensor([row[0] + 2 * sum(row[1:2]) for row in attributes.tolist()])
    batches = (Balanced(kinds, options.batch, options.seed, "batches") if options.balanced
               else Shuffled(len(faces.images), options.batch, options.seed, "batches", CPU))
    for step in range(steps):
        index = batches(step)
        real, draws = hand.batch(index, step)
        if options.pair_weight:
            z = torch.randn(half, 100, generator=draws)
            z, c = torch.cat([z, z]), torch.tensor([0] * half + [1] * half)
        else:
            z, c = torch.randn(options.batch, 100, generator=draws), attributes[index, 0]
        fake = hand.g(z, c)
        d_real, named_real = hand.d(real)
        d_fake, named_fake = hand.d(fake.detach())
        d_loss = adversary_by_hand(d_real, d_fake)
        total = d_loss + sum(class_by_hand(named_real[:, k], attributes[index, k])
                             for k in range(attributes.shape[1]))
        if options.class_on_fake:
            total = total + class_by_hand(named_fake[:, 0], c)
        if options.gamma and step % adversary.PENALTY_EVERY == 0:
            total = total + penalty_by_hand(options, hand.d, step / steps, real)
        hand.rate(step / steps)
        hand.learn(total, hand.d, hand.d_adam)
        d_fake, named_fake = hand.d(fake)
        g_loss, g_class = -log_sigma(d_fake).mean(), class_by_hand(named_fake[:, 0], c)
        total = g_loss + options.class_weight * g_class
        if options.pair_weight:
            total = total + options.pair_weight * (fake[:half] - fake[half:]).abs().mean()
            if attributes.shape[1] > 1:
                total = (total
                         + options.keep_weight * (named_fake[:half, 1:] - named_fake[half:, 1:]).abs().mean())
        hand.learn(total, hand.g, hand.g_adam)
        hand.average(step)

        def share(logits, c):
            return 100 * ((logits > 0) == (c == 1)).float().mean().item()

        hand.records.append({
            "D loss": d_loss.item(), "G loss": g_loss.item(), **probabilities_by_hand(d_real, d_fake),
            "class": g_class.item(), "named real": share(named_real[:, 0], attributes[index, 0]),
            "named fake": share(named_fake[:, 0], c)})
    return hand


def apart(ours, hand, first=None):
    """The distance between two lists of tensors, relative to their norm, or to the distance from `first`."""
    ours, hand = (torch.cat([tensor.detach().flatten().double() for tensor in tensors])
                  for tensors in (ours, hand))
    way = hand if first is None else hand - torch.cat([tensor.flatten().double() for tensor in first])
    return ((ours - hand).norm() / way.norm()).item()


PENALISED = {"network": "default", "gamma": 1.0, "anneal": True, "betas": (0.0, 0.99)}
RECIPES = [
    (gan, "default", {}), (gan, "report", {}), (gan, "default", {"d_width": 2}),
    (acgan, "default", {"class_weight": 0.7, "pair_weight": 0.3}), (acgan, "report", {}),
    (acgan, "default", {"d_width": 2, "keep": ""}),
    (acgan, "report", {"balanced": True, "keep": "Male"}),
    (gan, "default", PENALISED), (gan, "default", {**PENALISED, "size": 32}),
    (acgan, "default", {**PENALISED, "keep": "Male,Blond_Hair"}),
    (acgan, "default", {**PENALISED, "size": 32}),
    (acgan, "default", {**PENALISED, "pair_weight": 0, "size": 128})]


@pytest.mark.parametrize(("package", "preset", "other"), RECIPES)
def test_two_steps_are_the_papers(package, preset, other, root, tmp_path, quick, monkeypatch):
    """The gradient penalty is applied in the first step only, or (with small faces) in both."""
    options = small(package, preset, deviation=0.1, **other)
    assert adversary.PENALTY_EVERY == 8
    monkeypatch.setattr(adversary, "PENALTY_EVERY", 1 if options.size == 32 else 8)
    faces = read_faces(root, "train",
                       ["Smiling", "Male"] if package is gan else acgan.options.columns(options),
                       options.size)
    hand = gan_by_hand(options, faces, 2) if package is gan else acgan_by_hand(options, faces, 2)
    run = open_run(tmp_path / "run", 2)
    run.log_every = 1
    released = fit(package, options, root, run)
    state = torch.load(tmp_path / "run/last.pt", weights_only=True)

    for step, expected in enumerate(hand.records, 1):
        assert records(tmp_path / "run")[step] == pytest.approx(expected, rel=1e-3, abs=1e-4)
    for name, network in (("generator", hand.g), ("discriminator", hand.d)):
        first, known = hand.first[name], network.state_dict()
        weights = [key for key, _ in network.named_parameters()]
        assert apart([state[name][k] for k in weights], [known[k] for k in weights],
                     [first[k] for k in weights]) < 0.005
        for k in known.keys() - set(weights):  # BatchNorm: depends on the batches that D and G have seen
            torch.testing.assert_close(state[name][k], known[k], rtol=1e-2, atol=1e-3)
    for name, optimiser in (("g_optimiser", hand.g_adam), ("d_optimiser", hand.d_adam)):
        ours, known = state[name]["state"], optimiser.state_dict()["state"]
        # compare gradients: Adam's steps are invariant to their scale
        for moment in ("exp_avg", "exp_avg_sq"):
            assert apart([s[moment] for s in ours.values()], [s[moment] for s in known.values()]) < 0.002
    known = dict(hand.averaged.named_parameters())
    assert apart([state["averaged"][k] for k in known], known.values(),
                 [hand.first["generator"][k] for k in known]) < 0.005
    check_statistics(released, state["averaged"], package)


def check_statistics(released, averaged, package):
    """The released network has the averaged weights, and BatchNorm statistics of its own generated faces: the
    mean over batches of 100 noise vectors, half of each class (`few`)."""
    assert not released.training and not any(p.requires_grad for p in released.parameters())
    assert all(torch.equal(averaged[name], p) for name, p in released.named_parameters())
    sums = {}
    with torch.no_grad():
        for z in package.models.noise(200, 0).split(100):
            c = torch.tensor([[0.0], [1.0]] * 50)
            x = (z if package is gan or released.late else torch.cat([z, c], 1))[:, :, None, None]
            for layer in released.layers:
                if isinstance(layer, acgan.models.ClassNorm):
                    mean, var = sums.setdefault(layer.norm, (0, 0))
                    sums[layer.norm] = (mean + x.mean((0, 2, 3)) / 2, var + x.var((0, 2, 3)) / 2)
                    x = batch_norm(x, None, None, training=True)
                    x = torch.stack([each * layer.weight[k][:, None, None] + layer.bias[k][:, None, None]
                                     for each, k in zip(x, c.long().flatten().tolist(), strict=True)])
                elif isinstance(layer, nn.BatchNorm2d):
                    mean, var = sums.setdefault(layer, (0, 0))
                    sums[layer] = (mean + x.mean((0, 2, 3)) / 2, var + x.var((0, 2, 3)) / 2)
                    x = batch_norm(x, None, None, layer.weight, layer.bias, training=True)
                else:
                    x = layer(x)
    assert len(sums) == sum(isinstance(layer, nn.BatchNorm2d) for layer in released.modules()) >= 3
    for layer, (mean, var) in sums.items():
        torch.testing.assert_close(layer.running_mean, mean, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(layer.running_var, var, rtol=1e-3, atol=1e-3)


def is_convolution(layer):
    return isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)


@contextlib.contextmanager
def watching(look):
    """Call `look(layer, input, output)` in each layer that computes something."""
    hook = nn.modules.module.register_module_forward_hook(look)
    try:
        yield
    finally:
        hook.remove()


@pytest.mark.parametrize("package", PACKAGES)
def test_bfloat16_stays_close_to_float32(package, root, tmp_path, quick):
    options = small(package, deviation=0.1)
    found = {}
    for precision, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        types = set()

        def look(layer, given, made, types=types):
            if layer.training and is_convolution(layer):
                types.add(made.dtype)
                assert layer.in_channels != 3 or given[0].dtype == torch.float32  # input is not rounded

        with watching(look):
            network = fit(package, options, root, open_run(tmp_path / precision, 6), precision)
        assert types == {kind} and {tensor.dtype for tensor in network.parameters()} == {torch.float32}
        found[precision] = records(tmp_path / precision)
    for step, values in found["fp32"].items():
        for name in values.keys() - {"named real", "named fake"}:
            assert found["bf16"][step][name] == pytest.approx(values[name], rel=0.05, abs=0.05)


@pytest.mark.parametrize("package", PACKAGES)
def test_resumed_run_equals_uninterrupted_run_bit_for_bit(package, root, tmp_path, quick):
    options = small(package)
    whole = fit(package, options, root, open_run(tmp_path / "whole", 8))
    with pytest.raises(runs.Stopped):
        fit(package, options, root, open_run(tmp_path / "part", 8, stop_after=6))
    torch.rand(5)
    assert same(whole, fit(package, options, root, resume(tmp_path / "part", 8)))
    assert records(tmp_path / "whole") == records(tmp_path / "part")


def trained(package, root, run, *more):
    """The command line of a small training, with 2 steps per epoch."""
    return (f"{package.__name__}.train", "--data", root, "--run", run, "--width", 4, "--batch", 20,
            "--device", "cpu", "--precision", "fp32", *more)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_small_set_trains_to_its_end_and_resumes(package, root, tmp_path, few, monkeypatch):
    """By default, no step of the first epochs is logged, and an epoch ends before the second checkpoint."""
    seen, stop, draw = [], [], package.train.draw_losses

    def drawn(path, values, title):
        seen.append((torch.load(path.parent / "last.pt", weights_only=True)["step"], dict(values)))
        draw(path, values, title)
        if stop:
            os.kill(os.getpid(), stop.pop())

    monkeypatch.setattr(package.train, "draw_losses", drawn)
    whole, part = tmp_path / "whole", tmp_path / "part"
    call(*trained(package, root, whole, "--epochs", 2))
    assert [step for step, _ in seen] == [1, 1] and seen[0][1] == {} and seen[1][1]["step"] == [4]
    assert [*records(whole)] == [4] and Image.open(whole / "losses.png").size[0] > 500
    assert sorted(path.name for path in (whole / "samples").iterdir()) == ["epoch_001.png", "epoch_002.png"]

    stop.append(signal.SIGTERM)  # while the figure of the first epoch is drawn
    said = call(*trained(package, root, part, "--epochs", 2), code=130).stdout
    assert f"--resume {part}" in said and torch.load(part / "last.pt", weights_only=True)["step"] == 2
    call(f"{package.__name__}.train", "--data", root, "--resume", part, "--device", "cpu")
    assert (part / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()
    assert records(part) == records(whole)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_finished_run_goes_on_for_more_epochs(package, root, tmp_path, quick):
    """The result is that of a run started with the larger number, if no schedule depends on it."""
    whole, part, falls = tmp_path / "whole", tmp_path / "part", tmp_path / "falls"
    more = ("--epochs", 2, "--device", "cpu")
    call(*trained(package, root, whole, "--epochs", 2))
    call(*trained(package, root, part, "--epochs", 1))
    call(f"{package.__name__}.train", "--data", root, "--resume", part, *more)
    assert (part / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()
    card = json.loads((part / "weights.json").read_text())
    assert card["options"]["epochs"] == 2 and card["steps"] == 4 and "--epochs 2" in card["command"]
    # --epochs is stored
    call(f"{package.__name__}.train", "--data", root, "--resume", part, "--device", "cpu")
    call(*trained(package, root, falls, "--epochs", 1, "--anneal"))
    assert "cannot go on" in call(f"{package.__name__}.train", "--data", root, "--resume", falls, *more,
                                  code=2).stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_training_begins_with_given_weights(package, root, tmp_path, quick):
    module = package.models
    torch.manual_seed(1)
    began = module.Generator(4).half()
    save_weights(tmp_path / "began.safetensors", began,
                 {"program": f"{package.__name__}.train", "options": {}})
    call(*trained(package, root, tmp_path / "run", "--epochs", 1, "--from", tmp_path / "began.safetensors",
                  "--lr", "1e-9"))
    state = load_tensors(tmp_path / "run/weights.safetensors")
    for name, weight in began.named_parameters():
        torch.testing.assert_close(state[name], weight.float(), rtol=0, atol=1e-6)
    (tmp_path / "began.safetensors").unlink()  # not needed once the run has started
    call(f"{package.__name__}.train", "--data", root, "--resume", tmp_path / "run", "--device", "cpu")
    said = call(*trained(package, root, tmp_path / "other", "--from", tmp_path / "nothing.safetensors"),
                code=2).stderr
    assert "nothing.safetensors does not exist" in said and not (tmp_path / "other").exists()


def test_the_class_enters_late():
    """The first two stages' outputs are the same for both classes; the third stage depends on the class."""
    torch.manual_seed(0)
    generator = acgan.models.Generator(4, late=True)
    norms = [layer for layer in generator.layers if isinstance(layer, acgan.models.ClassNorm)]
    assert [layer.norm.num_features for layer in norms] == [8, 4]
    with torch.no_grad():
        for layer in norms:
            layer.weight.copy_(torch.stack([torch.full_like(layer.weight[0], 2.0),
                                            torch.full_like(layer.weight[0], 3.0)]))
            layer.bias.copy_(torch.stack([torch.full_like(layer.bias[0], -1.0),
                                          torch.full_like(layer.bias[0], 1.0)]))
        maps, c = torch.randn(2, 8, 16, 16), torch.tensor([0, 1])
        plain = norms[0].norm(maps)
        torch.testing.assert_close(norms[0](maps, c), torch.stack([plain[0] * 2 - 1, plain[1] * 3 + 1]))
        torch.testing.assert_close(norms[0](maps, torch.tensor([0.5, 0.5])), norms[0].norm(maps) * 2.5)
    seen = []
    with watching(
            lambda layer, given, made: seen.append(made) if isinstance(layer, nn.ConvTranspose2d) else None):
        generator.eval()(torch.randn(1, 100).repeat(2, 1), c)
    assert [tuple(made.shape[1:]) for made in seen] == [
        (32, 4, 4), (16, 8, 8), (8, 16, 16), (4, 32, 32), (3, 64, 64)]
    assert [torch.equal(made[0], made[1]) for made in seen] == [True, True, True, False, False]


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("size", [32, 128])
def test_faces_of_other_sizes(package, size, root, tmp_path, quick):
    """Training and figure."""
    call(*trained(package, root, tmp_path / "run", "--epochs", 1, "--size", size, "--network", "default",
                  "--gamma", 1))
    weights = tmp_path / "run/weights.safetensors"
    call(f"{package.__name__}.generate", "--weights", weights, "--figure", tmp_path, "--device", "cpu")
    width = Image.open(next(tmp_path.glob("fig*.jpg"))).size[0]
    assert (8 if package is gan else 10) * size < width < (8 if package is gan else 10) * (size + 4)


def test_a_penalty_needs_a_discriminator_without_batchnorm(root, tmp_path):
    assert "--gamma needs --network default" in call(
        *trained(gan, root, tmp_path / "run", "--gamma", 1), code=2).stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_a_figure_that_cannot_be_drawn_ends_no_training(package, root, tmp_path, few, monkeypatch):
    def fail(*_):
        raise RuntimeError("no font here")

    monkeypatch.setattr(package.train, "draw_losses", fail)
    said = call(*trained(package, root, tmp_path / "run", "--epochs", 2)).stdout
    assert (said.count("RuntimeError while drawing (no font here)") == 2
            and (tmp_path / "run/weights.safetensors").exists())


class Blocks(nn.Module):
    """Noise → faces of 16 squares of one colour each."""

    def __init__(self, *_):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(101, 48), nn.BatchNorm1d(48), nn.Tanh())

    def forward(self, z):
        return interpolate(self.layers(z).view(-1, 3, 4, 4), 64)


class Average(nn.Module):
    """Faces → logits from their mean colours."""

    def __init__(self, *_):
        super().__init__()
        self.output = nn.Linear(3, 1)

    def forward(self, faces):
        return self.output(faces.mean((2, 3))).flatten()


def test_records_and_checkpoints_survive_a_crash(root, tmp_path, monkeypatch):
    """520 steps of tiny networks, logged every 200 and saved after 1, 500 and 520; logging step 520 fails."""
    for name, build in (("Generator", Blocks), ("Discriminator", Average)):
        monkeypatch.setattr(gan.train, name, build)
    drawn = []
    monkeypatch.setattr(gan.train, "show", lambda generator, options, run, epoch: drawn.append(epoch))
    saved, save, log = [], runs.Run.save, runs.Run.log
    monkeypatch.setattr(runs.Run, "save", lambda run, state: saved.append(run.step) or save(run, state))

    def crash(run, step, *rest):
        if step == 520:
            raise OSError(5, "disk failure", "disk")
        log(run, step, *rest)

    run = tmp_path / "run"
    arguments = [*trained(gan, root, run, "--epochs", 26), "--batch", 2, "--lr", "0.001"]
    with monkeypatch.context() as patch:
        patch.setattr(runs.Run, "log", crash)
        call(*arguments, code=2)
    assert saved == [1, 500] and [*records(run)] == [200, 400]
    call("gan.train", "--data", root, "--resume", run, "--device", "cpu")
    assert saved == [1, 500, 520] and [*records(run)] == [200, 400, 520]
    assert drawn == [*range(1, 26), 26]


def test_pairs_differ_only_by_the_class():
    torch.manual_seed(0)
    generator = acgan.models.Generator(4).eval()
    z = acgan.models.noise(5, 1)
    both = acgan.train.pairs(generator, z, 1)
    with torch.no_grad():
        without = to_images(
            nn.Sequential(*generator.layers)(torch.cat([z, torch.zeros(5, 1)], 1)[:, :, None, None]))
    assert (both.shape == (2, 5, 3, 64, 64) and torch.equal(both[1], without)
            and not torch.equal(both[0], both[1]))
    stronger = acgan.train.pairs(generator, z, 3).float()
    assert (stronger[0] - stronger[1]).abs().mean() > 2 * (both[0].float() - both[1]).abs().mean()


def test_pairs_need_both_classes_equally_often():
    for wrong in ({"batch": 7}, {"balanced": False}):
        with pytest.raises(InputError, match="pair-weight"):
            acgan.options.chosen(SimpleNamespace(preset="default", **wrong))
    assert acgan.options.chosen(SimpleNamespace(preset="report", batch=7)).batch == 7


@pytest.mark.parametrize(("name", "problem"), [
    ("attribute", "Beard"), ("folder", "nowhere"), ("batch", "--batch")])
def test_bad_faces_give_one_line_errors(name, problem, root, tmp_path):
    arguments = {"attribute": ["--data", root, "--attribute", problem], "folder": ["--data", root / problem],
                 "batch": ["--data", root, "--batch", 42]}[name]
    said = call("acgan.train", "--device", "cpu", "--width", 4, "--run", tmp_path / "run", *arguments, code=2)
    assert problem in said.stderr and not (tmp_path / "run").exists()


def test_any_folder_of_images_trains(tmp_path):
    for index in range(4):
        mode = "L" if index == 0 else "RGB"
        Image.effect_noise((90, 60), 50).convert(mode).save(tmp_path / f"{index}.png")
    faces = read_faces(tmp_path, "train")
    assert faces.images.shape == (4, 3, 64, 64) and faces.attributes.shape == (4, 0)
