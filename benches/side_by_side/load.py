"""The load: `zabra bench` as a child, and its result."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass

from processes import Failure, die_with_parent


@dataclass(frozen=True)
class Case:
    """One kind of work."""

    #: `get` or `set`.
    work: str
    connections: int
    in_flight: int
    value_bytes: int = 1024
    keys: int = 10_000

    @property
    def name(self) -> str:
        return f"{self.work}-c{self.connections}-f{self.in_flight}"


@dataclass(frozen=True)
class Load:
    """How to run a load: the binary that has the `bench` subcommand, and for how long."""

    binary: str
    seconds: float
    warmup_seconds: float

    def run(self, connect: str, pids: list[int], case: Case) -> dict:
        """One load, to its end; its result with what the comparison needs under names of our own."""
        command = [
            self.binary, "bench", "--json", "--keep",
            "--servers", connect,
            "--connections", str(case.connections),
            "--in-flight", str(case.in_flight),
            "--mix", case.work,
            "--value-bytes", str(case.value_bytes),
            "--keys", str(case.keys),
            "--duration", f"{self.seconds:g}",
            "--warmup", f"{self.warmup_seconds:g}",
        ]  # fmt: skip
        for pid in pids:
            command += ["--pid", str(pid)]
        try:
            ended = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                preexec_fn=die_with_parent,
                env={**os.environ, "RUST_BACKTRACE": "0"},
                timeout=60 + 10 * (self.seconds + self.warmup_seconds),
            )
        except subprocess.TimeoutExpired:
            raise Failure(f"the load did not end: {' '.join(command)}") from None
        if ended.returncode != 0:
            raise Failure(f"the load failed: {' '.join(command)}\n{ended.stderr[:1000].strip()}")
        try:
            return summary(json.loads(ended.stdout))
        except (ValueError, KeyError) as reason:
            raise Failure(f"not a result of the load tool ({reason!r}): {ended.stdout[:200]!r}") from None


def summary(result: dict) -> dict:
    """What the comparison needs of the load tool's result."""
    if result["errors"]:
        raise Failure(f"requests failed: {result['errors']}")
    latency = result["latency"]
    return {
        "ops_per_second": result["operations_per_second"],
        "ops_per_cpu_second": result["operations_per_cpu_second"] or 0.0,
        "server_cpu_seconds": sum(process["cpu_seconds"] for process in result["processes"]),
        "load_cpu_seconds": result["bench_cpu_seconds"],
        "p50_us": latency["p50_us"],
        "p99_us": latency["p99_us"],
        "p999_us": latency["p999_us"],
        "emptiest_100_ms": result["emptiest_100_ms"],
    }
