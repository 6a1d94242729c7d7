#!/usr/bin/env python3
"""Measures how long writes wait when leadership moves on purpose, and writes the table of docs/performance.md.

    cargo build --release && target/venv/bin/python benches/moves/run.py [--rounds 10] [NAME ...]

Only with all moves the document is written; with names the rows are just shown. The upgrade needs an older release,
which is built from the repository's history at the first run.
"""

import argparse
import contextlib
import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "python"))

from harness import target  # noqa: E402
from harness.document import write_between  # noqa: E402
from harness.ensemble import Ensemble  # noqa: E402
from harness.members import Members  # noqa: E402
from harness.older import older_zabra  # noqa: E402
from harness.wait import wait_for  # noqa: E402
from harness.writer import Writer, all_write_on, assert_all_there  # noqa: E402

DOCUMENT = ROOT / "docs" / "performance.md"
BEGIN = "<!-- moves: begin (written by benches/moves/run.py; do not edit) -->"
END = "<!-- moves: end -->"


@contextlib.contextmanager
def writing(servers, checked):
    """One client of each server, which writes without a pause. Nothing that was acknowledged may be missing on the servers
    that `checked()` gives."""
    writers = [Writer(servers, f"w{place}", place) for place in range(len(servers))]
    all_write_on(writers)
    yield writers
    for writer in writers:
        writer.end()
    assert_all_there(checked(), writers)


def pauses(writers, move):
    """The longest pauses of these clients, in ms, while `move()` happens."""
    moves, since = [writer.moves for writer in writers], time.monotonic()
    move()
    all_write_on(writers)
    assert [writer.moves for writer in writers] == moves, "these clients stay connected"
    return [1000 * writer.longest_pause_s(since) for writer in writers]


def hand_over(folder, rounds):
    """The leader is told to hand over (SIGUSR1), and stays"""
    with Ensemble(target.zabra(), folder, 3) as ensemble:
        ensemble.start()
        with writing(ensemble.servers, lambda: ensemble.servers) as writers:
            for _ in range(rounds):
                leader = ensemble.leader()

                def move(leader=leader):
                    os.kill(leader.pid, signal.SIGUSR1)
                    wait_for(lambda: leader.mode() == "follower", 10, "the leader to follow")

                yield pauses(writers, move)
                ensemble.wait_all_serving()


def stop_of_the_leader(folder, rounds):
    """The leader is stopped (SIGTERM); clients of the others"""
    yield from stops(folder, rounds, target.zabra())


def stop_of_an_older_leader(folder, rounds):
    """A leader of an older release, which does not hand over, is stopped: the first half of an upgrade"""
    older = older_zabra()
    if older.unavailable:
        raise SystemExit(older.unavailable)
    yield from stops(folder, rounds, older)


def stops(folder, rounds, flavour):
    """Stops of the leader, each in an ensemble of its own, as the clients of a stopped server move."""
    for number in range(rounds):
        with Ensemble(flavour, folder / str(number), 3) as ensemble:
            leader = ensemble.start().leader()
            others = [server for server in ensemble.servers if server is not leader]
            with writing(others, lambda others=others: others) as writers:
                yield pauses(writers, leader.stop)


def removal_of_the_leader(folder, rounds):
    """The leader is removed by a reconfiguration of four servers; clients of the others"""
    for number in range(rounds):
        members = Members(target.zabra(), folder / str(number), 4, first=4)
        with contextlib.closing(members):
            leader = members.start().leader()
            others = [server for server in members.servers.values() if server is not leader]
            with writing(others, lambda others=others: others) as writers:
                through, leaving = others[0].server_id, str(leader.server_id)
                yield pauses(writers, lambda: members.change(through=through, leaving=leaving))


MOVES = [hand_over, stop_of_the_leader, removal_of_the_leader, stop_of_an_older_leader]


def row(move, rounds):
    """One line of the table."""
    with tempfile.TemporaryDirectory() as folder:
        worst = [max(of_round) for of_round in move(Path(folder), rounds)]
    return f"| {move.__doc__} | {len(worst)} | {statistics.median(worst):.0f} | {max(worst):.0f} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    rows = []
    for move in MOVES:
        if not arguments.names or move.__name__ in arguments.names:
            rows.append(row(move, arguments.rounds))
            print(rows[-1], flush=True)
    if not arguments.names:
        head = [
            f"Three servers on loopback, {os.cpu_count()} cores, a client of each that writes one value after the other, measured "
            f"{time.strftime('%Y-%m-%d')}. The longest pause of any of these clients in each round, in ms. Nothing that was "
            "acknowledged was missing afterwards.",
            "",
            "| move | rounds | median | longest |",
            "|---|---:|---:|---:|",
        ]
        write_between(DOCUMENT, BEGIN, END, [*head, *rows])


if __name__ == "__main__":
    main()
