"""Train source-only, DANN or target-only: `python -m dann.train --method dann --source mnistm --target svhn --data hw3_data`.

Domain-adversarial training of neural networks (Ganin & Lempitsky, ICML 2015; Ganin et al., JMLR 2016): the feature extractor
learns to classify labelled source images, while a domain classifier behind a gradient reversal layer pushes its features of
source and unlabelled target images towards one distribution. No label of the target is read here or in anything called from
here, except by --method target-only, the upper bound.
"""

from __future__ import annotations

import copy
import dataclasses

import torch

from common import training
from common.batches import Balanced, Shuffled
from common.classify import accuracy
from common.cli import run_main
from common.device import autocast, choose_device, choose_precision, seed_step
from common.domains import Data
from common.ema import EMA, estimate_statistics
from common.losses import class_loss, imbalance
from common.runs import Run
from common.schedules import ramp, warm_cosine
from common.views import plain_batches, source_view, source_views, target_view
from common.weights import load_state, save_state
from dann import losses
from dann.models import DANN, build
from dann.options import PRESETS, Options, check, chosen, command


def train(options: Options, data: Data, run: Run, device: torch.device, precision: str) -> DANN:
    """The method. Returns the network to be released."""
    torch.manual_seed(options.seed)
    generator = torch.Generator(device)
    model = build(options.network, options.width, options.conditional).to(device)
    averaged = EMA(model, options.ema)
    optimiser = torch.optim.Adam(model.parameters(), options.lr, fused=True)
    parts = {"model": model, "averaged": averaged.network, "optimiser": optimiser}
    load_state(run.state, **parts)

    labelled_batches = (Balanced(data.labels, options.batch, options.seed) if options.balanced
                        else Shuffled(len(data.labels), options.batch, options.seed))
    unlabelled_batches = Shuffled(len(data.unlabelled), options.batch, options.seed + 1)

    for step in run.steps(lambda: save_state(**parts)):
        seed_step(generator, options.seed, step)
        progress = step / run.total_steps
        if options.cosine:
            for group in optimiser.param_groups:
                group["lr"] = warm_cosine(options.lr, step, progress)
        model.train()

        index = labelled_batches(step).to(device)
        source = source_view(data.images[index], options, generator)
        with autocast(device, precision):
            features = model.features(source)
            logits = model.classifier(features)
            loss = source_loss = class_loss(logits, data.labels[index])

        if options.method == "dann":
            target = target_view(data.unlabelled[unlabelled_batches(step).to(device)], options, generator)
            strength = options.adversary * losses.reversal_schedule(progress)
            with autocast(device, precision):
                # a forward pass of its own, so that BatchNorm sees one domain at a time
                target_features = model.features(target)
                target_logits = model.classifier(target_features)
                d_source = model.domain_logits(features, logits, strength)
                d_target = model.domain_logits(target_features, target_logits, strength)
                domain_loss = losses.domain_loss(d_source, d_target)
                loss = source_loss + domain_loss
                if options.entropy:
                    loss = loss + options.entropy * ramp(progress) * losses.entropy(target_logits)
                if options.balance:
                    loss = loss + options.balance * imbalance(target_logits)

        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        averaged.update(model, step)

        if run.log_due(step):
            metrics = {"class loss": source_loss.item(),
                       "held-out": held_out_accuracy(averaged.network, data, options, device, precision)}
            if options.method == "dann":
                metrics |= {"domain loss": domain_loss.item(), "λ": strength,
                            "domain": 100 * losses.domain_accuracy(d_source, d_target).item()}
            run.log(step + 1, len(index) * (2 if options.method == "dann" else 1), metrics)
    return final_network(averaged.network, data, options)


def final_network(averaged: DANN, data: Data, options: Options) -> DANN:
    """The averaged network in evaluation mode. Its BatchNorm statistics come from images of the domain that it is to classify;
    source-only, which may not see that domain, takes them from source images varied as in training, whose spread is the best
    guess at it."""
    if not options.adabn:
        return copy.deepcopy(averaged).eval()
    if options.method == "source-only":
        return estimate_statistics(averaged, source_views(data.images[:10_000], options, options.seed))
    return estimate_statistics(averaged, plain_batches(data.unlabelled[:10_000]))


def held_out_accuracy(averaged: DANN, data: Data, options: Options, device: torch.device, precision: str) -> float:
    """Percent of the labelled domain's held-out images that the averaged network classifies rightly."""
    network = copy.deepcopy(averaged).eval()
    with autocast(device, precision):
        if options.adabn:
            network = estimate_statistics(averaged, source_views(data.images[:2000], options, options.seed))
        return accuracy(network, data.held_images, data.held_labels)


def main() -> None:
    args = training.arguments("dann.train", __doc__, Options, PRESETS).parse_args()
    options = training.resumed(args, Options()) if args.resume else chosen(args)
    check(options)
    device = choose_device(args.device)
    precision = choose_precision(args.precision, device)
    labelled = options.target if options.method == "target-only" else options.source
    data = Data(args.data, labelled, options.target if options.method == "dann" else None, options.held_out, device)
    if options.epochs:
        options = dataclasses.replace(options, steps=options.epochs * max(1, len(data.images) // options.batch))

    written = {"preset": args.preset, "precision": precision, **dataclasses.asdict(options)}
    if args.dry_run:
        network = build(options.network, options.width, options.conditional)
        training.show_plan(written, network, len(data.images), len(data.held_images), device)
        return
    card = {"command": command(args.preset, options), "data": data.hashes,
            "selection": "the last step of a fixed schedule" + (", averaged weights (EMA)" if options.ema else "")}
    training.carry_out("dann.train", "dann.evaluate --weights", f"{options.method}-{options.source}-{options.target}", args,
                       written, options.steps, card, device, lambda run: train(options, data, run, device, precision))


if __name__ == "__main__":
    run_main(main)
