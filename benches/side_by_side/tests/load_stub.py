#!/usr/bin/env python3
"""Stands in for `zabra bench`, so that the comparison can be tried without Zabra."""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from jute import Connection, get_frame, set_frame
from processes import cpu_seconds

KEYS = 100


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bench")
    for name in ("servers", "mix"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("connections", "in-flight", "keys", "value-bytes"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("duration", "warmup"):
        parser.add_argument(f"--{name}", type=float, required=True)
    parser.add_argument("--pid", type=int, action="append", default=[])
    for name in ("json", "keep"):
        parser.add_argument(f"--{name}", action="store_true", required=True)
    options = parser.parse_args()
    servers = options.servers.split(",")
    value = bytes(options.value_bytes)
    first = Connection(servers[0])
    first.create("/stub")
    for key in range(KEYS):
        first.create(f"/stub/{key}", value)
    begin = time.monotonic() + options.warmup
    end = begin + options.duration
    taken: list[float] = []

    def work(number: int) -> None:
        connection = Connection(servers[number % len(servers)])
        for round_number in count():
            paths = [f"/stub/{(round_number + i) % KEYS}" for i in range(options.in_flight)]
            make = (
                get_frame if options.mix.startswith("get") else lambda xid, path: set_frame(xid, path, value)
            )
            sent = time.monotonic()
            connection.send(b"".join(make(1 + i, path) for i, path in enumerate(paths)))
            codes = [connection.reply()[1] for _ in paths]
            done = time.monotonic()
            assert not any(codes), codes
            if done > end:
                break
            if sent >= begin:
                taken.extend([done - sent] * len(paths))
        connection.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(options.connections)]
    for thread in threads:
        thread.start()
    time.sleep(max(0.0, begin - time.monotonic()))
    before = {pid: cpu_seconds(pid) for pid in options.pid}
    time.sleep(max(0.0, end - time.monotonic()))
    used = {pid: cpu_seconds(pid) - before[pid] for pid in options.pid}
    for thread in threads:
        thread.join()
    first.close()
    taken.sort()
    quantiles = {"p50_us": 0.5, "p99_us": 0.99, "p999_us": 0.999}
    cpu = sum(used.values())
    result = {
        "operations_per_second": len(taken) / options.duration,
        "operations_per_cpu_second": len(taken) / cpu if cpu else None,
        "latency": {name: taken[int(len(taken) * part)] * 1e6 for name, part in quantiles.items()},
        "emptiest_100_ms": 0,
        "errors": {},
        "processes": [{"pid": pid, "cpu_seconds": seconds} for pid, seconds in used.items()],
        "bench_cpu_seconds": time.process_time(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
