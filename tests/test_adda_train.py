"""Whole trainings of ADDA on synthetic digits: traps 4 to 8, 14, 16 and 20 of the field, and a shift to
solve."""

import copy
import dataclasses
import json
import math
import types

import pytest
import torch
from conftest import CPU, call, copy_without_labels, open_run, records, resume, same, shifted
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from torch.optim import SGD

from adda import losses
from adda import train as method
from adda.models import Adapted, Discriminator, build
from adda.options import command, preset
from adda.predict import load_network
from adda.visualize import network_of
from common import runs
from common.augment import shift
from common.batches import Balanced, Shuffled
from common.classify import accuracy
from common.cli import InputError
from common.datasets import DIGITS
from common.domains import Data, read_split
from common.ema import EMA
from common.losses import domain_accuracy, domain_loss
from common.streams import stream
from common.views import source_view, target_view

TINY = {"width": 8, "batch": 16, "source_batch": 8, "held_out": 20, "source_steps": 6, "adversarial_steps": 6,
        "epochs": 0}
SMALL = ["--batch", "16", "--width", "8", "--device", "cpu", "--precision", "fp32"]
pytestmark = pytest.mark.usefixtures("one_thread")


def tiny(name="adda+st", recipe="default", **changes):
    steps = {"self_training_steps": 6 if name == "adda+st" else 0, "students": 1}
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
    return method.adapt((network or fresh).eval(), discriminator or fresh_discriminator, options,
                        data_of(options, root), run, options.source_steps, CPU, "fp32")


def close(a, b):
    """Whether two networks' parameters differ by no more than steps of 1e-30."""
    return all(torch.allclose(x, y, rtol=0, atol=1e-25)
               for x, y in zip(a.parameters(), b.parameters(), strict=True))


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


def plain_sgd(monkeypatch):
    """Steps along the gradient itself, to compare it; Adam's first step shows no more than its sign."""
    for name in ("Adam", "SGD"):
        monkeypatch.setattr(torch.optim, name, lambda parameters, lr, *_, sgd=SGD, **__: sgd(parameters, lr))


def batch_of(options, data, batch, step):
    """Labelled images, their labels and unlabelled images of a step, and the stream of its views."""
    index = (Balanced(data.labels, batch, options.seed, "labelled batches") if options.balanced
             else Shuffled(len(data.labels), batch, options.seed, "labelled batches", CPU))(step)
    other = Shuffled(len(data.unlabelled), options.batch, options.seed, "unlabelled batches", CPU)(step)
    return data.images[index], data.labels[index], data.unlabelled[other], stream(options.seed, "views", step)


def check_weights(mine, theirs):
    for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("begin", [0, 14])
@pytest.mark.parametrize("recipe", ["default", "report"])
def test_steps_of_stage_1_are_the_papers(recipe, begin, root, tmp_path, monkeypatch):
    plain_sgd(monkeypatch)
    options = tiny("adda", recipe, lr=0.05, source_steps=8, ema=0.9)
    torch.manual_seed(0)
    network, _ = build(options.network, options.width)
    data, expected, average = data_of(options, root), copy.deepcopy(network).train(), copy.deepcopy(network)
    run = open_run(tmp_path / "run", begin + 14)
    run.step = run.first_step = begin + 3
    result = method.train_source(network, options, data, run, begin, CPU, "fp32")
    for done in range(3, 8):
        step = begin + done
        images, labels, _, views = batch_of(options, data, options.batch, step)
        scores = expected.classifier(
            expected.encoder(expected.scale(source_view(images, options, views)))).log_softmax(1)
        gradients = torch.autograd.grad(-scores[torch.arange(len(labels)), labels].mean(),
                                        [*expected.parameters()])
        rate = 0.05 * ((1 + 10 * done / 8) ** -0.75 if recipe == "report"
                       else (done + 1) / 50 * 0.5 * (1 + math.cos(math.pi * done / 8)))
        descend(expected, gradients, rate, average, min(0.9, (1 + done) / (10 + done)))
    check_weights(network, expected)
    check_weights(result, average)


