"""The recipes that `--preset` names."""

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
    """Options of the released runs, MNIST-M → SVHN. `preset` has those of the other direction and methods."""

    method: str = option("dann", "method to train", METHODS)
    source: str = option("mnistm", "labelled domain: mnistm, svhn, or a folder of images")
    target: str = option("svhn", "unlabelled domain to adapt to: mnistm, svhn, or a folder of images")
    network: str = option("default", "six 3x3 convolutions (default), or the network of the report", PRESETS)
    width: int = option(32, "channels of the default network's first stage; 32 is 0.29 M parameters",
                        least=1, most=1024)
    steps: int = option(5000, "training steps; the last one is the result", least=1, most=10**9)
    epochs: int = option(0, "if not 0, the length in epochs of the labelled images instead of --steps",
                         least=0, most=10**6)
    batch: int = option(96, "images of each domain per step", least=2, most=10**6)
    lr: float = option(1e-3, "learning rate of Adam", above=0, most=10)
    cosine: bool = option(True, "cosine decay of the learning rate to zero, after 50 steps of warm-up")
    adversary: float = option(1.0, "final value of the reversal strength λ", least=0, most=1000)
    conditional: bool = option(True, "the domain classifier sees the outer product of features and predicted "
                               "classes (CDAN)")
    entropy: float = option(1.0, "weight of the entropy of target predictions at the end of its ramp",
                            least=0, most=1000)
    views: int = option(2, "augmented views of each target image per step; --entropy applies to their mean "
                        "prediction", least=1, most=100)
    balance: float = option(0.05, "weight of the term that keeps every class predicted on the target",
                            least=0, most=1000)
    balanced: bool = option(True, "balance the classes in source batches; source and target differ in their "
                            "frequencies")
    ema: float = option(0.998, "decay of the weight average that is released; 0 releases the last weights",
                        least=0, below=1)
    adabn: bool = option(True, "BatchNorm statistics of the released network from unlabelled target images "
                         "(AdaBN)")
    held_out: int = option(2000, "labelled images held out for the progress line", least=0, most=10**9)
    seed: int = seed_option()


def preset(name: str, method: str, source: str, target: str) -> Options:
    """`report` is the recipe in the code of the original report (see report/report.md), `default` is ours."""
    options = Options(method=method, source=source, target=target)
    if name == "report":
        # the paper adds the losses of the two domains, and `domain_loss` averages them:
        # λ of 1 there is 2 here
        from_mnistm = source == "mnistm"
        return dataclasses.replace(
            options, network="report", epochs=1 if method == "source-only" and from_mnistm else 50, batch=128,
            lr=1e-3 if method == "dann" and from_mnistm else 1e-4, cosine=False, adversary=2.0,
            conditional=False, views=1, entropy=0.0, balance=0.0, augment="none", balanced=False, ema=0.0,
            adabn=False, held_out=0)
    if method == "target-only":  # trained and tested in one domain
        return dataclasses.replace(options, augment="mild", batch=128, balanced=False)
    if method == "source-only":  # converges in fewer steps
        options = dataclasses.replace(options, batch=128, steps=3000)
    return dataclasses.replace(options, **towards(source, target))


def chosen(args: argparse.Namespace) -> Options:
    """The options of the preset, with those that the command line sets in their place."""
    source, target = pair(getattr(args, "source", None), getattr(args, "target", None))
    if source == target:
        raise InputError(f"source and target are both {source}; name two domains, or use "
                         "--method target-only")
    options = options_from(args, preset(args.preset, getattr(args, "method", Options.method), source, target))
    # --steps takes precedence over a preset in epochs
    if hasattr(args, "steps") and not hasattr(args, "epochs"):
        return dataclasses.replace(options, epochs=0)
    return options


def command(name: str, options: Options) -> str:
    """The shortest command that starts a run with these options."""
    base = preset(name, options.method, options.source, options.target)
    return (f"python -m dann.train --method {options.method} --source {shlex.quote(options.source)} "
            f"--target {shlex.quote(options.target)}"
            + (f" --preset {name}" if name != "default" else "")
            + flags(options, base, ("steps",) if options.epochs else ()))
