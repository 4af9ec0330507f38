"""DCGAN and ACGAN on made-up faces: the steps of the papers, resume, pairs, and the programs."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import CPU, call, open_run, records, resume, same
from PIL import Image
from torch import nn

import acgan.models
import acgan.options
import acgan.train
import gan.generate
import gan.models
import gan.options
import gan.train
from common import adversary, runs, synthetic
from common.cli import InputError
from common.device import seed_step
from common.faces import disturb, read_faces, to_faces, to_images
from common.figures import figure_path, grid, save_picture, walk

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {"width": 4, "batch": 8}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    synthetic.write_faces(folder, "train", 40, seed=0)
    return folder


def fit(package, options, root, run):
    faces = read_faces(root, "train", () if package is gan else acgan.options.columns(options))
    given = (faces.images,) if package is gan else (faces.images, faces.attributes)
    with runs.interruptible(run.interrupted):
        return package.train.train(options, *given, run, CPU, "fp32")


def shapes(network):
    """Class and size of every layer with weights, and every activation."""
    return [(type(layer).__name__, *(tuple(layer.weight.shape) if hasattr(layer, "weight") else ())) for layer in network]


@pytest.mark.parametrize("models", [gan.models, acgan.models])
def test_networks_are_the_reports_tables(models):
    g, d = models.Generator().layers, models.Discriminator()
    assert [x[0] for x in shapes(g)] == ["ConvTranspose2d", *["BatchNorm2d", "ReLU", "ConvTranspose2d"] * 4, "Tanh"]
    assert [x[1:] for x in shapes(g) if x[0] == "ConvTranspose2d"] == [
        (101, 512, 4, 4), (512, 256, 4, 4), (256, 128, 4, 4), (128, 64, 4, 4), (64, 3, 4, 4)]
    assert [x[0] for x in shapes(d.trunk)] == ["Conv2d", "LeakyReLU", *["Conv2d", "BatchNorm2d", "LeakyReLU"] * 3]
    assert [x[1:] for x in shapes(d.trunk) if x[0] == "Conv2d"] == [
        (64, 3, 4, 4), (128, 64, 4, 4), (256, 128, 4, 4), (512, 256, 4, 4)]
    heads = [d.output] if models is gan.models else [d.output, d.classifier]
    assert all(head.weight.shape == (1, 512, 4, 4) and head.bias is None for head in heads)
    convolutions = [layer for layer in [*g, *d.trunk] if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
    assert all(layer.bias is None and (layer.padding == (0, 0) if index == 0 else layer.padding == (1, 1))
               for index, layer in enumerate(convolutions))
    # not eps: the field's most copied mistake
    assert all(layer.eps == 1e-5 for layer in [*g, *d.trunk] if isinstance(layer, nn.BatchNorm2d))
    assert all(layer.negative_slope == 0.2 for layer in d.trunk if isinstance(layer, nn.LeakyReLU))
    assert 0.018 < g[0].weight.std() < 0.022


def test_losses_of_the_game():
    real, fake = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 3.0])
    assert torch.isclose(adversary.discriminator_loss(real, fake, "bce"),
                         -(real.sigmoid().log().mean() + (1 - fake.sigmoid()).log().mean()))
    assert torch.isclose(adversary.generator_loss(real, fake, "bce"), -fake.sigmoid().log().mean())
    assert torch.isclose(adversary.discriminator_loss(real, fake, "relativistic"), -(real - fake).sigmoid().log().mean())
    assert torch.isclose(adversary.generator_loss(real, fake, "relativistic"), -(fake - real).sigmoid().log().mean())
    assert adversary.discriminator_loss(torch.full((4,), 30.0), torch.full((4,), -30.0), "bce") < 1e-3  # no double sigmoid
    assert adversary.won(0.96, 0.02) and adversary.won(0.7, 0.3) is None


@pytest.mark.parametrize("package", [gan, acgan])
def test_a_step_is_the_papers(package, root, tmp_path):
    """One step of the report's recipe, written down by hand: D learns and leaves G alone, then G against the new D, which it
    leaves alone. Real and generated faces go through D in batches of their own."""
    options = dataclasses.replace(package.options.preset("report"), deviation=0.03, **SMALL)
    torch.manual_seed(options.seed)
    g, d = package.models.Generator(4, 0.03), package.models.Discriminator(4, deviation=0.03)
    faces = read_faces(root, "train", ["Smiling"])
    fit(package, options, root, open_run(tmp_path / "run", 1))
    state = torch.load(tmp_path / "run/last.pt", weights_only=True)

    draws = torch.Generator()
    seed_step(draws, options.seed, 0)
    index = torch.randperm(40, generator=torch.Generator().manual_seed(0))[:8]
    real, c = to_faces(faces.images[index]), faces.attributes[index, 0]
    z = torch.randn(8, 101 if package is gan else 100, generator=draws)
    fake = g(z) if package is gan else g(z, c)
    assert fake.shape == (8, 3, 64, 64) and torch.equal(real, faces.images[index].float() / 127.5 - 1)

    def heads(faces):
        return (d(faces), None) if package is gan else (d(faces)[0], d(faces)[1][:, 0])

    def cross(logits, wanted):
        truth = torch.full_like(logits, wanted) if isinstance(wanted, float) else wanted.float()
        return F.binary_cross_entropy(logits.sigmoid(), truth)

    (d_real, class_real), (d_fake, class_fake) = heads(real), heads(fake.detach())
    loss = cross(d_real, 1.0) + cross(d_fake, 0.0) + (0 if package is gan else cross(class_real, c) + cross(class_fake, c))
    loss.backward()
    optimiser = torch.optim.Adam(d.parameters(), 2e-4, (0.5, 0.999))
    optimiser.step()
    d_after, d_gradient = copy.deepcopy(d.state_dict()), {name: p.grad.clone() for name, p in d.named_parameters()}
    d_fake, class_fake = heads(fake)
    (cross(d_fake, 1.0) + (0 if package is gan else cross(class_fake, c))).backward()
    torch.optim.Adam(g.parameters(), 2e-4, (0.5, 0.999)).step()
    for name, parameter in g.named_parameters():
        clear = parameter.grad.abs() > 1e-6
        torch.testing.assert_close(state["generator"][name][clear], parameter[clear], rtol=0, atol=2e-6)
    for name, gradient in d_gradient.items():
        clear = gradient.abs() > 1e-6
        torch.testing.assert_close(state["discriminator"][name][clear], d_after[name][clear], rtol=0, atol=2e-6)


@pytest.mark.parametrize("package", [gan, acgan])
def test_resumed_run_equals_uninterrupted_run_bit_for_bit(package, root, tmp_path):
    options = dataclasses.replace(package.options.preset("default"), **SMALL)
    whole = fit(package, options, root, open_run(tmp_path / "whole", 8))
    with pytest.raises(runs.Stopped):
        fit(package, options, root, open_run(tmp_path / "part", 8, stop_after=6))
    torch.rand(5)
    assert same(whole, fit(package, options, root, resume(tmp_path / "part", 8)))
    assert records(tmp_path / "whole") == records(tmp_path / "part")
    assert (tmp_path / "part/samples/epoch_001.png").exists() and (tmp_path / "part/losses.png").exists()


def test_the_average_holds_statistics_of_its_own(root, tmp_path):
    """Averaged weights with the last weights' BatchNorm buffers would be another network."""
    options = dataclasses.replace(gan.options.preset("default"), **SMALL)
    result = fit(gan, options, root, open_run(tmp_path / "run", 6))
    z = gan.models.noise(10_000, 0)
    seen = result.layers[0](z[:2000, :, None, None])
    torch.testing.assert_close(result.layers[1].running_mean, seen.mean((0, 2, 3)), rtol=0.1, atol=0.01)
    assert not result.training


