"""The recipes: what `--preset` names. Each line says why it is so."""

from __future__ import annotations

import argparse
import dataclasses

from common.adversary import REPORT, Game, check_game
from common.cli import InputError
from common.options import flags, option, options_from

PRESETS = ("default", "report")


@dataclasses.dataclass(frozen=True)
class Options(Game):
    """The released run."""

    d_width: int = option(32, "channels of the discriminator's first stage; half the generator's: twice as many steps",
                         least=0, most=512)
    attribute: str = option("Smiling", "what the generator is told: a column of the faces' table")
    class_weight: float = option(1.0, "of the class loss for the generator", least=0, most=1000)
    pair_weight: float = option(1.0, "of the difference between the two faces of one noise; 0: none are made in training",
                                least=0, most=1000)
    class_on_fake: bool = option(False, "the discriminator's classifier learns from generated faces too, as in the paper")
    balanced: bool = option(True, "faces with and without the attribute equally often")
    keep: str = option("Male", "other attributes that a pair should keep, with commas between them, or ''. The discriminator "
                       "learns them too, and the first is balanced")
    keep_weight: float = option(3.0, "of the difference within a pair in the discriminator's logits of these attributes",
                                least=0, most=1000)
    strength: float = option(3.0, "how far apart a pair's class values are that figures show, about 0.5; training has 1",
                             least=-100, most=100)


def preset(name: str) -> Options:
    """`report` is the original's recipe (report, section 4); `default` is ours."""
    if name == "report":
        return Options(**REPORT, d_width=0, class_on_fake=True, pair_weight=0.0, balanced=False, keep="", strength=1.0)
    return Options()


def chosen(args: argparse.Namespace) -> Options:
    """The preset that the command line names, with what else it gives in its place."""
    options = options_from(args, preset(args.preset))
    if options.pair_weight and (options.batch % 2 or not options.balanced):
        raise InputError("--pair-weight needs --balanced and an even --batch: half of the faces are of each class")
    check_game(options)
    return options


def columns(options: Options) -> list[str]:
    """The attributes that training reads: the class, and those that a pair should keep."""
    others = [name.strip() for name in options.keep.split(",")]
    return list(dict.fromkeys([options.attribute, *filter(None, others)]))


def command(name: str, options: Options) -> str:
    """The shortest command that makes a run with these options."""
    return "python -m acgan.train" + (f" --preset {name}" if name != "default" else "") + flags(options, preset(name))
