"""Clients that write for as long as they are told to and remember everything: what was sent, in which order, over which
connection, and what came back. `verdict` compares that with what the servers hold in the end.

Each worker keeps one session over every fault, moves to another server when its own does not answer, and sends a few
requests at a time without waiting. Its own folder holds

    /load/c<n>/u<i>      a znode of its own for every i
    /load/c<n>/s-<seq>   a sequential one whose data is i: applied twice, it would be there twice
    /load/c<n>/counter   set to i without a condition: its version counts how often that was applied

and all workers together raise /load/shared, with the version they read as condition. Old znodes are deleted again.
"""

import itertools
import random
import threading
import time
from dataclasses import dataclass, field

from . import jute
from .rawclient import ConnectionClosed, RawClient, Reply, Session
from .wait import DeadlineExceeded

ROOT = "/load"
SHARED = ROOT + "/shared"
EPHEMERALS = ROOT + "/ephemerals"
SESSION_TIMEOUT_MS = 15_000
ANSWER_DEADLINE_S = 4.0
CONNECT_DEADLINE_S = 2.0
BATCH = 6
KEPT = 40
PAUSE_S = 0.005

UNIQUE, SEQUENCE, COUNTER, DELETE, CAS, EPHEMERAL = "unique", "sequence", "counter", "delete", "cas", "ephemeral"


@dataclass
class Sent:
    """One request and its fate. `error` is None until it is answered; an unanswered one may or may not have happened."""

    kind: str
    number: int
    path: str
    connection: int
    session_id: int
    sent_at: float
    error: int | None = None
    value: object = None
    acked_at: float = 0.0
    target: int = 0
    """Of a CAS: the version it makes if it succeeds."""

    @property
    def acked(self):
        """True if the server said that it was done."""
        return self.error == jute.OK


@dataclass
class SessionLoss:
    """A session that the ensemble declared over."""

    session_id: int
    silent_s: float
    """Since the server last answered on it."""
    timeout_s: float


@dataclass
class History:
    """All that one worker saw."""

    sent: list = field(default_factory=list)
    observed: dict = field(default_factory=dict)
    """Path of an unanswered create -> whether it was there when asked after the reconnect."""
    losses: list = field(default_factory=list)
    violations: list = field(default_factory=list)
    """What was wrong at once, such as a read that went back in time."""
    connections: int = 0
    acks: int = 0


