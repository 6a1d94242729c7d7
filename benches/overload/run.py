#!/usr/bin/env python3
"""Measures what loads that no server can carry do to three servers, and writes the table of docs/overload.md.

    cargo build --release && target/venv/bin/python benches/overload/run.py [--seconds 20] [--scale 2] [NAME ...]

Only with all scenarios the document is written; with names the rows are just shown.
"""

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "python"))

from harness import overload, target  # noqa: E402
from harness.document import write_between  # noqa: E402
from harness.ensemble import Ensemble  # noqa: E402

DOCUMENT = ROOT / "docs" / "overload.md"
BEGIN = "<!-- overload: begin (written by benches/overload/run.py; do not edit) -->"
END = "<!-- overload: end -->"


def row(scenario, outcome, loads):
    """One line of the table."""
    done = ", ".join(filter(None, (describe(load) for load in loads)))
    before, peak = max(outcome.before_mib), max(outcome.peak_mib)
    pings, renewals = (
        " / ".join(f"{outcome.at(share, times):,.0f}" for share in (0.5, 0.99, 1.0))
        for times in (outcome.pings_ms, outcome.renewals_ms)
    )
    name = scenario.__name__.replace("_", " ")
    return (
        f"| {name} | {done} | {before:,.0f} | **{peak:,.0f}** | {pings} | {renewals} | {outcome.elections} | {outcome.reconnects} "
        f"| {outcome.sessions_lost} |"
    )


def describe(load):
    """What a load did, in a few words."""
    match load:
        case overload.Pipelines():
            text = f"{len(load.clients)} connections, {load.sent / overload.MIB:,.0f} MiB taken from them"
            return text + (f", {load.received / overload.MIB:,.0f} MiB answered" if load.reads else "")
        case overload.Arrivals():
            return f"{load.came:,} came"
        case overload.Watchers():
            return f"{len(load.clients)} watchers, {load.events:,} events"
        case overload.SlowReader():
            return f"stopped {load.stops} times"
    return ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    rows = []
    for scenario in overload.SCENARIOS:
        if arguments.names and scenario.__name__ not in arguments.names:
            continue
        with tempfile.TemporaryDirectory() as folder, Ensemble(target.chosen(), Path(folder), 3) as ensemble:
            ensemble.start()
            loads = scenario(ensemble, arguments.scale)
            outcome = overload.measure(ensemble, loads, arguments.seconds)
            rows.append(row(scenario, outcome, loads))
            print(rows[-1], flush=True)
    if not arguments.names:
        head = [
            f"Each for {arguments.seconds:g} seconds, with `--scale {arguments.scale}`. Memory is that of the server that has "
            "most, in MiB. Times are the median, that of 99 in 100, and the longest.",
            "",
            "| load | what it did | before | at most | ping ms | renewal ms | elections | reconnects | lost |",
            "|---|---|---:|---:|---:|---:|---:|---:|---:|",
        ]
        write_between(DOCUMENT, BEGIN, END, [*head, *rows])


if __name__ == "__main__":
    main()
