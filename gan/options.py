"""The recipes: what `--preset` names."""

from __future__ import annotations

import argparse
import dataclasses

from common.adversary import KINDS, REPORT, Game
from common.options import flags, option, options_from

PRESETS = ("default", "report")


@dataclasses.dataclass(frozen=True)
class Options(Game):
    """The released run. The plain loss, and nothing varied that the discriminator sees: in short runs the better faces."""

    loss: str = option("bce", "the adversary's; relativistic: real is to look more real than generated", KINDS)
    disturb: bool = option(False, "augment what the discriminator sees, real and generated alike")


def preset(name: str) -> Options:
    """`report` is the original's recipe (report, section 3); `default` is ours."""
    return Options(**REPORT) if name == "report" else Options()


def chosen(args: argparse.Namespace) -> Options:
    """The preset that the command line names, with what else it gives in its place."""
    return options_from(args, preset(args.preset))


def command(name: str, options: Options) -> str:
    """The shortest command that makes a run with these options."""
    return "python -m gan.train" + (f" --preset {name}" if name != "default" else "") + flags(options, preset(name))