def descend(network, gradients, rate, average=None, decay=0.0):
    with torch.no_grad():
        for weight, gradient in zip(network.parameters(), gradients, strict=True):
            weight -= rate * gradient
        if average is not None:
            for mean, weight in zip(average.parameters(), network.parameters(), strict=True):
                mean.copy_(decay * mean + (1 - decay) * weight)


@pytest.mark.parametrize(("recipe", "joint"), [("default", False), ("report", False), ("report", True)])
def test_steps_of_stage_2_are_the_papers(recipe, joint, root, tmp_path, monkeypatch):
    """First D on both domains, then M_t on inverted labels against the new D; D's BatchNorm sees batches of
    one kind in both."""
    plain_sgd(monkeypatch)
    options = tiny("adda", recipe, ema=0.9, encoder_lr=0.05, discriminator_lr=0.05, joint=joint,
                   adversarial_steps=3)
    torch.manual_seed(3)
    network, discriminator = build(options.network, options.width, options.conditional)
    expected, d, data = copy.deepcopy(network).eval(), copy.deepcopy(discriminator), data_of(options, root)
    average, source_network = copy.deepcopy(expected), copy.deepcopy(expected)
    result = adapt(options, root, tmp_path / "run", network, discriminator)

    def seen(features):
        if not options.conditional:
            return features
        return torch.einsum("nd,nk->ndk", features,
                            source_network.classifier(features).softmax(1).detach()).flatten(1)

    def scores(one, other):
        if joint:
            return d.layers(torch.cat([seen(one), seen(other)])).log_softmax(1).split(16)
        return d.layers(seen(one)).log_softmax(1), d.layers(seen(other)).log_softmax(1)

    expected.encoder.train()
    for step in range(6, 9):
        images, _, unlabelled, views = batch_of(options, data, options.batch, step)
        source, target = source_view(images, options, views), target_view(unlabelled, options, views)
        with torch.no_grad():
            one = source_network.encoder(source_network.scale(source))
        other = expected.encoder(expected.scale(target))
        of_source, of_target = scores(one, other.detach())
        loss = -0.5 * (of_source[:, 0].mean() + of_target[:, 1].mean())
        descend(d, torch.autograd.grad(loss, [*d.parameters()]), 0.05)
        loss = -scores(one, expected.encoder(expected.scale(target)))[1][:, 0].mean()
        descend(expected.encoder, torch.autograd.grad(loss, [*expected.encoder.parameters()]), 0.05,
                average.encoder, min(0.9, (1 + step - 6) / (10 + step - 6)))
    state = torch.load(tmp_path / "run/last.pt", weights_only=True)
    for name, weight in expected.named_parameters():
        torch.testing.assert_close(state["target"][name], weight.detach(), rtol=1e-3, atol=1e-5)
    check_weights(discriminator, d)
    check_weights(result.target, average)
    assert same(result.source, source_network)


