"""Train source-only, DANN or target-only: `python -m dann.train --method dann --source mnistm --target svhn --data hw3_data`.

Domain-adversarial training of neural networks (Ganin & Lempitsky, ICML 2015; Ganin et al., JMLR 2016): the feature extractor
learns to classify labelled source images, while a domain classifier behind a gradient reversal layer pushes its features of
source and unlabelled target images towards one distribution. No label of the target is read here or in anything called from
here, except by --method target-only, the upper bound.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common import augment, runs
from common.batches import Balanced, Shuffled
from common.classify import predict_classes
from common.cli import InputError, Parser, run_main
from common.datasets import content_hash, read_split
from common.device import autocast, choose_device, choose_precision, describe, seed_step
from common.ema import EMA, estimate_statistics
from common.options import add_options, options_from, replace
from common.weights import save_weights, versions
from dann import losses
from dann.models import DANN, build
from dann.options import PRESETS, Options, check, command, complete, preset


class Data:
    """What a training may see, as uint8 on its device: images with labels, and images of the domain that the network is to
    classify, without labels (the labelled ones again where the method knows no target)."""

    def __init__(self, options: Options, root: Path, device: torch.device) -> None:
        domain = options.target if options.method == "target-only" else options.source
        split = read_split(root, domain, "train", labelled=True)
        assert split.labels is not None
        # the last images, since SVHN's order follows its photographs: neighbours from one photograph stay together
        kept = len(split.images) - min(options.held_out, len(split.images) // 10)
        self.images, self.labels = split.images[:kept].to(device), split.labels[:kept].to(device)
        self.held_images, self.held_labels = split.images[kept:].to(device), split.labels[kept:].to(device)
        self.hashes = {domain: content_hash(split.images)}
        self.unlabelled = self.images
        if options.method == "dann":
            self.unlabelled = read_split(root, options.target, "train", labelled=False).images.to(device)
            self.hashes[options.target] = content_hash(self.unlabelled)


def train(options: Options, data: Data, run: runs.Run, state: dict[str, Any] | None, device: torch.device, precision: str,
          log_every: int = 200, save_every: int = 500) -> DANN | None:
    """The method. Returns the network to be released, or None after Ctrl-C, when the checkpoint holds all that resume needs."""
    torch.manual_seed(options.seed)
    generator = torch.Generator(device)
    model = build(options.network, options.width, options.conditional).to(device)
    averaged = EMA(model, options.ema)
    optimiser = torch.optim.Adam(model.parameters(), options.lr, fused=True)
    if state is not None:
        model.load_state_dict(state["model"])
        averaged.network.load_state_dict(state["averaged"])
        optimiser.load_state_dict(state["optimiser"])

    labelled_batches = (Balanced(data.labels, options.batch, options.seed) if options.balanced
                        else Shuffled(len(data.labels), options.batch, options.seed))
    unlabelled_batches = Shuffled(len(data.unlabelled), options.batch, options.seed + 1)

    with runs.interruptible() as interrupted:
        for step in range(run.first_step, run.total_steps):
            seed_step(generator, options.seed, step)
            progress = step / run.total_steps
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(options, step, progress)
            model.train()

            index = labelled_batches(step).to(device)
            source = source_view(data.images[index], options, generator)
            with autocast(device, precision):
                features = model.features(source)
                logits = model.classifier(features)
                loss = class_loss = losses.class_loss(logits, data.labels[index])

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
                    loss = class_loss + domain_loss
                    if options.entropy:
                        loss = loss + options.entropy * losses.ramp(progress) * losses.entropy(target_logits)
                    if options.balance:
                        loss = loss + options.balance * losses.imbalance(target_logits)

            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            averaged.update(model, step)

            done = step + 1
            if done % log_every == 0 or done == run.total_steps:
                if not torch.isfinite(loss):
                    raise InputError(f"the loss is {loss.item()} after {done} steps; try a smaller --lr")
                metrics = {"class loss": class_loss.item(),
                           "held-out": held_out_accuracy(averaged.network, data, options, device, precision)}
                if options.method == "dann":
                    metrics |= {"domain loss": domain_loss.item(), "λ": strength,
                                "domain": 100 * losses.domain_accuracy(d_source, d_target).item()}
                run.log(done, len(index) * (2 if options.method == "dann" else 1), metrics)
            if done % save_every == 0 or done == run.total_steps or interrupted:
                run.save(done, {"model": model.state_dict(), "averaged": averaged.network.state_dict(),
                                "optimiser": optimiser.state_dict()})
            if interrupted and done < run.total_steps:
                return None
    return final_network(averaged.network, data, options, device)


def learning_rate(options: Options, step: int, progress: float) -> float:
    """Constant, or a warm-up of 50 steps and half a cosine down to zero."""
    if not options.cosine:
        return options.lr
    return options.lr * min(1.0, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * progress))


def source_view(images: Tensor, options: Options, generator: torch.Generator) -> Tensor:
    """Labelled images (N, 3, 28, 28) uint8 → float in [0, 1], varied towards what the other domain looks like."""
    images = images.float() / 255
    if options.augment == "strong":
        return augment.strong(images, options.source_zoom, options.beside, options.thickness, options.clutter, generator)
    return augment.mild(images, generator) if options.augment == "mild" else images


def target_view(images: Tensor, options: Options, generator: torch.Generator) -> Tensor:
    """Unlabelled images likewise; neighbours and clutter they have already."""
    images = images.float() / 255
    if options.augment == "strong":
        return augment.strong(images, options.target_zoom, 0, options.thickness, 0, generator)
    return augment.mild(images, generator) if options.augment == "mild" else images


def final_network(averaged: DANN, data: Data, options: Options, device: torch.device) -> DANN:
    """The averaged network in evaluation mode. Its BatchNorm statistics come from images of the domain that it is to classify;
    source-only, which may not see that domain, takes them from source images varied as in training, whose spread is the best
    guess at it."""
    if not options.adabn:
        return copy.deepcopy(averaged).eval()
    if options.method == "source-only":
        return estimate_statistics(averaged, labelled_views(data, options, 10_000, device))
    return estimate_statistics(averaged, [part.float() / 255 for part in data.unlabelled[:10_000].split(500)])


def labelled_views(data: Data, options: Options, count: int, device: torch.device) -> list[Tensor]:
    """Batches of labelled images, varied as in training, the same at every call."""
    generator = torch.Generator(device).manual_seed(options.seed)
    return [source_view(part, options, generator) for part in data.images[:count].split(500)]


def held_out_accuracy(averaged: DANN, data: Data, options: Options, device: torch.device, precision: str) -> float:
    """Percent of the labelled domain's held-out images that the averaged network classifies rightly."""
    network = copy.deepcopy(averaged).eval()
    with autocast(device, precision):
        if options.adabn:
            network = estimate_statistics(averaged, labelled_views(data, options, 2000, device))
        right = predict_classes(network, data.held_images) == data.held_labels
    return 100 * right.float().mean().item()


