"""Zabra and Apache ZooKeeper side by side, on the same machine, disk and work.

    cargo build --release
    python benches/side_by_side/run.py                    everything; about an hour
    python benches/side_by_side/run.py --quick            a smoke run of everything; its figures mean nothing
    python benches/side_by_side/run.py --only kill        one scenario
    python benches/side_by_side/run.py --zookeeper 3.9    the newest ZooKeeper instead of Debian's
    python benches/side_by_side/run.py --against-itself   ZooKeeper twice: every ratio should be near 1

The raw figures go to target/side_by_side/results, the tables into docs/performance.md. Servers are children
of this process and die with it, however it ends.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import machine
import report
import zookeeper
from contenders import Contender, zabra_contender, zookeeper_contender
from load import Load
from processes import Failure
from scenarios import Bench, Plan, leader_failure, memory_and_start, throughput

REPOSITORY = Path(__file__).resolve().parents[2]

SCENARIOS: dict[str, Callable[[Bench], dict]] = {
    "standalone": lambda bench: throughput(bench, 1),
    "ensemble": lambda bench: throughput(bench, 3),
    "memory": memory_and_start,
    "kill": lambda bench: leader_failure(bench, signal.SIGKILL),
    "stop": lambda bench: leader_failure(bench, signal.SIGSTOP),
}


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", metavar="NAME", action="append", choices=list(SCENARIOS),
                        help=f"only this scenario (may be repeated): {', '.join(SCENARIOS)}")  # fmt: skip
    parser.add_argument("--zabra", metavar="PATH", default=os.environ.get("ZABRA"),
                        help="the zabra binary (default: $ZABRA, then target/release/zabra)")  # fmt: skip
    parser.add_argument(
        "--load", metavar="PATH", help="binary with the `bench` subcommand (default: that of --zabra)"
    )
    parser.add_argument("--zookeeper", choices=["debian", "3.9"], default="debian",
                        help="Debian's package, or the newest release out of PyPI's pyspark 4")  # fmt: skip
    parser.add_argument("--against-itself", action="store_true", help="run ZooKeeper against ZooKeeper")
    parser.add_argument("--against", metavar="PATH",
                        help="another zabra binary in the place of ZooKeeper: what a change made slower")  # fmt: skip
    parser.add_argument("--rounds", type=int, help="alternating rounds (default 5)")
    parser.add_argument("--seconds", type=float, help="length of one load (default 3)")
    parser.add_argument("--znodes", type=int, help="znodes of the memory scenario (default 1000000)")
    parser.add_argument("--patience", type=float, default=0, metavar="SECONDS",
                        help="wait so long in all for a quiet machine (default 0)")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="one short round of everything")
    parser.add_argument("--document", type=Path, help="where the tables go (default docs/performance.md; for "
                        "--quick, --against and --against-itself only below target/)")  # fmt: skip
    parser.add_argument(
        "--folder", type=Path, help="where servers write (default target/side_by_side/servers)"
    )
    return parser.parse_args()


def make_plan(options: argparse.Namespace, load_binary: str) -> Plan:
    quick = options.quick
    seconds = options.seconds or (0.5 if quick else 3.0)
    return Plan(
        rounds=options.rounds or (1 if quick else 5),
        load=Load(load_binary, seconds, 0.2 if quick else 1.0),
        warm_seconds=1.0 if quick else 20.0,
        connections=(1, 16) if quick else (1, 16, 64),
        in_flight=(1, 32),
        znodes=options.znodes or (20_000 if quick else 1_000_000),
        znode_bytes=100,
        fault_seconds=1.0 if quick else 3.0,
        repeats_when_disturbed=0 if quick else 2,
        patience_seconds=options.patience,
    )


def find_zabra(options: argparse.Namespace) -> str:
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    return find_binary(options.zabra or target / "release" / "zabra")


def find_binary(path: str | Path) -> str:
    if not Path(path).exists():
        raise Failure(f"{path} does not exist: run `cargo build --release`, or say --zabra PATH")
    return str(Path(path).resolve())


def find_contenders(options: argparse.Namespace, cache: Path) -> list[Contender]:
    if options.against:
        before = find_binary(options.against)
        return [zabra_contender(before, version_of(before), "before"), own_contender(options)]
    distribution = zookeeper.find(options.zookeeper, cache)
    if options.against_itself:
        return [zookeeper_contender(distribution), zookeeper_contender(distribution, "again")]
    return [zookeeper_contender(distribution), own_contender(options)]


def own_contender(options: argparse.Namespace) -> Contender:
    binary = find_zabra(options)
    return zabra_contender(binary, version_of(binary))


def version_of(binary: str) -> str:
    told = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.split()
    return told[-1] if told else ""


def tell(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def run(options: argparse.Namespace) -> None:
    home = REPOSITORY / "target" / "side_by_side"
    preliminary = options.quick or options.against_itself or options.against is not None
    results = home / ("results-preliminary" if preliminary else "results")
    document = options.document or (
        home / "preliminary.md" if preliminary else REPOSITORY / "docs" / "performance.md"
    )
    servers = options.folder or home / "servers"
    for folder in (home / "cache", results, servers):
        folder.mkdir(parents=True, exist_ok=True)
    contenders = find_contenders(options, home / "cache")
    wanted = options.only or list(SCENARIOS)
    needs_load = any(name in ("standalone", "ensemble") for name in wanted)
    plan = make_plan(options, options.load or (find_zabra(options) if needs_load else ""))
    bench = Bench(contenders, plan, servers, tell)
    for contender in contenders:
        tell(f"{contender.name}: {contender.title}; {contender.settings}")
    failed = [name for name in wanted if not _measure(bench, name, results)]
    if records := report.load_records(results):
        report.write(document, report.render(records))
        tell(f"tables: {document}; raw figures: {results}")
    if failed:
        raise Failure(f"not measured: {', '.join(failed)}")


def _measure(bench: Bench, name: str, results: Path) -> bool:
    """One scenario, and its record; False if it failed, which does not keep the others from running."""
    about = machine.describe(bench.folder)
    tell(f"{name}: load average {about['loadavg'][0]:.2f}, fdatasync {about['fdatasync_p50_us']} us")
    try:
        result = SCENARIOS[name](bench)
    except Failure as reason:
        tell(f"{name} failed: {reason}")
        return False
    record = {
        "scenario": name,
        "machine": about,
        "names": [contender.name for contender in bench.contenders],
        "contenders": {c.name: f"{c.title}; {c.settings}" for c in bench.contenders},
        "settings": _settings(bench.plan, name),
        "result": result,
    }
    (results / f"{name}.json").write_text(json.dumps(record, indent=1))
    return True


def _settings(plan: Plan, scenario: str) -> dict:
    settings: dict = {"rounds": plan.rounds}
    if scenario in ("standalone", "ensemble"):
        settings |= {"seconds": plan.load.seconds, "warmup_seconds": plan.load.warmup_seconds}
    return settings


def main() -> int:
    # A polite end is an exception, so that every cluster's clean-up runs.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        run(parse_options())
    except Failure as reason:
        print(f"run.py: {reason}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
