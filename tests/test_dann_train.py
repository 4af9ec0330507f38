"""Complete trainings on synthetic digits: all methods and presets, resuming, and no use of target labels."""

import copy
import dataclasses
import hashlib
import json
import math
import shutil
import signal
import types

import pytest
import torch
from conftest import CPU, call, copy_without_labels, open_run, records, resume, same, shifted
from PIL import Image

from common import runs
from common.batches import Balanced, Shuffled
from common.classify import accuracy, predict_classes
from common.cli import InputError
from common.datasets import DIGITS
from common.domains import Data, read_split
from common.schedules import warm_cosine
from common.streams import key, stream
from common.tsne import balanced_sample
from common.views import source_view, source_views, target_view
from common.weights import load_tensors
from dann.losses import reversal_schedule
from dann.models import build
from dann.options import command, preset
from dann.predict import load_network
from dann.train import train

TINY = {"width": 8, "batch": 16, "steps": 12, "held_out": 20}
pytestmark = pytest.mark.usefixtures("one_thread")


def tiny(method="dann", name="default", **changes):
    return dataclasses.replace(preset(name, method, "mnistm", "svhn"), **{**TINY, "epochs": 0, **changes})


def data_of(options, root):
    return Data(root, options.source, "svhn" if options.method == "dann" else None, options.held_out, CPU)


