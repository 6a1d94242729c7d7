"""Too many of something: connections for the descriptors that are left, clients that come at once, watches of a client that
does not listen."""

import resource
import time
from contextlib import suppress

from harness import jute
from harness.rawclient import ConnectionClosed, RawClient
from harness.wait import DeadlineExceeded, wait_for

from ..crowd import Crowd, size_max
from . import fault

STORM_CLIENTS = 10_000
STORM_DEADLINE_S = 60
WATCHES = 100_000
WATCHES_AT_ONCE = 1000
# What the server may keep for a client that does not read, with all that comes with 100,000 znodes.
GROWTH_MIB_MAX = 400


@fault()
def few_fds(arena):
    """A server has few file descriptors left: it lets nobody in, and keeps them for itself, so that it goes on with those
    that are in."""
    victim = arena.random.choice(arena.cluster.servers)
    limits = resource.prlimit(victim.pid, resource.RLIMIT_NOFILE)
    in_use = victim.process.open_files()
    # A quarter of the limit is the server's own; the rest is in use but for a few.
    resource.prlimit(victim.pid, resource.RLIMIT_NOFILE, ((in_use + 8) * 4 // 3, limits[1]))
    clients, refused = [], 0
    try:
        while not refused:
            assert len(clients) < 100, "nobody was refused"
            try:
                clients.append(RawClient(victim.address.host, victim.address.client_port))
            except (OSError, ConnectionClosed):
                refused += 1
        wait_for(lambda: "file descriptors" in victim.log_tail(), 10, lambda: f"a word of it:\n{victim.log_tail()}")
        arena.load.wait_progress("while a server has no descriptors")
        victim.assert_healthy()
    finally:
        for client in clients:
            client.drop()
        resource.prlimit(victim.pid, resource.RLIMIT_NOFILE, limits)
    arena.notes.append(f"{in_use} in use, {len(clients)} more let in")
    wait_for(victim.mode, 20, lambda: f"the server to let clients in again:\n{victim.log_tail()}")


@fault()
def reconnect_storm(arena):
    """A server is killed while 10,000 clients are connected, and all of them come back at the same moment."""
    cluster = arena.cluster
    victim = arena.random.choice(cluster.servers)
    endpoints = cluster.ensemble.endpoints
    others = [(server.address.host, server.address.client_port) for server in cluster.others(victim)]
    with Crowd(size_max(STORM_CLIENTS)) as crowd:
        assert crowd.connect(endpoints, STORM_DEADLINE_S) == 0
        ids = {member.session.session_id for member in crowd.members}
        assert len(ids) == len(crowd.members), "two clients got the same session"
        cluster.kill(victim)
        crowd.drop()
        began = time.monotonic()
        over = crowd.connect(others, STORM_DEADLINE_S)
        seconds = time.monotonic() - began
        assert over == 0, f"{over} sessions were over"
        assert ids == {member.session.session_id for member in crowd.members}
        arena.load.wait_progress("after the storm")
        crowd.leave()
    arena.notes.append(f"{len(ids)} back in {seconds:.1f} s")
    cluster.start([victim])


@fault()
def stopped_watcher(arena):
    """A client with 100,000 watches stops reading, and all of them fire."""
    server = arena.random.choice(arena.cluster.servers)
    address = (server.address.host, server.address.client_port)
    root = f"/watched{arena.random.getrandbits(40):x}"
    before_kib = server.process.rss_kib()
    with RawClient(*address, timeout_ms=20_000) as stopped, RawClient(*address, timeout_ms=20_000) as writer:
        writer.value(jute.create(root))
        for batch in _batches(root):
            stopped.send_all([jute.exists(path, watch=True) for path in batch])
            for _ in batch:
                assert stopped.receive().error == jute.NO_NODE
        assert int(server.mntr()["zk_watch_count"]) >= WATCHES
        for batch in _batches(root):
            writer.value(jute.multi([jute.create(path) for path in batch]))
        arena.load.wait_progress("while a client does not read its events")
        fired = lambda: int(server.mntr().get("zk_watch_count", WATCHES)) < WATCHES_AT_ONCE  # noqa: E731
        wait_for(fired, 20, lambda: f"the watches to fire: {server.mntr()}")
        growth_mib = (server.process.peak_rss_kib() - before_kib) / 1024
        assert growth_mib < GROWTH_MIB_MAX, f"{growth_mib:.0f} MiB more"
        for batch in _batches(root):
            writer.value(jute.multi([jute.delete(path) for path in batch]))
        writer.value(jute.delete(root))
        writer.close()
        heard = 0
        with suppress(ConnectionClosed, DeadlineExceeded):
            while heard < WATCHES:
                stopped.receive(1.0)
                heard += 1
    arena.notes.append(f"heard {heard}, {growth_mib:.0f} MiB more")


def _batches(root):
    for first in range(0, WATCHES, WATCHES_AT_ONCE):
        yield [f"{root}/{number}" for number in range(first, first + WATCHES_AT_ONCE)]
