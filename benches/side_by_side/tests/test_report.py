"""The tables: right medians, and a document whose other parts stay as they are."""

import pytest

import report

QUIET = {"foreign_cpu": 0.0, "steal": 0.0, "disturbed": False}
NAMES = ["zookeeper", "zabra"]


def record(result: dict) -> dict:
    return {
        "machine": {"processor": "P", "cores": 2, "memory_gib": 4, "kernel": "6",
                    "filesystem": "ext4 on /dev/x",
                    "fdatasync_p50_us": 108, "loadavg": [0, 0, 0], "date": "2026-01-01 00:00"},
        "names": NAMES,
        "contenders": {"zookeeper": "Apache ZooKeeper", "zabra": "Zabra"},
        "settings": {"rounds": 3},
        "result": result,
    }  # fmt: skip


def loads(*rates: float) -> list[dict]:
    return [
        {"ops_per_second": rate, "ops_per_cpu_second": 2 * rate, "p50_us": 1e6 / rate, "p99_us": 3e6 / rate,
         "disturbance": QUIET, "loadavg": [0.5, 0, 0]}
        for rate in rates
    ]  # fmt: skip


def throughput(slow: list[dict], fast: list[dict], *names: str) -> dict:
    cases = [{"name": name, "work": name[:3], "connections": 64, "in_flight": 32} for name in names]
    return record({"cases": cases, "samples": {name: {"zookeeper": slow, "zabra": fast} for name in names}})


def test_a_ratio_is_that_of_the_medians_of_all_rounds():
    samples = {"zookeeper": loads(100, 1, 110), "zabra": loads(1000, 1000, 9)}
    assert report.ratio(samples, NAMES, "ops_per_second") == 10


def test_the_summary_says_what_was_reached():
    records = {
        "standalone": throughput(loads(100), loads(900), "get-c64-f32"),
        "ensemble": throughput(loads(100), loads(300), "set-c64-f32"),
        "kill": record({"fault": "SIGKILL", "samples": {
            "zookeeper": [{"gap_ms": 400}], "zabra": [{"gap_ms": 40}]}}),
    }  # fmt: skip
    verdicts = {row[0]: (row[1], row[4]) for row in report.summary_rows(records)}
    assert verdicts == {
        "reads per CPU second, one server, 64 connections, 32 in flight": ("9.00x", "yes"),
        "writes per CPU second, three servers, 64 connections, 32 in flight": ("3.00x", "**no**"),
        "leader killed: longest gap in writes": ("40 ms", "aim"),
    }


def test_everything_measured_is_rendered():
    faults = [
        {"gap_ms": 10.0, "lost_writes": 0, "disturbance": QUIET},
        {"gap_ms": 30.0, "lost_writes": 1, "disturbance": QUIET | {"disturbed": True}},
    ]
    memory = dict.fromkeys(
        ("rss_empty", "rss", "pss", "rss_peak", "start_seconds", "rss_after_start", "fill_seconds"), 100.0
    )
    memory |= {"disturbance": QUIET}
    text = report.render({
        "standalone": throughput(loads(100), loads(200), "get-c64-f32"),
        "memory": record({"znodes": 1000, "znode_bytes": 100,
                          "samples": {"zookeeper": [memory], "zabra": [memory]}}),
        "stop": record({"fault": "SIGSTOP", "samples": {"zookeeper": faults, "zabra": faults}}),
    })  # fmt: skip
    for wanted in (
        "### One server",
        "1,000 znodes",
        "| SIGSTOP of the leader | 20 (10 to 30)",
        "2 of 4",
        "108 us",
    ):
        assert wanted in text


def test_only_what_lies_between_the_markers_is_replaced(tmp_path):
    document = tmp_path / "docs" / "performance.md"
    report.write(document, "first")
    document.write_text(
        document.read_text().replace("# Performance", "# Performance\n\nby hand") + "\nafter\n"
    )
    report.write(document, "second")
    text = document.read_text()
    assert "by hand" in text and "second" in text and text.endswith("\nafter\n")
    assert "first" not in text


@pytest.mark.parametrize(("value", "shown"), [(0.123, "0.12x"), (9.5, "9.50x"), (12.34, "12.3x")])
def test_ratios_are_shown_with_three_digits(value, shown):
    assert report._times(value) == shown
