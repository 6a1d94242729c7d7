"""A client that writes one value after the other, and notes when each was acknowledged."""

from __future__ import annotations

import threading
import time

from jute import Connection, ServerError

PATH = "/gap"

#: How long to wait before trying the next server when one has refused.
_RETRY_SECONDS = 0.005


class Writer:
    """Writes on a thread of its own, one request in flight, through any number of lost connections.

    It keeps to the first of its servers as long as that one serves it, and otherwise goes round, as the
    usual clients do, but without their pauses: what is measured is the servers.
    """

    def __init__(self, addresses: list[str], value_bytes: int = 100):
        self._addresses = addresses
        self._value = bytes(value_bytes)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.acknowledged: list[float] = []
        self.sent = 0
        self.reconnects = 0
        self.sessions = 0
        self.failure: str | None = None
        connection = Connection(addresses[0])
        connection.create(PATH)
        self._first_version = connection.version(PATH)
        self._connection: Connection | None = connection
        self._thread.start()

    def _run(self) -> None:
        session, last_zxid, turn = self._connection.session, self._connection.last_zxid, 0
        while not self._stop.is_set():
            if self._connection is None:
                try:
                    address = self._addresses[turn % len(self._addresses)]
                    self._connection = Connection(address, session, last_zxid, connect_seconds=2.0)
                except EOFError as reason:
                    if "expired" in str(reason):
                        session, self.sessions = (0, bytes(16)), self.sessions + 1
                    turn += 1
                    time.sleep(_RETRY_SECONDS)
                    continue
                except OSError:
                    turn += 1
                    time.sleep(_RETRY_SECONDS)
                    continue
                session = self._connection.session
                self.reconnects += 1
            try:
                self.sent += 1
                self._connection.set(PATH, self._value)
                self.acknowledged.append(time.monotonic())
                last_zxid = self._connection.last_zxid
            except (OSError, EOFError, ServerError):
                self._connection.drop()
                self._connection = None

    def wait_for(self, acknowledged_after: float, count: int, deadline_seconds: float) -> bool:
        """Until `count` writes were acknowledged after a moment; False if that takes too long."""
        end = time.monotonic() + deadline_seconds
        while time.monotonic() < end:
            if len(self.acknowledged) >= count and self.acknowledged[-count] > acknowledged_after:
                return True
            time.sleep(0.005)
        return False

    def stop(self) -> None:
        """Ends the writing. The last request may stay without an answer."""
        self._stop.set()
        if self._connection is not None:
            self._connection.set_deadline(2.0)
        self._thread.join(10.0)

    def longest_gap(self, begin: float, end: float) -> float:
        """The longest time without an acknowledged write that overlaps begin..end, in seconds."""
        moments = [moment for moment in list(self.acknowledged) if moment < end]
        pairs = zip(moments, [*moments[1:], end], strict=False)  # of no moments: no pair
        return max((later - earlier for earlier, later in pairs if later >= begin), default=end - begin)

    def lost_writes(self, address: str) -> int:
        """How many acknowledged writes the znode's version does not account for; 0 as it should be.
        Negative if more were applied than ever sent."""
        connection = Connection(address)
        applied = connection.version(PATH) - self._first_version
        connection.close()
        if applied > self.sent:
            return self.sent - applied
        return max(0, len(self.acknowledged) - applied)
