"""The recipes: what `--preset` names. Each line says why it is so."""

from __future__ import annotations

import argparse
import dataclasses

from common.adversary import KINDS
from common.cli import InputError
from common.options import flags, option, options_from, require_positive, require_share

PRESETS = ("default", "report")


@dataclasses.dataclass(frozen=True)
class Options:
    """The released run."""

    loss: str = option("relativistic", "the adversary's; relativistic: real is to look more real than generated", KINDS)
    width: int = option(64, "channels of the generator's last stage; 64 is 3.6 M parameters, 32 suits small machines")
    epochs: int = option(20, "passes over the faces; the end is the result")
    batch: int = option(64, "faces per step")
    lr: float = option(2e-4, "Adam's learning rate, of either network")
    beta1: float = option(0.5, "Adam's first decay: less momentum than usual, since the other network moves too")
    flip: bool = option(True, "mirror half of the faces")
    disturb: bool = option(True, "augment what the discriminator sees, real and generated alike")
    ema: float = option(0.999, "decay of the averaged generator that is released; 0 releases the last weights")
    seed: int = option(0, "of everything random")


def preset(name: str) -> Options:
    """`report` is the original's recipe (report, section 3); `default` is ours."""
    if name == "report":
        return Options(loss="bce", epochs=100, batch=128, flip=False, disturb=False, ema=0.0)
    return Options()


def chosen(args: argparse.Namespace) -> Options:
    """The preset that the command line names, with what else it gives in its place."""
    return options_from(args, preset(args.preset))


def check(options: Options) -> None:
    """InputError for options that cannot train."""
    require_positive(options, "width", "epochs", "batch", "lr")
    require_share(options, "ema", "beta1")
    if options.batch < 2:
        raise InputError("--batch must be at least 2, since BatchNorm needs company")


def command(name: str, options: Options) -> str:
    """The shortest command that makes a run with these options."""
    return "python -m gan.train" + (f" --preset {name}" if name != "default" else "") + flags(options, preset(name))
