"""The ensemble that faults are done to: servers on networks, disks and clocks that obey the test."""

import contextlib
import glob
import signal

from harness import netns
from harness.ensemble import Ensemble
from harness.server import Options
from harness.wait import wait_for

from .volume import Volume
from . import volume

LEADER_DEADLINE_S = 60
SILENT_TIMEOUT_MS = 120_000
LIBFAKETIME = "/usr/lib/*/faketime/libfaketimeMT.so.1"
# Small figures, so that segments end, snapshots are due and followers are too far behind for DIFF all the time.
KEYS = {
    "snapCount": ["500", "2000", "20000"],
    "logSegmentBytes": ["262144", "1048576", "8388608"],
    "recentTxnBytesMax": ["20000", "1000000"],
    # Not the default of 500: some faults say that the leader stays, and this machine does not always give it its time.
    "peerTimeoutMs": ["1500"],
    # For clients that send no pings.
    "maxSessionTimeout": [str(SILENT_TIMEOUT_MS)],
}


def unavailable():
    """Why there can be no cluster here; empty if there can."""
    return netns.unavailable() or volume.unavailable()


def faketime():
    """The library that lies about the wall clock; empty where it is not installed."""
    return next(iter(glob.glob(LIBFAKETIME)), "")


class Cluster:
    """Owns processes, mounts and namespaces; `close` takes all of them away. Use it as a context manager."""

    def __init__(self, flavour, folder, size, random, keys=None):
        """`keys`: more `key: value` for zoo.cfg, in place of what chance gives."""
        self._stack = contextlib.ExitStack()
        try:
            self.network = self._stack.enter_context(netns.Network())
            self.volumes = {number: self._volume(folder / f"server-{number}") for number in range(1, size + 1)}
            drawn = {key: random.choice(values) for key, values in KEYS.items()}
            options = Options(extra=drawn | (keys or {}))
            self.ensemble = self._stack.enter_context(Ensemble(flavour, folder, size, options, self.network))
            for disk in self.volumes.values():
                disk.settle()
            for server in self.servers:
                self._set_clock_up(server)
            self.ensemble.start()
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends the servers first, then takes away what they stood on."""
        self._stack.close()

    @property
    def servers(self):
        """All servers."""
        return self.ensemble.servers

    @property
    def majority(self):
        """How many servers are a quorum."""
        return len(self.servers) // 2 + 1

    def volume(self, server):
        """A server's disk."""
        return self.volumes[server.server_id]

    def leader(self, among=None):
        """Waits for a leader and returns it."""
        return self.ensemble.leader(LEADER_DEADLINE_S, among)

    def leader_and_epoch(self):
        """The leader and its epoch."""
        leader = self.leader()
        return leader, leader.zxid() >> 32

    def followers(self):
        """All servers but the leader."""
        leader = self.leader()
        return [server for server in self.servers if server is not leader]

    def others(self, *servers):
        """All servers but these."""
        return [server for server in self.servers if server not in servers]

    def kill(self, server):
        """kill -9 of a server that must have been running until then."""
        server.kill()
        code = server.process.exit_code()
        assert code == -signal.SIGKILL, f"server {server.server_id} had ended with {code}:\n{server.log_tail()}"

    def kill_together(self, servers):
        """kill -9 of several servers, none of which sees another one go."""
        for server in servers:
            server.process.send(signal.SIGKILL)
        for server in servers:
            self.kill(server)

    def start(self, servers):
        """Starts servers and waits until they serve."""
        for server in servers:
            server.start()
        for server in servers:
            server.wait_serving(LEADER_DEADLINE_S)

    def new_leader(self, old, epoch, among=None):
        """Waits until another server leads in a later epoch."""
        others = among or self.others(old)
        self.leader(others)
        self.newer_epoch(epoch, others)

    def newer_epoch(self, epoch, among=None):
        """Waits until a leader's zxid is of a later epoch: `srvr` shows it with the first write."""

        def newer():
            leader = self.ensemble.leader_now(among)
            return leader and (leader.zxid() or 0) >> 32 > epoch

        wait_for(newer, LEADER_DEADLINE_S, lambda: f"an epoch after {epoch}:\n{self.ensemble.log_tails()}")

    def follows(self, server):
        """Waits until the server follows the leader."""
        what = lambda: f"server {server.server_id} to follow:\n{self.ensemble.log_tails()}"  # noqa: E731
        wait_for(lambda: server.mode() == "follower", LEADER_DEADLINE_S, what)

    def set_clock(self, server, offset_s):
        """Sets the server's wall clock off by so many seconds; the monotonic clock goes on."""
        (server.folder / "clock").write_text(f"{offset_s:+d}\n")

    def _volume(self, folder):
        made = Volume(folder)
        self._stack.callback(made.close)
        return made

    def _set_clock_up(self, server):
        library = faketime()
        if library:
            self.set_clock(server, 0)
            server.launcher = [
                "env",
                f"LD_PRELOAD={library}",
                f"FAKETIME_TIMESTAMP_FILE={server.folder / 'clock'}",
                "FAKETIME_CACHE_DURATION=1",
                "FAKETIME_DONT_FAKE_MONOTONIC=1",
            ]
