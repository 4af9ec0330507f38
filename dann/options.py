"""The recipes: what `--preset` names. Each line says why it is so."""

from __future__ import annotations

import argparse
import dataclasses
import shlex

from common.cli import InputError
from common.domains import pair
from common.options import flags, option, options_from, seed_option
from common.views import Augmentation, towards

METHODS = ("source-only", "dann", "target-only")
PRESETS = ("default", "report")


@dataclasses.dataclass(frozen=True)
class Options(Augmentation):
    """The released runs, MNIST-M → SVHN; `preset` knows where the other direction and the other methods differ."""

    method: str = option("dann", "what to train", METHODS)
    source: str = option("mnistm", "domain with labels: mnistm, svhn, or a folder of images")
    target: str = option("svhn", "domain to be classified, likewise; its labels are not read")
    network: str = option("default", "the report's, or six 3x3 convolutions", PRESETS)
    width: int = option(32, "channels of the default network's first stage; 32 is 0.29 M parameters", least=1, most=1024)
    steps: int = option(5000, "the schedule's length; its end is the result", least=1, most=10**9)
    epochs: int = option(0, "where not 0, the schedule's length in epochs of the labelled images instead", least=0, most=10**6)
    batch: int = option(96, "images of each domain per step", least=2, most=10**6)
    lr: float = option(1e-3, "Adam's learning rate", above=0, most=10)
    cosine: bool = option(True, "50 steps of warm-up, then decay of the learning rate to zero")
    adversary: float = option(1.0, "the value that the reversal strength λ rises to", least=0, most=1000)
    conditional: bool = option(True, "the domain classifier sees features x predicted classes, so that it aligns class by class")
    entropy: float = option(1.0, "weight of the target predictions' entropy at the end of its ramp", least=0, most=1000)
    views: int = option(2, "of each target image in a step, each augmented anew; the entropy is that of their mean prediction",
                        least=1, most=100)
    balance: float = option(0.05, "weight of the term that keeps every class predicted on the target", least=0, most=1000)
    balanced: bool = option(True, "every class equally often in a source batch: the source's class prior is not the target's")
    ema: float = option(0.998, "decay of the averaged weights that are evaluated; 0 evaluates the last weights", least=0, below=1)
    adabn: bool = option(True, "BatchNorm statistics of the released network from images without labels (AdaBN)")
    held_out: int = option(2000, "labelled images kept from training, for the progress line alone", least=0, most=10**9)
    seed: int = seed_option()


def preset(name: str, method: str, source: str, target: str) -> Options:
    """`report` is the original's recipe as its code has it (docs: report/report.md); `default` is ours."""
    options = Options(method=method, source=source, target=target)
    if name == "report":
        # the paper adds the two domains' losses where ours takes their mean: its λ up to 1 is ours up to 2
        from_mnistm = source == "mnistm"
        return dataclasses.replace(
            options, network="report", epochs=1 if method == "source-only" and from_mnistm else 50, batch=128,
            lr=1e-3 if method == "dann" and from_mnistm else 1e-4, cosine=False, adversary=2.0, conditional=False, views=1,
            entropy=0.0, balance=0.0, augment="none", balanced=False, ema=0.0, adabn=False, held_out=0)
    if method == "target-only":  # one domain, hence no need to look like another
        return dataclasses.replace(options, augment="mild", batch=128, balanced=False)
    if method == "source-only":  # half the work per step, and nothing to wait for
        options = dataclasses.replace(options, batch=128, steps=3000)
    return dataclasses.replace(options, **towards(source, target))


def chosen(args: argparse.Namespace) -> Options:
    """The preset that the command line names, with what else it gives in its place. (target-only reads the target alone.)"""
    source, target = pair(getattr(args, "source", None), getattr(args, "target", None))
    if source == target:
        raise InputError(f"source and target are both {source}; name two domains, or use --method target-only")
    options = options_from(args, preset(args.preset, getattr(args, "method", Options.method), source, target))
    if hasattr(args, "steps") and not hasattr(args, "epochs"):  # what was asked for, whatever the preset counts in
        return dataclasses.replace(options, epochs=0)
    return options


def command(name: str, options: Options) -> str:
    """The shortest command that makes a run with these options."""
    base = preset(name, options.method, options.source, options.target)
    return (f"python -m dann.train --method {options.method} --source {shlex.quote(options.source)} "
            f"--target {shlex.quote(options.target)}"
            + (f" --preset {name}" if name != "default" else "") + flags(options, base, ("steps",) if options.epochs else ()))
