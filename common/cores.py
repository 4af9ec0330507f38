"""How many cores this process may use. Standard library only."""

from __future__ import annotations

import math
import os
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")


def cores() -> int:
    """OMP_NUM_THREADS where it is set; else the cores that this process is bound to, or as many as its container's quota is worth
    (a part of a core counts as one)."""
    setting = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if setting.isascii() and setting.isdigit() and int(setting[:9]) > 0:
        return int(setting[:9])
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(bound, _quota())))


def _quota() -> float:
    """Cores that the control groups of Linux grant to this process; infinite where none limits it."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return math.inf
    grants = [math.inf]
    for _, controllers, place in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = GROUPS / "cpu" if controllers else GROUPS
        # a container may show its own group as the root, under the name that it has outside: the root is looked at too
        inside = base / place.lstrip("/")
        grants += [_granted(folder) for folder in (inside, *inside.parents) if folder.is_relative_to(base)]
    return min(grants)


def _granted(folder: Path) -> float:
    """Cores that one control group grants, as version 2 or version 1 writes it down; infinite where it says nothing."""
    try:
        if (limit := folder / "cpu.max").exists():
            quota, period = limit.read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return float(quota) / float(period) if float(quota) > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
