"""Speed of the training steps relative to baselines, and of inference: `python -m scripts.benchmark`.

  step      a DANN step, relative to forward, backward and optimiser of the same network on random tensors on
            the device
  adda      a step of ADDA's self-training, relative to the passes of student and teacher and the optimiser
  gan       a DCGAN step, relative to the same baseline, and to a standard pipeline (ImageFolder, DataLoader,
            float32)
  feeding   a DANN step, relative to a standard pipeline (PNG folder, PIL transforms, DataLoader on all cores)
  grading   hw3_p3.sh on 10,000 images: time for import, decoding, network and writing

The programs of a comparison run in turn, several times, and the minimum time of each counts, since other
processes can only slow a program down. Everything runs on synthetic data.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

import adda.models
import adda.options
import adda.train
import gan.options
import gan.train
from common import runs, synthetic
from common.cli import Parser, run_main
from common.device import choose_device, choose_precision, describe, synchronise
from common.domains import Data
from common.faces import read_faces
from dann.options import Options, preset
from dann.train import train
from scripts.bare_steps import game_step, network_step, self_training_step

STEPS, TURNS = 40, 6


def main() -> None:
    parser = Parser(prog="python -m scripts.benchmark", description=__doc__)
    parser.add_argument("--only", choices=("step", "adda", "gan", "feeding", "grading"),
                        help="run only this benchmark")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    args = parser.parse_args()
    device = choose_device(args.device)
    precision = choose_precision("auto", device)
    print(f"{describe(device)}, {precision}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["HW3_CACHE"] = str(folder / "cache")
        for domain in synthetic.DOMAINS:
            # a batch for every step
            synthetic.write_digits(folder, domain, "train", 100 * (10 + STEPS), seed=0)
        if args.only in (None, "step"):
            step(folder, device, precision)
        if args.only in (None, "adda"):
            adda_step(folder, device, precision)
        if args.only in (None, "gan"):
            gan_step(folder, device, precision)
        if args.only in (None, "feeding"):
            feeding(folder, device, precision)
        if args.only in (None, "grading"):
            grading(folder)


def seconds_per_step(programs: dict[str, Callable[[int], Any]], device: torch.device) -> dict[str, float]:
    """Seconds per step of each program, from the difference between a long and a short run, which excludes
    the set-up. The minimum is taken for each length separately: the minimum of the differences would favour
    slow short runs."""
    best = {name: {steps: float("inf") for steps in (5, 5 + STEPS)} for name in programs}
    for _ in range(TURNS):
        for name, program in programs.items():
            for steps in best[name]:
                begin = time.perf_counter()
                program(steps)
                synchronise(device)  # wait for queued work
                best[name][steps] = min(best[name][steps], time.perf_counter() - begin)
    return {name: (times[5 + STEPS] - times[5]) / STEPS for name, times in best.items()}


def ours(options: Options, data: Data, folder: Path, device: torch.device,
         precision: str) -> Callable[[int], Any]:
    """DANN's training as in the repository."""
    return lambda steps: train(options, data, quiet_run(folder, steps), device, precision)


def quiet_run(folder: Path, steps: int) -> runs.Run:
    """A run that logs and saves only at its end, and prints nothing."""
    run = runs.Run(folder, steps, log_every=10**9, save_every=10**9)
    run.say = lambda line: None  # type: ignore[method-assign]
    return run


def resident(build: Callable[[], Callable[[Tensor, Tensor, Tensor], None]], source: int, target: int,
             device: torch.device) -> Callable[[int], None]:
    """Repeated steps on the same random batches in device memory. Each call builds the network anew, as a
    training does: the time of a step varies by up to a sixth with the point in the process at which the
    network was built."""
    images = torch.rand(source, 3, 28, 28, device=device), torch.rand(target, 3, 28, 28, device=device)
    labels = torch.arange(source, device=device) % 10

    def program(steps: int) -> None:
        compute = build()
        for _ in range(steps):
            compute(images[0], labels, images[1])
    return program


# the programs of a comparison, as functions of the number of steps
Programs = dict[str, Callable[[int], Any]]


def step(folder: Path, device: torch.device, precision: str) -> None:
    print_ratio("DANN step", seconds_per_step(dann_programs(folder, device, precision)[0], device))


def dann_programs(folder: Path, device: torch.device, precision: str) -> tuple[Programs, int]:
    """The programs for DANN, and the number of images per step."""
    options = preset("default", "dann", "mnistm", "svhn")
    bare = resident(lambda: network_step(options, device, precision, fast=True), options.batch,
                    options.views * options.batch, device)
    data = Data(folder, options.source, options.target, options.held_out, device)
    return ({"ours": ours(options, data, folder, device, precision), "bare": bare},
            (1 + options.views) * options.batch)


def adda_step(folder: Path, device: torch.device, precision: str) -> None:
    print_ratio("self-training step",
                seconds_per_step(self_training_programs(folder, device, precision)[0], device))


def self_training_programs(folder: Path, device: torch.device, precision: str) -> tuple[Programs, int]:
    """The programs for self-training, and the number of images per step."""
    options = dataclasses.replace(adda.options.preset("default", "adda+st", "mnistm", "svhn"), source_steps=0,
                                  adversarial_steps=0)
    data = Data(folder, options.source, options.target, options.held_out, device)
    network = adda.models.build("default", options.width)[0].to(device)
    bare = resident(lambda: self_training_step(network, options, device, precision), options.source_batch,
                    options.batch, device)

    def ours(steps: int) -> None:
        adapted = [adda.models.Adapted(network, network)] * options.students
        adda.train.self_train(adapted, dataclasses.replace(options, self_training_steps=steps), data,
                              quiet_run(folder, steps), device, precision)

    return {"ours": ours, "bare": bare}, options.source_batch + options.batch


