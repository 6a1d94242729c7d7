"""Makes what two servers said comparable.

Zxids and session ids are numbers of each server's own choosing. What must agree is their pattern: which of them are the
same, and their order. So a zxid that belongs to a change (in a Stat, in the reply to a write, done or refused, in an event)
becomes its order of first appearance; `order` gives the ranks, to be compared at the end. The zxid in the header of any
other reply only says how far the server had come: it becomes the last change that this includes. (Sessions count as well,
and show nowhere else.) Times are left out; only that they make sense is checked.
"""

import bisect

from . import jute
from .rawclient import Event

_CREATES = {jute.CREATE2, jute.CREATE_CONTAINER, jute.CREATE_TTL}
_WRITES = {jute.CREATE, *_CREATES, jute.DELETE, jute.SET_DATA, jute.SET_ACL, jute.MULTI, jute.CLOSE_SESSION}


class Normalizer:
    """One server's side of the mapping; lives as long as its data."""

    def __init__(self):
        self._zxids = {0: "z0"}
        self._changes = [0]
        self._sessions = {0: "none"}

    def session(self, session_id):
        """The name of a session: its order of first appearance."""
        return self._sessions.setdefault(session_id, f"s{len(self._sessions)}")

    def order(self):
        """The names of all zxids seen, by value."""
        return [self._zxids[zxid] for zxid in self._changes]

    def message(self, message):
        """A reply or event as a tuple that can be compared."""
        if isinstance(message, Event):
            return ("event", message.kind, message.state, message.path, self._event_zxid(message.zxid))
        value = message.value()
        shown = self._value(message.code, value)
        header = self._header(message)
        return ("reply", jute.NAMES.get(message.code, message.code), message.error, shown, header)

    def stat(self, stat):
        """A Stat without its times."""
        assert 0 <= stat.ctime <= stat.mtime, f"times make no sense: {stat}"
        return (
            ("czxid", self._change(stat.czxid)),
            ("mzxid", self._change(stat.mzxid)),
            ("pzxid", self._change(stat.pzxid)),
            ("version", stat.version),
            ("cversion", stat.cversion),
            ("aversion", stat.aversion),
            ("owner", self.session(stat.ephemeral_owner)),
            ("length", stat.data_length),
            ("children", stat.num_children),
        )

    def _value(self, code, value):
        if value is None:
            return None
        if code in (jute.EXISTS, jute.SET_DATA, jute.SET_ACL):
            return self.stat(value)
        if code in _CREATES or code == jute.GET_DATA:
            return (value[0], self.stat(value[1]))
        if code == jute.GET_ACL:  # what the scheme auth expands to comes in no particular order
            return (tuple(sorted(value[0])), self.stat(value[1]))
        # children come in no particular order, nor do ephemerals and identities
        if code in (jute.GET_CHILDREN, jute.GET_EPHEMERALS, jute.WHO_AM_I):
            return tuple(sorted(value))
        if code == jute.GET_CHILDREN2:
            return (tuple(sorted(value[0])), self.stat(value[1]))
        if code in (jute.MULTI, jute.MULTI_READ):
            return tuple(self._multi_result(name, inner) for name, inner in value)
        return value

    def _multi_result(self, name, inner):
        if name == "setData":
            return (name, self.stat(inner))
        if name in ("create2", "getData"):
            return (name, inner[0], self.stat(inner[1]))
        if name == "getChildren":
            return (name, tuple(sorted(inner)))
        return (name, inner)

    def _header(self, reply):
        if reply.code in _WRITES and reply.error != jute.MARSHALLING_ERROR:
            return self._change(reply.zxid)
        if reply.code == jute.AUTH:
            return reply.zxid
        if reply.error == jute.UNIMPLEMENTED and reply.code not in _WRITES:
            return "any"
        return ("through", self._zxids[self._changes[bisect.bisect_right(self._changes, reply.zxid) - 1]])

    def _event_zxid(self, zxid):
        return zxid if zxid < 0 else self._change(zxid)

    def _change(self, zxid):
        name = self._zxids.get(zxid)
        if name is None:
            name = self._zxids[zxid] = f"z{len(self._zxids)}"
            bisect.insort(self._changes, zxid)
        return name
