"""Released weights: a safetensors file, and beside it a card (JSON) that says how they came to be."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from common.cli import InputError
from common.files import write_atomically


def card_of(weights: Path) -> Path:
    """The card that belongs to a weights file."""
    return weights.with_suffix(".json")


def save_weights(path: Path, network: nn.Module, card: dict[str, Any]) -> None:
    """Write the network's state and its card, each atomically."""
    save_tensors(path, network)
    save_card(path, card)


def save_tensors(path: Path, network: nn.Module) -> None:
    """Write the network's state alone."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    write_atomically(path, save(state))


def save_card(weights: Path, card: dict[str, Any]) -> None:
    """Write (or replace) the card beside a weights file."""
    write_atomically(card_of(weights), json.dumps(card, indent=2) + "\n")


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The state alone. InputError where the file is damaged."""
    try:
        return load(path.read_bytes())
    except SafetensorError as problem:
        raise InputError(f"{path} is damaged ({problem}); fetch it again") from None


def load_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State and card. InputError that names the file where one is missing or damaged."""
    for file in (path, card_of(path)):
        if not file.is_file():
            raise InputError(f"{file} is not there; it comes with the repository, or train the network to make it")
    try:
        return load_tensors(path), json.loads(card_of(path).read_text())
    except json.JSONDecodeError as problem:
        raise InputError(f"{card_of(path)} is damaged ({problem}); fetch it again") from None


def load_into(network: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Strict loading; InputError where the file belongs to another network."""
    try:
        network.load_state_dict(state)
    except RuntimeError as problem:
        raise InputError(f"{path} does not fit this network: {str(problem).splitlines()[-1].strip()}") from None


def versions() -> dict[str, str]:
    """Versions of what decides a number."""
    return {"python": platform.python_version(), "torch": torch.__version__, "numpy": version("numpy"),
            "pillow": version("pillow")}


def save_state(**parts: Any) -> dict[str, Any]:
    """The state of modules and optimisers under the names they are given by, for a checkpoint."""
    return {name: part.state_dict() for name, part in parts.items()}


def load_state(state: dict[str, Any] | None, **parts: Any) -> None:
    """The reverse of `save_state`; nothing happens where there is no state."""
    for name, part in parts.items():
        if state is not None:
            part.load_state_dict(state[name])
