"""The recipes: what `--preset` names."""

from __future__ import annotations

import argparse

from common.adversary import REPORT, Game, check_game
from common.options import flags, options_from

PRESETS = ("default", "report")


Options = Game  # the released run


def preset(name: str) -> Options:
    """`report` is the original's recipe (report, section 3); `default` is ours."""
    return Options(**REPORT) if name == "report" else Options()


def chosen(args: argparse.Namespace) -> Options:
    """The preset that the command line names, with what else it gives in its place."""
    options = options_from(args, preset(args.preset))
    check_game(options)
    return options


def command(name: str, options: Options) -> str:
    """The shortest command that makes a run with these options."""
    return "python -m gan.train" + (f" --preset {name}" if name != "default" else "") + flags(options, preset(name))
