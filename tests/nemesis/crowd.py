"""Many sessions at once in one thread, over sockets that never block."""

import resource
import selectors
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass, field

from harness import jute
from harness.rawclient import NO_PASSWORD, Session, connect_frame
from harness.wait import Deadline, DeadlineExceeded

from .cluster import SILENT_TIMEOUT_MS

LEAVE_DEADLINE_S = 30
ANSWER_BYTES = 4 + 4 + 4 + 8 + 4 + 16
# Of the descriptors of this process, for everything else.
SPARE_FILES = 500


def size_max(wanted):
    """As many of the wanted connections as this process, and a server that it starts, may have open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(wanted, hard - SPARE_FILES)


@dataclass
class Member:
    """One session."""

    session: Session = field(default_factory=Session)
    socket: object = None
    received: bytes = b""


class Crowd:
    """Use it as a context manager: it drops what is connected."""

    def __init__(self, size):
        self.members = [Member() for _ in range(size)]
        self.refusals = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.drop()

    def connect(self, endpoints, seconds):
        """All at once, each with its session if it has one already; tries again where it is refused. Returns how many
        sessions turned out to be over."""
        deadline = Deadline(seconds)
        over, waiting = 0, dict.fromkeys(range(len(self.members)))
        with selectors.EpollSelector() as ready:
            for number in waiting:
                self._dial(ready, number, endpoints)
            while waiting:
                if deadline.over():
                    raise DeadlineExceeded(f"{len(waiting)} of {len(self.members)} are not connected after {seconds} s")
                for key, events in ready.select(0.5):
                    member = self.members[key.data]
                    answer = self._step(ready, key.data, events, endpoints)
                    if answer:
                        timeout, session_id, password = answer
                        over += timeout <= 0
                        member.session = Session(session_id, password, timeout)
                        del waiting[key.data]
        return over

    def drop(self):
        """Ends all connections without a word; the sessions live on."""
        for member in self.members:
            if member.socket:
                member.socket.close()
                member.socket = None

    def leave(self):
        """Ends all sessions, then the connections; who has lost its connection has nobody to tell."""
        deadline = Deadline(LEAVE_DEADLINE_S)
        frame = jute.int32(8) + jute.int32(1) + jute.int32(jute.CLOSE_SESSION)
        for member in self.members:
            with suppress(OSError):
                member.socket.settimeout(max(deadline.left(), 0.001))
                member.socket.sendall(frame)
        for member in self.members:
            with suppress(OSError):
                member.socket.settimeout(max(deadline.left(), 0.001))
                member.socket.recv(64)
        self.drop()

    def _dial(self, ready, number, endpoints):
        member = self.members[number]
        member.received = b""
        member.socket = socket.socket()
        member.socket.setblocking(False)
        member.socket.connect_ex(endpoints[(number + self.refusals) % len(endpoints)])
        ready.register(member.socket, selectors.EVENT_WRITE, number)

    def _step(self, ready, number, events, endpoints):
        """One step of one member; its answer if that is complete."""
        member = self.members[number]
        try:
            if events & selectors.EVENT_WRITE:
                body = connect_frame(SILENT_TIMEOUT_MS, member.session, 0, False)
                member.socket.send(jute.int32(len(body)) + body)
                ready.modify(member.socket, selectors.EVENT_READ, number)
                return None
            part = member.socket.recv(256)
            if not part:
                raise ConnectionResetError
        except OSError:
            ready.unregister(member.socket)
            member.socket.close()
            self.refusals += 1
            self._dial(ready, number, endpoints)
            return None
        member.received += part
        if len(member.received) < ANSWER_BYTES:
            return None
        ready.unregister(member.socket)
        _, _, timeout, session_id, length = struct.unpack(">iiiqi", member.received[:24])
        assert length == len(NO_PASSWORD)
        return timeout, session_id, member.received[24:40]
