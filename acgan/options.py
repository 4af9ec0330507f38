"""The options of an ACGAN training, and the presets that `--preset` selects."""

from __future__ import annotations

import argparse
import dataclasses

from common.adversary import REPORT, GanOptions, check
from common.cli import InputError
from common.options import flags, option, options_from

PRESETS = ("default", "report")


@dataclasses.dataclass(frozen=True)
class Options(GanOptions):
    """The defaults are those of the released run, which had 14 epochs."""

    d_width: int = option(32, "channels of the discriminator's first stage; half the generator's width, for "
                          "faster steps", least=0, most=512)
    attribute: str = option("Smiling", "the attribute to condition on: a column of the table of attributes")
    class_weight: float = option(1.0, "weight of the class loss for the generator", least=0, most=1000)
    pair_weight: float = option(1.0, "weight of the pixel difference between the two faces of one noise "
                                "vector; 0: no pairs", least=0, most=1000)
    class_on_fake: bool = option(False, "train the discriminator's classifier on generated faces too, as in "
                                 "the paper")
    balanced: bool = option(True, "sample faces with and without the attribute equally often")
    keep: str = option("Male", "comma-separated attributes that should not change within a pair, or ''. The "
                       "discriminator predicts them too; batches are also balanced over the first one")
    keep_weight: float = option(3.0, "weight of the difference within a pair of the discriminator's logits "
                                "of --keep", least=0, most=1000)
    strength: float = option(3.0, "difference, centred at 0.5, between the class values of a pair in "
                             "figures; training uses 1", least=-100, most=100)


def preset(name: str) -> Options:
    """`report` is the recipe of the original report (section 4); `default` is this repository's."""
    if name == "report":
        return Options(**REPORT, epochs=100, d_width=0, class_on_fake=True, pair_weight=0.0, balanced=False,
                       keep="", strength=1.0)
    return Options()


def chosen(args: argparse.Namespace) -> Options:
    """The preset selected on the command line, with the options given there in place of its values."""
    options = options_from(args, preset(args.preset))
    if options.pair_weight and (options.batch % 2 or not options.balanced):
        raise InputError("--pair-weight needs --balanced and an even --batch: "
                         "each class is half of the batch")
    check(options)
    return options


def columns(options: Options) -> list[str]:
    """The attributes that training reads: the class, then those of `keep`."""
    others = [name.strip() for name in options.keep.split(",")]
    return list(dict.fromkeys([options.attribute, *filter(None, others)]))


def command(name: str, options: Options) -> str:
    """The shortest command that starts a run with these options."""
    return ("python -m acgan.train" + (f" --preset {name}" if name != "default" else "")
            + flags(options, preset(name)))
