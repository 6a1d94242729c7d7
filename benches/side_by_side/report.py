"""From the raw figures to the tables of docs/performance.md."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path

BEGIN = "<!-- side_by_side: begin (written by benches/side_by_side/run.py; do not edit) -->"
END = "<!-- side_by_side: end -->"

#: What Zabra is measured against: (row, at least, aim). Ratios of Zabra to ZooKeeper, or milliseconds.
Row = tuple[str, str, str, str, str]


def median(samples: list[dict], key: str) -> float:
    return statistics.median(sample[key] for sample in samples)


def ratio(samples: dict[str, list[dict]], names: list[str], key: str) -> float:
    """The second contender's median to the first's."""
    first, second = (median(samples[name], key) for name in names)
    return second / first if first else float("nan")


def _table(header: list[str], rows: list[list[str]]) -> str:
    """A markdown table; the first column is text, the others are figures."""
    lines = ["| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(header) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _times(value: float) -> str:
    return f"{value:.2f}x" if value < 10 else f"{value:.1f}x"


def _latency(samples: list[dict]) -> str:
    return f"{median(samples, 'p50_us'):,.0f} / {median(samples, 'p99_us'):,.0f}"


def throughput_section(record: dict, title: str) -> str:
    result, names = record["result"], record["names"]
    first, second = names
    header = [
        "1 KiB", "connections", "in flight",
        f"{first} /s", f"{second} /s", "ratio",
        f"{first} per CPU s", f"{second} per CPU s", "ratio",
        f"{first} p50/p99 us", f"{second} p50/p99 us",
    ]  # fmt: skip
    rows = []
    for case in result["cases"]:
        samples = result["samples"][case["name"]]
        rows.append([
            case["work"], str(case["connections"]), str(case["in_flight"]),
            *(f"{median(samples[name], 'ops_per_second'):,.0f}" for name in names),
            f"**{_times(ratio(samples, names, 'ops_per_second'))}**",
            *(f"{median(samples[name], 'ops_per_cpu_second'):,.0f}" for name in names),
            f"**{_times(ratio(samples, names, 'ops_per_cpu_second'))}**",
            *(_latency(samples[name]) for name in names),
        ])  # fmt: skip
    return f"### {title}\n\n{_table(header, rows)}\n\n{_conditions(record)}"


def memory_section(record: dict) -> str:
    result, names = record["result"], record["names"]
    samples = result["samples"]
    mib = 2**20

    def row(label: str, key: str, unit: float, form: str) -> list[str]:
        values = [f"{median(samples[name], key) / unit:{form}}" for name in names]
        return [label, *values, f"**{_times(ratio(samples, names, key))}**"]

    rows = [
        row("RSS before, MiB", "rss_empty", mib, ",.0f"),
        row("RSS with all, MiB", "rss", mib, ",.0f"),
        row("PSS with all, MiB", "pss", mib, ",.0f"),
        row("RSS at its highest, MiB", "rss_peak", mib, ",.0f"),
        row("start until a client reads, s", "start_seconds", 1, ",.2f"),
        row("RSS after that start, MiB", "rss_after_start", mib, ",.0f"),
        row("time to create them all (one client), s", "fill_seconds", 1, ",.1f"),
    ]
    title = f"### {result['znodes']:,} znodes of {result['znode_bytes']} bytes in one server"
    return f"{title}\n\n{_table(['', *names, 'ratio'], rows)}\n\n{_conditions(record)}"


def failure_section(records: list[dict]) -> str:
    rows = []
    for record in records:
        samples, names = record["result"]["samples"], record["names"]
        what = {"SIGKILL": "kill -9 of the leader", "SIGSTOP": "SIGSTOP of the leader"}[
            record["result"]["fault"]
        ]
        gaps = [sorted(sample["gap_ms"] for sample in samples[name]) for name in names]
        rows.append([
            what,
            *(f"{statistics.median(gap):,.0f} ({gap[0]:,.0f} to {gap[-1]:,.0f})" for gap in gaps),
            f"**{_times(statistics.median(gaps[1]) / statistics.median(gaps[0]))}**",
            *(str(sum(sample["lost_writes"] for sample in samples[name])) for name in names),
        ])  # fmt: skip
    names = records[0]["names"]
    header = ["longest time without an acknowledged write, ms: median (range)", *names, "ratio",
              *(f"acknowledged writes lost, {name}" for name in names)]  # fmt: skip
    intro = (
        "Three servers, default configuration. One client of a surviving server writes 100 bytes, one "
        "request in flight, through the failure."
    )
    return f"### The leader fails\n\n{intro}\n\n{_table(header, rows)}\n\n{_conditions(records[-1])}"


def _conditions(record: dict) -> str:
    """Under which conditions a table was measured, and how quiet the machine was."""
    machine, settings = record["machine"], record["settings"]
    all_samples = list(_all_samples(record["result"]["samples"]))
    disturbed = sum(sample["disturbance"]["disturbed"] for sample in all_samples)
    loads = [sample["loadavg"][0] for sample in all_samples if "loadavg" in sample]
    quiet = (
        f"{disturbed} of {len(all_samples)} measurements were disturbed "
        "(others used more than 5 % of the machine)"
    )
    if loads:
        quiet += f"; load average before them {min(loads):.1f} to {max(loads):.1f}"
    return (
        f"Measured {machine['date']}: {settings['rounds']} alternating rounds"
        + (
            f" of {settings['seconds']:g} s after {settings['warmup_seconds']:g} s"
            if "seconds" in settings
            else ""
        )
        + f"; medians. {quiet}."
    )


def _all_samples(samples: dict | list):
    """Every single measurement in a tree of them."""
    if isinstance(samples, list):
        yield from samples
    else:
        for below in samples.values():
            yield from _all_samples(below)


def summary_rows(records: dict[str, dict]) -> list[Row]:
    """The few figures that decide, with what was asked for: (what, measured, at least, aim, verdict)."""
    rows: list[Row] = []

    def add(
        what: str, value: float, least: float, aim: float, less_is_better: bool, form: Callable[[float], str]
    ):
        met = value <= least if less_is_better else value >= least
        aimed = value <= aim if less_is_better else value >= aim
        rows.append(
            (what, form(value), form(least), form(aim), "aim" if aimed else "yes" if met else "**no**")
        )

    def case(
        scenario: str, what: str, name: str, key: str, least: float, aim: float, less: bool = False
    ) -> None:
        record = records.get(scenario)
        if record and name in record["result"]["samples"]:
            add(
                what, ratio(record["result"]["samples"][name], record["names"], key), least, aim, less, _times
            )

    for scenario, servers in (("standalone", "one server"), ("ensemble", "three servers")):
        per_cpu = "ops_per_cpu_second"
        case(
            scenario,
            f"reads per CPU second, {servers}, 64 connections, 1 in flight",
            "get-c64-f1",
            per_cpu,
            2.5,
            4,
        )
        case(
            scenario,
            f"reads per CPU second, {servers}, 64 connections, 32 in flight",
            "get-c64-f32",
            per_cpu,
            8,
            15,
        )
    case("ensemble", "writes per CPU second, three servers, 64 connections, 32 in flight", "set-c64-f32",
         "ops_per_cpu_second", 4, 8)  # fmt: skip
    case("ensemble", "writes per CPU second, three servers, 64 connections, 1 in flight", "set-c64-f1",
         "ops_per_cpu_second", 3, 6)  # fmt: skip
    case(
        "ensemble",
        "one client's write latency, median, three servers",
        "set-c1-f1",
        "p50_us",
        0.7,
        0.45,
        True,
    )
    if record := records.get("memory"):
        samples, names = record["result"]["samples"], record["names"]
        znodes = f"{record['result']['znodes']:,} znodes"
        add(f"memory with {znodes} (RSS)", ratio(samples, names, "rss"), 1 / 4, 1 / 6, True, _times)
        add(f"start-up with {znodes}", ratio(samples, names, "start_seconds"), 1 / 5, 1 / 10, True, _times)
    for scenario, what, least, aim in (
        ("kill", "leader killed: longest gap in writes", 300, 50),
        ("stop", "leader stopped (SIGSTOP): longest gap in writes", 2000, 600),
    ):
        if record := records.get(scenario):
            gap = median(record["result"]["samples"][record["names"][1]], "gap_ms")
            add(what, gap, least, aim, True, lambda value: f"{value:,.0f} ms")
    return rows


def render(records: dict[str, dict]) -> str:
    """The whole generated part of the document."""
    newest = max(records.values(), key=lambda record: record["machine"]["date"])
    machine = newest["machine"]
    parts = [
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"Linux {machine['kernel']}, {machine['filesystem']}, fdatasync of a 4 KiB append "
        f"{machine['fdatasync_p50_us']} us (median). Servers and load share the machine. "
        "Both sync every write to this disk before they acknowledge it.",
        "\n".join(f"- **{name}**: {about}" for name, about in newest["contenders"].items()),
    ]
    if rows := summary_rows(records):
        parts.append("### In short\n\n" + _table(
            [f"{newest['names'][1]} to {newest['names'][0]}", "measured", "at least", "aim", "reached"],
            [list(row) for row in rows],
        ))  # fmt: skip
    for scenario, title in (("standalone", "One server"), ("ensemble", "Three servers")):
        if scenario in records:
            parts.append(throughput_section(records[scenario], title))
    if "memory" in records:
        parts.append(memory_section(records["memory"]))
    if failures := [records[name] for name in ("kill", "stop") if name in records]:
        parts.append(failure_section(failures))
    return "\n\n".join(parts)


def write(document: Path, text: str) -> None:
    """Puts the text between the markers, which are added at the end of a document that has none."""
    old = document.read_text() if document.exists() else "# Performance\n"
    if BEGIN in old and END in old:
        before, rest = old.split(BEGIN, 1)
        after = rest.split(END, 1)[1]
    else:
        before, after = old.rstrip("\n") + "\n\n", "\n"
    document.parent.mkdir(parents=True, exist_ok=True)
    document.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def load_records(folder: Path) -> dict[str, dict]:
    """The newest record of every scenario that was ever measured into this folder."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