@pytest.mark.parametrize("count", [1, 2])
def test_steps_of_stage_3_are_as_they_are_described(count, root, tmp_path, monkeypatch):
    plain_sgd(monkeypatch)
    options = tiny(lr=0.5, self_training_steps=8, threshold=0.9, ema=0.9, balance=0.1, ramp=0.9,
                   students=count)
    data, begin = data_of(options, root), 12 * count
    torch.manual_seed(1)
    networks = [build(options.network, options.width)[0] for _ in range(count)]
    students, teachers = ([copy.deepcopy(network).train() for network in networks] for _ in range(2))
    run = open_run(tmp_path / "run", begin + 8)
    run.step = run.first_step = begin + 3
    result = method.self_train([Adapted(network, copy.deepcopy(network)) for network in networks], options,
                               data, run, CPU, "fp32")
    learned, frequent = 0, torch.full((10,), 0.1)
    for step in range(begin + 3, begin + 8):
        p = (step - begin) / 8
        weight = 0.5 - 0.5 * math.cos(math.pi * min(1, p / 0.9))
        images, labels, unlabelled, views = batch_of(options, data, options.source_batch, step)
        with torch.no_grad():
            named = sum(teacher(shift(unlabelled / 255, 2, views)).softmax(1) for teacher in teachers) / count
        frequent = 0.99 * frequent + 0.01 * named.mean(0)
        source = [student(source_view(images, options, views)) for student in students]
        target = [student(target_view(unlabelled, options, views)) for student in students]
        sure = named.amax(1) > options.threshold * torch.cat(source).detach().softmax(1).amax(1).mean()
        learned += int(sure.sum())
        likely = torch.cat(target).softmax(1).mean(0)
        loss = -0.1 * (1 - weight) * likely.log().mean()
        for mine, other in zip(source, target, strict=True):
            # as if each class were as much rarer in the source as it is in the target
            adjusted = (mine - weight * (10 * frequent).log()).log_softmax(1)
            loss = loss - adjusted[torch.arange(8), labels].mean() / count
            agreed = other.log_softmax(1)[torch.arange(16), named.argmax(1)]
            loss = loss - weight * (agreed * sure).mean() / count
        parameters = [weight for student in students for weight in student.parameters()]
        gradients = torch.autograd.grad(loss, parameters)
        rate = 0.5 * (step - begin + 1) / 50 * 0.5 * (1 + math.cos(math.pi * p))
        for student, teacher in zip(students, teachers, strict=True):
            own = len([*student.parameters()])
            mine, gradients = gradients[:own], gradients[own:]
            descend(student, mine, rate, teacher, min(0.9, (1 + step) / (10 + step)))
    assert 0 < learned < 5 * 16
    state = torch.load(tmp_path / "run/last.pt", weights_only=True)
    for number, student in enumerate(students):
        for name, parameter in student.named_parameters():
            torch.testing.assert_close(state["students"][f"{number}.{name}"], parameter.detach(),
                                       rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(state["frequencies"]["estimate"], frequent)
    check_weights(result.target, teachers[0])


def adversaries_of_two_gaussians(in_its_own_step, in_the_encoders):
    """300 steps of an encoder that can only shift its Gaussian, against a D with BatchNorm; `joint` of either
    half-step. Share of samples that D names in the end, and how far the means are still apart."""
    torch.manual_seed(0)
    d = Discriminator(nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.LeakyReLU(), nn.Linear(32, 2)),
                      conditional=False)
    moved = nn.Parameter(torch.full((8,), 2.0))
    identity = types.SimpleNamespace(classifier=lambda features: features)
    d_optimiser = torch.optim.Adam(d.parameters(), 1e-2)
    optimiser = torch.optim.Adam([moved], 2e-2)
    right = []
    for _ in range(300):
        source, target = torch.randn(64, 8), torch.randn(64, 8)
        d_source, d_target = method.domain_logits(d, identity, source, (target + moved).detach(),
                                                  in_its_own_step)
        right.append(domain_accuracy(d_source, d_target).item())
        for part, loss in ((d_optimiser, domain_loss(d_source, d_target)), (optimiser, None)):
            if loss is None:
                _, d_target = method.domain_logits(d, identity, source, target + moved, in_the_encoders)
                loss = losses.encoder_loss(d_target)
            part.zero_grad()
            loss.backward()
            part.step()
    return sum(right[-50:]) / 50, moved.abs().mean().item()


def test_batchnorm_in_d_sees_batches_of_one_kind_in_both_half_steps():
    right, apart = adversaries_of_two_gaussians(True, True)
    assert right < 0.75 and apart < 0.5
    assert adversaries_of_two_gaussians(False, False)[0] < 0.75
    # taught on both domains at once, asked about one: BatchNorm subtracts what the encoder should learn from
    right, apart = adversaries_of_two_gaussians(True, False)
    assert right > 0.9 and apart > 0.9


