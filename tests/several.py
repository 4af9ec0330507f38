"""The trainings of test_torchrun.py, which runs them in one process, and this file with torchrun in two
processes. Arguments: the data, and the output folder."""

import importlib
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from common import processes, training
from common.cli import run_main
from common.runs import Run

FACES = ["--epochs", "1", "--batch", "16", "--width", "4", "--deviation", "0.2"]
PENALISED = ["--network", "default", "--gamma", "0.1"]
DIGITS = ["--batch", "16", "--width", "4", "--held-out", "20"]
STAGES = ["--source-steps", "2", "--adversarial-steps", "2", "--self-training-steps", "2"]
# without losses that are not means over the batch: --balance, and --threshold, which uses the mean confidence
STEPS = {
    "gan": ["gan.train", *FACES],
    "gan-penalised": ["gan.train", *FACES, *PENALISED],
    "acgan-penalised": ["acgan.train", *FACES, "--d-width", "4", "--pair-weight", "0", *PENALISED],
    "acgan": ["acgan.train", *FACES, "--d-width", "4", "--class-on-fake"],
    "dann": ["dann.train", *DIGITS, "--steps", "4", "--balance", "0", "--lr", "10"],
    "adda": ["adda.train", *DIGITS, *STAGES, "--source-batch", "8", "--balance", "0", "--threshold", "0",
             "--lr", "10", "--encoder-lr", "0.1", "--discriminator-lr", "0.1"]}
# programs with default options, after which both processes have the same weights
PROGRAMS = {
    "gan-whole": ["gan.train", *FACES], "acgan-whole": ["acgan.train", *FACES],
    "dann-whole": ["dann.train", *DIGITS, "--steps", "3", "--network", "report"],
    "adda-whole": ["adda.train", *DIGITS, *STAGES]}


def means_over_the_batch(patch):
    """Use fixed BatchNorm statistics, and plain gradient descent, so that weights reveal the gradients."""
    patch.setattr(_BatchNorm, "forward", lambda layer, x: F.batch_norm(
        x, layer.running_mean, layer.running_var, layer.weight, layer.bias, False, 0.0, layer.eps))
    patch.setattr(torch.optim, "Adam", lambda parameters, lr, *_, **__: torch.optim.SGD(parameters, lr))


def quick(patch):
    """Skip the figures, and estimate the final statistics with fewer noise vectors."""
    for package in ("gan", "acgan"):
        program = importlib.import_module(f"{package}.train")
        whole = program.final_network
        patch.setattr(program, "show", lambda *_: None)
        patch.setattr(program, "final_network", lambda averaged, count, whole=whole: whole(averaged, 100))


def train(name, arguments, data, folder, run="--run"):
    """Run a program with a command line. The network to release is also saved to FOLDER/NAME.RANK.pt."""
    def keep(path, network, card, save=training.save_weights):
        save(path, network, card)
        torch.save(network.state_dict(), folder / f"{name}.{processes.RANK}.pt")

    further = ["--data", str(data), run, str(folder / name), "--device", "cpu", "--precision", "fp32"]
    with pytest.MonkeyPatch.context() as within:
        within.setattr(training, "save_weights", keep)
        within.setattr(sys, "argv", [*arguments, *further])
        importlib.import_module(arguments[0]).main()


def stop_after_two(patch):
    """Simulate Ctrl-C in the second step."""
    whole = Run.save

    def save(run, state):
        whole(run, state)
        run.interrupted.append(2)

    patch.setattr(Run, "save", save)


def main(data, folder):
    """Run all trainings, resume the interrupted one, and start one that would take hours."""
    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        for name, arguments in PROGRAMS.items():
            train(name, arguments, data, folder)
        means_over_the_batch(patch)
        for name, arguments in STEPS.items():
            train(name, arguments, data, folder)
        train("stopped", STEPS["dann"][:1], data, folder, "--resume")
    train("endless", ["dann.train", *DIGITS, "--steps", "100000"], data, folder)


if __name__ == "__main__":
    run_main(lambda: main(*map(Path, sys.argv[1:])))
