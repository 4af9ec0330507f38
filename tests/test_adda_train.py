"""Whole trainings of ADDA on synthetic digits: traps 4 to 8, 14, 16 and 20 of the field, and a shift to solve."""

import copy
import dataclasses
import json
import types

import pytest
import torch
import torch.nn.functional as F
from conftest import CPU, call, copy_without_labels, open_run, records, resume, same
from PIL import Image

from adda import train as method
from adda.models import Adapted, build
from adda.options import command, preset
from adda.predict import load_network
from adda.visualize import features_of
from common import runs
from common.classify import accuracy
from common.datasets import read_split
from common.device import seed_step
from common.domains import Data
from common.ema import EMA
from common.networks import Centre
from common.views import source_view, target_view

TINY = {"width": 8, "batch": 16, "source_batch": 8, "held_out": 20, "source_steps": 6, "adversarial_steps": 6, "epochs": 0}
SMALL = ["--batch", "16", "--held-out", "20", "--width", "8", "--device", "cpu", "--precision", "fp32"]
pytestmark = pytest.mark.usefixtures("one_thread")


def tiny(name="adda+st", recipe="default", **changes):
    steps = {"self_training_steps": 6 if name == "adda+st" else 0}
    return dataclasses.replace(preset(recipe, name, "mnistm", "svhn"), **{**TINY, **steps, **changes})


def data_of(options, root):
    return Data(root, options.source, options.target, options.held_out, CPU)


def fit(options, root, run):
    with runs.interruptible(run.interrupted):
        return method.train(options, data_of(options, root), run, CPU, "fp32")


def adapt(options, root, folder, network=None, discriminator=None):
    """Stage 2 alone, from random networks in evaluation mode."""
    torch.manual_seed(0)
    fresh, fresh_discriminator = build(options.network, options.width, options.conditional)
    run = open_run(folder, options.source_steps + options.adversarial_steps)
    run.step = run.first_step = options.source_steps
    return method.adapt((network or fresh).eval(), discriminator or fresh_discriminator, options, data_of(options, root), run, CPU,
                        "fp32")


