"""Clients that write without a pause, and what became of all that was acknowledged."""

import itertools
import threading
import time

from . import jute
from .kazoos import Worker
from .rawclient import ConnectionClosed, RawClient
from .wait import DeadlineExceeded, wait_for

BROKEN = (OSError, ConnectionClosed, DeadlineExceeded)
ANSWER_DEADLINE_S = 5


class Writer:
    """A client of one server that writes one znode after the other, and goes on elsewhere if it must."""

    def __init__(self, servers, name, first):
        """`servers` may become more; it begins with the one at place `first`."""
        self.servers = servers
        self.name = name
        self.at = first
        self.done = []
        """The times of all answers."""
        self.moves = 0
        self.unsure = set()
        """What was asked for on a connection that ended before the answer came."""
        self._over = threading.Event()
        self._worker = Worker(self._run)

    def _connect(self, session=None, last_zxid=0):
        while not self._over.is_set():
            servers = list(self.servers)
            address = servers[self.at % len(servers)].address
            try:
                client = RawClient(
                    address.host, address.client_port, 10_000, session, last_zxid, deadline_s=ANSWER_DEADLINE_S
                )
                assert not client.expired, f"the session of {self.name} is lost"
                return client
            except BROKEN:
                self.at += 1
                self._over.wait(0.01)
        return None

    def _run(self):
        client = self._connect()
        while not self._over.is_set():
            number = len(self.done)
            try:
                reply = client.call(jute.create(f"/{self.name}-{number:06}"), ANSWER_DEADLINE_S)
            except BROKEN:
                self.moves += 1
                self.unsure.add(number)
                client.drop()
                client = self._connect(client.session, client.last_zxid)
                continue
            assert reply.error == jute.OK or number in self.unsure and reply.error == jute.NODE_EXISTS
            self.done.append(time.monotonic())
        client.close()

    def end(self):
        """Stops writing; the session is closed."""
        self._over.set()
        self._worker.result(30)

    def longest_pause_s(self, since=0):
        """Between two answers, of those that ended after this moment of the monotonic clock."""
        return max(later - earlier for earlier, later in itertools.pairwise(self.done) if later > since)


def all_write_on(writers, seconds=30):
    """Waits until each has written some more."""
    done = [len(writer.done) for writer in writers]
    wait_for(lambda: all(len(one.done) > before + 20 for one, before in zip(writers, done)), seconds, "more writes")


def assert_all_there(servers, writers):
    """Nothing that was acknowledged is missing on any of these servers."""
    for server in servers:
        with RawClient(server.address.host, server.address.client_port) as client:
            client.value(jute.sync())
            names = set(client.value(jute.get_children("/")))
            for writer in writers:
                missing = {f"{writer.name}-{number:06}" for number in range(len(writer.done))} - names
                assert not missing, f"server {server.server_id} lacks {sorted(missing)[:5]}"
            client.close()