def main() -> None:
    parser = Parser(prog="python -m dann.train", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("hw3_data"), help="folder that scripts.prepare_data made")
    parser.add_argument("--preset", choices=PRESETS, default="default", help="our recipe, or the original report's")
    parser.add_argument("--run", type=Path, help="run folder to make (default: runs/dann/<time>-<method>-<source>-<target>)")
    parser.add_argument("--resume", type=Path, metavar="RUN", help="continue the run of that folder with its own options")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="auto measures what is faster")
    parser.add_argument("--dry-run", action="store_true", help="print the options, the data and the network's size, and stop")
    parser.add_argument("--tensorboard", action="store_true", help="also write TensorBoard's event files into the run folder")
    add_options(parser, Options)
    args = parser.parse_args()

    if args.resume:
        before = runs.read_options(args.resume)
        options = replace(Options(), before)
        given = options_from(args, options)
        if changed := runs.differences(dataclasses.asdict(options), dataclasses.asdict(given)):
            raise InputError(f"--resume continues {args.resume} with the options it was started with, but: {changed}")
        # a run goes on in the precision it was started in, or it would not be the same run
        args.precision, args.preset = before["precision"], before["preset"]
    else:
        named = {name: getattr(args, name) for name in ("method", "source", "target") if hasattr(args, name)}
        options = options_from(args, preset(args.preset, **complete(named)))
        if hasattr(args, "steps") and not hasattr(args, "epochs"):  # what was asked for, whatever the preset counts in
            options = dataclasses.replace(options, epochs=0)
    check(options)

    device = choose_device(args.device)
    precision = choose_precision(args.precision, device)
    data = Data(options, args.data, device)
    if options.epochs:
        options = dataclasses.replace(options, steps=options.epochs * max(1, len(data.images) // options.batch))
    written = {"preset": args.preset, "precision": precision, **dataclasses.asdict(options)}
    if args.dry_run:
        network = build(options.network, options.width, options.conditional)
        print("\n".join(f"{name:<12} {value}" for name, value in written.items()))
        print(f"{sum(p.numel() for p in network.parameters()):,} parameters; {len(data.images):,} labelled images, "
              f"{len(data.held_images):,} held out; {describe(device)}")
        return

    if args.resume:
        run, state = runs.resume(args.resume, options.steps, device, args.tensorboard)
    else:
        name = f"{options.method}-{options.source}-{options.target}"
        folder = args.run or runs.new_folder("dann", name)
        run, state = runs.start(folder, written, options.steps, args.tensorboard), None
    run.say(f"{options.method}, {options.source} -> {options.target}, {options.steps} steps, seed {options.seed}; "
            f"{describe(device)}, {precision}; {run.folder}")
    trained = train(options, data, run, state, device, precision)
    if trained is None:
        run.say(f"stopped; continue with: python -m dann.train --data {args.data} --resume {run.folder}")
        raise KeyboardInterrupt
    card = {"command": command(args.preset, options), "options": written, "steps": options.steps, "seed": options.seed,
            "selection": "the last step of a fixed schedule" + (", averaged weights (EMA)" if options.ema else ""),
            "hardware": describe(device), "seconds": round(run.elapsed()), "versions": versions(), "data": data.hashes}
    save_weights(run.folder / "weights.safetensors", trained, card)
    run.say(f"{run.folder / 'weights.safetensors'} after {run.elapsed() / 60:.1f} minutes; measure it with: "
            f"python -m dann.evaluate --weights {run.folder / 'weights.safetensors'} --data {args.data}")


if __name__ == "__main__":
    run_main(main)