def close(a, b):
    """Whether two networks' parameters differ by no more than steps of 1e-30."""
    return all(torch.allclose(x, y, rtol=0, atol=1e-25) for x, y in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize("recipe", ["default", "report"])
def test_source_encoder_and_classifier_are_frozen_in_stage_2_buffers_included(recipe, root, tmp_path):
    network, _ = build(recipe, 8)
    before = copy.deepcopy(network)
    adapted = adapt(tiny("adda", recipe), root, tmp_path / "run", network)
    assert same(network, before) and same(adapted.source, before)
    assert same(adapted.target.classifier, before.classifier)
    assert not torch.equal(adapted.target.encoder[0].weight, before.encoder[0].weight)


def test_target_encoder_starts_as_the_source_encoder(root, tmp_path):
    options = tiny("adda", encoder_lr=1e-30, adversarial_steps=1, adabn=False)
    adapted = adapt(options, root, tmp_path / "run")
    assert close(adapted.source, adapted.target)


@pytest.mark.parametrize("recipe", ["default", "report"])
def test_a_step_of_stage_2_is_the_papers(recipe, root, tmp_path):
    """The same step, written down by hand: first D on both domains, then M_t on inverted labels against the new D."""
    options = tiny("adda", recipe, adversarial_steps=1, ema=0.0, adabn=False, conditional=False)
    torch.manual_seed(3)
    network, discriminator = build(options.network, options.width, options.conditional)
    network.eval()
    expected, d = copy.deepcopy(network), copy.deepcopy(discriminator)
    adapted = adapt(options, root, tmp_path / "run", network, discriminator)

    data, generator = data_of(options, root), torch.Generator()
    step = options.source_steps
    seed_step(generator, options.seed, step)
    source = source_view(data.images[method.source_batches(options, data, options.batch)(step)], options, generator)
    target = target_view(data.unlabelled[method.target_batches(options, data)(step)], options, generator)
    with torch.no_grad():
        source_features = network.encoder(network.scale(source))
    expected.encoder.train()
    target_features = expected.encoder(expected.scale(target))
    d_optimiser = torch.optim.Adam(d.parameters(), options.discriminator_lr, (0.5, 0.9))
    out = d.layers(torch.cat([source_features, target_features.detach()])).log_softmax(1)
    (-(out[:16, 0].mean() + out[16:, 1].mean()) / 2).backward()
    d_optimiser.step()
    optimiser = torch.optim.Adam(expected.encoder.parameters(), options.encoder_lr, (0.5, 0.9))
    (-d.layers(target_features).log_softmax(1)[:, 0].mean()).backward()
    optimiser.step()
    # Adam's first step is the sign of the gradient times its rate: leave out where the gradient is as good as zero
    for mine, theirs, was in zip(adapted.target.encoder.parameters(), expected.encoder.parameters(), network.encoder.parameters(),
                                 strict=True):
        clear = theirs.grad.abs() > 1e-6
        torch.testing.assert_close(mine[clear], theirs[clear], rtol=0, atol=2e-6)
        assert (mine - was).abs().max() < 1.1 * options.encoder_lr
    for mine, theirs in zip(discriminator.parameters(), d.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=2e-6)


def test_classifier_learns_in_stage_1(root, tmp_path):
    """kipu1231's ADDA never optimises it: a random head."""
    torch.manual_seed(0)
    network, _ = build("default", 8)
    before = copy.deepcopy(network)
    options = tiny("adda", ema=0.0)
    trained = method.train_source(network, options, data_of(options, root), open_run(tmp_path / "run", 12), CPU, "fp32")
    assert not torch.equal(trained.classifier.weight, before.classifier.weight) and not trained.training


def test_student_and_teacher_start_from_the_adapted_network(root, tmp_path):
    options = tiny(lr=1e-30, self_training_steps=2)
    adapted = adapt(options, root, tmp_path / "stage2")
    run = open_run(tmp_path / "run", 14)
    run.step = run.first_step = 12
    result = method.self_train(adapted, options, data_of(options, root), run, CPU, "fp32")
    assert close(result.target, adapted.target)


def test_teacher_holds_averaged_parameters_and_its_domains_statistics(root, tmp_path):
    """Buffers are re-estimated on each domain's own plain images; those of the alternating student would fit neither."""
    result = fit(tiny(), root, open_run(tmp_path / "run", 18))
    data = data_of(tiny(), root)
    assert all(torch.equal(a, b) for a, b in zip(result.source.parameters(), result.target.parameters(), strict=True))
    for network, images in ((result.source, data.images), (result.target, data.unlabelled)):
        with torch.no_grad():
            seen = network.encoder[0](network.scale(images.float() / 255))
        torch.testing.assert_close(network.encoder[1].running_mean, seen.mean((0, 2, 3)), rtol=1e-3, atol=1e-4)
    state = torch.load(tmp_path / "run/last.pt", weights_only=True)
    assert torch.equal(state["teacher"]["encoder.0.weight"], result.target.encoder[0].weight)
    assert not torch.equal(state["student"]["encoder.0.weight"], result.target.encoder[0].weight)


def test_evaluation_never_changes_statistics(root, tmp_path):
    result = fit(tiny(), root, open_run(tmp_path / "run", 18))
    before, data = copy.deepcopy(result), data_of(tiny(), root)
    first = accuracy(result, data.unlabelled, data.labels[:1].expand(90))
    assert accuracy(result, data.unlabelled, data.labels[:1].expand(90)) == first and same(result, before)
    teacher = EMA(result.target, 0.9).network.train()
    kept = copy.deepcopy(teacher)
    method.keep_checkpoint(teacher, tiny(), data, open_run(tmp_path / "other", 18), 1)
    assert same(teacher, kept) and teacher.training


@pytest.mark.parametrize("stop", [4, 6, 10, 12, 16])
def test_resumed_run_equals_uninterrupted_run_bit_for_bit_in_every_stage(stop, root, tmp_path, whole):
    with pytest.raises(runs.Stopped):
        fit(tiny(), root, open_run(tmp_path / "part", 18, stop_after=stop))
    torch.rand(5)  # whatever happened to the random state in between
    resumed = fit(tiny(), root, resume(tmp_path / "part", 18))
    assert same(whole[0], resumed) and records(tmp_path / "part") == whole[1]


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("whole") / "run"
    return fit(tiny(), root, open_run(folder, 18)), records(folder)


def test_target_labels_are_unreachable(root, tmp_path, whole):
    """Wrong target labels, or none at all, train the very same networks."""
    for name, wrong in (("none", False), ("wrong", True)):
        copied = copy_without_labels(root, tmp_path / name, wrong=wrong)
        assert same(whole[0], fit(tiny(), copied, open_run(tmp_path / f"run-{name}", 18)))


@pytest.mark.parametrize("changes", [{"seed": 1}, {"threshold": 0.0}, {"encoder_lr": 1e-2}, {"balance": 0.0},
                                     {"normalise": False}, {"invert": True}])
def test_options_matter(changes, root, tmp_path, whole):
    assert not same(whole[0], fit(tiny(**changes), root, open_run(tmp_path / "run", 18)))


@pytest.mark.parametrize("fade", [True, False])
def test_a_balance_that_fades_is_gone_when_the_targets_loss_has_its_full_weight(fade, root, tmp_path, monkeypatch):
    options, results = tiny(fade=fade, ramp=0.5, source_steps=0, adversarial_steps=0), []
    for strength in (0, 1000):
        calls = iter(range(6))
        monkeypatch.setattr(method, "imbalance", lambda logits, calls=calls, strength=strength: (
            logits.float() ** 2).mean() * (strength if next(calls) >= 3 else 1))
        torch.manual_seed(0)
        network, _ = build("default", options.width)
        results.append(method.self_train(Adapted(network, network), options, data_of(options, root),
                                         open_run(tmp_path / f"run-{strength}", 6), CPU, "fp32"))
    assert same(*results) == fade


def test_every_checkpoint_is_kept_with_what_can_be_said_without_labels(root, tmp_path, monkeypatch):
    monkeypatch.setattr(method, "CHECKPOINT_EVERY", 3)
    result = fit(tiny(), root, open_run(tmp_path / "run", 18))
    seen = records(tmp_path / "run")
    assert {step for step in seen if "nuclear norm" in seen[step]} == {15, 18}
    assert {"held-out", "confident", "class entropy"} <= {*seen[18]}
    assert sorted(p.name for p in (tmp_path / "run/checkpoints").iterdir()) == ["000003.safetensors", "000006.safetensors"]
    # six steps on ninety images are no training, and it says so
    assert "warning: " in (tmp_path / "run/log.txt").read_text() and len([*result.parameters()]) > 0


def shifted(seed, count, target):
    """Ten smooth patterns in noise; the target shows them with nearly exchanged colours, moved by four pixels."""
    patterns = F.interpolate(torch.randn(10, 3, 4, 4, generator=torch.Generator().manual_seed(0)), (28, 28), mode="bicubic")
    labels = torch.arange(count) % 10
    images = patterns[labels] + 0.5 * torch.randn(count, 3, 28, 28, generator=torch.Generator().manual_seed(seed))
    if target:
        images = (0.58 * images + 0.42 * images.flip(1)).roll(4, 3)
    return (127 + 50 * images).clamp(0, 255).to(torch.uint8), labels


def test_a_shift_that_source_only_fails_is_solved_by_self_training(tmp_path):
    options = tiny(batch=32, source_batch=32, augment="none", source_steps=60, adversarial_steps=60, self_training_steps=200,
                   ema=0.95)
    images, labels = shifted(1, 600, target=False)
    data = types.SimpleNamespace(images=images, labels=labels, held_images=images, held_labels=labels,
                                 unlabelled=shifted(2, 600, target=True)[0])
    run, (test, truth) = open_run(tmp_path / "run", 320), shifted(3, 300, target=True)
    run.log_every = run.save_every = 1000
    torch.manual_seed(0)
    network, discriminator = build("default", options.width)
    source = method.train_source(network, options, data, run, CPU, "fp32")
    adapted = method.adapt(source, discriminator, options, data, run, CPU, "fp32")
    result = method.self_train(adapted, options, data, run, CPU, "fp32")
    assert accuracy(source, *shifted(4, 300, target=False)) > 95
    assert accuracy(source, test, truth) < 60 < accuracy(adapted, test, truth) < 90 < accuracy(result, test, truth)


@pytest.mark.parametrize(("name", "recipe"), [("adda", "report"), ("adda", "default"), ("adda+st", "default")])
def test_every_method_trains_and_can_be_measured_and_drawn(name, recipe, root, tmp_path):
    """The programs themselves, from the command line to a picture."""
    folder = tmp_path / "run"
    length = ["--epochs", "1"] + (["--self-training-steps", "4"] if name == "adda+st" else [])
    call("adda.train", "--method", name, "--preset", recipe, "--data", root, "--run", folder, *length, *SMALL)
    card = json.loads((folder / "weights.json").read_text())
    assert card["steps"] == 2 * ((120 - 12) // 16) + (4 if name == "adda+st" else 0) and card["options"]["method"] == name
    assert card["command"].startswith("python -m adda.train") and "--epochs 1" in card["command"]

    output = call("adda.evaluate", "--weights", folder / "weights.safetensors", "--data", root, "--device", "cpu",
                  "--json", tmp_path / "figures.json").stdout
    figures = json.loads((tmp_path / "figures.json").read_text())["svhn test"]
    assert figures["count"] == 90 and f"{figures['accuracy']:.2f}" in output
    assert ("oracle (uses target labels, not a result)" in output) == (name == "adda+st")
    if recipe == "default" and name == "adda":
        call("adda.visualize", "--weights", folder / "weights.safetensors", "--data", root, "--count", "60", "--output",
             tmp_path / "tsne.png", "--device", "cpu")
        assert all(Image.open(tmp_path / f"tsne_{what}.png").size[0] > 1000 for what in ("digit", "domain"))


def test_domains_go_through_their_own_networks(root, tmp_path):
    """The source's images are measured with the source's network."""
    weights = tmp_path / "run/weights.safetensors"
    call("adda.train", "--data", root, "--run", tmp_path / "run", "--method", "adda", "--source-steps", 3, "--adversarial-steps", 3,
         "--encoder-lr", "0.1", "--no-normalise", *SMALL)
    figures = {}
    for domain in ("mnistm", "svhn"):
        call("adda.evaluate", "--weights", weights, "--data", root, "--device", "cpu", "--domain", domain, "--json",
             tmp_path / "figures.json")
        figures |= json.loads((tmp_path / "figures.json").read_text())
    network, _ = load_network(weights, CPU)
    for domain, part in (("mnistm", network.source), ("svhn", network.target)):
        test = read_split(root, domain, "test", labelled=True)
        assert figures[f"{domain} test"]["accuracy"] == pytest.approx(accuracy(part, test.images, test.labels))
    assert not same(network.source, network.target) and isinstance(network.target.scale, Centre)


def test_pictures_show_each_domains_own_features():
    network, images = Adapted(build("default", 8)[0], build("default", 8)[0]), torch.rand(2, 3, 28, 28)
    assert torch.equal(features_of(network, images, True), network.target.features(images))
    assert torch.equal(features_of(network, images, False), network.source.features(images))


@pytest.mark.parametrize(("arguments", "says"), [
    (["--source", "svhn", "--target", "svhn"], "svhn"), (["--source-steps", "0"], "--source-steps"),
    (["--threshold", "1.5"], "threshold"), (["--preset", "report", "--method", "adda+st"], "--method adda"),
    (["--data", "nowhere"], "prepare_data"), (["--resume", "nowhere"], "nowhere")])
def test_bad_options_are_one_sentence(arguments, says, root):
    result = call("adda.train", "--data", root, *arguments, code=2)
    assert says in result.stderr and result.stderr.count("\n") == 1


def test_a_finished_card_names_its_command():
    options = dataclasses.replace(preset("default", "adda+st", "svhn", "mnistm"), seed=2, threshold=0.8)
    assert command("default", options).endswith("--method adda+st --source svhn --target mnistm --threshold 0.8 --seed 2")
    report = preset("report", "adda", "mnistm", "svhn")
    assert command("report", dataclasses.replace(report, epochs=10, source_steps=7)).endswith("--preset report --epochs 10")
