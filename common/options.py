"""The options of a training: a frozen dataclass whose defaults are the released run, on the command line and in options.json."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_type_hints

from common.cli import InputError

T = TypeVar("T")


def option(default: Any, why: str, choices: tuple[str, ...] | None = None) -> Any:
    """A field of an options class, with the line that --help shows for it."""
    return dataclasses.field(default=default, metadata={"help": why, "choices": choices})


def add_options(parser: argparse.ArgumentParser, options: type) -> None:
    """One --flag a field (--no-flag for booleans). Nothing is set unless given, so that a preset can stand behind it."""
    group = parser.add_argument_group("options of the training")
    hints = get_type_hints(options)
    for field in dataclasses.fields(options):
        settings: dict[str, Any] = {"default": argparse.SUPPRESS, "choices": field.metadata["choices"]}
        kind = hints[field.name]
        if kind is bool:
            settings = {"default": argparse.SUPPRESS, "action": argparse.BooleanOptionalAction}
        elif get_args(kind):  # a tuple of numbers
            settings |= {"type": get_args(kind)[0], "nargs": len(get_args(kind))}
        else:
            settings["type"] = kind
        text = f"{field.metadata['help']} (default: {field.default})".replace("%", "%%")
        group.add_argument(f"--{field.name.replace('_', '-')}", help=text, **settings)


def options_from(args: argparse.Namespace, preset: T) -> T:
    """The preset with what the command line gives in its place."""
    return replace(preset, vars(args))


def flags(options: Any, base: Any, leave: tuple[str, ...] = ()) -> str:
    """The command line's ` --flag value …` that turns the options `base` into `options`, the fields of `leave` left out."""
    text = ""
    for name, value in dataclasses.asdict(options).items():
        if value == getattr(base, name) or name in leave:
            continue
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            text += f" --{flag}" if value else f" --no-{flag}"
        else:
            text += f" --{flag} " + (" ".join(map(str, value)) if isinstance(value, tuple) else shlex.quote(str(value)))
    return text


def require_positive(options: Any, *names: str) -> None:
    """InputError for those of the named options that are not greater than 0."""
    for name in names:
        if getattr(options, name) <= 0:
            raise InputError(f"--{name.replace('_', '-')} must be greater than 0, not {getattr(options, name)}")


def require_share(options: Any, *names: str) -> None:
    """InputError for those of the named options that are not at least 0 and less than 1."""
    for name in names:
        if not 0 <= getattr(options, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} must be at least 0 and less than 1, not {getattr(options, name)}")


def replace(options: T, values: Mapping[str, Any]) -> T:
    """The options with those of the values that are theirs, also as read back from JSON (where tuples are lists)."""
    names = [field.name for field in dataclasses.fields(options)]  # type: ignore[arg-type]
    given = {name: values[name] for name in names if name in values}
    return dataclasses.replace(  # type: ignore[type-var]
        options, **{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})
