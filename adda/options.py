"""The recipes that `--preset` names."""

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
    """The recipe for MNIST-M → SVHN. `preset` changes it for the other direction."""

    invert: bool = option(False, "also invert colours; off by default, since the teacher sees no "
                          "inverted images")
    method: str = option("adda+st", "ADDA; ADDA followed by self-training; or stage 1 only, with the "
                         "labels of the target", METHODS)
    source: str = option("mnistm", "labelled domain: mnistm, svhn, or a folder of images")
    target: str = option("svhn", "unlabelled domain to adapt to: mnistm, svhn, or a folder of images")
    network: str = option("default", "six 3x3 convolutions (default), or the network of the report", PRESETS)
    width: int = option(32, "channels of the default network's first stage; 32 is 0.29 M parameters",
                        least=1, most=1024)
    source_steps: int = option(3000, "steps of stage 1, encoder and classifier on the source",
                               least=1, most=10**9)
    adversarial_steps: int = option(1000, "steps of stage 2, target encoder against discriminator; too many "
                                    "make the features drift", least=0, most=10**9)
    students: int = option(2, "networks trained together in stage 3, each with its own stages 1 and 2; their "
                           "averaged predictions are the teacher, and the first network is the result",
                           least=1, most=100)
    self_training_steps: int = option(12_000, "steps of stage 3, self-training", least=0, most=10**9)
    epochs: int = option(0, "if not 0, the length of stage 1 in epochs instead of --source-steps",
                         least=0, most=10**6)
    batch: int = option(128, "images of each domain per step", least=2, most=10**6)
    source_batch: int = option(64, "source images per step of self-training", least=2, most=10**6)
    lr: float = option(1e-3, "learning rate of stages 1 and 3", above=0, most=10)
    optimiser: str = option("adam", "optimiser of stages 1 and 3: Adam with 50 steps of warm-up and cosine "
                            "decay, or the SGD of the report, whose learning rate falls after each epoch",
                            ("adam", "sgd"))
    encoder_lr: float = option(1e-4, "learning rate of the target encoder in stage 2; if too large, it "
                               "forgets its classes", above=0, most=10)
    discriminator_lr: float = option(1e-3, "learning rate of the discriminator", above=0, most=10)
    betas: tuple[float, float] = option((0.5, 0.9), "betas of Adam in stage 2", least=0, below=1)
    weight_decay: float = option(0.0, "weight decay of SGD, and of Adam in stage 2", least=0, most=1)
    joint: bool = option(False, "one discriminator batch for both domains instead of one each; it matters "
                         "only to a discriminator with BatchNorm, as in the report")
    conditional: bool = option(True, "the discriminator sees the outer product of features and predicted "
                               "classes (CDAN)")
    threshold: float = option(0.9, "learn a target image if the teacher's confidence exceeds this share "
                              "of that on the source", least=0, below=1)
    ramp: float = option(0.5, "share of stage 3 over which the loss on the target grows to its full weight",
                         above=0, most=1)
    balance: float = option(0.01, "weight of the term that keeps every class predicted on the target; it "
                            "falls as the loss on the target grows", least=0, most=1000)
    balanced: bool = option(True, "balance the classes in source batches; source and target differ in "
                            "their frequencies")
    ema: float = option(0.998, "decay of the weight average: teacher and result; 0 takes the last weights",
                        least=0, below=1)
    adabn: bool = option(True, "BatchNorm statistics of each released network from unlabelled images of its "
                         "domain (AdaBN)")
    held_out: int = option(2000, "source images held out for the progress line", least=0, most=10**9)
    seed: int = seed_option()


def preset(name: str, method: str, source: str, target: str) -> Options:
    """`report` is the recipe in the code of the original report (see report/report.md), `default` is ours."""
    options = Options(method=method, source=source, target=target,
                      students=Options.students if method == "adda+st" else 1,
                      self_training_steps=Options.self_training_steps if method == "adda+st" else 0,
                      adversarial_steps=0 if method == "target-only" else Options.adversarial_steps)
    if name == "report":
        return dataclasses.replace(
            options, network="report", augment="none", epochs=10, lr=0.01,
            optimiser="sgd", weight_decay=2.5e-4,
            adversarial_steps=0 if method == "target-only" else 936,  # two epochs of 60,000 images
            encoder_lr=2e-4, discriminator_lr=2e-4, betas=(0.5, 0.999), conditional=False, balanced=False,
            ema=0.0, adabn=False, held_out=0)
    if source == "svhn":  # an encoder trained on photographs tolerates larger steps
        options = dataclasses.replace(options, encoder_lr=5e-4, discriminator_lr=4e-3)
    return dataclasses.replace(options, **towards(source, target))


def chosen(args: argparse.Namespace) -> Options:
    """The options of the preset, with those that the command line sets in their place."""
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
        raise InputError("--method adda+st needs --self-training-steps of 1 or more, and other methods "
                         "make none")
    if options.students > 1 and method != "adda+st":
        raise InputError("several --students are for --method adda+st")
    if hasattr(args, "source_steps") and not hasattr(args, "epochs"):
        # --source-steps takes precedence over a preset in epochs
        return dataclasses.replace(options, epochs=0)
    return options


def command(name: str, options: Options) -> str:
    """The shortest command that starts a run with these options."""
    base = preset(name, options.method, options.source, options.target)
    counted = ("source_steps",) if options.epochs else ()
    return (f"python -m adda.train --method {options.method} --source {shlex.quote(options.source)} "
            f"--target {shlex.quote(options.target)}"
            + (f" --preset {name}" if name != "default" else "") + flags(options, base, counted))
