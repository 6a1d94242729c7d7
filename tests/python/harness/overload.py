"""Loads that no server can carry, each in a thread of its own, and clients that do nothing but keep their sessions.

A load never waits for answers: it sends what the sockets take. `measure` runs one against an ensemble and says what became
of the servers' memory, of the leader and of the quiet clients' sessions.
"""

import contextlib
import random
import selectors
import socket
import struct
import threading
import time
from dataclasses import dataclass, field

from . import jute
from .rawclient import ConnectionClosed, RawClient, connect_frame
from .rawclient import Session as RawSession
from .wait import DeadlineExceeded, wait_for

MIB = 1 << 20

SESSION_TIMEOUT_MS = 6000
_PING_S = 0.5
_SAMPLE_S = 0.1
_ANSWER_DEADLINE_S = 60
_END_DEADLINE_S = 60
_BLOB_BYTES = 256 << 10


def frame(op, xid=1):
    """The bytes of one request."""
    body = jute.int32(xid) + jute.int32(op.code) + op.body
    return jute.int32(len(body)) + body


class Load:
    """A thread that works until it is told to stop."""

    def __init__(self):
        self.stopping = threading.Event()
        self.failure = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self._thread.join(timeout=_END_DEADLINE_S)
        if self._thread.is_alive():
            raise DeadlineExceeded(f"{type(self).__name__} does not end")

    def check(self):
        """Raises what ended it early."""
        if self.failure:
            raise self.failure

    def ended(self):
        """True if it has ended, asked to or not."""
        return not self._thread.is_alive()

    def did_something(self):
        """True if it was a load at all."""
        raise NotImplementedError

    def _run(self):
        try:
            self.work()
        except Exception as error:  # told by whoever asked for the load
            self.failure = error