def test_the_reports_preset_is_the_originals_recipe():
    for source, target in (("mnistm", "svhn"), ("svhn", "mnistm")):
        adda = preset("report", "adda", source, target)
        assert (adda.network, adda.augment, adda.balanced, adda.ema, adda.adabn) == (
            "report", "none", False, 0, False)
        assert adda.held_out == 0
        # stage 1: SGD, rate .01 / (1 + 10 p)^.75 by epoch, momentum .9 (in `optimiser_of`), weight decay
        # 2.5e-4, 10 epochs of 128
        assert (adda.optimiser, adda.lr, adda.weight_decay, adda.epochs, adda.batch) == (
            "sgd", 0.01, 2.5e-4, 10, 128)
        # stage 2: Adam 2e-4, betas (.5, .999), the same weight decay for both networks, some 936 steps, each
        # domain by itself in D
        assert (adda.encoder_lr, adda.discriminator_lr, adda.betas) == (2e-4, 2e-4, (0.5, 0.999))
        assert (adda.adversarial_steps, adda.joint, adda.conditional, adda.self_training_steps) == (
            936, False, False, 0)
        upper = preset("report", "target-only", source, target)
        assert (dataclasses.replace(upper, method="adda", adversarial_steps=936) == adda
                and upper.adversarial_steps == 0)
    optimiser = method.optimiser_of(build("report")[0], adda)
    assert (isinstance(optimiser, SGD) and optimiser.defaults["momentum"] == 0.9
            and optimiser.defaults["weight_decay"] == 2.5e-4)
    rates = []
    for step in (0, 467, 468, 4679):
        method.set_rate(optimiser, adda, step, step / 4680)
        rates.append(optimiser.param_groups[0]["lr"])
    assert rates == pytest.approx([0.01, 0.01, 0.01 / 2 ** 0.75, 0.01 / 10 ** 0.75])


def test_classifier_learns_in_stage_1(root, tmp_path):
    """kipu1231's ADDA never optimises it: a random head."""
    torch.manual_seed(0)
    network, _ = build("default", 8)
    before = copy.deepcopy(network)
    options = tiny("adda", ema=0.0)
    trained = method.train_source(network, options, data_of(options, root), open_run(tmp_path / "run", 12), 0,
                                  CPU, "fp32")
    assert not torch.equal(trained.classifier.weight, before.classifier.weight) and not trained.training


def test_student_and_teacher_start_from_the_adapted_network(root, tmp_path):
    options = tiny(lr=1e-30, self_training_steps=2)
    adapted = adapt(options, root, tmp_path / "stage2")
    run = open_run(tmp_path / "run", 14)
    run.step = run.first_step = 12
    result = method.self_train([adapted], options, data_of(options, root), run, CPU, "fp32")
    assert close(result.target, adapted.target)


def test_teacher_holds_averaged_parameters_and_its_domains_statistics(root, tmp_path):
    """Buffers are re-estimated on each domain's own plain images; those of the alternating student would fit
    neither."""
    result = fit(tiny(), root, open_run(tmp_path / "run", 18))
    data = data_of(tiny(), root)
    assert all(torch.equal(a, b)
               for a, b in zip(result.source.parameters(), result.target.parameters(), strict=True))
    for network, images in ((result.source, data.images), (result.target, data.unlabelled)):
        with torch.no_grad():
            seen = network.encoder[0](network.scale(images.float() / 255))
        torch.testing.assert_close(network.encoder[1].running_mean, seen.mean((0, 2, 3)),
                                   rtol=1e-3, atol=1e-4)
    state = torch.load(tmp_path / "run/last.pt", weights_only=True)
    assert torch.equal(state["teachers"]["0.encoder.0.weight"], result.target.encoder[0].weight)
    assert not torch.equal(state["students"]["0.encoder.0.weight"], result.target.encoder[0].weight)


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


def test_two_students_start_apart_and_are_resumed_bit_for_bit_in_every_stage(root, tmp_path, monkeypatch):
    options, first, train_source = tiny(students=2), [], method.train_source

    def watched(network, *rest):
        first.append(network.encoder[0].weight.detach().clone())
        return train_source(network, *rest)

    monkeypatch.setattr(method, "train_source", watched)
    expected = fit(options, root, open_run(tmp_path / "run", 30))
    assert not torch.equal(*first)
    stages = [load_file(tmp_path / f"run/stage-adapted-{number}.safetensors") for number in range(2)]
    assert not torch.equal(*(stage["target.encoder.0.weight"] for stage in stages))
    for stop in (6, 12, 16, 22, 24, 28):
        with pytest.raises(runs.Stopped):
            fit(options, root, open_run(tmp_path / f"part-{stop}", 30, stop_after=stop))
        assert same(expected, fit(options, root, resume(tmp_path / f"part-{stop}", 30)))
        assert records(tmp_path / f"part-{stop}") == records(tmp_path / "run")