def test_pairs_differ_through_the_class_alone():
    torch.manual_seed(0)
    generator = acgan.models.Generator(4).eval()
    z = acgan.models.noise(5, 1)
    both = acgan.train.pairs(generator, z, 1)
    with torch.no_grad():
        without = to_images(generator.layers(torch.cat([z, torch.zeros(5, 1)], 1)[:, :, None, None]))
    assert both.shape == (2, 5, 3, 64, 64) and torch.equal(both[1], without) and not torch.equal(both[0], both[1])
    stronger = acgan.train.pairs(generator, z, 3).float()
    assert (stronger[0] - stronger[1]).abs().mean() > 2 * (both[0].float() - both[1]).abs().mean()


def test_training_makes_pairs_and_holds_them_together(root, tmp_path, monkeypatch):
    """Each noise vector comes with either class, and what the class does not need is to stay."""
    asked, distance = [], {}
    forward = acgan.models.Generator.forward

    def spied(self, z, c):
        asked.append((z, c))
        return forward(self, z, c)

    monkeypatch.setattr(acgan.models.Generator, "forward", spied)
    for weight in (1e-6, 100.0):
        options = dataclasses.replace(acgan.options.preset("default"), **SMALL, pair_weight=weight, apart="", lr=1e-3)
        asked.clear()
        generator = fit(acgan, options, root, open_run(tmp_path / str(weight), 30))
        z, c = asked[0]
        assert torch.equal(z[:4], z[4:]) and not torch.equal(z[0], z[1]) and c.tolist() == [0] * 4 + [1] * 4
        one, other = acgan.train.pairs(generator, acgan.models.noise(20, 0), 1).float()
        distance[weight] = (one - other).abs().mean()
    assert distance[100.0] < 0.7 * distance[1e-6]
    seen = []
    monkeypatch.setattr(acgan.train, "pair_loss", lambda made: seen.append(made.shape) or made.float().mean())
    fit(acgan, dataclasses.replace(acgan.options.preset("default"), **SMALL), root, open_run(tmp_path / "apart", 1))
    assert seen == [(8, 3, 64, 64), (8, 1)]  # the faces, and what D says of Male
    for wrong in ({"batch": 7}, {"balanced": False}):
        with pytest.raises(InputError, match="pair-weight"):
            acgan.options.check(dataclasses.replace(acgan.options.preset("default"), **wrong))