class Pipelines(Load):
    """Connections that send the same requests over and over, without waiting for answers. With `reads=False` they never
    look at what comes."""

    def __init__(self, endpoints, connections, requests, reads=True):
        super().__init__()
        self.requests = b"".join(requests)
        self.requests *= max(1, _BLOB_BYTES // len(self.requests))
        self.reads = reads
        self.sent = self.received = 0
        self.cut_off = 0
        self.clients = [
            RawClient(*endpoints[number % len(endpoints)], timeout_ms=30_000, deadline_s=_ANSWER_DEADLINE_S)
            for number in range(connections)
        ]

    def did_something(self):
        """More was sent than the server takes at once; who does not read is cut off, or stands still."""
        return self.sent > len(self.clients) * 1024

    def work(self):
        interest = selectors.EVENT_WRITE | (selectors.EVENT_READ if self.reads else 0)
        with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
            for client in self.clients:
                stack.callback(client.drop)
                client.socket.setblocking(False)
                selector.register(client.socket, interest, [0])
            while not self.stopping.is_set() and selector.get_map():
                for key, ready in selector.select(0.1):
                    try:
                        self._serve(key, ready)
                    except BlockingIOError:
                        pass
                    except OSError:
                        self.cut_off += 1
                        selector.unregister(key.fileobj)

    def _serve(self, key, ready):
        if ready & selectors.EVENT_READ:
            data = key.fileobj.recv(1 << 20)
            if not data:
                raise OSError("end of stream")
            self.received += len(data)
        if ready & selectors.EVENT_WRITE:
            position = key.data[0]
            sent = key.fileobj.send(memoryview(self.requests)[position:])
            key.data[0] = (position + sent) % len(self.requests)
            self.sent += sent


class Arrivals(Load):
    """Clients that come, ask for a session of their own, and vanish without a word once they have it; every second one
    says nothing at all."""

    def __init__(self, endpoints):
        super().__init__()
        self.endpoints = endpoints
        self.came = self.refused = 0

    def did_something(self):
        """Hundreds came."""
        return self.came > 200

    def work(self):
        hello = connect_frame(4000, RawSession(), 0)
        hello = jute.int32(len(hello)) + hello
        open_now = []
        while not self.stopping.is_set():
            try:
                arrived = socket.create_connection(random.choice(self.endpoints), timeout=5)
                if self.came % 2:
                    arrived.sendall(hello)
                self.came += 1
                open_now.append(arrived)
            except OSError:
                self.refused += 1
            if len(open_now) >= 500:
                for old in open_now[:250]:
                    # Not even a farewell: its port is free at once.
                    old.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    old.close()
                del open_now[:250]
        for old in open_now:
            old.close()


class Watchers(Load):
    """Connections that all watch one znode, are told of every change, and watch it again. One of them changes it. Whom the
    server cuts off is not there any more; when all are, it is over."""

    def __init__(self, endpoints, connections, path):
        super().__init__()
        self.events = 0
        self.cut_off = 0
        self.get = frame(jute.get_data(path, True))
        self.clients = [
            RawClient(*endpoints[number % len(endpoints)], timeout_ms=30_000, deadline_s=_ANSWER_DEADLINE_S)
            for number in range(connections)
        ]
        self.path = path

    def did_something(self):
        """Every watcher was told of a change, and of another one."""
        return self.events > 2 * len(self.clients)

    def work(self):
        # An event names the path; an answer to a read does not.
        name = self.path.encode()
        with selectors.DefaultSelector() as selector, contextlib.ExitStack() as stack:
            for client in self.clients:
                stack.callback(client.drop)
                client.socket.sendall(self.get)
                selector.register(client.socket, selectors.EVENT_READ, bytearray())
            change = frame(jute.set_data(self.path, b"changed", -1))
            while not self.stopping.is_set() and selector.get_map():
                writer = next(iter(selector.get_map().values()))
                self._unless_cut_off(selector, writer, lambda key: key.fileobj.sendall(change))
                for key, _ in selector.select(0.1):
                    self._unless_cut_off(selector, key, lambda key: self._serve(key, name))

    def _unless_cut_off(self, selector, key, act):
        try:
            act(key)
        except OSError:
            self.cut_off += 1
            selector.unregister(key.fileobj)

    def _serve(self, key, name):
        data = key.fileobj.recv(1 << 16)
        if not data:
            raise OSError("end of stream")
        received = key.data  # what came last may be the beginning of the name
        received += data
        events = received.count(name)
        del received[: max(0, len(received) - len(name) + 1)]
        if events:
            self.events += events
            key.fileobj.sendall(self.get)


class SlowReader(Load):
    """A server that runs for a moment and stands still for a longer one, again and again: it reads slowly. It never
    stands still for so long that it counts as dead."""

    def __init__(self, server, stopped_s=0.25, running_s=0.05):
        super().__init__()
        self.server, self.stopped_s, self.running_s = server, stopped_s, running_s
        self.stops = 0

    def did_something(self):
        """It stood still more than once."""
        return self.stops > 1

    def work(self):
        while not self.stopping.is_set():
            try:
                self.server.pause()
                self.stopping.wait(self.stopped_s)
            finally:
                self.server.resume()
            self.stops += 1
            self.stopping.wait(self.running_s)


class QuietClients:
    """Clients that ask for nothing but that their sessions live on. Like every client they know all servers, and go to the
    next one when theirs does not answer for a third of the session timeout. Every fourth one goes there after each ping:
    its session is renewed on another server."""

    def __init__(self, endpoints, count):
        self.clients = [QuietClient(endpoints, number) for number in range(count)]

    def __enter__(self):
        for client in self.clients:
            client.__enter__()
        return self

    def __exit__(self, *_):
        for client in self.clients:
            client.stopping.set()
        for client in self.clients:
            client.__exit__()


class QuietClient(Load):
    """One of them."""

    def __init__(self, endpoints, number):
        super().__init__()
        self.endpoints = endpoints[number % len(endpoints) :] + endpoints[: number % len(endpoints)]
        self.lost = self.reconnects = 0
        self.pings_s = []
        self.moves = number % 4 == 3
        self.renewals_s = []
        self.client = self._connect(None)
        assert self.client, "a server that nobody troubles yet lets a client in"

    def work(self):
        while not self.stopping.wait(_PING_S):
            began = time.monotonic()
            try:
                self.client.call(jute.ping(), SESSION_TIMEOUT_MS / 3000)
                self.pings_s.append(time.monotonic() - began)
            except (ConnectionClosed, DeadlineExceeded):
                self.reconnects += 1
                self._reconnect()
                continue
            if self.moves:
                began = time.monotonic()
                self._reconnect()
                self.renewals_s.append(time.monotonic() - began)
        self.client.drop()

    def _reconnect(self):
        session = self.client.session
        self.client.drop()
        self.client = wait_for(lambda: self._connect(session), 60, "a quiet client to connect again")
        if self.client.expired:
            self.lost += 1
            self.client = wait_for(lambda: self._connect(None), 60, "a quiet client to get a new session")

    def _connect(self, session):
        """A connection to the next server; None if it does not take it now."""
        self.endpoints = self.endpoints[1:] + self.endpoints[:1]
        try:
            deadline_s = SESSION_TIMEOUT_MS / 3000
            return RawClient(*self.endpoints[0], timeout_ms=SESSION_TIMEOUT_MS, session=session, deadline_s=deadline_s)
        except (ConnectionClosed, DeadlineExceeded, OSError):
            return None


@dataclass
class Outcome:
    """What a load did to an ensemble."""

    before_mib: list
    """Resident memory of each server before, MiB."""
    peak_mib: list
    """The most while it lasted, and until the ensemble was itself again."""
    leader_changed: bool
    elections: int
    """How many epochs began."""
    sessions_lost: int
    reconnects: int
    """Quiet clients that had to connect again."""
    pings_ms: list = field(repr=False)
    """How long each ping of a quiet client took, sorted."""
    renewals_ms: list = field(repr=False)
    """How long a quiet client took to go on with its session on another server, sorted."""

    @staticmethod
    def at(share, sorted_ms):
        """The time that this share of all did not exceed."""
        return sorted_ms[min(len(sorted_ms) - 1, int(share * len(sorted_ms)))]


def _epoch(ensemble):
    return max((server.zxid() or 0) for server in ensemble.servers) >> 32


def measure(ensemble, loads, seconds, quiet=12):
    """Runs loads together, beside quiet clients of every server, for so long; then waits until all servers agree."""
    _prepare(ensemble, "/measured", b"")
    leader, epoch = ensemble.leader(), _epoch(ensemble)
    before = [server.process.rss_kib() / 1024 for server in ensemble.servers]
    peak = list(before)

    def sample():
        for number, server in enumerate(ensemble.servers):
            peak[number] = max(peak[number], server.process.rss_kib() / 1024)

    with QuietClients(ensemble.endpoints, quiet) as quiet_clients:
        with contextlib.ExitStack() as stack:
            for load in loads:
                stack.enter_context(load)
            ends = time.monotonic() + seconds
            while time.monotonic() < ends:
                sample()
                time.sleep(_SAMPLE_S)
        for load in loads:
            load.check()

        def agree():
            sample()
            zxids = {server.zxid() for server in ensemble.servers}
            return len(zxids) == 1 and None not in zxids

        wait_for(agree, 120, lambda: f"the servers to agree:\n{ensemble.log_tails()}", 0.1)
    ensemble.assert_healthy()
    for client in quiet_clients.clients:
        client.check()
    return Outcome(
        before_mib=before,
        peak_mib=peak,
        leader_changed=ensemble.leader() is not leader,
        elections=_epoch(ensemble) - epoch,
        sessions_lost=sum(client.lost for client in quiet_clients.clients),
        reconnects=sum(client.reconnects for client in quiet_clients.clients),
        pings_ms=sorted(1000 * ping for client in quiet_clients.clients for ping in client.pings_s),
        renewals_ms=sorted(1000 * renewal for client in quiet_clients.clients for renewal in client.renewals_s),
    )


# --- Scenarios ---------------------------------------------------------------------------------------------------


def _prepare(ensemble, path, data):
    """A znode with some content, known to all servers."""
    with RawClient(*ensemble.endpoints[0]) as client:
        client.call(jute.create(path, data))
        client.value(jute.set_data(path, data))
        zxid = client.last_zxid
        client.close()
    wait_for(lambda: all((server.zxid() or 0) >= zxid for server in ensemble.servers), 20, "all servers to have it")


def _writes(ensemble, connections, value_bytes):
    _prepare(ensemble, "/flood", b"")
    return Pipelines(ensemble.endpoints, connections, [frame(jute.set_data("/flood", b"x" * value_bytes))])


def flood_of_writes(ensemble, scale):
    """Many connections write 1 KiB each as fast as their sockets take it."""
    return [_writes(ensemble, 64 * scale, 1024)]


def flood_of_big_writes(ensemble, scale):
    """The same with values just below the longest that a request may have."""
    return [_writes(ensemble, 32 * scale, MIB - 200)]


def flood_of_connections(ensemble, scale):
    """Clients come as fast as they can, with and without a session, and vanish."""
    return [Arrivals(ensemble.endpoints) for _ in range(scale)]


def flood_of_watches(ensemble, scale):
    """Hundreds of connections watch one znode and are told each time it changes."""
    _prepare(ensemble, "/watched", b"")
    return [Watchers(ensemble.endpoints, 500 * scale, "/watched")]


def slow_follower(ensemble, scale):
    """A follower stands still five sixths of the time, under a flood of writes to the others."""
    follower = ensemble.followers()[0]
    awake = [server for server in ensemble.servers if server is not follower]
    _prepare(ensemble, "/flood", b"")
    endpoints = [(server.address.host, server.address.client_port) for server in awake]
    writes = Pipelines(endpoints, 32 * scale, [frame(jute.set_data("/flood", b"x" * 4096))])
    return [writes, SlowReader(follower)]


def clients_that_never_read(ensemble, scale):
    """They ask for 1 MiB again and again, and never look at an answer; others watch, and never hear."""
    _prepare(ensemble, "/big", b"x" * (MIB - 200))
    _prepare(ensemble, "/watched", b"")
    gets = Pipelines(ensemble.endpoints, 32 * scale, [frame(jute.get_data("/big", True))], reads=False)
    sets = [frame(jute.set_data("/watched", b"changed")), frame(jute.get_data("/watched", True))]
    return [gets, Pipelines(ensemble.endpoints, 8 * scale, sets, reads=False)]


SCENARIOS = [
    flood_of_writes,
    flood_of_big_writes,
    flood_of_connections,
    flood_of_watches,
    slow_follower,
    clients_that_never_read,
]