def fit(options, root, run, precision="fp32", data=None):
    with runs.interruptible(run.interrupted):
        return train(options, data or data_of(options, root), run, CPU, precision)


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory):
    """An uninterrupted DANN training, and its records."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("whole") / "run"
    return fit(tiny(), root, open_run(folder, 12)), records(folder)


def step_by_hand(model, options, data, step, total):
    """One step of gradient descent, from the equations of the paper, without a gradient reversal layer: G_f
    descends the loss of the label predictor, and ascends that of the domain classifier, times λ."""
    p, rng = step / total, stream(options.seed, "views", step)
    torch.manual_seed(key(options.seed, "dropout", step))
    index = (Balanced(data.labels, options.batch, options.seed, "labelled batches") if options.balanced
             else Shuffled(len(data.labels), options.batch, options.seed, "labelled batches", CPU))(step)
    source = source_view(data.images[index], options, rng)
    features = model.feature(model.scale(source))
    logits = model.classifier(features)
    label_loss = -logits.log_softmax(1)[torch.arange(len(index)), data.labels[index]].mean()
    class_terms, domain_loss = label_loss, None
    if options.method == "dann":
        other = Shuffled(len(data.unlabelled), options.batch, options.seed, "unlabelled batches", CPU)(step)
        target = target_view(torch.cat([data.unlabelled[other]] * options.views), options, rng)
        target_features = model.feature(model.scale(target))
        target_logits = model.classifier(target_features)

        def seen(features, logits):
            return (torch.einsum("nd,nk->ndk", features, logits.softmax(1).detach()).flatten(1)
                    if options.conditional else features)

        domain_loss = -0.5 * (
            model.domain(seen(features, logits)).log_softmax(1)[:, 0].mean()
            + model.domain(seen(target_features, target_logits)).log_softmax(1)[:, 1].mean())
        shares = target_logits.softmax(1)
        mean = (sum(shares[view * len(other):(view + 1) * len(other)] for view in range(options.views))
                / options.views)
        entropy = -(mean * mean.log()).sum(1).mean()
        growth = 0.5 - 0.5 * math.cos(math.pi * min(1, 2 * p))
        class_terms = (label_loss + options.entropy * growth * entropy
                       - options.balance * shares.mean(0).log().mean())
    rate = options.lr * (min(1, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * p)) if options.cosine else 1)
    strength = options.adversary * (2 / (1 + math.exp(-10 * p)) - 1)
    parameters = dict(model.named_parameters())
    of_class = torch.autograd.grad(class_terms, [*parameters.values()], retain_graph=True, allow_unused=True)
    of_domain = (torch.autograd.grad(domain_loss, [*parameters.values()], allow_unused=True)
                 if domain_loss is not None else [None] * len(parameters))
    with torch.no_grad():
        for (name, weight), ours, theirs in zip(parameters.items(), of_class, of_domain, strict=True):
            if ours is not None:
                weight -= rate * ours
            if theirs is not None:
                weight -= rate * theirs * (1 if name.startswith("domain") else -strength)


@pytest.mark.parametrize(("method", "name"), [
    ("dann", "default"), ("dann", "report"), ("source-only", "default"), ("target-only", "report")])
def test_steps_are_the_papers(method, name, root, tmp_path, monkeypatch):
    """The last 5 of 8 steps (λ, ramp and learning rate neither 0 nor 1) match a manual implementation."""
    options = tiny(method, name, lr=0.05, steps=8, adversary=0.7,
                   **({"balance": 3.0} if name == "default" else {}))
    data = Data(root, "svhn" if method == "target-only" else "mnistm", "svhn" if method == "dann" else None,
                20, CPU)
    monkeypatch.setattr(torch.optim, "Adam", lambda parameters, lr, **_: torch.optim.SGD(parameters, lr))
    torch.manual_seed(key(options.seed, "first weights"))
    expected = build(options.network, options.width, options.conditional).train()
    average = copy.deepcopy(expected)
    run = open_run(tmp_path / "run", 8)
    run.step = run.first_step = 3
    result = fit(options, root, run, data=data)
    for step in range(3, 8):
        step_by_hand(expected, options, data, step, 8)
        decay = min(options.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, weight in zip(average.parameters(), expected.parameters(), strict=True):
                mean.copy_(decay * mean + (1 - decay) * weight)
    trained = torch.load(tmp_path / "run/last.pt", weights_only=True)["model"]
    for name, weight in expected.named_parameters():
        torch.testing.assert_close(trained[name], weight.detach(), rtol=1e-3, atol=2e-6)
    for mine, mean in zip(result.parameters(), average.parameters(), strict=True):
        torch.testing.assert_close(mine, mean, rtol=1e-3, atol=2e-6)


def test_statistics_are_those_of_the_images_to_be_classified(root, tmp_path, whole):
    """Statistics are estimated on unaugmented target images; for source-only, on augmented source images."""
    data, source_only = data_of(tiny(), root), fit(tiny("source-only"), root, open_run(tmp_path / "run", 12))
    views = torch.cat(source_views(data.images, tiny("source-only"), 0))
    for network, images in ((whole[0], data.unlabelled.float() / 255), (source_only, views)):
        with torch.no_grad():
            seen = network.feature[0](network.scale(images))
        torch.testing.assert_close(network.feature[1].running_mean, seen.mean((0, 2, 3)),
                                   rtol=1e-3, atol=1e-4)


def test_a_shift_that_source_only_fails_is_solved_by_dann(tmp_path):
    (images, labels), (test, truth) = shifted(1, 600, target=False), shifted(3, 300, target=True)
    data = types.SimpleNamespace(classes=DIGITS, images=images, labels=labels, held_images=images[:0],
                                 held_labels=labels[:0], unlabelled=shifted(2, 600, target=True)[0])
    found = {}
    for method in ("source-only", "dann"):
        options = tiny(method, batch=32, augment="none", steps=150, ema=0.9, lr=2e-3, balance=0.5)
        run = open_run(tmp_path / method, options.steps)
        run.log_every = run.save_every = 1000
        found[method] = accuracy(fit(options, None, run, data=data), test, truth)
    assert found["source-only"] < 85 and found["dann"] > 95, found


def test_bf16_follows_float32(root, tmp_path, whole):
    """Most released runs were trained in bfloat16."""
    fit(tiny(), root, open_run(tmp_path / "run", 12), precision="bf16")
    for step, metrics in records(tmp_path / "run").items():
        assert metrics["class loss"] == pytest.approx(whole[1][step]["class loss"], rel=0.1)
        assert metrics["class loss"] != whole[1][step]["class loss"]


def test_batches_and_views_are_drawn_apart():
    """Sampling and augmentation use independent random numbers, and different seeds use different streams."""
    labels, zooms, places = torch.arange(100) % 10, [], []
    batches = Balanced(labels, 16, 0, "labelled batches")
    for step in range(300):
        places.append(batches(step).float())
        zooms.append(torch.rand(16, generator=stream(0, "views", step)))
    for seed, purpose, shift in ((0, "labelled batches", 0), (1, "views", 0), (0, "views", 1),
                                 (1, "labelled batches", 0)):
        others = torch.cat([torch.rand(16, generator=stream(seed, purpose, step + shift))
                            for step in range(300)])
        assert abs(torch.corrcoef(torch.stack([torch.cat(zooms), others]))[0, 1]) < 0.06
    assert abs(torch.corrcoef(torch.stack([torch.cat(zooms), torch.cat(places)]))[0, 1]) < 0.06


@pytest.mark.parametrize("name", ["default", "report"])
@pytest.mark.parametrize("method", ["source-only", "dann", "target-only"])
def test_every_method_trains_two_epochs_and_can_be_measured(method, name, root, tmp_path):
    """The programs, from training to evaluation."""
    folder = tmp_path / "run"
    settings = ["--epochs", "2", "--batch", "32", "--held-out", "20", "--width", "8", "--device", "cpu",
                "--precision", "fp32"]
    call("dann.train", "--method", method, "--preset", name, "--data", root, "--run", folder, *settings)
    labelled = 90 if method == "target-only" else 120
    last = 2 * ((labelled - min(20, labelled // 10)) // 32)
    assert max(records(folder)) == last and ("domain loss" in records(folder)[last]) == (method == "dann")
    card = json.loads((folder / "weights.json").read_text())
    assert card["steps"] == last and card["options"]["method"] == method

    output = call("dann.evaluate", "--weights", folder / "weights.safetensors", "--data", root,
                  "--device", "cpu", "--json", tmp_path / "figures.json").stdout
    figures = json.loads((tmp_path / "figures.json").read_text())["svhn test"]
    assert figures["count"] == 90 and f"{figures['accuracy']:.2f}" in output


def test_resumed_run_equals_uninterrupted_run_bit_for_bit(root, tmp_path, whole):
    # interrupted within an epoch of both domains; the schedules are those of all twelve steps
    torch.manual_seed(99)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(runs.Stopped):
        fit(tiny(), root, open_run(tmp_path / "part", 12, stop_after=6))
    assert signal.getsignal(signal.SIGINT) is before
    state = torch.load(tmp_path / "part/last.pt", weights_only=True)
    assert state["step"] == 6 and {"model", "averaged", "optimiser"} <= set(state)
    torch.rand(5)  # resuming must not depend on the global random state
    resumed = fit(tiny(), root, resume(tmp_path / "part", 12))
    assert same(whole[0], resumed)
    assert set(whole[1]) == {2, 4, 6, 8, 10, 12} and whole[1] == records(tmp_path / "part")


@pytest.mark.parametrize("method", ["source-only", "dann"])
def test_target_labels_are_unreachable(method, root, tmp_path, whole):
    """Wrong or missing target labels give the same network; source-only needs no target images either."""
    first = whole[0] if method == "dann" else fit(tiny(method), root, open_run(tmp_path / "run", 12))
    nothing = tmp_path / "nothing"
    shutil.copytree(root, nothing)
    shutil.rmtree(nothing / "digits/svhn")
    for name, copied in (("none", copy_without_labels(root, tmp_path / "none")),
                         ("wrong", copy_without_labels(root, tmp_path / "wrong", wrong=True)),
                         ("nothing", nothing)):
        if name != "nothing" or method == "source-only":
            assert same(first, fit(tiny(method), copied, open_run(tmp_path / f"run-{name}", 12)))


def test_seed_and_target_images_matter(root, tmp_path, whole):
    again, seed, adversary = (fit(tiny(**changes), root, open_run(tmp_path / f"run{index}", 12))
                              for index, changes in enumerate(({}, {"seed": 1}, {"adversary": 0.0})))
    assert same(whole[0], again) and not same(whole[0], seed) and not same(whole[0], adversary)


def test_progress_of_the_schedules_is_step_over_total_steps(whole):
    """λ and the learning rate depend on the number of steps, not on the sizes of the domains."""
    seen = whole[1]
    assert [seen[step]["λ"] for step in seen] == [reversal_schedule((step - 1) / 12) for step in seen]
    assert warm_cosine(1e-3, 999, 0.999) < 1e-5 < warm_cosine(1e-3, 500, 0.5) < 1e-3
    assert warm_cosine(1e-3, 0, 0) == pytest.approx(2e-5)


def test_a_loss_that_is_not_finite_stops_and_is_named(root, tmp_path):
    with pytest.raises(InputError, match="class loss is nan after 2 steps"):
        fit(tiny(lr=float("inf"), cosine=False), root, open_run(tmp_path / "run", 12))


def test_resume_refuses_other_options_and_finished_folders_are_kept(root, tmp_path):
    folder = tmp_path / "run"
    settings = ["--data", root, "--device", "cpu", "--steps", "3", "--batch", "16", "--width", "8",
                "--precision", "fp32"]
    call("dann.train", *settings, "--run", folder)
    for arguments, says in ((["--resume", folder, "--lr", "0.5"], "lr 0.001 -> 0.5"),
                            ([*settings, "--run", folder], "--resume")):
        result = call("dann.train", *arguments, code=2)
        assert result.stderr.count("\n") == 1 and says in result.stderr
    options = json.loads((folder / "options.json").read_text())
    del options["balance"]
    (folder / "options.json").write_text(json.dumps(options))
    assert "lacks balance" in call("dann.train", "--data", root, "--resume", folder, code=2).stderr
    (folder / "options.json").write_text(json.dumps({**options, "balance": 0.05, "normalise": True}))
    said = call("dann.train", "--data", root, "--resume", folder, code=2).stderr
    assert "earlier version (it has normalise)" in said
    call("dann.visualize", "--weights", folder / "weights.safetensors", "--data", root, "--count", "60",
         "--output", tmp_path / "tsne.png", "--device", "cpu")
    assert all(Image.open(tmp_path / f"tsne_{what}.png").size[0] > 1000 for what in ("digit", "domain"))
    points = json.loads((tmp_path / "tsne.json").read_text())
    assert (points["method"], points["source"], points["target"]) == ("dann", "mnistm", "svhn")
    assert points["weights"] == hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    network, digits, predicted = load_network(folder / "weights.safetensors", CPU)[0], [], []
    for domain in ("mnistm", "svhn"):
        test = read_split(root, domain, "test", labelled=True)
        chosen = balanced_sample(test.labels, 60, seed=0)
        digits += test.labels[chosen].tolist()
        predicted += predict_classes(network, test.images[chosen]).tolist()
    assert (points["digit"] == digits and points["predicted"] == predicted
            and points["is target"] == [0] * 60 + [1] * 60)
    assert len({*zip(points["x"], points["y"], strict=True)}) > 100


@pytest.mark.parametrize(("arguments", "says"), [
    (["--source", "svhn", "--target", "svhn"], "svhn"), (["--steps", "0"], "steps"),
    (["--data", "nowhere"], "prepare_data"), (["--device", "cuda:99"], "cuda:99"),
    (["--method", "magic"], "magic"), (["--resume", "nowhere"], "nowhere")])
def test_bad_options_give_one_line_errors(arguments, says, root):
    result = call("dann.train", "--data", root, *arguments, code=2)
    assert says in result.stderr and result.stderr.count("\n") == 1


def test_dry_run_writes_nothing(root, tmp_path):
    result = call("dann.train", "--data", root, "--run", tmp_path / "run", "--dry-run",
                  "--method", "source-only")
    assert ("source-only" in result.stdout and "parameters" in result.stdout
            and not (tmp_path / "run").exists())


@pytest.mark.parametrize(("method", "unused"), [("source-only", "svhn"), ("target-only", "mnistm")])
def test_a_bound_needs_one_domain_only(method, unused, root, tmp_path):
    shutil.copytree(root, tmp_path / "data")
    shutil.rmtree(tmp_path / "data/digits" / unused)
    call("dann.train", "--data", tmp_path / "data", "--dry-run", "--method", method)


def test_the_reports_preset_is_the_originals_recipe():
    rates = {("dann", "mnistm"): (1e-3, 50), ("dann", "svhn"): (1e-4, 50),
             ("source-only", "mnistm"): (1e-4, 1), ("source-only", "svhn"): (1e-4, 50)}
    for (method, source), expected in rates.items():
        recipe = preset("report", method, source, "svhn" if source == "mnistm" else "mnistm")
        assert (recipe.lr, recipe.epochs) == expected
        # 128 images per domain, λ by the usual schedule, and the sum of both domain losses (twice their mean)
        assert (recipe.network, recipe.batch, recipe.cosine, recipe.adversary) == ("report", 128, False, 2.0)
        assert (recipe.conditional, recipe.entropy, recipe.balance, recipe.balanced) == (False, 0, 0, False)
        assert (recipe.augment, recipe.ema, recipe.adabn, recipe.held_out) == ("none", 0, False, 0)


def test_a_run_counted_in_epochs_keeps_each_epochs_network_and_the_last_is_the_result(root, tmp_path):
    """Checkpoints allow reporting the best epoch by target labels as an oracle; the last is the result."""
    run = tmp_path / "run"
    call("dann.train", "--data", root, "--run", run, "--epochs", "3", "--preset", "report", "--batch", "40",
         "--device", "cpu")
    kept = sorted(path.name for path in (run / "checkpoints").iterdir())
    assert kept == ["000003.safetensors", "000006.safetensors", "000009.safetensors"]
    last, released = load_tensors(run / "checkpoints" / kept[-1]), load_tensors(run / "weights.safetensors")
    assert last.keys() == released.keys() and all(torch.equal(last[name], released[name]) for name in last)
    output = call("dann.evaluate", "--weights", run / "weights.safetensors", "--data", root,
                  "--save", tmp_path / "kept.json")
    figures = json.loads((tmp_path / "kept.json").read_text())["metrics"]["svhn test"]
    assert "oracle (uses target labels, not a result)" in output.stdout
    assert (figures["accuracy"] == figures["after steps"]["9"]
            and set(figures["after steps"]) == {"3", "6", "9"})
    call("dann.evaluate", "--weights", run / "weights.safetensors", "--data", root,
         "--save", tmp_path / "r.safetensors")
    assert "after steps" not in (tmp_path / "r.json").read_text()  # released cards contain no oracle
    saved = load_tensors(tmp_path / "r.safetensors")
    assert all(torch.equal(saved[name], released[name]) for name in released)


def test_a_finished_card_names_its_command():
    options = dataclasses.replace(preset("default", "dann", "svhn", "mnistm"), seed=2, balanced=False,
                                  source_zoom=(0.5, 1.0))
    line = command("default", options)
    assert line.endswith("--source svhn --target mnistm --source-zoom 0.5 1.0 --no-balanced --seed 2")
