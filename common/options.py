"""The options of a training: a frozen dataclass whose defaults are the released run, on the command line, in options.json and on
the cards of weights. Each field says which values it may have, and `check` is the one place that looks."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from common.cli import LARGEST, InputError, Range

T = TypeVar("T")


def option(default: Any, why: str, choices: tuple[str, ...] | tuple[int, ...] | None = None, **bounds: float) -> Any:
    """A field of an options class, with the line that --help shows for it, and the values that it may have: one of the choices, or
    a number within these bounds of `Range` (a pair of numbers: each of them, in ascending order)."""
    return dataclasses.field(default=default, metadata={"help": why, "choices": choices, "range": Range(**bounds)})


def seed_option() -> Any:
    """The field `seed`, the same for every training."""
    return option(0, "of everything random", least=0, most=LARGEST)


def add_options(parser: argparse.ArgumentParser, options: type) -> None:
    """One --flag a field (--no-flag for booleans). Nothing is set unless given, so that a preset can stand behind it;
    `show_defaults` says what that is."""
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
    """Put these values behind the lines that --help shows."""
    values = dataclasses.asdict(options)
    for action in parser._actions:
        if action.dest in values:
            value = values[action.dest]
            text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
            action.help = f"{action.help} (default: {text})" if text else action.help


def check(options: Any, names: Mapping[str, str] | None = None) -> None:
    """InputError for the first option that has not the type that its class says, is none of its choices or not within its range.
    `names`: what an option is called in the sentence, where that is not its --flag."""
    hints = get_type_hints(type(options))
    for field in dataclasses.fields(options):
        value, name = getattr(options, field.name), (names or {}).get(field.name, flag(field.name))
        if problem := _problem(value, hints[field.name], field.metadata["choices"], field.metadata["range"]):
            raise InputError(f"{name} {problem}")


def _problem(value: Any, kind: Any, choices: tuple[Any, ...] | None, allowed: Range) -> str | None:
    if get_args(kind):
        if not (isinstance(value, tuple) and len(value) == len(get_args(kind))):
            return f"must be {len(get_args(kind))} numbers, not {value!r}"
        if problems := [problem for part in value if (problem := _problem(part, get_args(kind)[0], None, allowed))]:
            return problems[0]
        return None if list(value) == sorted(value) else f"must be in ascending order, not {' '.join(map(str, value))}"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = number and (kind is float or isinstance(value, int)) if kind in (int, float) else isinstance(value, kind)
    if not fits:
        return f"must be {KINDS[kind]}, not {value!r}"
    if choices is not None and value not in choices:
        return f"must be one of {', '.join(map(str, choices))}, not {value!r}"
    return allowed.problem(value) if kind in (int, float) else None


KINDS: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def from_json(cls: type[T], values: Any, file: Path, needed: tuple[str, ...] | None = None) -> T:
    """The options that a file holds, each of its type and within its range; what else the file holds is not theirs. All have to be
    there, or those that are `needed`: the others, which a later version may have added, then have their defaults. InputError that
    names the file."""
    if not isinstance(values, dict):
        raise InputError(f"{file} is damaged: its options are no object with names and values")
    names = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    if lacking := [name for name in (names if needed is None else needed) if name not in values]:
        raise InputError(f"{file} lacks {', '.join(lacking)}; it is of another program or another version")
    options = replace(cls(), values)
    check(options, {name: f"{file}: {name}" for name in names})
    return options


def options_from(args: argparse.Namespace, preset: T) -> T:
    """The preset with what the command line gives in its place."""
    return replace(preset, vars(args))


def flag(name: str) -> str:
    """A field's name on the command line; `from_`, since a field cannot be named `from`, is --from there."""
    return f"--{name.strip('_').replace('_', '-')}"


def flags(options: Any, base: Any, leave: tuple[str, ...] = ()) -> str:
    """The command line's ` --flag value …` that turns the options `base` into `options`, the fields of `leave` left out."""
    text = ""
    for name, value in dataclasses.asdict(options).items():
        if value == getattr(base, name) or name in leave:
            continue
        if isinstance(value, bool):
            text += f" {flag(name)}" if value else f" --no-{flag(name)[2:]}"
        else:
            text += f" {flag(name)} " + (" ".join(map(str, value)) if isinstance(value, tuple) else shlex.quote(str(value)))
    return text


def replace(options: T, values: Mapping[str, Any]) -> T:
    """The options with those of the values that are theirs, also as read back from JSON (where tuples are lists)."""
    names = [field.name for field in dataclasses.fields(options)]  # type: ignore[arg-type]
    given = {name: values[name] for name in names if name in values}
    return dataclasses.replace(  # type: ignore[type-var]
        options, **{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})
