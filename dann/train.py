"""Train DANN, source only or target only: `python -m dann.train --method dann --data hw3_data`.

Domain-adversarial training of neural networks (Ganin & Lempitsky, ICML 2015; Ganin et al., JMLR 2016): the
feature extractor learns to classify labelled source images, while a domain classifier behind a gradient
reversal layer pushes its features of source and unlabelled target images towards one distribution. The method
source-only leaves the domain classifier out. No label of the target is read here or in anything called from
here, except by the method target-only, the upper bound.
"""

from __future__ import annotations

import copy
import dataclasses

import torch

from common import training
from common.batches import Balanced, Shuffled
from common.classify import accuracy
from common.cli import run_main
from common.device import autocast
from common.domains import Data, name
from common.ema import EMA, estimate_statistics
from common.files import make_folder
from common.losses import class_loss, domain_accuracy, domain_loss, imbalance
from common.processes import own, parallel, share
from common.runs import Run
from common.schedules import ramp, warm_cosine
from common.streams import key, stream
from common.views import plain_batches, source_view, source_views, target_view
from common.weights import save_tensors
from dann import losses
from dann.models import DANN, build
from dann.options import PRESETS, Options, chosen, command


def train(options: Options, data: Data, run: Run, device: torch.device, precision: str) -> DANN:
    """Train a model by the options and return it as it is released."""
    torch.manual_seed(key(options.seed, "first weights"))
    model = build(options.network, options.width, options.conditional, len(data.classes)).to(device)
    averaged = EMA(model, options.ema)
    optimiser = torch.optim.Adam(model.parameters(), options.lr, fused=True)
    parts = {"model": model, "averaged": averaged.network, "optimiser": optimiser}
    run.restore(parts)
    model = parallel(model)

    batches = (Balanced(data.labels, options.batch, options.seed, "labelled batches") if options.balanced else
               Shuffled(len(data.labels), options.batch, options.seed, "labelled batches", device))
    unlabelled_batches = Shuffled(len(data.unlabelled), options.batch, options.seed, "unlabelled batches",
                                  device)

    for step in run.steps(parts):
        draws = stream(options.seed, "views", step)
        torch.manual_seed(key(options.seed, "dropout", own(step)))
        progress = step / run.total_steps
        if options.cosine:
            for group in optimiser.param_groups:
                group["lr"] = warm_cosine(options.lr, step, progress)
        model.train()

        index = batches(step)
        source, labels = share(source_view(data.images[index], options, draws)), share(data.labels[index])
        with autocast(device, precision):
            features = model.features(source)
            logits = model.classifier(features)
            loss = source_loss = class_loss(logits, labels)

        if options.method == "dann":
            images = data.unlabelled[unlabelled_batches(step)].repeat(options.views, 1, 1, 1)
            target = share(target_view(images, options, draws))
            strength = options.adversary * losses.reversal_schedule(progress)
            with autocast(device, precision):
                # a separate forward pass, so that BatchNorm sees one domain at a time
                target_features = model.features(target)
                target_logits = model.classifier(target_features)
                d_source = model.domain_logits(features, logits, strength)
                d_target = model.domain_logits(target_features, target_logits, strength)
                adversarial_loss = domain_loss(d_source, d_target)
                loss = source_loss + adversarial_loss
                if options.entropy:
                    entropy = losses.entropy(target_logits, options.views)
                    loss = loss + options.entropy * ramp(progress) * entropy
                if options.balance:
                    loss = loss + options.balance * imbalance(target_logits)

        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        averaged.update(model, step)

        if options.epochs and (step + 1) % (run.total_steps // options.epochs) == 0:
            keep(averaged.network, run, step + 1)
        if run.log_due(step):
            metrics = {"class loss": source_loss.item(),
                       **held_out_accuracy(averaged.network, data, options, device, precision)}
            if options.method == "dann":
                metrics |= {"domain loss": adversarial_loss.item(), "λ": strength,
                            "domain": 100 * domain_accuracy(d_source, d_target).item()}
            run.log(step + 1, len(index) * (1 + options.views if options.method == "dann" else 1), metrics)
    return final_network(averaged.network, data, options)


def final_network(averaged: DANN, data: Data, options: Options) -> DANN:
    """The averaged network in evaluation mode. Its BatchNorm statistics come from plain images of the target.
    Source-only must not see the target, so it uses augmented source images instead: their spread is the best
    guess at the target's."""
    if not options.adabn:
        return copy.deepcopy(averaged).eval()
    if options.method == "source-only":
        return estimate_statistics(averaged, source_views(data.images[:10_000], options, options.seed))
    return estimate_statistics(averaged, plain_batches(data.unlabelled[:10_000]))


def keep(averaged: DANN, run: Run, done: int) -> None:
    """Save the averaged network after an epoch, as checkpoints/000468.safetensors. `dann.evaluate` measures
    these files; no program chooses among them."""
    make_folder(run.folder / "checkpoints")
    save_tensors(run.folder / "checkpoints" / f"{done:06}.safetensors", averaged)


def held_out_accuracy(averaged: DANN, data: Data, options: Options, device: torch.device,
                      precision: str) -> dict[str, float]:
    """Accuracy (%) of the averaged network on the held-out images of the labelled domain, or nothing if none
    are held out."""
    if not len(data.held_images):
        return {}
    network = copy.deepcopy(averaged).eval()
    if options.adabn:
        with autocast(device, precision):
            network = estimate_statistics(averaged, source_views(data.images[:2000], options, options.seed))
    return {"held-out": accuracy(network, data.held_images, data.held_labels)}


def main() -> None:
    setting = training.setting(training.arguments("dann.train", __doc__, Options, PRESETS), Options, chosen)
    options, device = setting.options, setting.device
    labelled = options.target if options.method == "target-only" else options.source
    unlabelled = options.target if options.method == "dann" else None
    data = Data(setting.args.data, labelled, unlabelled, options.held_out, device)
    if options.epochs:
        steps = options.epochs * (len(data.images) // options.batch)
        setting.options = options = dataclasses.replace(options, steps=steps)
    if setting.args.dry_run:
        network = build(options.network, options.width, options.conditional, len(data.classes))
        training.show_plan(training.written(setting, data.hashes), network, len(data.images),
                           len(data.held_images), device)
        return
    training.carry_out(
        setting, name=f"{options.method}-{name(options.source)}-{name(options.target)}", steps=options.steps,
        data=data.hashes, card={"classes": data.classes}, command=command(setting.preset, options),
        measure="dann.evaluate --weights",
        train=lambda run: train(options, data, run, device, setting.precision))


if __name__ == "__main__":
    run_main(main)
