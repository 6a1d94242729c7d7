"""The machine that a figure was measured on, and whether it had anything else to do."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from processes import cpu_seconds, total_cpu_seconds


def describe(folder: Path) -> dict:
    """Processor, kernel, memory, the disk below `folder`, and what an fsync costs there."""
    processor = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "filesystem": _filesystem(folder),
        "fdatasync_p50_us": round(fdatasync_p50(folder) * 1e6),
        "loadavg": os.getloadavg(),
        "date": time.strftime("%Y-%m-%d %H:%M"),
    }


def _filesystem(folder: Path) -> str:
    """Type and device of the file system that `folder` lies on."""
    best = ("", "unknown")
    for line in Path("/proc/mounts").read_text().splitlines():
        device, mount, kind = line.split()[:3]
        if str(folder.resolve()).startswith(mount.rstrip("/") + "/") and len(mount) >= len(best[0]):
            best = (mount, f"{kind} on {device}")
    return best[1]


def fdatasync_p50(folder: Path, times: int = 200) -> float:
    """The median time of a 4 KiB append with fdatasync, in seconds."""
    probe, block, taken = folder / "fdatasync.probe", bytes(4096), []
    descriptor = os.open(probe, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    try:
        for _ in range(times):
            begin = time.perf_counter()
            os.write(descriptor, block)
            os.fdatasync(descriptor)
            taken.append(time.perf_counter() - begin)
    finally:
        os.close(descriptor)
        probe.unlink()
    return statistics.median(taken)


@dataclass(frozen=True)
class Disturbance:
    """What others used of the machine during a measurement."""

    #: Share of all cores' time that went to processes that are none of ours.
    foreign_cpu: float
    #: Share of it that the host gave to other machines.
    steal: float

    #: Above this, a measurement counts as disturbed.
    LIMIT = 0.05

    @property
    def is_disturbed(self) -> bool:
        return self.foreign_cpu + self.steal > self.LIMIT

    def as_dict(self) -> dict:
        return asdict(self) | {"disturbed": self.is_disturbed}


class Watchman:
    """Compares what the machine has done with what our processes have done."""

    def __init__(self, server_pids: Callable[[], list[int]]):
        self._pids = server_pids
        self._begin = self._reading()

    def _reading(self) -> tuple[float, float, float, float]:
        used, steal = total_cpu_seconds()
        own = sum(cpu_seconds(pid) for pid in self._pids() if Path(f"/proc/{pid}").exists())
        times = os.times()
        mine = times.user + times.system + times.children_user + times.children_system
        return time.monotonic(), used, steal, own + mine

    def finish(self) -> Disturbance:
        """What happened since the watchman was put up. Every other child of ours must have ended."""
        begin, end = self._begin, self._reading()
        available = (end[0] - begin[0]) * (os.cpu_count() or 1)
        foreign = (end[1] - begin[1]) - (end[3] - begin[3])
        return Disturbance(max(0.0, foreign / available), (end[2] - begin[2]) / available)
