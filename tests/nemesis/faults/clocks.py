"""Wall clocks that jump. Nothing may depend on them: no session ends, nobody elects."""

import itertools
import time

from harness import jute
from harness.rawclient import RawClient
from harness.wait import wait_for

from ..cluster import faketime
from . import fault

DAY_S = 86_400
JUMPS_S = (-3650 * DAY_S, -DAY_S, -60, 60, DAY_S, 365 * DAY_S)
_numbers = itertools.count()


def unavailable():
    """Why clocks cannot be set; empty if they can."""
    return "" if faketime() else "libfaketime is not installed"


@fault(needs=unavailable)
def clock_of_leader(arena):
    """The leader's clock jumps, and jumps back."""
    _jump(arena, [arena.cluster.leader()])


@fault(needs=unavailable)
def clocks_of_all(arena):
    """Each server's clock jumps somewhere else."""
    _jump(arena, list(arena.cluster.servers))


def _jump(arena, servers):
    cluster = arena.cluster
    before = cluster.leader_and_epoch()
    losses = _losses(arena)
    for server in servers:
        jump = arena.random.choice(JUMPS_S)
        cluster.set_clock(server, jump)
        if server is before[0]:
            expected = jump
    try:
        off = lambda: abs(_clock_is_off(cluster) - expected) < 30  # noqa: E731
        wait_for(off, 10, lambda: f"the clock to be {expected} s off; it is {_clock_is_off(cluster)} s", 0.2)
        arena.load.wait_progress("at another time")
    finally:
        for server in servers:
            cluster.set_clock(server, 0)
    wait_for(lambda: abs(_clock_is_off(cluster)) < 30, 10, "the clock to be right again", 0.2)
    assert cluster.leader_and_epoch() == before, "the leader changed because of a clock"
    assert _losses(arena) == losses, "a session ended because of a clock"
    arena.notes.append(f"{len(servers)} servers, leader {expected:+d} s")


def _losses(arena):
    return sum(len(worker.history.losses) for worker in arena.load.workers.workers)


def _clock_is_off(cluster):
    """How far off the time is that the leader gives a new znode, in seconds."""
    with RawClient(*cluster.ensemble.endpoints[0]) as client:
        path = f"/clock{next(_numbers)}"
        client.value(jute.create(path))
        data_stat = client.value(jute.get_data(path))
        client.value(jute.delete(path))
        client.close()
    return data_stat[1].ctime / 1000 - time.time()