def test_figures_do_not_depend_on_the_batch():
    torch.manual_seed(0)
    generator, z = gan.models.Generator(8).eval(), gan.models.noise(32, 0)
    alone = torch.cat([gan.generate.generate(generator, part) for part in z.split(1)])
    together = gan.generate.generate(generator, z).int()
    assert (alone.int() - together).abs().max() <= 1
    torch.set_num_threads(2)
    assert (gan.generate.generate(generator, z).int() - together).abs().max() <= 1


def test_pictures_have_the_courses_sizes(tmp_path):
    images = torch.randint(0, 256, (32, 3, 64, 64), dtype=torch.uint8)
    assert grid(images, 8).size == (530, 266) and grid(images[:20], 10).size == (662, 134)
    assert np.array_equal(np.asarray(grid(images, 8))[2:66, 68:132], images[1].permute(1, 2, 0))
    save_picture(tmp_path / "a.jpg", grid(images, 8))
    with Image.open(tmp_path / "a.jpg") as picture:
        assert [layer[1:3] for layer in picture.layer] == [(1, 1)] * 3 and max(picture.quantization[0]) <= 12
    assert figure_path(tmp_path, "fig1_2.jpg") == tmp_path / "fig1_2.jpg"
    assert figure_path(tmp_path / "b.png", "fig1_2.jpg") == tmp_path / "b.png"
    with pytest.raises(InputError, match="does not exist"):
        figure_path(tmp_path / "no/folder", "fig1_2.jpg")
    with pytest.raises(InputError, match=r"neither .jpg nor .png"):
        save_picture(tmp_path / "a.bmp", grid(images, 8))


def test_a_walk_passes_through_its_noise_at_noises_length():
    z = torch.randn(3, 100)
    steps = walk(z, 5)
    torch.testing.assert_close(steps[[0, 2, 4]], z)
    assert (steps.norm(dim=1) > 0.9 * z.norm(dim=1).min()).all()


def test_faces_are_disturbed_each_in_its_own_way_and_differentiably():
    faces = torch.zeros(6, 3, 64, 64, requires_grad=True)
    seen = disturb(faces, torch.Generator().manual_seed(0))
    seen.sum().backward()
    assert seen.shape == faces.shape and faces.grad.abs().sum() > 0
    assert len({round(image.sum().item(), 2) for image in seen}) == 6


@pytest.mark.parametrize(("name", "problem"), [("attribute", "Beard"), ("folder", "nowhere")])
def test_bad_faces_are_one_sentence(name, problem, root):
    arguments = ["--data", root, "--attribute", problem] if name == "attribute" else ["--data", root / problem]
    result = call("acgan.train", "--device", "cpu", *arguments, code=2)
    assert problem in result.stderr and result.stderr.count("\n") == 1


def test_any_folder_of_images_trains(tmp_path):
    for index in range(4):
        mode = "L" if index == 0 else "RGB"
        Image.effect_noise((90, 60), 50).convert(mode).save(tmp_path / f"{index}.png")
    faces = read_faces(tmp_path, "train")
    assert faces.images.shape == (4, 3, 64, 64) and faces.attributes.shape == (4, 0)


@pytest.mark.parametrize("package", ["gan", "acgan"])
def test_the_programs(package, root, tmp_path):
    """From the command line to pictures."""
    run = tmp_path / "run"
    small = ["--epochs", "1", "--batch", "20", "--width", "4", "--device", "cpu", "--precision", "fp32"]
    call(f"{package}.train", "--data", root, "--run", run, *small)
    weights = ["--weights", run / "weights.safetensors", "--device", "cpu"]
    name, size = ("fig1_2.jpg", (530, 266)) if package == "gan" else ("fig2_2.jpg", (662, 134))
    call(f"{package}.generate", *weights, "--figure", tmp_path)
    first = (tmp_path / name).read_bytes()
    call(f"{package}.generate", *weights, "--figure", tmp_path)
    assert Image.open(tmp_path / name).size == size and (tmp_path / name).read_bytes() == first
    if package == "gan":
        call("gan.generate", *weights, "--output", tmp_path / "many", "--count", 3)
        call("gan.generate", *weights, "--interpolate", tmp_path / "walk.gif", "--count", 4)
        assert len([*(tmp_path / "many").iterdir()]) == 3 and (tmp_path / "walk.gif").exists()
    else:
        call("acgan.generate", *weights, "--pairs", tmp_path / "pairs", "--count", 3)
        assert len([*(tmp_path / "pairs").rglob("*.png")]) == 6
