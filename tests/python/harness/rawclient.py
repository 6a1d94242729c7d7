"""One connection that speaks the client protocol, and nothing a real client would add: no reconnects, no pings of its
own, no thread. What the server sends comes out in the order in which it came."""

import itertools
import select
import socket
import struct
from dataclasses import dataclass

from . import jute
from .wait import Deadline, DeadlineExceeded

ANSWER_DEADLINE_S = 20
NO_PASSWORD = b"\0" * 16


class ConnectionClosed(Exception):
    """The server ended the connection."""


@dataclass(frozen=True)
class Reply:
    """An answer to a request."""

    xid: int
    zxid: int
    error: int
    body: bytes
    code: int
    """The op code of the request it answers."""

    def value(self):
        """The decoded record; None for an error and for an answer without a record."""
        # The reply to a failed multi still carries the results of its operations. That to a multiRead with something else
        # in it carries in ZooKeeper what was read before that; no client looks at it.
        if self.error != jute.OK and self.code == jute.MULTI_READ:
            return None
        if self.error != jute.OK and not (self.code == jute.MULTI and self.body):
            if self.body:
                raise jute.MalformedReply(f"a reply with error {self.error} has a body: {self.body[:100]!r}")
            return None
        return jute.decode(self.code, self.body)


@dataclass(frozen=True)
class Event:
    """A watch that fired."""

    zxid: int
    kind: int
    state: int
    path: str


@dataclass
class Session:
    """What a client needs to go on with a session on another connection."""

    session_id: int = 0
    password: bytes = NO_PASSWORD
    timeout_ms: int = 0
    """As negotiated; 0 if the server says that the session is over."""


def connect_frame(timeout_ms, session, last_zxid, read_only=False):
    """The body of the first frame. `read_only=None` leaves that byte out, as clients before 3.4 do."""
    body = struct.pack(">iqiq", 0, last_zxid, timeout_ms, session.session_id) + jute.buffer(session.password)
    return body if read_only is None else body + jute.boolean(read_only)


class RawClient:
    """A connection; `connect` has been answered when the constructor returns."""

    def __init__(self, host, port, timeout_ms=10_000, session=None, last_zxid=0, read_only=False, deadline_s=None):
        deadline_s = deadline_s or ANSWER_DEADLINE_S
        self._received = bytearray()
        self._waiting = {}
        self._xids = itertools.count(1)
        self.events = []
        self.last_zxid = last_zxid
        self.socket = socket.create_connection((host, port), timeout=deadline_s)
        try:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.send_frame(connect_frame(timeout_ms, session or Session(), last_zxid, read_only))
            reader = jute.Reader(self.receive_frame(deadline_s))
            self.protocol_version = reader.int32()
            timeout, session_id, password = reader.int32(), reader.int64(), reader.buffer()
            self.session = Session(session_id, password, timeout)
            self.read_only = reader.boolean() if reader.rest() else None
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.drop()

    @property
    def expired(self):
        """True if the server answered that the session is over."""
        return self.session.timeout_ms <= 0

    def drop(self):
        """Ends the connection and says nothing; the session lives on."""
        self.socket.close()

    def close(self):
        """closeSession, waits for its answer, and ends the connection."""
        reply = self.call(jute.close_session())
        self.drop()
        return reply

    def send(self, op, xid=None):
        """Sends a request and does not wait; returns its xid."""
        return self.send_all([op] if xid is None else [(op, xid)])[0]

    def send_all(self, ops):
        """Sends several requests in one write; each is an `Op` or a pair of it and an xid. Returns the xids."""
        frames, xids = [], []
        for op in ops:
            op, xid = op if isinstance(op, tuple) else (op, None)
            if xid is None:
                xid = jute.RESERVED_XIDS.get(op.code) or next(self._xids)
            body = jute.int32(xid) + jute.int32(op.code) + op.body
            frames.append(jute.int32(len(body)) + body)
            xids.append(xid)
            self._waiting.setdefault(xid, []).append(op.code)
        self._send(b"".join(frames))
        return xids

    def call(self, op, deadline_s=ANSWER_DEADLINE_S):
        """Sends a request and returns its reply; events that come before go to `events`."""
        xid = self.send(op)
        while True:
            message = self.receive(deadline_s)
            if isinstance(message, Event):
                self.events.append(message)
            else:
                if message.xid != xid:
                    raise jute.MalformedReply(f"the reply to {op!r} has xid {message.xid} instead of {xid}")
                return message

    def value(self, op, deadline_s=ANSWER_DEADLINE_S):
        """The record of a reply that must be a success."""
        reply = self.call(op, deadline_s)
        assert reply.error == jute.OK, f"{op!r} gave error {reply.error}"
        return reply.value()

    def receive(self, deadline_s=ANSWER_DEADLINE_S):
        """The next reply or event."""
        frame = self.receive_frame(deadline_s)
        reader = jute.Reader(frame)
        xid, zxid, error = reader.int32(), reader.int64(), reader.int32()
        if zxid > 0:
            self.last_zxid = max(self.last_zxid, zxid)
        if xid == jute.NOTIFICATION_XID:
            event = Event(zxid, reader.int32(), reader.int32(), reader.text())
            if reader.rest():
                raise jute.MalformedReply(f"{reader.rest()} bytes too many in {event}")
            return event
        codes = self._waiting.get(xid)
        if not codes:
            raise jute.MalformedReply(f"a reply to xid {xid}, which nobody sent")
        return Reply(xid, zxid, error, frame[reader.position :], codes.pop(0))

    def send_frame(self, body):
        """Sends bytes as one frame, whatever they are."""
        self._send(jute.int32(len(body)) + body)

    def receive_frame(self, deadline_s=ANSWER_DEADLINE_S):
        """The next frame's body."""
        deadline = Deadline(deadline_s)
        self._fill(4, deadline)
        (length,) = struct.unpack(">i", self._received[:4])
        if not 0 <= length < 1 << 26:
            raise jute.MalformedReply(f"a frame of {length} bytes")
        self._fill(4 + length, deadline)
        frame = bytes(self._received[4 : 4 + length])
        del self._received[: 4 + length]
        return frame

    def readable(self, seconds=0.0):
        """True if something has come, or comes within that time."""
        return bool(self._received) or bool(select.select([self.socket], [], [], seconds)[0])

    def _send(self, data):
        try:
            self.socket.sendall(data)
        except TimeoutError as error:
            raise DeadlineExceeded("the server does not take what is sent") from error
        except OSError as error:
            # What the server said before it closed is still to be read; only an empty-handed reader is told.
            if not self.readable():
                raise ConnectionClosed(str(error)) from error

    def _fill(self, count, deadline):
        while len(self._received) < count:
            self.socket.settimeout(max(deadline.left(), 0.001))
            try:
                part = self.socket.recv(1 << 18)
            except TimeoutError as error:
                raise DeadlineExceeded(f"no answer within {deadline.seconds} s") from error
            except OSError as error:
                raise ConnectionClosed(str(error)) from error
            if not part:
                raise ConnectionClosed("end of stream")
            self._received += part
