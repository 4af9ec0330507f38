"""The recipes: what `--preset` names. Each line says why it is so."""

from __future__ import annotations

import argparse
import dataclasses

from common.cli import InputError
from common.domains import DOMAINS, pair
from common.options import flags, option, options_from, require_positive, require_share
from common.views import TOWARDS_MNISTM, Views

METHODS = ("adda", "adda+st")
PRESETS = ("default", "report")


@dataclasses.dataclass(frozen=True)
class Options(Views):
    """The released runs, MNIST-M → SVHN; `preset` knows where the other direction differs."""

    invert: bool = option(False, "dark may become light, in all channels or in one; off: the teacher sees no such images")
    method: str = option("adda+st", "ADDA, or ADDA and then self-training", METHODS)
    source: str = option("mnistm", "domain with labels", DOMAINS)
    target: str = option("svhn", "domain to be classified", DOMAINS)
    network: str = option("default", "the report's, or six 3x3 convolutions", PRESETS)
    width: int = option(32, "channels of the default network's first stage; 32 is 0.29 M parameters")
    normalise: bool = option(True, "the default network takes every channel of every image to mean 0, variance 1; else to [-1, 1]")
    source_steps: int = option(3000, "stage 1: encoder and classifier on the source")
    adversarial_steps: int = option(1000, "stage 2: target encoder against discriminator; longer drifts; 0 leaves it out")
    self_training_steps: int = option(16_000, "stage 3; its end is the result")
    epochs: int = option(0, "where not 0, the length of stages 1 and 2, each, in epochs of the source's images instead")
    batch: int = option(128, "images of a domain per step")
    source_batch: int = option(64, "source images per step of self-training")
    lr: float = option(1e-3, "Adam's learning rate in stages 1 and 3")
    cosine: bool = option(True, "50 steps of warm-up, then decay of that learning rate to zero, in either stage")
    encoder_lr: float = option(1e-4, "of the target encoder in stage 2; small, or it forgets its classes")
    discriminator_lr: float = option(1e-3, "of the discriminator")
    conditional: bool = option(True, "the discriminator sees features x predicted classes, so that it aligns class by class")
    threshold: float = option(0.9, "a target image is learned where the teacher's confidence exceeds this share of the source's")
    ramp: float = option(0.5, "share of stage 3 over which the target's loss grows to full weight")
    balance: float = option(0.01, "weight of the term that keeps every class predicted on the target")
    fade: bool = option(True, "the balance term goes as the target's loss comes, and is gone when that has its full weight")
    balanced: bool = option(True, "every class equally often in a source batch: the source's class prior is not the target's")
    ema: float = option(0.998, "decay of the averaged weights: teacher and result; 0 takes the last weights")
    adabn: bool = option(True, "BatchNorm statistics of each released network from unlabelled images of its domain (AdaBN)")
    held_out: int = option(2000, "source images kept from training, for the progress line alone")
    seed: int = option(0, "of everything random")


def preset(name: str, method: str, source: str, target: str) -> Options:
    """`report` is the original's recipe (report, section 6), with the batch and the length of its other problems where it names
    none; `default` is ours."""
    steps = 0 if method == "adda" else Options.self_training_steps
    options = Options(method=method, source=source, target=target, self_training_steps=steps)
    if name == "report":
        return dataclasses.replace(
            options, network="report", epochs=50, lr=1e-4, cosine=False, encoder_lr=1e-4, discriminator_lr=1e-4, conditional=False,
            augment="none", balanced=False, ema=0.0, adabn=False)
    if source == "svhn":  # its encoder knows more than it needs for drawn digits, and bears larger steps
        return dataclasses.replace(options, encoder_lr=5e-4, discriminator_lr=4e-3, **TOWARDS_MNISTM)
    return options


def chosen(args: argparse.Namespace) -> Options:
    """The preset that the command line names, with what else it gives in its place."""
    source, target = pair(getattr(args, "source", None), getattr(args, "target", None))
    method = getattr(args, "method", "adda" if args.preset == "report" else Options.method)
    options = options_from(args, preset(args.preset, method, source, target))
    if (hasattr(args, "source_steps") or hasattr(args, "adversarial_steps")) and not hasattr(args, "epochs"):
        return dataclasses.replace(options, epochs=0)  # what was asked for, whatever the preset counts in
    return options


def check(options: Options) -> None:
    """InputError for options that cannot train."""
    if options.source == options.target:
        raise InputError(f"source and target are both {options.source}; name two domains")
    if options.method == "adda+st" and options.network == "report":
        raise InputError("the report's recipe has no self-training; use --method adda with --preset report")
    require_positive(options, "source_steps", "batch", "source_batch", "lr", "encoder_lr", "discriminator_lr",
                     "width", "ramp", *(("self_training_steps",) if options.method == "adda+st" else ()))
    require_share(options, "ema", "threshold")
    if min(options.adversarial_steps, options.epochs, options.held_out, options.balance) < 0:
        raise InputError("--adversarial-steps, --epochs, --held-out and --balance cannot be negative")


def command(name: str, options: Options) -> str:
    """The shortest command that makes a run with these options."""
    base = preset(name, options.method, options.source, options.target)
    counted = ("source_steps", "adversarial_steps") if options.epochs else ()
    return (f"python -m adda.train --method {options.method} --source {options.source} --target {options.target}"
            + (f" --preset {name}" if name != "default" else "") + flags(options, base, counted))
