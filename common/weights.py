"""Released weights: a safetensors file, and beside it a card (JSON) with the program, options and data that
made them. All code that loads weights does so here, where the card and the tensors are checked."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from common.cli import InputError
from common.datasets import DIGITS
from common.files import read_bytes, read_object, write
from common.options import from_json

T = TypeVar("T")
SUFFIX = ".safetensors"


def card_of(weights: Path) -> Path:
    """The path of the card of a weights file. InputError if the name does not end in .safetensors, since two
    files could then share a card."""
    if weights.suffix != SUFFIX or weights.is_dir():
        raise InputError(f"{weights} is not the name of a weights file; name one that ends in {SUFFIX}")
    return weights.with_suffix(".json")


def save_weights(path: Path, network: nn.Module, card: dict[str, Any]) -> None:
    """Write the state of the network and its card, each atomically."""
    save_tensors(path, network)
    save_card(card_of(path), card)


def save_tensors(path: Path, network: nn.Module) -> None:
    """Write the state of the network only."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    write(path, save(state))


def save_card(path: Path, card: dict[str, Any]) -> None:
    """Write a card, with or without weights beside it."""
    write(path, json.dumps(card, indent=2) + "\n")


def read_card(path: Path, *programs: str) -> dict[str, Any]:
    """Read a card made by one of these programs. InputError for any other file."""
    card = read_object(path)
    if card.get("program") not in programs:
        made_by = (f"is of {card['program']}" if isinstance(card.get("program"), str)
                   else "names no program that made it")
        raise InputError(f"{path} {made_by}; what is wanted here is a card of {' or '.join(programs)}")
    if not isinstance(card.get("options"), dict) or not isinstance(card.get("metrics", {}), dict):
        raise InputError(f"{path} is damaged: its options or its metrics are no object with names and values")
    return card


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Load the state only. InputError if the file is damaged."""
    try:
        return load(read_bytes(path))
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise InputError(f"{path} is no whole safetensors file ({problem}); fetch it again") from None


def load_weights(path: Path, program: str, options: type[T],
                 *needed: str) -> tuple[dict[str, Tensor], T, dict[str, Any]]:
    """State, options and card of weights made by this program. The card must hold the options `needed` to
    build the network. InputError names the file that is missing, damaged or made by another program."""
    for file in (path, card_of(path)):
        if not file.exists():
            raise InputError(f"{file} is not there; it comes with the repository, or train the network "
                             "to make it")
    card = read_card(card_of(path), program)
    return load_tensors(path), from_json(options, card["options"], card_of(path), needed), card


def classes_of(card: dict[str, Any], weights: Path) -> tuple[str, ...]:
    """The names of a network's classes; the digits if its card has none. InputError if they are damaged."""
    classes = card.get("classes", DIGITS)
    if not (isinstance(classes, list | tuple) and len(classes) > 1
            and all(isinstance(name, str) for name in classes)):
        raise InputError(f"{card_of(weights)} is damaged: its classes are no list of names")
    return tuple(classes)


def load_into(network: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Load the state, strictly. InputError if it belongs to another network or holds non-finite values."""
    expected = network.state_dict()
    if state.keys() != expected.keys():
        name = sorted(state.keys() ^ expected.keys())[0]
        raise InputError(f"{path} does not fit this network: {name} is only in one of them; "
                         "is it the right file?")
    for name, tensor in state.items():
        if (tensor.shape != expected[name].shape
                or tensor.is_floating_point() != expected[name].is_floating_point()):
            raise InputError(f"{path} does not fit this network: {name} is {list(tensor.shape)} where the "
                             f"network has {list(expected[name].shape)}; is it the right file?")
        if not torch.isfinite(tensor).all():
            raise InputError(f"{path} holds numbers in {name} that are not finite; fetch it again")
    network.load_state_dict(state)


def versions() -> dict[str, str]:
    """Versions of the packages that influence the results."""
    return {"python": platform.python_version(), "torch": torch.__version__, "numpy": version("numpy"),
            "pillow": version("pillow")}
