"""What the command lines of all trainings do alike: options, resume, dry run, run folder, card."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from common import runs
from common.cli import InputError, Parser
from common.device import describe
from common.options import add_options, options_from, replace
from common.weights import save_weights, versions

T = TypeVar("T")


def arguments(program: str, description: str | None, options: type, presets: tuple[str, ...] = ()) -> Parser:
    """The parser of `python -m <program>`."""
    parser = Parser(prog=f"python -m {program}", description=description)
    parser.add_argument("--data", type=Path, default=Path("hw3_data"), help="folder that scripts.prepare_data made")
    if presets:
        parser.add_argument("--preset", choices=presets, default="default", help="our recipe, or the original report's")
    parser.add_argument("--run", type=Path, help=f"run folder to make (default: runs/{program.split('.')[0]}/<time>-<what>)")
    parser.add_argument("--resume", type=Path, metavar="RUN", help="continue the run of that folder with its own options")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="auto measures what is faster")
    parser.add_argument("--dry-run", action="store_true", help="print the options, the data and the network's size, and stop")
    parser.add_argument("--tensorboard", action="store_true", help="also write TensorBoard's event files into the run folder")
    add_options(parser, options)
    return parser


def resumed(args: argparse.Namespace, defaults: T) -> T:
    """The options of the run that --resume names; its preset and precision go into `args`, since a run that went on in another
    precision would not be the same run. InputError where the command line asks for other options, and where the folder lacks
    one: the run was started by code without it, and today's default may be another run."""
    before = runs.read_options(args.resume)
    if lacking := [field.name for field in dataclasses.fields(defaults) if field.name not in before]:  # type: ignore[arg-type]
        raise InputError(f"{args.resume / 'options.json'} is from another version, which had no {', '.join(lacking)}; "
                         "finish the run with that version, or start it again")
    options = replace(defaults, before)
    given = options_from(args, options)
    if changed := runs.differences(dataclasses.asdict(options), dataclasses.asdict(given)):  # type: ignore[call-overload]
        raise InputError(f"--resume continues {args.resume} with the options it was started with, but: {changed}")
    args.precision, args.preset = before["precision"], before.get("preset")
    return options


def show_plan(written: dict[str, Any], network: nn.Module, images: int, held_out: int, device: torch.device) -> None:
    """What --dry-run prints."""
    width = max(map(len, written))
    print("\n".join(f"{name:<{width}} {value}" for name, value in written.items()))
    print(f"{sum(p.numel() for p in network.parameters()):,} parameters; {images:,} labelled images, {held_out:,} held out; "
          f"{describe(device)}")


def carry_out(program: str, measure: str, name: str, args: argparse.Namespace, written: dict[str, Any], total_steps: int,
              card: dict[str, Any], device: torch.device, train: Callable[[runs.Run], nn.Module]) -> None:
    """Open the run folder (a new one with `name` in it, or the one to resume), train, and save the weights with their card: the
    given entries, and those that are the same for every training. `measure WEIGHTS` tells how good they are."""
    if args.resume:
        run = runs.resume(args.resume, total_steps, device, args.tensorboard)
    else:
        run = runs.start(args.run or runs.new_folder(program.split(".")[0], name), written, total_steps, args.tensorboard)
    run.say(f"{name}, {total_steps} steps, seed {written['seed']}; {describe(device)}, {written['precision']}; {run.folder}")
    try:
        with runs.interruptible(run.interrupted):
            network = train(run)
    except runs.Stopped:
        run.say(f"stopped; continue with: python -m {program} --data {args.data} --resume {run.folder}")
        raise KeyboardInterrupt from None
    weights = run.folder / "weights.safetensors"
    save_weights(weights, network, {
        **card, "options": written, "steps": total_steps, "seed": written["seed"], "hardware": describe(device),
        "seconds": round(run.elapsed()), "versions": versions()})
    run.say(f"{weights} after {run.elapsed() / 60:.1f} minutes; measure it with: "
            f"python -m {measure} {weights} --data {args.data}")
