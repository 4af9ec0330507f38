"""The command line, the run folder and the card that all trainings share."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from common import processes, runs
from common.cli import InputError, Parser, whole
from common.device import choose_device, choose_precision, describe
from common.domains import absolute
from common.files import only_one
from common.options import add_options, check, flag, from_json, options_from, replace, show_defaults
from common.weights import save_weights, versions

T = TypeVar("T")


def arguments(program: str, description: str | None, options: type, presets: tuple[str, ...] = ()) -> Parser:
    """The parser of `python -m <program>`."""
    parser = Parser(prog=f"python -m {program}", description=description)
    parser.add_argument("--data", type=Path, default=Path("hw3_data"),
                        help="folder that scripts.prepare_data made")
    if presets:
        parser.add_argument("--preset", choices=presets,
                            help="our recipe (default), or the original report's")
    parser.add_argument("--run", type=Path,
                        help=f"run folder to make (default: runs/{program.split('.')[0]}/<time>-<what>)")
    parser.add_argument("--resume", type=Path, metavar="RUN",
                        help="continue the run of that folder with its own options")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"),
                        help="of the arithmetic (default: auto, which takes bf16 where the hardware has it)")
    parser.add_argument("--dry-run", action="store_true",
                        help="print the options, the data and the network's size, and stop")
    parser.add_argument("--tensorboard", action="store_true",
                        help="also write TensorBoard's event files into the run folder")
    parser.add_argument("--log-every", type=whole(1), default=200, metavar="STEPS",
                        help="steps from one line of progress to the next; fewer suit a short run")
    add_options(parser, options)
    return parser


@dataclasses.dataclass
class Setting:
    """The inputs of a training: program, command line, options, preset, device and precision."""

    program: str
    args: argparse.Namespace
    options: Any
    preset: str
    device: torch.device
    precision: str
    before: dict[str, Any] | None  # options.json of the run that is resumed


def setting(parser: Parser, cls: type[T], chosen: Callable[[argparse.Namespace], T],
            may_grow: Callable[[T], bool] = lambda options: False) -> Setting:
    """Parse the command line. The options are those of the run given by --resume, or those that `chosen`
    derives from the arguments. They are validated. `may_grow` says whether a run with these options can be
    resumed for more epochs."""
    if {"-h", "--help"} & {*sys.argv[1:]}:  # with the defaults for the other arguments given
        given = parser.parse_known_args([argument for argument in sys.argv[1:]
                                         if argument not in ("-h", "--help")])[0]
        given.preset = getattr(given, "preset", None) or "default"
        show_defaults(parser, chosen(given))
    args, program = parser.parse_args(), parser.prog.removeprefix("python -m ")
    for role in {"source", "target"} & {*vars(args)}:
        setattr(args, role, absolute(getattr(args, role)))
    before = None
    if args.resume:
        options, before = _resumed(args, program, cls, chosen, may_grow)
    else:
        args.preset, args.precision = getattr(args, "preset", None) or "default", args.precision or "auto"
        options = chosen(args)
        check(options)
    for name in ("batch", "source_batch"):
        if (batch := getattr(options, name, 0)) % processes.COUNT:
            raise InputError(f"{flag(name)} {batch} cannot be shared equally among "
                             f"{processes.COUNT} processes; choose a multiple of {processes.COUNT}")
    device = choose_device(processes.join(args.device))
    return Setting(program, args, options, args.preset, device, choose_precision(args.precision, device),
                   before)


def _resumed(args: argparse.Namespace, program: str, cls: type[T], chosen: Callable[[argparse.Namespace], T],
             may_grow: Callable[[T], bool]) -> tuple[T, dict[str, Any]]:
    """The options of the run of --resume, and its options.json. Preset and precision are copied into `args`,
    since a run cannot change its precision. InputError if the command line asks for something else."""
    before, file = runs.read_options(args.resume), args.resume / "options.json"
    if before.get("program") != program:
        raise InputError(f"{args.resume} is a run of {before.get('program', 'an earlier version')}, not of "
                         f"{program}; continue it with the program that began it")
    options = from_json(cls, before, file)
    if gone := sorted(before.keys() - written_names(cls)):
        raise InputError(f"{file} was written by an earlier version (it has {', '.join(gone)}); "
                         "start the run again")
    if (before.get("precision") not in ("fp32", "bf16") or not isinstance(before.get("data"), dict)
            or "preset" not in before):
        raise InputError(f"{file} is damaged (its preset, its precision or its data is missing); start the "
                         "run again")
    given = {name: getattr(args, name) for name in ("preset", "precision")
             if getattr(args, name, None) not in (None, "auto")}
    if args.run:
        raise InputError(f"--resume goes on in {args.resume}; leave out --run")
    wanted = options_from(args, options)
    if getattr(args, "preset", None) == before["preset"]:
        # it names every option, but for the steps that epochs make
        counted = ("steps", "source_steps") if getattr(options, "epochs", 0) else ()
        wanted = replace(chosen(args), {name: before[name] for name in counted if name in before})
    if getattr(args, "epochs", 0) > getattr(options, "epochs", 0):
        if not may_grow(options):
            raise InputError(f"{args.resume} cannot go on for more epochs, since its schedule depends on how "
                             "many there are; start another run")
        options = replace(options, {"epochs": args.epochs})
    begun, asked = dataclasses.asdict(options), dataclasses.asdict(wanted)  # type: ignore[call-overload]
    if changed := runs.differences(before, given) or runs.differences(begun, asked):
        raise InputError(f"--resume continues {args.resume} with the options it was started with, but: "
                         f"{changed}")
    args.precision, args.preset = before["precision"], before.get("preset")
    return options, before


def show_plan(written: dict[str, Any], network: nn.Module, images: int, held_out: int,
              device: torch.device) -> None:
    """Print the plan of --dry-run."""
    width = max(map(len, written))
    print("\n".join(f"{name:<{width}} {value}" for name, value in written.items()))
    print(f"{sum(p.numel() for p in network.parameters()):,} parameters; {images:,} labelled images, "
          f"{held_out:,} held out; {describe(device)}")


def written(setting: Setting, data: dict[str, str]) -> dict[str, Any]:
    """The content of options.json, and of `options` on a card: the recipe and everything else that determines
    the result."""
    return {"program": setting.program, "preset": setting.preset, "precision": setting.precision,
            "data": data, "threads": torch.get_num_threads(), **dataclasses.asdict(setting.options)}


def written_names(cls: type) -> set[str]:
    """The names in the options.json of a program with these options."""
    return {"program", "preset", "precision", "data", "threads",
            *(field.name for field in dataclasses.fields(cls))}


def carry_out(setting: Setting, *, name: str, steps: int, data: dict[str, str], command: str, measure: str,
              train: Callable[[runs.Run], nn.Module], card: dict[str, Any] | None = None) -> None:
    """Open the run folder (a new one with `name` in it, or the one to resume), train, and save the weights
    with their card. `data` maps each set of images to its hash, `command` reproduces the run, and `measure`
    is the program that evaluates its weights. `card` holds further entries, which `train` may fill."""
    args, options = setting.args, written(setting, data)
    recipe = {name: value for name, value in options.items() if name not in ("program", "data")}
    if steps < 1:
        raise InputError(f"{args.data} holds fewer images than one batch; lower --batch")
    if setting.before and (changed := runs.differences(setting.before["data"], data)):
        raise InputError(f"{args.data} does not hold the images that {args.resume} was started with "
                         f"({changed})")
    folder = (processes.scratch(args.resume) or args.resume or args.run
              or runs.new_folder(setting.program.split(".")[0], name))
    if not args.resume:
        runs.make_folder(folder)
    with only_one(folder, "another training goes on there"):
        run = (runs.resume(folder, steps, setting.device, args.tensorboard) if args.resume
               else runs.start(folder, options, steps, args.tensorboard))
        run.log_every = args.log_every
        if setting.before and setting.before.get("epochs") != options.get("epochs"):
            runs.write_options(folder, options)
        run.say(f"{name}, {steps} steps, seed {setting.options.seed}; {describe(setting.device)}, "
                f"{setting.precision}; {folder}")
        if setting.before and setting.before.get("threads") != torch.get_num_threads():
            run.say(f"warning: the run was started on {setting.before.get('threads')} threads and goes on "
                    f"with {torch.get_num_threads()}; sums in another order differ in their last digits")
        try:
            with runs.interruptible(run.interrupted):
                network = train(run)
        except runs.Stopped:
            run.say(f"stopped; continue with: {processes.STARTER} -m {setting.program} --data {args.data} "
                    f"--resume {folder}")
            raise KeyboardInterrupt from None
        except RuntimeError as problem:
            if not processes.lost(problem):
                raise
            raise InputError("another process of this training has ended; continue with --resume and the "
                             "run's folder") from None
        weights = folder / "weights.safetensors"
        save_weights(weights, network, {
            "program": setting.program, "command": command, "data": data,
            "selection": selection(setting.options), **(card or {}), "options": recipe, "steps": steps,
            "seed": setting.options.seed, "hardware": describe(setting.device),
            "seconds": round(run.elapsed()), "versions": versions()})
        run.say(f"{weights} after {run.elapsed() / 60:.1f} minutes; measure it with: "
                f"python -m {measure} {weights} --data {args.data}")


def selection(options: Any) -> str:
    """A description of how the weights of a run are selected: always the last step."""
    return "the last step of a fixed schedule" + (", averaged weights (EMA)" if options.ema else "")
