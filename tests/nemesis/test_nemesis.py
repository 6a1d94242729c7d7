"""A bounded round of the nemesis: every fault that is possible here, at three and at five servers.

ZABRA_NEMESIS_MINUTES  how long (default 10)
ZABRA_SEED             chooses faults and servers (default: the time, printed)
"""

import os
import random
import time

import pytest

from harness import target
from harness.wait import wait_for

from nemesis import runner
from nemesis.cluster import Cluster
from nemesis.load import AllLoad

MINUTES = float(os.environ.get("ZABRA_NEMESIS_MINUTES", 10))
# To fill a segment of the log, three times over, on a machine that has other things to do.
FILLING_DEADLINE_S = 120
# Long enough for writes of every client.
LYING_S = 3
SEED = int(os.environ.get("ZABRA_SEED", time.time()))


@pytest.fixture(autouse=True)
def possible():
    """Skips where there can be no such servers."""
    why = runner.unavailable()
    if why:
        pytest.skip(why)


def _wait(seconds):
    until = time.monotonic() + seconds
    wait_for(lambda: time.monotonic() >= until, seconds + 1, "the time to pass")


def test_disks_that_lie_are_found(tmp_path):
    """The test of the test: with syncs that do nothing, a loss of power loses what was acknowledged, and that is told."""
    # No new file while the disks lie: one that is there without what came before it is damage, which halts the servers.
    keys = {"snapCount": "1000000", "logSegmentBytes": "16777216"}
    with Cluster(target.chosen(), tmp_path, 3, random.Random(SEED), keys) as cluster:
        load = AllLoad(cluster, tmp_path, SEED)
        try:
            # The log moves to a file that was filled before, and then stays in it.
            moved = lambda: all(len(disk.files("log")) >= 2 for disk in cluster.volumes.values())  # noqa: E731
            wait_for(moved, FILLING_DEADLINE_S, "every log to move to its second segment")
            for disk in cluster.volumes.values():
                disk.command("fail sync all LIE log.*")
            load.wait_progress("on disks that lie")
            _wait(LYING_S)
            for server in cluster.servers:
                server.process.send(9)
            forgotten = [disk.command("cut")["forgotten_bytes"] for disk in cluster.volumes.values()]
            assert sum(count > 0 for count in forgotten) >= cluster.majority, forgotten
            for disk in cluster.volumes.values():
                disk.command("clear")
            cluster.kill_together(cluster.servers)
            cluster.start(cluster.servers)
            load.wait_progress("after the loss of power")
            load.stop()
            wrong, _ = load.verdict()
        except BaseException:
            load.abandon()
            raise
    for root in ("/load/", "/nemesis/"):
        assert any(text.startswith("lost write: ") and root in text for text in wrong), f"none of {root} in {wrong[:20]}"


def test_nothing_acknowledged_is_lost_stale_or_done_twice(tmp_path, capsys):
    plan = runner.Plan(SEED, 10_000, MINUTES, [3, 5], [])

    def say(line):
        with capsys.disabled():
            print(line, flush=True)

    say(f"\nZABRA_SEED={SEED} ZABRA_NEMESIS_MINUTES={MINUTES:g}")
    result = runner.run(plan, tmp_path, say)
    result.write(tmp_path)
    say(result.text())
    assert not result.wrong, f"seed {SEED}, files in {tmp_path}"
    assert result.cycles > 0 and result.reads_after_sync > 0 and result.elections > 0
