"""The options of a training: a frozen dataclass with the defaults of the released run, used for the command
line, options.json and the cards of weights. Each field declares its valid values; `check` tests them all."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from common.cli import LARGEST, InputError, Range

T = TypeVar("T")


def option(default: Any, why: str, choices: tuple[str, ...] | tuple[int, ...] | None = None,
           **bounds: float) -> Any:
    """A field of an options class, with its --help text `why` and its valid values: one of `choices`, or a
    number within the `bounds` of a `Range`. For a pair of numbers, the bounds apply to both, and they must be
    in ascending order."""
    return dataclasses.field(
        default=default, metadata={"help": why, "choices": choices, "range": Range(**bounds)})


def seed_option() -> Any:
    """The field `seed`, the same for every training."""
    return option(0, "random seed", least=0, most=LARGEST)


def add_options(parser: argparse.ArgumentParser, options: type) -> None:
    """Add one --flag per field (also --no-flag for booleans). The namespace contains only the options given,
    so that the others can come from a preset; `show_defaults` adds its values to the help."""
    group = parser.add_argument_group("options of the training")
    hints = get_type_hints(options)
    for field in dataclasses.fields(options):
        settings: dict[str, Any] = {"default": argparse.SUPPRESS, "choices": field.metadata["choices"]}
        kind = hints[field.name]
        if kind is bool:
            settings = {"default": argparse.SUPPRESS, "action": argparse.BooleanOptionalAction}
        elif get_args(kind):  # a pair of numbers
            settings |= {"type": get_args(kind)[0], "nargs": len(get_args(kind))}
        else:
            settings["type"] = kind
        text = field.metadata["help"].replace("%", "%%")
        group.add_argument(flag(field.name), dest=field.name, help=text, **settings)


def show_defaults(parser: argparse.ArgumentParser, options: Any) -> None:
    """Append the values of `options` as defaults to the --help texts."""
    values = dataclasses.asdict(options)
    for action in parser._actions:
        if action.dest in values:
            value = values[action.dest]
            text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
            action.help = f"{action.help} (default: {text})" if text else action.help


def check(options: Any, names: Mapping[str, str] | None = None) -> None:
    """Raises InputError for the first option with a wrong type, a value not among its choices or a number out
    of range. `names`: the names of options in the message, if not their --flags."""
    hints = get_type_hints(type(options))
    for field in dataclasses.fields(options):
        value, name = getattr(options, field.name), (names or {}).get(field.name, flag(field.name))
        if problem := _problem(value, hints[field.name], field.metadata["choices"], field.metadata["range"]):
            raise InputError(f"{name} {problem}")


def _problem(value: Any, kind: Any, choices: tuple[Any, ...] | None, allowed: Range) -> str | None:
    if kinds := get_args(kind):
        if not (isinstance(value, tuple) and len(value) == len(kinds)):
            return f"must be {len(kinds)} numbers, not {value!r}"
        for part in value:
            if problem := _problem(part, kinds[0], None, allowed):
                return problem
        if list(value) != sorted(value):
            return f"must be in ascending order, not {' '.join(map(str, value))}"
        return None
    if kind in (int, float):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        fits = number and (kind is float or isinstance(value, int))
    else:
        fits = isinstance(value, kind)
    if not fits:
        return f"must be {KINDS[kind]}, not {value!r}"
    if choices is not None and value not in choices:
        return f"must be one of {', '.join(map(str, choices))}, not {value!r}"
    return allowed.problem(value) if kind in (int, float) else None


KINDS: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "a string"}


def from_json(cls: type[T], values: Any, file: Path, needed: tuple[str, ...] | None = None) -> T:
    """The options read from a file, validated. Unknown names are ignored. All options are required, or only
    those in `needed`: the others, which a later version may have added, then have their defaults. Raises
    InputError with the name of the file."""
    if not isinstance(values, dict):
        raise InputError(f"{file} is damaged: its options are not a JSON object")
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    if lacking := [name for name in (names if needed is None else needed) if name not in values]:
        raise InputError(f"{file} lacks {', '.join(lacking)}; it was written by another program or version")
    options = replace(cls(), values)
    check(options, {name: f"{file}: {name}" for name in names})
    return options


def options_from(args: argparse.Namespace, preset: T) -> T:
    """The preset, with the options given on the command line in place of its values."""
    return replace(preset, vars(args))


def flag(name: str) -> str:
    """The command-line flag of a field; `from_` (`from` is a keyword) becomes --from."""
    return f"--{name.strip('_').replace('_', '-')}"


def flags(options: Any, base: Any, leave: tuple[str, ...] = ()) -> str:
    """The flags, ` --flag value …`, that turn `base` into `options`, without the fields in `leave`."""
    text = ""
    for name, value in dataclasses.asdict(options).items():
        if value == getattr(base, name) or name in leave:
            continue
        if isinstance(value, bool):
            text += f" {flag(name)}" if value else f" --no-{flag(name)[2:]}"
        else:
            text += f" {flag(name)} " + (" ".join(map(str, value)) if isinstance(value, tuple)
                                         else shlex.quote(str(value)))
    return text


def replace(options: T, values: Mapping[str, Any]) -> T:
    """The options with these values, perhaps from JSON (lists become tuples). Unknown names are ignored."""
    names = [field.name for field in dataclasses.fields(options)]  # type: ignore[arg-type]
    given = {name: values[name] for name in names if name in values}
    return dataclasses.replace(  # type: ignore[type-var]
        options,
        **{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})
