"""The recipes: what `--preset` names. Each line says why it is so."""

from __future__ import annotations

import dataclasses

from common.cli import InputError
from common.options import option

DOMAINS = ("mnistm", "svhn")
METHODS = ("source-only", "dann", "target-only")
PRESETS = ("default", "report")


@dataclasses.dataclass(frozen=True)
class Options:
    """The released runs, MNIST-M → SVHN; `preset` knows where the other direction and the other methods differ."""

    method: str = option("dann", "what to train", METHODS)
    source: str = option("mnistm", "domain with labels", DOMAINS)
    target: str = option("svhn", "domain to be classified", DOMAINS)
    network: str = option("default", "the report's, or six 3x3 convolutions", PRESETS)
    width: int = option(32, "channels of the default network's first stage; 32 is 0.29 M parameters")
    steps: int = option(5000, "the schedule's length; its end is the result")
    epochs: int = option(0, "where not 0, the schedule's length in epochs of the labelled images instead")
    batch: int = option(96, "images of each domain per step")
    lr: float = option(1e-3, "Adam's learning rate")
    cosine: bool = option(True, "50 steps of warm-up, then decay of the learning rate to zero")
    adversary: float = option(1.0, "the value that the reversal strength λ rises to")
    conditional: bool = option(True, "the domain classifier sees features x predicted classes, so that it aligns class by class")
    entropy: float = option(1.0, "weight of the target predictions' entropy at the end of its ramp")
    balance: float = option(0.05, "weight of the term that keeps every class predicted on the target")
    augment: str = option("strong", "of source and target images alike", ("none", "mild", "strong"))
    source_zoom: tuple[float, float] = option((0.8, 1.4), "drawn digits are 20 of 28 pixels high, photographed ones fill it")
    target_zoom: tuple[float, float] = option((0.8, 1.2), "about the target's own size")
    beside: float = option(0.6, "share of source images with other digits at their sides, as photographs have them")
    thickness: float = option(0.5, "share of images with thicker or thinner strokes")
    clutter: float = option(0.0, "share of source images that get a texture which changes sign under the strokes")
    balanced: bool = option(True, "every class equally often in a source batch: the source's class prior is not the target's")
    ema: float = option(0.998, "decay of the averaged weights that are evaluated; 0 evaluates the last weights")
    adabn: bool = option(True, "BatchNorm statistics of the released network from images without labels (AdaBN)")
    held_out: int = option(2000, "labelled images kept from training, for the progress line alone")
    seed: int = option(0, "of everything random")


def preset(name: str, method: str, source: str, target: str) -> Options:
    """`report` is the original's recipe (report, section 5); `default` is ours."""
    options = Options(method=method, source=source, target=target)
    if name == "report":
        # the paper adds the two domains' losses where ours takes their mean: its λ up to 1 is ours up to 2
        return dataclasses.replace(
            options, network="report", epochs=50, batch=128, lr=1e-4, cosine=False, adversary=2.0, conditional=False, entropy=0.0,
            balance=0.0, augment="none", balanced=False, ema=0.0, adabn=False)
    if method == "target-only":  # one domain, hence no need to look like another
        return dataclasses.replace(options, augment="mild", batch=128, balanced=False)
    if method == "source-only":  # half the work per step, and nothing to wait for
        options = dataclasses.replace(options, batch=128, steps=3000)
    if source == "svhn":  # photographed digits get smaller, and lie on textures instead of plain walls
        return dataclasses.replace(options, source_zoom=(0.55, 1.1), beside=0.0, thickness=0.0, clutter=0.5)
    return options


def complete(given: dict[str, str]) -> dict[str, str]:
    """Method, source and target, where one domain is enough to know the other. (target-only reads the target alone.)"""
    source, target = given.get("source"), given.get("target")
    source = source or (other(target) if target else "mnistm")
    return {"method": given.get("method", "dann"), "source": source, "target": target or other(source)}


def other(domain: str) -> str:
    """The other of the two domains."""
    return DOMAINS[1 - DOMAINS.index(domain)]


def check(options: Options) -> None:
    """InputError for options that cannot train."""
    if options.source == options.target:
        raise InputError(f"source and target are both {options.source}; name two domains, or use --method target-only")
    for name in ("steps", "batch", "lr", "width"):
        if getattr(options, name) <= 0:
            raise InputError(f"--{name} must be greater than 0, not {getattr(options, name)}")
    if not 0 <= options.ema < 1:
        raise InputError(f"--ema must be at least 0 and less than 1, not {options.ema}")
    if options.epochs < 0 or options.held_out < 0:
        raise InputError("--epochs and --held-out cannot be negative")


def command(name: str, options: Options) -> str:
    """The shortest command that makes a run with these options."""
    base = dataclasses.asdict(preset(name, options.method, options.source, options.target))
    parts = [f"python -m dann.train --method {options.method} --source {options.source} --target {options.target}"]
    if name != "default":
        parts.append(f"--preset {name}")
    for field, value in dataclasses.asdict(options).items():
        if value == base[field] or (field == "steps" and options.epochs):
            continue
        flag = field.replace("_", "-")
        if isinstance(value, bool):
            parts.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            parts.append(f"--{flag} " + (" ".join(map(str, value)) if isinstance(value, tuple) else str(value)))
    return " ".join(parts)
