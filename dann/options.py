"""The recipes: what `--preset` names. Each line says why it is so."""

from __future__ import annotations

import argparse
import dataclasses

from common.cli import InputError
from common.domains import DOMAINS, pair
from common.options import flags, option, options_from, require_positive, require_share
from common.views import TOWARDS_MNISTM, Views

METHODS = ("source-only", "dann", "target-only")
PRESETS = ("default", "report")


@dataclasses.dataclass(frozen=True)
class Options(Views):
    """The released runs, MNIST-M → SVHN; `preset` knows where the other direction and the other methods differ."""

    method: str = option("dann", "what to train", METHODS)
    source: str = option("mnistm", "domain with labels", DOMAINS)
    target: str = option("svhn", "domain to be classified", DOMAINS)
    network: str = option("default", "the report's, or six 3x3 convolutions", PRESETS)
    width: int = option(32, "channels of the default network's first stage; 32 is 0.29 M parameters")
    steps: int = option(5000, "the schedule's length; its end is the result")
    epochs: int = option(0, "where not 0, the schedule's length in epochs of the labelled images instead")
    batch: int = option(96, "images of each domain per step")
    lr: float = option(1e-3, "Adam's learning rate")
    cosine: bool = option(True, "50 steps of warm-up, then decay of the learning rate to zero")
    adversary: float = option(1.0, "the value that the reversal strength λ rises to")
    conditional: bool = option(True, "the domain classifier sees features x predicted classes, so that it aligns class by class")
    entropy: float = option(1.0, "weight of the target predictions' entropy at the end of its ramp")
    balance: float = option(0.05, "weight of the term that keeps every class predicted on the target")
    balanced: bool = option(True, "every class equally often in a source batch: the source's class prior is not the target's")
    ema: float = option(0.998, "decay of the averaged weights that are evaluated; 0 evaluates the last weights")
    adabn: bool = option(True, "BatchNorm statistics of the released network from images without labels (AdaBN)")
    held_out: int = option(2000, "labelled images kept from training, for the progress line alone")
    seed: int = option(0, "of everything random")


def preset(name: str, method: str, source: str, target: str) -> Options:
    """`report` is the original's recipe (report, section 5); `default` is ours."""
    options = Options(method=method, source=source, target=target)
    if name == "report":
        # the paper adds the two domains' losses where ours takes their mean: its λ up to 1 is ours up to 2
        return dataclasses.replace(
            options, network="report", epochs=50, batch=128, lr=1e-4, cosine=False, adversary=2.0, conditional=False, entropy=0.0,
            balance=0.0, augment="none", balanced=False, ema=0.0, adabn=False)
    if method == "target-only":  # one domain, hence no need to look like another
        return dataclasses.replace(options, augment="mild", batch=128, balanced=False)
    if method == "source-only":  # half the work per step, and nothing to wait for
        options = dataclasses.replace(options, batch=128, steps=3000)
    return dataclasses.replace(options, **TOWARDS_MNISTM) if source == "svhn" else options


def chosen(args: argparse.Namespace) -> Options:
    """The preset that the command line names, with what else it gives in its place. (target-only reads the target alone.)"""
    source, target = pair(getattr(args, "source", None), getattr(args, "target", None))
    options = options_from(args, preset(args.preset, getattr(args, "method", Options.method), source, target))
    if hasattr(args, "steps") and not hasattr(args, "epochs"):  # what was asked for, whatever the preset counts in
        return dataclasses.replace(options, epochs=0)
    return options


def check(options: Options) -> None:
    """InputError for options that cannot train."""
    if options.source == options.target:
        raise InputError(f"source and target are both {options.source}; name two domains, or use --method target-only")
    require_positive(options, "steps", "batch", "lr", "width")
    require_share(options, "ema")
    if options.epochs < 0 or options.held_out < 0:
        raise InputError("--epochs and --held-out cannot be negative")


def command(name: str, options: Options) -> str:
    """The shortest command that makes a run with these options."""
    base = preset(name, options.method, options.source, options.target)
    return (f"python -m dann.train --method {options.method} --source {options.source} --target {options.target}"
            + (f" --preset {name}" if name != "default" else "") + flags(options, base, ("steps",) if options.epochs else ()))
