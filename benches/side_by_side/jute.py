"""As much of ZooKeeper's client protocol as the measurements need, over blocking sockets.

The load itself comes from `zabra bench`. This is for what must be the same whatever the load tool is:
filling a tree, asking whether a server serves, and writing through a change of leader.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterable, Iterator

CREATE, DELETE, EXISTS, GET_DATA, SET_DATA, PING, SYNC, CLOSE = 1, 2, 3, 4, 5, 11, 9, -11
NODE_EXISTS = -110

_OPEN_ACL = struct.pack(">ii", 1, 31) + b"\0\0\0\x05world\0\0\0\x06anyone"
_PERSISTENT = struct.pack(">i", 0)


class ServerError(Exception):
    """The server answered with an error code."""

    def __init__(self, code: int):
        super().__init__(f"error code {code}")
        self.code = code


def _buffer(data: bytes) -> bytes:
    return struct.pack(">i", len(data)) + data


def _frame(xid: int, kind: int, body: bytes) -> bytes:
    return struct.pack(">iii", len(body) + 8, xid, kind) + body


def create_frame(xid: int, path: str, data: bytes) -> bytes:
    """A request to create a persistent znode that everybody may do everything with."""
    return _frame(xid, CREATE, _buffer(path.encode()) + _buffer(data) + _OPEN_ACL + _PERSISTENT)


def set_frame(xid: int, path: str, data: bytes) -> bytes:
    """A request to set a znode's data, whatever its version."""
    return _frame(xid, SET_DATA, _buffer(path.encode()) + _buffer(data) + struct.pack(">i", -1))


def get_frame(xid: int, path: str) -> bytes:
    """A request for a znode's data, without a watch."""
    return _frame(xid, GET_DATA, _buffer(path.encode()) + b"\0")


class Connection:
    """One connection with a session; an OSError or EOFError means that it is over."""

    def __init__(
        self,
        address: str,
        session: tuple[int, bytes] = (0, bytes(16)),
        last_zxid: int = 0,
        timeout_ms: int = 30_000,
        connect_seconds: float = 5.0,
    ):
        host, port = address.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)), connect_seconds)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = bytearray()
        self._xid = 0
        self.last_zxid = last_zxid
        try:
            body = struct.pack(">iqiq", 0, last_zxid, timeout_ms, session[0]) + _buffer(session[1]) + b"\0"
            self._socket.sendall(_buffer(body))
            answer = self._next_frame()
        except BaseException:
            self._socket.close()
            raise
        self._socket.settimeout(None)
        _version, self.timeout_ms, session_id = struct.unpack_from(">iiq", answer)
        length = struct.unpack_from(">i", answer, 16)[0]
        self.session = (session_id, bytes(answer[20 : 20 + length]))
        if self.timeout_ms <= 0:
            self._socket.close()
            raise EOFError("the session has expired")

    def _next_frame(self) -> bytes:
        while True:
            if len(self._received) >= 4:
                length = struct.unpack_from(">i", self._received)[0]
                if len(self._received) >= 4 + length:
                    frame = bytes(self._received[4 : 4 + length])
                    del self._received[: 4 + length]
                    return frame
            chunk = self._socket.recv(1 << 18)
            if not chunk:
                raise EOFError("the server has closed the connection")
            self._received += chunk

    def set_deadline(self, seconds: float | None) -> None:
        """How long one wait for the network may take from now on."""
        self._socket.settimeout(seconds)

    def send(self, frames: bytes) -> None:
        self._socket.sendall(frames)

    def reply(self) -> tuple[int, int, bytes]:
        """The next reply that is no event and no ping: xid, error code, body."""
        while True:
            frame = self._next_frame()
            xid, zxid, code = struct.unpack_from(">iqi", frame)
            if xid >= 0:
                self.last_zxid = max(self.last_zxid, zxid)
                return xid, code, frame[16:]

    def call(self, kind: int, body: bytes) -> bytes:
        """One request and its reply's body; a ServerError if it is an error."""
        self._xid += 1
        self.send(_frame(self._xid, kind, body))
        _, code, answer = self.reply()
        if code != 0:
            raise ServerError(code)
        return answer

    def create(self, path: str, data: bytes = b"") -> None:
        """Creates a znode unless it is there."""
        try:
            self.call(CREATE, _buffer(path.encode()) + _buffer(data) + _OPEN_ACL + _PERSISTENT)
        except ServerError as error:
            if error.code != NODE_EXISTS:
                raise

    def set(self, path: str, data: bytes) -> int:
        """Sets a znode's data; its new version."""
        answer = self.call(SET_DATA, _buffer(path.encode()) + _buffer(data) + struct.pack(">i", -1))
        return struct.unpack_from(">i", answer, 32)[0]

    def version(self, path: str) -> int:
        """A znode's version, after a sync."""
        self.call(SYNC, _buffer(path.encode()))
        answer = self.call(EXISTS, _buffer(path.encode()) + b"\0")
        return struct.unpack_from(">i", answer, 32)[0]

    def get(self, path: str) -> bytes:
        answer = self.call(GET_DATA, _buffer(path.encode()) + b"\0")
        length = struct.unpack_from(">i", answer)[0]
        return answer[4 : 4 + max(length, 0)]

    def pipeline(self, frames: Iterable[bytes], in_flight: int) -> Iterator[int]:
        """Sends all, with at most about `in_flight` unanswered; yields each reply's error code."""
        source, waiting = iter(frames), 0
        while True:
            batch = []
            while waiting < in_flight and (frame := next(source, None)) is not None:
                batch.append(frame)
                waiting += 1
            if batch:
                self.send(b"".join(batch))
            if waiting == 0:
                return
            # Half of them back before more go out: few, large packets.
            for _ in range(max(1, waiting - in_flight // 2)):
                waiting -= 1
                yield self.reply()[1]

    def close(self) -> None:
        """Ends the session and the connection."""
        with contextlib.suppress(OSError, EOFError):
            self.set_deadline(5.0)
            self.call(CLOSE, b"")
        self._socket.close()

    def drop(self) -> None:
        """Closes the connection and leaves the session alone."""
        self._socket.close()