def test_a_run_without_the_result_of_an_earlier_stage_says_so(root, tmp_path):
    with pytest.raises(runs.Stopped):
        fit(tiny(), root, open_run(tmp_path / "run", 18, stop_after=16))
    (tmp_path / "run/stage-source-0.safetensors").unlink()
    with pytest.raises(InputError, match=r"stage-source-0\.safetensors is missing"):
        fit(tiny(), root, resume(tmp_path / "run", 18))


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
                                     {"students": 2}, {"invert": True}])
def test_options_matter(changes, root, tmp_path, whole):
    assert not same(whole[0], fit(tiny(**changes), root, open_run(tmp_path / "run", 18)))


def test_the_balance_is_gone_when_the_targets_loss_has_its_full_weight(root, tmp_path, monkeypatch):
    options, results = tiny(ramp=0.5, source_steps=0, adversarial_steps=0), []
    for strength in (0, 1000):
        calls = iter(range(6))
        monkeypatch.setattr(method, "imbalance", lambda logits, calls=calls, strength=strength: (
            logits.float() ** 2).mean() * (strength if next(calls) >= 3 else 1))
        torch.manual_seed(0)
        network, _ = build("default", options.width)
        results.append(method.self_train([Adapted(network, network)], options, data_of(options, root),
                                         open_run(tmp_path / f"run-{strength}", 6), CPU, "fp32"))
    assert same(*results)


def test_every_checkpoint_is_kept_with_what_can_be_said_without_labels(root, tmp_path, monkeypatch):
    monkeypatch.setattr(method, "CHECKPOINT_EVERY", 3)
    result = fit(tiny(), root, open_run(tmp_path / "run", 18))
    seen = records(tmp_path / "run")
    assert {step for step in seen if "nuclear norm" in seen[step]} == {15, 18}
    assert {"held-out", "confident", "class entropy"} <= {*seen[18]}
    assert sorted(p.name for p in (tmp_path / "run/checkpoints").iterdir()) == [
        f"{step:06}.safetensors" for step in (12, 15, 18)]
    # six steps on ninety images are no training, and it says so
    assert "warning: " in (tmp_path / "run/log.txt").read_text() and len([*result.parameters()]) > 0


def test_a_shift_that_source_only_fails_is_solved_by_self_training(tmp_path):
    options = tiny(batch=32, source_batch=32, augment="none", source_steps=60, adversarial_steps=60,
                   self_training_steps=200, ema=0.95)
    images, labels = shifted(1, 600, target=False)
    data = types.SimpleNamespace(classes=DIGITS, images=images, labels=labels, held_images=images,
                                 held_labels=labels, unlabelled=shifted(2, 600, target=True)[0])
    run, (test, truth) = open_run(tmp_path / "run", 320), shifted(3, 300, target=True)
    run.log_every = run.save_every = 1000
    torch.manual_seed(0)
    network, discriminator = build("default", options.width)
    source = method.train_source(network, options, data, run, 0, CPU, "fp32")
    adapted = method.adapt(source, discriminator, options, data, run, 60, CPU, "fp32")
    result = method.self_train([adapted], options, data, run, CPU, "fp32")
    assert accuracy(source, *shifted(4, 300, target=False)) > 95
    assert (accuracy(source, test, truth) < 60 < accuracy(adapted, test, truth)
            < 90 < accuracy(result, test, truth))


@pytest.mark.parametrize(("name", "recipe"), [
    ("adda", "report"), ("adda", "default"), ("adda+st", "default")])
