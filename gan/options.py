"""The options of a DCGAN training, and the presets that `--preset` selects."""

from __future__ import annotations

import argparse

from common.adversary import REPORT, GanOptions, check
from common.options import flags, options_from

PRESETS = ("default", "report")


Options = GanOptions  # the defaults are those of the released run


def preset(name: str) -> Options:
    """`report` is the recipe of the original report (section 3); `default` is this repository's."""
    return Options(**REPORT, epochs=50) if name == "report" else Options()


def chosen(args: argparse.Namespace) -> Options:
    """The preset selected on the command line, with the options given there in place of its values."""
    options = options_from(args, preset(args.preset))
    check(options)
    return options


def command(name: str, options: Options) -> str:
    """The shortest command that starts a run with these options."""
    return ("python -m gan.train" + (f" --preset {name}" if name != "default" else "")
            + flags(options, preset(name)))
