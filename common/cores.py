"""The number of cores that this process may use. Standard library only."""

from __future__ import annotations

import math
import os
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")


def cores() -> int:
    """OMP_NUM_THREADS if it is set, else the number of cores in the affinity mask of the process, limited by
    the CPU quota of its container (rounded up)."""
    setting = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if setting.isascii() and setting.isdigit() and int(setting[:9]) > 0:
        return int(setting[:9])
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(bound, _quota())))


def _quota() -> float:
    """The CPU quota of this process's Linux control groups, in cores; infinite if there is none."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return math.inf
    grants = [math.inf]
    for _, controllers, place in (line.split(":", 2) for line in lines if line.count(":") >= 2):
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = GROUPS / "cpu" if controllers else GROUPS
        # in a container, the group may be mounted as the root but have its outside name,
        # so check the root too
        inside = base / place.lstrip("/")
        grants += [_granted(folder) for folder in (inside, *inside.parents) if folder.is_relative_to(base)]
    return min(grants)


def _granted(folder: Path) -> float:
    """The quota of one control group (cgroup v2 or v1), in cores; infinite if it sets none."""
    try:
        if (limit := folder / "cpu.max").exists():
            quota, period = limit.read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return float(quota) / float(period) if float(quota) > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf
