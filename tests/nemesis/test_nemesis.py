"""A bounded round of the nemesis: every fault that is possible here, at three and at five servers.

ZABRA_NEMESIS_MINUTES  how long (default 8)
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

MINUTES = float(os.environ.get("ZABRA_NEMESIS_MINUTES", 8))
SEED = int(os.environ.get("ZABRA_SEED", time.time()))


@pytest.fixture(autouse=True)
def possible():
    """Skips where there can be no such servers."""
    why = runner.unavailable()
    if why:
        pytest.skip(why)


def test_disks_that_lie_are_found(tmp_path):
    """The test of the test: with syncs that do nothing, a loss of power loses what was acknowledged, and that is told."""
    with Cluster(target.chosen(), tmp_path, 3, random.Random(SEED), {"snapCount": "1000000"}) as cluster:
        load = AllLoad(cluster, tmp_path, SEED)
        try:
            load.wait_progress("before")
            for disk in cluster.volumes.values():
                disk.command("fail sync all LIE log.*")
            load.wait_progress("on disks that lie")
            told = [worker.history.acks for worker in load.workers.workers]
            wait_for(lambda: sum(load.workers.acks()) > sum(told) + 1000, 30, "more writes")
            for server in cluster.servers:
                server.process.send(9)
            for disk in cluster.volumes.values():
                assert disk.command("cut")["forgotten_bytes"] > 0
                disk.command("clear")
            cluster.kill_together(cluster.servers)
            cluster.start(cluster.servers)
            load.wait_progress("after the loss of power")
            load.stop()
            wrong, _ = load.verdict()
        except BaseException:
            load.abandon()
            raise
    for sign in ("lost write: /load/", "lost write: rust", "lost write: kazoo"):
        assert any(text.startswith(sign) for text in wrong), f"no {sign!r} in {wrong[:20]}"


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
