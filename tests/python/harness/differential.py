"""Runs one program on two services and finds where they part."""

import contextlib
import itertools
from dataclasses import dataclass, replace

from . import jute
from .normal import Normalizer
from .randomops import CLOSE, SESSIONS, WatchesAgain
from .rawclient import ConnectionClosed, Event, RawClient, Reply, Session
from .wait import Deadline, DeadlineExceeded

# Longer than it takes the other side to get through a step in which its servers are killed.
SESSION_TIMEOUT_MS = 100_000
ANSWER_DEADLINE_S = 10


class Side:
    """One service with the sessions of the program that runs on it."""

    def __init__(self, name, endpoints, patient=False, ensemble=None):
        """Session n connects to server n modulo the number of servers. `patient` sides may answer a sync before they
        have applied what others already saw, as a leading ZooKeeper does; it is then asked again. `ensemble` are the
        servers, for programs in which some of them end."""
        self.name = name
        self.patient = patient
        self.endpoints = endpoints
        self.ensemble = ensemble
        self.normal = Normalizer()
        self.clients = {}
        self._lost = {}
        self._last_connect = {}

    def begin(self):
        """Opens the sessions of a program; what earlier ones left counts as seen by neither side."""
        self.normal = Normalizer()
        return [self._open(slot) for slot in range(SESSIONS)]

    def end(self):
        """Closes them, the ephemerals with them."""
        for slot in list(self._lost):
            self._reopen(slot)
        for client in self.clients.values():
            with contextlib.suppress(ConnectionClosed, DeadlineExceeded):
                client.close()
        self.clients.clear()

    def run(self, step):
        """Does one step; returns what was to be seen of it by every session, in order."""
        seen = []
        if step.slot not in self.clients:
            seen.append(self._reopen(step.slot) if step.slot in self._lost else self._open(step.slot))
        seen += getattr(self, "_" + step.kind.replace(" ", "_"))(step)
        for slot, client in sorted(self.clients.items()):
            if slot != step.slot:
                seen += self._catch_up(slot, client)
        # The ephemerals of a session go in no particular order.
        return _with_sorted_events(seen) if step.kind == CLOSE else seen

    # One method a kind of step; the names are those of randomops.

    def _batch(self, step):
        return self._until_replied(step.slot, self.clients[step.slot], self._ops(step))

    _auth = _batch

    def _unknown_op(self, step):
        # ZooKeeper ends the connection after such an answer, Zabra does not: both go on with a new one.
        # Its zxid is not compared, so the client learns the newest one before.
        client = self.clients[step.slot]
        seen = self._until_replied(step.slot, client, [jute.sync("/")])
        seen += self._until_replied(step.slot, client, step.ops)
        return [*seen, self._reopen(step.slot)]

    def _reconnect(self, step):
        seen = [self._reopen(step.slot)]
        if step.slot in self.clients:
            seen += self._until_replied(step.slot, self.clients[step.slot], self._ops(step))
        return seen

    def _wrong_password(self, step):
        # The connection that has the session is ended first: whether such an attempt ends it is not to be compared.
        client = self.clients[step.slot]
        self._forget(step.slot, client)
        wrong = Session(client.session.session_id, b"\1" * 16, SESSION_TIMEOUT_MS)
        return [self._connect(step.slot, wrong, client.last_zxid), self._reopen(step.slot)]

    def _odd_zxid(self, step):
        """New connections whose clients have seen what cannot be, one of them with the session, and then its own."""
        client = self.clients.pop(step.slot)
        session = client.session
        client.drop()
        seen = []
        for last_zxid in (-1, -(2**63), 2**62, 2**63 - 1):
            for continued in (Session(), session):
                seen.append(self._connect(step.slot, continued, last_zxid))
                if client := self.clients.pop(step.slot, None):
                    seen.append((step.slot, ("root", client.call(jute.exists("/")).error)))
                    client.drop()
        return [*seen, self._connect(step.slot, session, 0)]

    def _steal(self, step):
        """A second connection takes the session over; the first one must end."""
        old = self.clients.pop(step.slot)
        seen = [self._connect(step.slot, old.session, old.last_zxid)]
        seen += [self._closed(step.slot, old)]
        return seen

    def _close(self, step):
        client = self.clients[step.slot]
        seen = self._until_replied(step.slot, client, [*self._ops(step), jute.close_session()])
        self.clients.pop(step.slot, None)
        return [*seen, self._closed(step.slot, client)]

    def _restart(self, step):
        return self._disrupted(self.ensemble.servers)

    def _failover(self, step):
        return self._disrupted([self.ensemble.leader()])

    # What they are made of.

    def _disrupted(self, servers):
        """These servers are killed and started again. All sessions go on with new connections, whose servers know
        nothing of watches: so it is the same whichever of them ended."""
        clients = {slot: self.clients.pop(slot, None) or self._lost.pop(slot) for slot in {*self.clients, *self._lost}}
        for client in clients.values():
            client.drop()
        for server in servers:
            server.kill()
        self.ensemble.start()
        return [self._connect(slot, client.session, client.last_zxid) for slot, client in sorted(clients.items())]

    def _open(self, slot):
        return self._connect(slot, Session(), 0)

    def _reopen(self, slot):
        client = self.clients.pop(slot, None) or self._lost.pop(slot)
        client.drop()
        return self._connect(slot, client.session, client.last_zxid)

    def _connect(self, slot, session, last_zxid):
        host, port = self.endpoints[slot % len(self.endpoints)]
        try:
            client = RawClient(host, port, SESSION_TIMEOUT_MS, session, last_zxid)
        except ConnectionClosed:
            return (slot, ("refused",))
        answer = client.session
        shown = ("connected", client.expired, answer.timeout_ms, len(answer.password), client.read_only)
        if client.expired:
            assert (answer.session_id, answer.password) == (0, b"\0" * 16), f"an expired session is told {answer}"
            client.drop()
            return (slot, shown)
        self.clients[slot] = client
        self._last_connect[slot] = client.last_zxid
        return (slot, (*shown, self.normal.session(answer.session_id)))

    def _ops(self, step):
        client = self.clients[step.slot]
        since = {"start": 0, "now": client.last_zxid, "last connect": self._last_connect.get(step.slot, 0)}
        since |= {"before the start": -5, "the least": -(2**63), "far ahead": 2**62}
        return [op.op(since[op.since]) if isinstance(op, WatchesAgain) else op for op in step.ops]

    def _catch_up(self, slot, client):
        """A sync, so that all events of what was done have come."""
        newest = max(other.last_zxid for other in self.clients.values())
        seen = self._until_replied(slot, client, [jute.sync("/")])
        deadline = Deadline(ANSWER_DEADLINE_S)
        while self.patient and client.last_zxid < newest and slot in self.clients and not deadline.over():
            seen = seen[:-1] + self._until_replied(slot, client, [jute.sync("/")])
        return seen

    def _until_replied(self, slot, client, ops):
        """Sends the requests in one write and reads until each has its reply, or the connection ends. Replies to pings
        are put last: Zabra lets them overtake what waits for a write."""
        seen, pings = [], []
        try:
            xids = client.send_all(ops)
            expected = [xid for xid in xids if xid != jute.PING_XID]
            while expected or len(pings) < xids.count(jute.PING_XID):
                message = client.receive(ANSWER_DEADLINE_S)
                if isinstance(message, Reply) and message.code == jute.PING:
                    pings.append((slot, ("pong", message.error)))
                    continue
                seen.append((slot, self.normal.message(message)))
                if isinstance(message, Reply):
                    if message.xid != expected[0]:
                        seen.append((slot, ("out of order", xids.index(message.xid), xids.index(expected[0]))))
                    expected.remove(message.xid)
                    if message.error == jute.AUTH_FAILED:
                        seen.append(self._closed(slot, client))
                        self._forget(slot, client)
                        return seen
        except ConnectionClosed:
            seen.append((slot, ("closed",)))
            self._forget(slot, client)
        except DeadlineExceeded:
            seen.append((slot, ("no answer",)))
            self._forget(slot, client)
        return seen + pings

    def _closed(self, slot, client):
        """Reads on until the server ends this connection; events on the way count."""
        seen = []
        with client, contextlib.suppress(ConnectionClosed):
            while True:
                message = client.receive()
                seen.append(self.normal.message(message))
                assert isinstance(message, Event), f"{self.name}: a reply instead of the end: {message}"
        return (slot, ("closed", *seen))

    def _forget(self, slot, client):
        """The connection is over; its session may be gone on with."""
        client.drop()
        if self.clients.get(slot) is client:
            self._lost[slot] = self.clients.pop(slot)


