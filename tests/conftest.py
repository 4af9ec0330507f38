"""Fixtures and helpers of the tests: synthetic digits of both domains, and functions to run the programs."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import signal
import subprocess
import sys
import types

import pytest
import torch
import torch.nn.functional as F

from common import runs, synthetic
from common.cli import run_main

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """A small hw3_data. The training split of svhn has 90 images, the other splits 120 or 90."""
    folder = tmp_path_factory.mktemp("data")
    for domain, count in (("mnistm", 120), ("svhn", 90)):
        for split in ("train", "test"):
            synthetic.write_digits(folder, domain, split, count, seed=len(domain + split))
    return folder


@pytest.fixture
def one_thread():
    """One thread, so that summation order is deterministic and busy cores do not slow the tests down."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """Cache decoded images in a temporary folder, not in that of the user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HW3_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("OMP_NUM_THREADS", "1")
        signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it in background processes
        yield


def call(module, *arguments, code=0):
    """Call a program's main in this process, with a command line. Returns its output and exit code."""
    program, out, err = importlib.import_module(module), io.StringIO(), io.StringIO()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    status = 0
    with (pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out),
          contextlib.redirect_stderr(err)):
        patch.setattr(sys, "argv", [module, *map(str, arguments)])
        try:
            run_main(program.main)
        except SystemExit as end:
            status = end.code or 0
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    assert status == code, f"exit code {status}: {err.getvalue()}"
    return types.SimpleNamespace(stdout=out.getvalue(), stderr=err.getvalue(), returncode=status)


def process(module, *arguments, code=0, **settings):
    """Run a program in a separate process."""
    result = subprocess.run([sys.executable, "-m", module, *map(str, arguments)], capture_output=True,
                            text=True, check=False, **settings)
    assert result.returncode == code, result.stderr
    return result


def same(a, b):
    """Whether two networks are bitwise equal, including buffers."""
    return all(torch.equal(x, y)
               for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def records(folder):
    """The records of metrics.jsonl by step, without times."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return {r.pop("step"): {name: value for name, value in r.items() if name != "seconds"}
            for r in map(json.loads, lines)}


def open_run(folder, steps, stop_after=None):
    """A new run, which logs every second step, saves every fourth, and raises SIGINT at step `stop_after`."""
    folder.mkdir(exist_ok=True)
    run = runs.Run(folder, steps, log_every=2, save_every=4)
    log = run.log

    def log_and_stop(step, *rest):
        log(step, *rest)
        if step == stop_after:
            signal.raise_signal(signal.SIGINT)  # in this thread, so that it takes effect at once

    run.log = log_and_stop
    return run


def resume(folder, steps):
    run = runs.resume(folder, steps, CPU)
    run.log_every, run.save_every = 2, 4
    return run


def copy_without_labels(root, to, domain="svhn", wrong=False):
    """A copy of the data, in which the training labels of a domain are removed or, with `wrong`, all 3."""
    import shutil

    shutil.copytree(root, to)
    table = to / f"digits/{domain}/train.csv"
    header, *rows = table.read_text().split()
    table.unlink()
    if wrong:
        table.write_text("\n".join([header, *(row.split(",")[0] + ",3" for row in rows)]) + "\n")
    return to


def shifted(seed, count, target):
    """Ten smooth patterns with noise. In the target domain, channels are nearly swapped, and images are
    shifted by four pixels."""
    patterns = F.interpolate(torch.randn(10, 3, 4, 4, generator=torch.Generator().manual_seed(0)), (28, 28),
                             mode="bicubic")
    labels = torch.arange(count) % 10
    images = (patterns[labels]
              + 0.5 * torch.randn(count, 3, 28, 28, generator=torch.Generator().manual_seed(seed)))
    if target:
        images = (0.58 * images + 0.42 * images.flip(1)).roll(4, 3)
    return (127 + 50 * images).clamp(0, 255).to(torch.uint8), labels
