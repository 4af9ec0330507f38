"""Benchmark the trainings on a GPU, as a Markdown table:
`python -m scripts.gpu_check --data hw3_data --output gpu.md`.

The first table compares each training step with the minimal step of the same networks (see
scripts.benchmark): milliseconds, images per second, utilisation, and peak memory. Utilisation is relative to
the throughput of a large square matrix product in the same precision. The second table lists complete
trainings with their accuracies: DANN in both directions, and ADDA with self-training.
`bash scripts/gpu_check.sh` first runs the tests that need a GPU.
"""

from __future__ import annotations

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
from torch.utils.flop_counter import FlopCounterMode

from common import synthetic
from common.cli import InputError, Parser, run_main
from common.device import choose_device, choose_precision, describe, synchronise
from common.files import check_writable, read_object, write
from scripts import benchmark

BAR = 1.25  # target for the time of a step relative to the minimal step
RUNS = (("dann", "--source mnistm --target svhn"), ("dann", "--source svhn --target mnistm"),
        ("adda", "--source mnistm --target svhn"))


def main() -> None:
    parser = Parser(prog="python -m scripts.gpu_check", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("hw3_data"),
                        help="data folder created by scripts.prepare_data")
    parser.add_argument("--output", type=Path, default=Path("gpu.md"), help="Markdown file to write")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, mps, cpu")
    parser.add_argument("--steps-only", action="store_true", help="skip the complete trainings")
    args = parser.parse_args()
    check_writable(args.output)
    device = choose_device(args.device)
    precision = choose_precision("auto", device)
    lines = [f"{describe(device)}, {precision}, torch {torch.__version__}", "",
             *steps_table(device, precision)]
    write(args.output, "\n".join(lines) + "\n")  # now, in case a training fails
    if not args.steps_only:
        lines += ["", *runs_table(args.data, args.device)]
        write(args.output, "\n".join(lines) + "\n")
    print("\n".join(lines))


def steps_table(device: torch.device, precision: str) -> list[str]:
    """The table of training steps."""
    peak = matrix_product(device, precision)
    lines = [f"| training step | ms | minimal step, ms | ratio (target {BAR}) | images/s | "
             f"% of {peak / 1e12:.0f} TFLOP/s | MiB |",
             "|---|---|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["HW3_CACHE"] = str(folder / "cache")
        for domain in synthetic.DOMAINS:
            synthetic.write_digits(folder, domain, "train", 100 * (10 + benchmark.STEPS), seed=0)
        for title, programs in (("DANN", benchmark.dann_programs),
                                ("self-training", benchmark.self_training_programs),
                                ("DCGAN", benchmark.dcgan_programs)):
            compared, images = programs(folder, device, precision)
            work = operations(compared["bare"])
            reset_memory(device)
            times = benchmark.seconds_per_step(compared, device)
            ours, bare = times["ours"], times["bare"]
            lines.append(f"| {title} | {1000 * ours:.2f} | {1000 * bare:.2f} | {ours / bare:.2f} | "
                         f"{images / ours:.0f} | {100 * work / ours / peak:.1f} | "
                         f"{most_memory(device):.0f} |")
    return lines


def matrix_product(device: torch.device, precision: str) -> float:
    """The highest number of operations per second of a product of two square matrices, for several sizes."""
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    best = 0.0
    for size in (1024, 2048, 4096, 8192) if device.type != "cpu" else (512, 1024):
        a = torch.randn(size, size, device=device, dtype=kind)
        for _ in range(5):
            synchronise(device)
            begin = time.perf_counter()
            a @ a
            synchronise(device)
            best = max(best, 2 * size**3 / (time.perf_counter() - begin))
    return best


def operations(program: Callable[[int], Any]) -> int:
    """Floating-point operations of one step in matrix products and convolutions, forward and backward."""
    counter = FlopCounterMode(display=False)
    with counter:
        program(1)
    return counter.get_total_flops()


def reset_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def most_memory(device: torch.device) -> float:
    """Peak memory of tensors in MiB since `reset_memory`; 0 except on CUDA."""
    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else 0.0


def runs_table(data: Path, device: str) -> list[str]:
    """Run the complete trainings, one after the other. Returns their table."""
    lines = ["| command | minutes | accuracy, % |", "|---|---|---|"]
    with tempfile.TemporaryDirectory() as name:
        for package, options in RUNS:
            run = Path(name) / f"{package}-{len(lines)}"
            program(f"{package}.train", *options.split(), "--data", data, "--run", run, "--device", device)
            weights, figures = run / "weights.safetensors", run / "figures.json"
            program(f"{package}.evaluate", "--weights", weights, "--data", data, "--json", figures,
                    "--device", device)
            minutes = read_object(weights.with_suffix(".json"))["seconds"] / 60
            accuracy = next(iter(json.loads(figures.read_text()).values()))["accuracy"]
            lines.append(f"| `python -m {package}.train {options}` | {minutes:.1f} | {accuracy:.2f} |")
    return lines


def program(module: str, *arguments: Any) -> None:
    """Run a program of the repository. Raises InputError if it fails; it has then printed the reason."""
    if subprocess.run([sys.executable, "-m", module, *map(str, arguments)],
                      cwd=Path(__file__).parent.parent).returncode:
        raise InputError(f"python -m {module} failed; see above")


if __name__ == "__main__":
    run_main(main)
