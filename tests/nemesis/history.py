"""What clients were told, as kazoo and the Rust client wrote it down: one JSON object per line and request.

    client, session   who; a client has several sessions, one after the other
    order             rises with every request that the client sends
    op                set, cas (set with the version that was read), append (sequential create), get, synced_get (after
                      a sync that was answered)
    path              the znode; of an append what the name begins with
    value             what was to be written, nobody else writes the same; of a read what was read
    expected          of a cas: the version it asked for
    invoked, returned CLOCK_MONOTONIC in seconds, of a synced_get from before the sync on
    outcome           ok, failed (the server said no: nothing happened) or unknown (no answer)
    name              of an append that is ok: the name that was given
    version, mzxid    of the znode, as the answer says
    zxid              the newest transaction that the server had applied; only the Rust client tells it
"""

import json
from dataclasses import dataclass

OK, FAILED, UNKNOWN = "ok", "failed", "unknown"
WRITES = ("set", "cas", "append")


@dataclass
class Op:
    """One line."""

    client: str
    session: str
    order: int
    op: str
    path: str
    invoked: float
    returned: float
    outcome: str
    value: str | None = None
    expected: int | None = None
    name: str | None = None
    version: int | None = None
    mzxid: int | None = None
    zxid: int | None = None
    error: str | None = None

    @property
    def is_write(self):
        """True if it changes something when it succeeds."""
        return self.op in WRITES

    @property
    def ok(self):
        """True if the server said that it was done."""
        return self.outcome == OK

    def __str__(self):
        what = f"{self.client} {self.op} {self.name or self.path} {self.value!r}"
        return f"{what} version {self.version} zxid 0x{self.mzxid or 0:x} at {self.invoked:.3f} to {self.returned:.3f}"


def read(path):
    """All lines of a file."""
    with open(path, encoding="utf-8") as lines:
        return [Op(**json.loads(line)) for line in lines]