def test_every_method_trains_and_can_be_measured_and_drawn(name, recipe, root, tmp_path):
    """The programs themselves, from the command line to a picture."""
    folder = tmp_path / "run"
    length = ["--epochs", "1", "--adversarial-steps", "5"] + (
        ["--self-training-steps", "4"] if name == "adda+st" else [])
    held_out = ["--held-out", "0" if recipe == "report" else "20"]
    call("adda.train", "--method", name, "--preset", recipe, "--data", root, "--run", folder, *length, *SMALL,
         *held_out)
    card = json.loads((folder / "weights.json").read_text())
    kept = 120 if recipe == "report" else 108
    stages = kept // 16 + 5
    assert (card["steps"] == (2 * stages + 4 if name == "adda+st" else stages)
            and card["options"]["method"] == name)
    assert card["command"].startswith("python -m adda.train") and "--epochs 1" in card["command"]

    output = call("adda.evaluate", "--weights", folder / "weights.safetensors", "--data", root,
                  "--device", "cpu", "--json", tmp_path / "figures.json").stdout
    figures = json.loads((tmp_path / "figures.json").read_text())["svhn test"]
    assert figures["count"] == 90 and f"{figures['accuracy']:.2f}" in output
    assert "oracle (uses target labels, not a result)" in output and "after steps" in figures
    call("adda.evaluate", "--weights", folder / "weights.safetensors", "--data", root,
         "--save", tmp_path / "released.safetensors")
    released = json.loads((tmp_path / "released.json").read_text())["metrics"]["svhn test"]
    assert released["accuracy"] == figures["accuracy"] and "after steps" not in released
    assert (len(released["criteria"]["predictions"].split()) == 90
            and 0 < released["criteria"]["nuclear norm"] <= 1)
    assert (tmp_path / "released.safetensors").read_bytes() == (folder / "weights.safetensors").read_bytes()
    if recipe == "default" and name == "adda":
        call("adda.visualize", "--weights", folder / "weights.safetensors", "--data", root, "--count", "60",
             "--output", tmp_path / "tsne.png", "--device", "cpu")
        assert all(Image.open(tmp_path / f"tsne_{what}.png").size[0] > 1000 for what in ("digit", "domain"))


def test_domains_go_through_their_own_networks(root, tmp_path):
    """The source's images are measured with the source's network."""
    weights = tmp_path / "run/weights.safetensors"
    call("adda.train", "--data", root, "--run", tmp_path / "run", "--method", "adda", "--source-steps", 3,
         "--adversarial-steps", 3, "--encoder-lr", "0.1", "--held-out", "20", *SMALL)
    figures = {}
    for domain in ("mnistm", "svhn"):
        call("adda.evaluate", "--weights", weights, "--data", root, "--device", "cpu", "--domain", domain,
             "--json", tmp_path / "figures.json")
        figures |= json.loads((tmp_path / "figures.json").read_text())
    network, _ = load_network(weights, CPU)
    for domain, part in (("mnistm", network.source), ("svhn", network.target)):
        test = read_split(root, domain, "test", labelled=True)
        assert figures[f"{domain} test"]["accuracy"] == pytest.approx(
            accuracy(part, test.images, test.labels))
    assert not same(network.source, network.target)


def test_pictures_show_each_domains_own_features():
    network = Adapted(build("default", 8)[0], build("default", 8)[0])
    assert network_of(network, True) is network.target and network_of(network, False) is network.source


@pytest.mark.parametrize(("arguments", "says"), [
    (["--source", "svhn", "--target", "svhn"], "svhn"), (["--source-steps", "0"], "--source-steps"),
    (["--threshold", "1.5"], "threshold"), (["--preset", "report", "--method", "adda+st"], "--method adda"),
    (["--data", "nowhere"], "prepare_data"), (["--resume", "nowhere"], "nowhere")])
def test_bad_options_are_one_sentence(arguments, says, root):
    result = call("adda.train", "--data", root, *arguments, code=2)
    assert says in result.stderr and result.stderr.count("\n") == 1


def test_a_finished_card_names_its_command():
    options = dataclasses.replace(preset("default", "adda+st", "svhn", "mnistm"), seed=2, threshold=0.8)
    assert command("default", options).endswith(
        "--method adda+st --source svhn --target mnistm --threshold 0.8 --seed 2")
    report = preset("report", "adda", "mnistm", "svhn")
    assert command("report", dataclasses.replace(report, epochs=2, source_steps=7)).endswith(
        "--preset report --epochs 2")