class Worker:
    """One client in a thread of its own."""

    def __init__(self, number, endpoints, seed):
        self.number = number
        self.folder = f"{ROOT}/c{number}"
        self.history = History()
        self.session = Session()
        self._endpoints = endpoints
        self._random = random.Random(f"{seed}-{number}")
        self._stop = threading.Event()
        self._numbers = itertools.count()
        self._client = None
        self._last_zxid = 0
        self._last_contact = time.monotonic()
        self._ephemeral = None
        self._old = []
        self.failure = None
        self._thread = threading.Thread(target=self._run, name=f"worker-{number}", daemon=True)

    def start(self):
        """Begins to write."""
        self._thread.start()
        return self

    def stop(self):
        """Ends the writing; the session stays open on `client`. Raises what went wrong in the thread."""
        self._stop.set()
        self._thread.join(60)
        if self._thread.is_alive():
            raise DeadlineExceeded(f"worker {self.number} does not end")
        if self.failure:
            raise self.failure

    @property
    def client(self):
        """The connection it has at the moment; None between two."""
        return self._client

    def reconnected(self):
        """After `stop`: a connection with the worker's session, for the last questions."""
        while self._client is None:
            self._connect()
        return self._client

    # --- the thread ------------------------------------------------------------------------------------------------

    def _run(self):
        try:
            while not self._stop.is_set():
                try:
                    if self._client is None:
                        self._connect()
                        if self._client is None:
                            self._stop.wait(0.02)
                            continue
                        self._look_back()
                    self._batch()
                    self._cas()
                    self._stop.wait(PAUSE_S)
                except (ConnectionClosed, DeadlineExceeded):
                    self._drop()
        except BaseException as error:  # raised again by stop()
            self.failure = error

    def _drop(self):
        if self._client:
            self._last_zxid = max(self._last_zxid, self._client.last_zxid)
            self._client.drop()
            self._client = None

    def _connect(self):
        host, port = self._random.choice(self._endpoints)
        try:
            client = RawClient(
                host, port, SESSION_TIMEOUT_MS, self.session, self._last_zxid, deadline_s=CONNECT_DEADLINE_S
            )
        except (OSError, ConnectionClosed, DeadlineExceeded):
            return
        if client.expired:
            client.drop()
            silent = time.monotonic() - self._last_contact
            self.history.losses.append(SessionLoss(self.session.session_id, silent, self.session.timeout_ms / 1000))
            self.session, self._ephemeral = Session(), None
            return
        self._contact()
        self.session = client.session
        self.history.connections += 1
        self._client = client

    def _contact(self):
        self._last_contact = time.monotonic()

    def _look_back(self):
        """After a reconnect: what became of the creates that were not answered. From now on that must not change."""
        self._value(jute.sync(ROOT))
        recent = [one for one in self.history.sent[-4 * BATCH :] if one.error is None and one.kind == UNIQUE]
        for one in recent:
            if one.path not in self.history.observed:
                self.history.observed[one.path] = self._call(jute.exists(one.path)).error == jute.OK
        if self._ephemeral and self._ephemeral.acked:
            if self._call(jute.exists(self._ephemeral.path)).error != jute.OK:
                self._violation(f"the session 0x{self.session.session_id:x} lives and {self._ephemeral.path} is gone")

    def _batch(self):
        """A few requests in one write, then all their replies."""
        requests = []
        if self._ephemeral is None or (self._ephemeral.error is None and not self._ephemeral_exists()):
            path = f"{EPHEMERALS}/c{self.number}-{self.session.session_id & (2**64 - 1):x}"
            self._ephemeral = self._sent(EPHEMERAL, path)
            requests.append((self._ephemeral, jute.create(path, b"", flags=jute.EPHEMERAL)))
        while len(requests) < BATCH:
            requests.append(self._request())
        self._pipeline(requests)

    def _ephemeral_exists(self):
        return self._call(jute.exists(self._ephemeral.path)).error == jute.OK

    def _request(self):
        if len(self._old) > KEPT:
            one = self._old.pop(0)
            return self._sent(DELETE, one), jute.delete(one)
        kind = self._random.choice([UNIQUE, UNIQUE, SEQUENCE, COUNTER])
        if kind == UNIQUE:
            sent = self._sent(kind, None)
            sent.path = f"{self.folder}/u{sent.number}"
            return sent, jute.create(sent.path, b"%d" % sent.number)
        if kind == SEQUENCE:
            sent = self._sent(kind, f"{self.folder}/s-")
            return sent, jute.create(sent.path, b"%d" % sent.number, flags=jute.SEQUENTIAL)
        sent = self._sent(kind, f"{self.folder}/counter")
        return sent, jute.set_data(sent.path, b"%d" % sent.number)

    def _pipeline(self, requests):
        now = time.monotonic()
        for sent, _ in requests:
            sent.sent_at = now
        self.history.sent.extend(sent for sent, _ in requests)
        self._client.send_all([op for _, op in requests])
        for sent, op in requests:
            self._answered(sent, self._receive())

    def _answered(self, sent, reply):
        sent.error, sent.acked_at = reply.error, time.monotonic()
        if reply.error == jute.OK:
            self.history.acks += 1
            sent.value = reply.value()
            if sent.kind in (UNIQUE, SEQUENCE):
                self._old.append(sent.value)
        elif sent.kind != CAS:
            self._violation(f"{sent.kind} of {sent.path} number {sent.number} gave the error {reply.error}")

    def _cas(self):
        """Raises the shared counter by one, if nobody else does in between."""
        data, stat = self._value(jute.get_data(SHARED))
        if int(data) != stat.version:
            self._violation(f"{SHARED} holds {data} at version {stat.version}")
        sent = self._sent(CAS, SHARED)
        sent.target = stat.version + 1
        self._pipeline([(sent, jute.set_data(SHARED, b"%d" % sent.target, stat.version))])
        if sent.error not in (jute.OK, jute.BAD_VERSION):
            self._violation(f"the CAS of {SHARED} gave the error {sent.error}")
        if sent.acked and sent.value.version != sent.target:
            self._violation(f"the CAS to {sent.target} made version {sent.value.version}")

    # --- talking ---------------------------------------------------------------------------------------------------

    def _sent(self, kind, path):
        history = self.history
        number = next(self._numbers)
        return Sent(kind, number, path, history.connections, self.session.session_id, time.monotonic())

    def _receive(self):
        before = self._client.last_zxid
        message = self._client.receive(ANSWER_DEADLINE_S)
        if not isinstance(message, Reply):
            self._violation(f"an event nobody asked for: {message}")
            return self._receive()
        if 0 < message.zxid < max(before, self._last_zxid):
            self._violation(f"a reply at zxid 0x{message.zxid:x} after one at 0x{max(before, self._last_zxid):x}")
        self._contact()
        return message

    def _call(self, op):
        self._client.send(op)
        return self._receive()

    def _value(self, op):
        reply = self._call(op)
        if reply.error != jute.OK:
            self._violation(f"{op!r} gave the error {reply.error}")
            raise ConnectionClosed(f"{op!r} gave {reply.error}")
        return reply.value()

    def _violation(self, text):
        self.history.violations.append(f"worker {self.number}: {text}")


class Load:
    """All workers of a test."""

    def __init__(self, endpoints, count, seed):
        self.endpoints = endpoints
        with RawClient(*endpoints[0]) as client:
            client.value(jute.create(ROOT))
            client.value(jute.create(SHARED, b"0"))
            client.value(jute.create(EPHEMERALS))
            for number in range(count):
                client.value(jute.create(f"{ROOT}/c{number}"))
                client.value(jute.create(f"{ROOT}/c{number}/counter", b"-1"))
            client.close()
        self.workers = [Worker(number, endpoints, seed) for number in range(count)]

    def start(self):
        """Starts all workers."""
        for worker in self.workers:
            worker.start()
        return self

    def stop(self):
        """Ends the writing of all workers."""
        for worker in self.workers:
            worker.stop()

    def abandon(self):
        """Ends them without a question, after a failure."""
        for worker in self.workers:
            worker._stop.set()

    def acks(self):
        """How many writes each worker has been acknowledged."""
        return [worker.history.acks for worker in self.workers]

    def assert_going(self):
        """Raises what ended a worker's thread."""
        for worker in self.workers:
            if worker.failure:
                raise worker.failure