def print_ratio(what: str, times: dict[str, float], bar: float = 1.15) -> None:
    print(f"{what}: {1000 * times['ours']:.1f} ms, baseline {1000 * times['bare']:.1f} ms: ratio "
          f"{times['ours'] / times['bare']:.2f} (target {bar:.2f})")


def gan_step(folder: Path, device: torch.device, precision: str) -> None:
    programs, faces = dcgan_programs(folder, device, precision)
    times = seconds_per_step(programs, device)
    print_ratio("DCGAN step", times, 1.10)
    print(f"DCGAN: {faces / times['ours']:.0f} faces/s ours, {faces / times['usual']:.0f} faces/s with a "
          f"standard pipeline: {times['usual'] / times['ours']:.2f} times as fast")


def dcgan_programs(folder: Path, device: torch.device, precision: str) -> tuple[Programs, int]:
    """The programs for DCGAN, and the number of faces per step."""
    from torchvision import datasets, transforms

    options = gan.options.preset("default")
    # less than an epoch, so no samples
    synthetic.write_faces(folder, "train", (6 + STEPS) * options.batch, seed=0)
    faces = read_faces(folder, "train").images.to(device)
    real = torch.rand(options.batch, 3, 64, 64, device=device) * 2 - 1
    loader = torch.utils.data.DataLoader(
        datasets.ImageFolder(folder / "face", transforms.Compose([
            transforms.Resize(64), transforms.CenterCrop(64), transforms.RandomHorizontalFlip(),
            transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)])), options.batch, shuffle=True,
        num_workers=os.cpu_count() or 1, drop_last=True)

    def ours(steps: int) -> None:
        gan.train.train(options, faces, quiet_run(folder, steps), device, precision)

    def resident(steps: int) -> None:
        compute = game_step(options, device, precision, fast=True)
        for _ in range(steps):
            compute(real)

    def usual(steps: int) -> None:
        compute = game_step(options, device, precision, fast=False)
        for _, (images, _) in zip(range(steps), loader, strict=False):
            compute(images.to(device))

    return {"ours": ours, "bare": resident, "usual": usual}, options.batch


class Folder(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """A standard dataset: opens a PNG for each item, and applies PIL transforms of the same kinds as ours."""

    def __init__(self, folder: Path) -> None:
        from torchvision import transforms

        self.files = sorted(folder.glob("*.png"))
        self.transform = transforms.Compose([
            transforms.RandomAffine(15, translate=(0.1, 0.1), scale=(0.8, 1.4), shear=11),
            transforms.RandomInvert(), transforms.ColorJitter(0.4, 0.4, 0.4, 0.4), transforms.GaussianBlur(3),
            transforms.ToTensor(), transforms.RandomErasing(0.5, (0.08, 0.08))])

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.open(self.files[index]).convert("RGB")), index % 10


def feeding(folder: Path, device: torch.device, precision: str) -> None:
    options = preset("default", "dann", "mnistm", "svhn")

    def usual(fast: bool) -> Callable[[int], None]:
        loaders = [torch.utils.data.DataLoader(Folder(folder / f"digits/{domain}/train"), batch, shuffle=True,
                                               num_workers=os.cpu_count() or 1, drop_last=True)
                   for domain, batch in ((options.source, options.batch),
                                         (options.target, options.views * options.batch))]

        def program(steps: int) -> None:
            compute = network_step(options, device, precision, fast)
            for _, (source, labels), (target, _) in zip(range(steps), *loaders, strict=False):
                compute(source.to(device), labels.to(device), target.to(device))
        return program

    data = Data(folder, options.source, options.target, options.held_out, device)
    times = seconds_per_step({"ours": ours(options, data, folder, device, precision), "usual": usual(False),
                              "fed": usual(True)}, device)
    print(f"feeding: {1000 * times['usual']:.1f} ms per step with a standard pipeline (float32, contiguous), "
          f"{1000 * times['fed']:.1f} ms with our precision and layout, {1000 * times['ours']:.1f} ms ours: "
          f"{times['usual'] / times['ours']:.2f} times (target 3) and {times['fed'] / times['ours']:.2f} "
          "times as fast")


GRADING = """
import json, sys, time
t = [time.perf_counter()]
from pathlib import Path
from common.classify import predict_classes, write_predictions
from common.datasets import read_images
from common.device import choose_device
from dann.predict import load_network, released
if __name__ == "__main__":
    t.append(time.perf_counter())
    images, names = read_images(Path(sys.argv[1]), cache=False)
    t.append(time.perf_counter())
    device = choose_device()
    predictions = predict_classes(load_network(released("svhn"), device)[0], images.to(device)).cpu()
    t.append(time.perf_counter())
    write_predictions(Path(sys.argv[2]), names, predictions)
    t.append(time.perf_counter())
    print(json.dumps([b - a for a, b in zip(t, t[1:])]))
"""


def grading(folder: Path) -> None:
    synthetic.write_digits(folder, "svhn", "test", 10_000, seed=1)
    script = folder / "grading.py"
    script.write_text(GRADING)
    command = [sys.executable, str(script), str(folder / "digits/svhn/test"), str(folder / "out.csv")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    parts = [json.loads(subprocess.run(command, env=environment, capture_output=True, text=True,
                                       check=True).stdout)
             for _ in range(TURNS)]
    best = min(parts, key=sum)
    names = ("import", "decode", "network", "write")
    shares = [f"{name} {seconds:.2f} s ({100 * seconds / sum(best):.0f} %)"
              for name, seconds in zip(names, best, strict=True)]
    print(f"grading 10,000 images: {sum(best):.1f} s; {', '.join(shares)}")


if __name__ == "__main__":
    run_main(main)
