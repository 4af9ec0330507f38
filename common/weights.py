"""Released weights: a safetensors file, and beside it a card (JSON) that says which program made them, with which options, from
which data. Whoever reads weights reads them here, where the card and the tensors are checked."""

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
    """The card that belongs to a weights file. InputError for a name that does not end in .safetensors, since two files could
    then share one card."""
    if weights.suffix != SUFFIX or weights.is_dir():
        raise InputError(f"{weights} is not the name of a weights file; name one that ends in {SUFFIX}")
    return weights.with_suffix(".json")


def save_weights(path: Path, network: nn.Module, card: dict[str, Any]) -> None:
    """Write the network's state and its card, each atomically."""
    save_tensors(path, network)
    save_card(card_of(path), card)


def save_tensors(path: Path, network: nn.Module) -> None:
    """Write the network's state alone."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    write(path, save(state))


def save_card(path: Path, card: dict[str, Any]) -> None:
    """Write a card, with or without weights beside it."""
    write(path, json.dumps(card, indent=2) + "\n")


def read_card(path: Path, *programs: str) -> dict[str, Any]:
    """A card that one of these programs made. InputError for any other file."""
    card = read_object(path)
    if card.get("program") not in programs:
        made_by = f"is of {card['program']}" if isinstance(card.get("program"), str) else "names no program that made it"
        raise InputError(f"{path} {made_by}; what is wanted here is a card of {' or '.join(programs)}")
    if not isinstance(card.get("options"), dict) or not isinstance(card.get("metrics", {}), dict):
        raise InputError(f"{path} is damaged: its options or its metrics are no object with names and values")
    return card


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The state alone. InputError where the file is damaged."""
    try:
        return load(read_bytes(path))
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise InputError(f"{path} is no whole safetensors file ({problem}); fetch it again") from None


def load_weights(path: Path, program: str, options: type[T], *needed: str) -> tuple[dict[str, Tensor], T, dict[str, Any]]:
    """State, options and card of weights that this program made; the options that are `needed` to build the network have to be on
    the card. InputError that names the file where one is missing, damaged or another program's."""
    for file in (path, card_of(path)):
        if not file.exists():
            raise InputError(f"{file} is not there; it comes with the repository, or train the network to make it")
    card = read_card(card_of(path), program)
    return load_tensors(path), from_json(options, card["options"], card_of(path), needed), card


def classes_of(card: dict[str, Any], weights: Path) -> tuple[str, ...]:
    """The names of the classes that a network tells apart: digits, where its card names none. InputError where they are damaged."""
    classes = card.get("classes", DIGITS)
    if not (isinstance(classes, list | tuple) and len(classes) > 1 and all(isinstance(name, str) for name in classes)):
        raise InputError(f"{card_of(weights)} is damaged: its classes are no list of names")
    return tuple(classes)


def load_into(network: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Strict loading. InputError where the file belongs to another network, or holds numbers that are not finite."""
    expected = network.state_dict()
    if state.keys() != expected.keys():
        name = sorted(state.keys() ^ expected.keys())[0]
        raise InputError(f"{path} does not fit this network: {name} is only in one of them; is it the right file?")
    for name, tensor in state.items():
        if tensor.shape != expected[name].shape or tensor.is_floating_point() != expected[name].is_floating_point():
            raise InputError(f"{path} does not fit this network: {name} is {list(tensor.shape)} where the network has "
                             f"{list(expected[name].shape)}; is it the right file?")
        if not torch.isfinite(tensor).all():
            raise InputError(f"{path} holds numbers in {name} that are not finite; fetch it again")
    network.load_state_dict(state)


def versions() -> dict[str, str]:
    """Versions of what decides a number."""
    return {"python": platform.python_version(), "torch": torch.__version__, "numpy": version("numpy"),
            "pillow": version("pillow")}
