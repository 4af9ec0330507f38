"""The judge of generated faces: an independent attribute classifier, which no generator was trained against.

`python -m scripts.attributes --data hw3_data` trains it on the training faces and prints its accuracy on the
test faces. scripts.evaluate_faces computes its metrics from the features and predictions of the judge. The
released weights are scripts/weights/attributes.safetensors.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common import training
from common.augment import shift
from common.batches import Shuffled
from common.cli import InputError, run_main
from common.datasets import content_hash, read_attributes, read_images
from common.device import autocast
from common.ema import EMA, estimate_statistics
from common.faces import SIZE, flip, to_faces
from common.networks import GlobalPool, down_convolutions
from common.options import flags, option, options_from, seed_option
from common.runs import Run
from common.schedules import warm_cosine
from common.streams import key, stream
from common.weights import card_of, load_into, load_weights

WEIGHTS = Path(__file__).parent / "weights" / "attributes.safetensors"
FEATURES = 128  # few enough to estimate their covariance from 2,044 test faces


@dataclasses.dataclass(frozen=True)
class Options:
    """The defaults are those of the released run."""

    width: int = option(32, "channels of the first stage", least=1, most=512)
    epochs: int = option(10, "passes over the faces", least=1, most=10**6)
    batch: int = option(128, "faces per step", least=2, most=10**6)
    lr: float = option(
        2e-3, "learning rate of AdamW, with warm-up and cosine decay to zero", above=0, most=10)
    weight_decay: float = option(1e-2, "weight decay of AdamW", least=0, most=10)
    ema: float = option(0.998, "decay of the EMA of the weights, which are released", least=0, below=1)
    seed: int = seed_option()


class Judge(nn.Module):
    """Faces (N, 3, 64, 64) in [-1, 1] → features (N, 128) and one logit per attribute (N, A)."""

    def __init__(self, width: int, attributes: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(down_convolutions(width), GlobalPool(), nn.Linear(8 * width, FEATURES),
                                   nn.LeakyReLU(0.2))
        self.heads = nn.Linear(FEATURES, attributes)

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(faces)
        return features, self.heads(features)


def load_judge(weights: Path, device: torch.device) -> tuple[Judge, dict[str, Any]]:
    """Load the judge of a weights file, in evaluation mode, and its card."""
    state, options, card = load_weights(weights, "scripts.attributes", Options, "width")
    names, figures = card.get("attributes"), card.get("metrics")
    if not (names and isinstance(names, list) and isinstance(figures, dict) and names == list(figures)
            and all(isinstance(figure, int | float) for figure in figures.values())):
        raise InputError(f"{card_of(weights)} is damaged: it does not contain the accuracy of each attribute")
    judge = Judge(options.width, len(names))
    load_into(judge, state, weights)
    return judge.eval().to(device), card


def judged(judge: Judge, images: Tensor, batch: int = 500) -> tuple[Tensor, Tensor]:
    """uint8 images (N, 3, 64, 64) → features (N, 128) and logits (N, A), on the CPU."""
    device = next(judge.parameters()).device
    with torch.inference_mode():
        parts = [judge(to_faces(part.to(device))) for part in images.split(batch)]
    return (torch.cat([features.cpu() for features, _ in parts]),
            torch.cat([logits.cpu() for _, logits in parts]))


def accuracies(logits: Tensor, attributes: Tensor) -> Tensor:
    """Accuracy in percent (A,) of logits (N, A) for each of the binary attributes (N, A)."""
    return 100 * ((logits > 0) == attributes.bool()).float().mean(0)


def train(options: Options, images: Tensor, attributes: Tensor, run: Run, device: torch.device,
          precision: str) -> Judge:
    """Train with the mean binary cross-entropy of all attributes, on faces randomly mirrored and shifted."""
    torch.manual_seed(key(options.seed, "first weights"))
    judge = Judge(options.width, attributes.shape[1]).to(device)
    averaged = EMA(judge, options.ema)
    optimiser = torch.optim.AdamW(judge.parameters(), options.lr, weight_decay=options.weight_decay,
                                  fused=True)
    parts = {"judge": judge, "averaged": averaged.network, "optimiser": optimiser}
    run.restore(parts)
    batches = Shuffled(len(images), options.batch, options.seed, "batches", device)
    for step in run.steps(parts):
        draws = stream(options.seed, "views", step)
        for group in optimiser.param_groups:
            group["lr"] = warm_cosine(options.lr, step, step / run.total_steps)
        index = batches(step)
        with autocast(device, precision):
            _, logits = judge(shift(flip(to_faces(images[index]), draws), 4, draws))
            loss = F.binary_cross_entropy_with_logits(logits.float(), attributes[index].float())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        averaged.update(judge, step)
        if run.log_due(step):
            run.log(step + 1, len(index), {
                "loss": loss.item(), "named": accuracies(logits, attributes[index]).mean().item()})
    return estimate_statistics(averaged.network, [to_faces(part) for part in images[:10_000].split(500)])


def main() -> None:
    parser = training.arguments("scripts.attributes", __doc__, Options)
    setting = training.setting(parser, Options, lambda args: options_from(args, Options()))
    options, device = setting.options, setting.device
    images, attributes, columns = faces_of(setting.args.data, "train")
    test, test_attributes, test_columns = faces_of(setting.args.data, "test")
    if different := sorted(set(columns) ^ set(test_columns)):
        raise InputError(f"{setting.args.data}/face: only one of train.csv and test.csv has the attribute "
                         f"{different[0]!r}; both need the same attributes")
    if not columns:
        raise InputError(f"{setting.args.data}/face/train.csv has no attributes; it needs columns besides "
                         "image_name")
    hashes = {"faces": content_hash(images), "attributes": content_hash(attributes)}
    if setting.args.dry_run:
        training.show_plan(training.written(setting, hashes), Judge(options.width, len(columns)), len(images),
                           0, device)
        return
    card: dict[str, Any] = {"attributes": columns}

    def trained(run: Run) -> Judge:
        judge = train(options, images.to(device), attributes.to(device), run, device, setting.precision)
        figures = accuracies(judged(judge, test)[1],
                             test_attributes[:, [test_columns.index(name) for name in columns]])
        named = {column: round(value, 2) for column, value in zip(columns, figures.tolist(), strict=True)}
        run.say(f"test accuracy: mean {figures.mean():.2f}; "
                + ", ".join(f"{name} {value:.1f}" for name, value in named.items()))
        card["metrics"] = named
        return judge

    training.carry_out(setting, name="attributes", steps=options.epochs * (len(images) // options.batch),
                       data=hashes, command="python -m scripts.attributes" + flags(options, Options()),
                       measure="scripts.evaluate_faces --judge", train=trained, card=card)


def faces_of(data: Path, split: str) -> tuple[Tensor, Tensor, list[str]]:
    """Faces uint8 (N, 3, 64, 64) of a split in the course's layout, all attributes (N, A) and their names."""
    folder = data / "face" / split
    images, names = read_images(folder, SIZE, square=True)
    return images, *read_attributes(folder.with_suffix(".csv"), names)


if __name__ == "__main__":
    run_main(main)
