"""Too many of something: connections for the descriptors that are left, clients that come at once, watches of a client that
does not listen."""

import resource
import socket
import time
from contextlib import ExitStack, suppress

from harness import jute
from harness.fourletter import ask, parse_mntr
from harness.rawclient import ConnectionClosed, RawClient
from harness.wait import DeadlineExceeded, wait_for

from ..cluster import SILENT_TIMEOUT_MS
from ..crowd import Crowd, size_max
from . import fault

STORM_CLIENTS = 10_000
# Nobody of the crowd is heard between its first and its second connection: both fit into a session timeout.
STORM_DEADLINE_S = 50
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
    before = int(victim.mntr()["zk_connection_rejected"])
    # To ask when nobody is let in any more.
    asking = socket.create_connection((victim.address.host, victim.address.client_port), timeout=10)
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
        told = parse_mntr(ask(asking, "mntr"))
        assert int(told["zk_connection_rejected"]) > before, f"{told}\n{victim.log_tail()}"
        arena.load.wait_progress("while a server has no descriptors")
        victim.assert_healthy()
    finally:
        asking.close()
        for client in clients:
            client.drop()
        with suppress(ProcessLookupError):  # it ended, which is told already
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
        assert {member.session.timeout_ms for member in crowd.members} == {SILENT_TIMEOUT_MS}
        cluster.kill(victim)
        crowd.drop()
        began = time.monotonic()
        over = crowd.connect(others, STORM_DEADLINE_S)
        seconds = time.monotonic() - began
        assert over == 0, f"{over} sessions were over"
        assert ids == {member.session.session_id for member in crowd.members}
        crowd.leave()
        arena.load.wait_progress("after the storm")
    arena.notes.append(f"{len(ids)} back in {seconds:.1f} s")
    cluster.start([victim])


@fault()
def stopped_watcher(arena):
    """A client with 100,000 watches stops reading, and all of them fire."""
    server = arena.random.choice(arena.cluster.servers)
    address = (server.address.host, server.address.client_port)
    root = f"/watched{arena.random.getrandbits(40):x}"
    before_kib = server.process.rss_kib()
    with ExitStack() as stack:
        stopped = stack.enter_context(RawClient(*address, timeout_ms=SILENT_TIMEOUT_MS))
        stopped.value(jute.create(root))
        for batch in _batches(root):
            stopped.send_all([jute.exists(path, watch=True) for path in batch])
            for _ in batch:
                assert stopped.receive().error == jute.NO_NODE
        assert int(server.mntr()["zk_watch_count"]) >= WATCHES
        writer = stack.enter_context(RawClient(*address, timeout_ms=SILENT_TIMEOUT_MS))
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