def _with_sorted_events(seen):
    """Each run of events that one session got in a row, sorted."""
    runs = itertools.groupby(seen, key=lambda one: (one[0], one[1][0] == "event"))
    return [one for (_, events), run in runs for one in (sorted(run) if events else run)]


@dataclass
class Parting:
    """The first step after which two sides say different things."""

    index: int
    step: object
    left: list
    right: list
    names: tuple

    @property
    def is_silence_of_the_left(self):
        """Only the left one left something unanswered, so there is nothing to compare with. Apache ZooKeeper now and
        then never answers a sync after its leader has changed."""
        silent = ("no answer",)
        return any(one[1] == silent for one in self.left) and all(one[1] != silent for one in self.right)

    def __str__(self):
        lines = [f"after step {self.index}: {self.step}"]
        for position in range(max(len(self.left), len(self.right))):
            one = self.left[position] if position < len(self.left) else "(nothing)"
            other = self.right[position] if position < len(self.right) else "(nothing)"
            if one == other:
                lines.append(f"  {position}: the same {one}"[:160])
            else:
                lines.append(f"! {position}: {self.names[0]}: {one}")
                lines.append(f"  {' ' * len(str(position))}  {self.names[1]}: {other}")
        return "\n".join(lines)


def compare(left, right, program, rewrite):
    """Runs the program on both sides, step by step; returns the first `Parting`, or None. `rewrite` takes away what is
    known to differ."""
    try:
        names = (left.name, right.name)
        one, other = left.begin(), right.begin()
        if one != other:
            return Parting(-1, "connecting", one, other, names)
        for index, step in enumerate(program):
            one, other = rewrite(step, left.run(step)), rewrite(step, right.run(step))
            if one != other:
                return Parting(index, step, one, other, names)
        one, other = left.normal.order(), right.normal.order()
        if one != other:
            return Parting(len(program), "the order of all zxids", one, other, names)
        return None
    finally:
        left.end()
        right.end()


def shrink(program, parts, attempts=60):
    """The shortest program found for which `parts(program)` still gives a parting; with that parting. First whole steps
    are left out, then single requests."""
    parting = parts(program)
    if parting is None:
        return program, None
    program = program[: parting.index + 1] if parting.index >= 0 else program
    chunk = max(1, len(program) // 2)
    while chunk >= 1 and attempts > 0:
        start = 0
        while start < len(program) and attempts > 0:
            attempts -= 1
            shorter = program[:start] + program[start + chunk :]
            found = parts(shorter)
            if found is None:
                start += chunk
            else:
                program, parting = shorter[: found.index + 1], found
        chunk //= 2
    for index in reversed(range(len(program))):
        for position in reversed(range(len(program[index].ops))):
            if attempts <= 0 or index >= len(program) or len(program[index].ops) == 1:
                break
            attempts -= 1
            ops = program[index].ops
            without = replace(program[index], ops=ops[:position] + ops[position + 1 :])
            shorter = [*program[:index], without, *program[index + 1 :]]
            if found := parts(shorter):
                program, parting = shorter[: found.index + 1], found
    return program, parting
