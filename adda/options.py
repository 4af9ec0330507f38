"""The recipes: what `--preset` names. Each line says why it is so."""

from __future__ import annotations

import argparse
import dataclasses
import shlex

from common.cli import InputError
from common.domains import pair
from common.options import flags, option, options_from, seed_option
from common.views import Augmentation, towards

METHODS = ("adda", "adda+st", "target-only")
PRESETS = ("default", "report")


@dataclasses.dataclass(frozen=True)
class Options(Augmentation):
    """The released runs, MNIST-M → SVHN; `preset` knows where the other direction differs."""

    invert: bool = option(False, "dark may become light, in all channels or in one; off: the teacher sees no such images")
    method: str = option("adda+st", "ADDA, ADDA and then self-training, or stage 1 alone on the target's labels", METHODS)
    source: str = option("mnistm", "domain with labels: mnistm, svhn, or a folder of images")
    target: str = option("svhn", "domain to be classified, likewise; its labels are not read")
    network: str = option("default", "the report's, or six 3x3 convolutions", PRESETS)
    width: int = option(32, "channels of the default network's first stage; 32 is 0.29 M parameters", least=1, most=1024)
    source_steps: int = option(3000, "stage 1: encoder and classifier on the source", least=1, most=10**9)
    adversarial_steps: int = option(1000, "stage 2: target encoder against discriminator; longer drifts; 0 leaves it out", least=0,
                                    most=10**9)
    students: int = option(2, "networks trained side by side in stage 3, each from stages 1 and 2 of its own; the mean of their "
                           "averages is the teacher, and the first is the result", least=1, most=100)
    self_training_steps: int = option(10_000, "stage 3; its end is the result", least=0, most=10**9)
    epochs: int = option(0, "where not 0, the length of stage 1 in epochs of its images instead", least=0, most=10**6)
    batch: int = option(128, "images of a domain per step", least=2, most=10**6)
    source_batch: int = option(64, "source images per step of self-training", least=2, most=10**6)
    lr: float = option(1e-3, "Adam's learning rate in stages 1 and 3", above=0, most=10)
    optimiser: str = option("adam", "of stages 1 and 3: Adam, 50 steps of warm-up and then cosine decay of its rate to zero; or "
                            "the original's SGD, whose rate falls with the epochs", ("adam", "sgd"))
    encoder_lr: float = option(1e-4, "of the target encoder in stage 2; small, or it forgets its classes", above=0, most=10)
    discriminator_lr: float = option(1e-3, "of the discriminator", above=0, most=10)
    betas: tuple[float, float] = option((0.5, 0.9), "decays of Adam in stage 2", least=0, below=1)
    weight_decay: float = option(0.0, "of SGD, and of Adam in stage 2", least=0, most=1)
    joint: bool = option(False, "the discriminator sees both domains in one batch, in its own step and in the encoder's; else each "
                         "domain by itself. (To one without BatchNorm, as ours, it is the same.)")
    conditional: bool = option(True, "the discriminator sees features x predicted classes, so that it aligns class by class")
    threshold: float = option(0.9, "a target image is learned where the teacher's confidence exceeds this share of the source's",
                              least=0, below=1)
    ramp: float = option(0.5, "share of stage 3 over which the target's loss grows to full weight", above=0, most=1)
    balance: float = option(0.01, "weight of the term that keeps every class predicted on the target, until the target's loss has "
                            "its full weight", least=0, most=1000)
    balanced: bool = option(True, "every class equally often in a source batch: the source's class prior is not the target's")
    ema: float = option(0.998, "decay of the averaged weights: teacher and result; 0 takes the last weights", least=0, below=1)
    adabn: bool = option(True, "BatchNorm statistics of each released network from unlabelled images of its domain (AdaBN)")
    held_out: int = option(2000, "source images kept from training, for the progress line alone", least=0, most=10**9)
    seed: int = seed_option()


def preset(name: str, method: str, source: str, target: str) -> Options:
    """`report` is the original's recipe as its code has it (docs: report/report.md); `default` is ours."""
    options = Options(method=method, source=source, target=target,
                      students=Options.students if method == "adda+st" else 1,
                      self_training_steps=Options.self_training_steps if method == "adda+st" else 0,
                      adversarial_steps=0 if method == "target-only" else Options.adversarial_steps)
    if name == "report":
        return dataclasses.replace(
            options, network="report", augment="none", epochs=10, lr=0.01, optimiser="sgd", weight_decay=2.5e-4,
            adversarial_steps=0 if method == "target-only" else 936,  # two epochs of 60,000 images
            encoder_lr=2e-4, discriminator_lr=2e-4, betas=(0.5, 0.999), conditional=False, balanced=False, ema=0.0, adabn=False,
            held_out=0)
    if source == "svhn":  # its encoder knows more than it needs for drawn digits, and bears larger steps
        options = dataclasses.replace(options, encoder_lr=5e-4, discriminator_lr=4e-3)
    return dataclasses.replace(options, **towards(source, target))


def chosen(args: argparse.Namespace) -> Options:
    """The preset that the command line names, with what else it gives in its place."""
    source, target = pair(getattr(args, "source", None), getattr(args, "target", None))
    method = getattr(args, "method", "adda" if args.preset == "report" else Options.method)
    if source == target:
        raise InputError(f"source and target are both {source}; name two domains")
    options = options_from(args, preset(args.preset, method, source, target))
    if method == "adda+st" and options.network == "report":
        raise InputError("the report's recipe has no self-training; use --method adda with --preset report")
    if method == "target-only" and args.preset != "report":
        raise InputError("our network's upper bound is made by dann.train --method target-only")
    if (options.self_training_steps > 0) != (method == "adda+st"):
        raise InputError("--method adda+st needs --self-training-steps of 1 or more, and other methods make none")
    if options.students > 1 and method != "adda+st":
        raise InputError("several --students are for --method adda+st")
    if hasattr(args, "source_steps") and not hasattr(args, "epochs"):
        return dataclasses.replace(options, epochs=0)  # what was asked for, whatever the preset counts in
    return options


def command(name: str, options: Options) -> str:
    """The shortest command that makes a run with these options."""
    base = preset(name, options.method, options.source, options.target)
    counted = ("source_steps",) if options.epochs else ()
    return (f"python -m adda.train --method {options.method} --source {shlex.quote(options.source)} "
            f"--target {shlex.quote(options.target)}"
            + (f" --preset {name}" if name != "default" else "") + flags(options, base, counted))
