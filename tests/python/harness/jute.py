"""The bytes of ZooKeeper's client protocol: requests out, replies and events in.

A request is an `Op`: its code and its encoded body, so that a test can also make one that is wrong. Text and data may
be None, which the protocol writes as a length of -1.
"""

import struct
from dataclasses import dataclass
from typing import NamedTuple

CREATE, DELETE, EXISTS, GET_DATA, SET_DATA, GET_ACL, SET_ACL, GET_CHILDREN, SYNC = 1, 2, 3, 4, 5, 6, 7, 8, 9
PING, GET_CHILDREN2, CHECK, MULTI, CREATE2 = 11, 12, 13, 14, 15
RECONFIG = 16
CHECK_WATCHES, REMOVE_WATCHES, CREATE_CONTAINER, CREATE_TTL, MULTI_READ = 17, 18, 19, 21, 22
AUTH, SET_WATCHES, SASL, CLOSE_SESSION = 100, 101, 102, -11
GET_EPHEMERALS, GET_ALL_CHILDREN_NUMBER, SET_WATCHES2, ADD_WATCH, WHO_AM_I = 103, 104, 105, 106, 107
ERROR = -1

NOTIFICATION_XID, PING_XID, AUTH_XID, SET_WATCHES_XID = -1, -2, -4, -8
RESERVED_XIDS = {
    PING: PING_XID,
    AUTH: AUTH_XID,
    SET_WATCHES: SET_WATCHES_XID,
    SET_WATCHES2: SET_WATCHES_XID,
}

NAMES = {
    CREATE: "create",
    DELETE: "delete",
    EXISTS: "exists",
    GET_DATA: "getData",
    SET_DATA: "setData",
    GET_ACL: "getACL",
    SET_ACL: "setACL",
    GET_CHILDREN: "getChildren",
    SYNC: "sync",
    PING: "ping",
    GET_CHILDREN2: "getChildren2",
    CHECK: "check",
    MULTI: "multi",
    CREATE2: "create2",
    RECONFIG: "reconfig",
    CHECK_WATCHES: "checkWatches",
    REMOVE_WATCHES: "removeWatches",
    CREATE_CONTAINER: "createContainer",
    CREATE_TTL: "createTTL",
    MULTI_READ: "multiRead",
    AUTH: "auth",
    SET_WATCHES: "setWatches",
    SASL: "sasl",
    GET_EPHEMERALS: "getEphemerals",
    GET_ALL_CHILDREN_NUMBER: "getAllChildrenNumber",
    SET_WATCHES2: "setWatches2",
    ADD_WATCH: "addWatch",
    WHO_AM_I: "whoAmI",
    CLOSE_SESSION: "closeSession",
}

OK = 0
RUNTIME_INCONSISTENCY, MARSHALLING_ERROR, UNIMPLEMENTED, BAD_ARGUMENTS = -2, -5, -6, -8
NO_NODE, NO_AUTH, BAD_VERSION, NO_CHILDREN_FOR_EPHEMERALS = -101, -102, -103, -108
NODE_EXISTS, NOT_EMPTY, SESSION_EXPIRED, INVALID_ACL, AUTH_FAILED = -110, -111, -112, -114, -115
AUTH_REQUIRED = -124
QUOTA_EXCEEDED, THROTTLED_OP = -125, -127
NEW_CONFIG_NO_QUORUM, RECONFIG_IN_PROGRESS, RECONFIG_DISABLED = -13, -14, -123

NODE_CREATED, NODE_DELETED, NODE_DATA_CHANGED, NODE_CHILDREN_CHANGED = 1, 2, 3, 4

READ, WRITE, CREATE_PERM, DELETE_PERM, ADMIN, ALL = 1, 2, 4, 8, 16, 31

PERSISTENT, EPHEMERAL, SEQUENTIAL, EPHEMERAL_SEQUENTIAL, CONTAINER, WITH_TTL, SEQUENTIAL_WITH_TTL = range(7)
TTL_MS_MAX = 2**40 - 1


# of addWatch, and of checkWatches and removeWatches
WATCH_PERSISTENT, WATCH_RECURSIVE = 0, 1
CHILD_WATCHES, DATA_WATCHES, ANY_WATCHES, PERSISTENT_WATCHES, RECURSIVE_WATCHES = 1, 2, 3, 4, 5


class Acl(NamedTuple):
    """One entry of an access control list."""

    perms: int
    scheme: str
    id: str


OPEN_ACL = [Acl(ALL, "world", "anyone")]


class Stat(NamedTuple):
    """A znode's Stat, in the order of the wire."""

    czxid: int
    mzxid: int
    ctime: int
    mtime: int
    version: int
    cversion: int
    aversion: int
    ephemeral_owner: int
    data_length: int
    num_children: int
    pzxid: int


class MalformedReply(AssertionError):
    """The server sent bytes that are no reply."""


class Reader:
    """Takes values off the front of some bytes."""

    def __init__(self, data):
        self.data = data
        self.position = 0

    def _take(self, count):
        if count < 0 or self.position + count > len(self.data):
            raise MalformedReply(f"{count} bytes wanted at {self.position} of {len(self.data)}: {self.data[:200]!r}")
        part = self.data[self.position : self.position + count]
        self.position += count
        return part

    def int32(self):
        return struct.unpack(">i", self._take(4))[0]

    def int64(self):
        return struct.unpack(">q", self._take(8))[0]

    def boolean(self):
        return self._take(1) != b"\0"

    def buffer(self):
        length = self.int32()
        return None if length == -1 else bytes(self._take(length))

    def text(self):
        data = self.buffer()
        if data is None:
            return None
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            # ZooKeeper writes a character beyond U+FFFF as two surrogates of three bytes each.
            halves = data.decode("utf-8", "surrogatepass")
            return halves.encode("utf-16-le", "surrogatepass").decode("utf-16-le")

    def vector(self, read):
        count = self.int32()
        return None if count == -1 else [read() for _ in range(count)]

    def acl(self):
        return Acl(self.int32(), self.text(), self.text())

    def stat(self):
        return Stat(*struct.unpack(">qqqqiiiqiiq", self._take(68)))

    def rest(self):
        return len(self.data) - self.position


def int32(value):
    return struct.pack(">i", value)


def int64(value):
    return struct.pack(">q", value)


def boolean(value):
    return b"\1" if value else b"\0"


def buffer(data):
    return int32(-1) if data is None else int32(len(data)) + data


def text(value):
    """Text as UTF-8; bytes go out as they are, so that a test can send what is not UTF-8."""
    return buffer(value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value)


def vector(items, write):
    return int32(-1) if items is None else int32(len(items)) + b"".join(map(write, items))


def acl_entry(entry):
    return int32(entry.perms) + text(entry.scheme) + text(entry.id)


@dataclass(frozen=True)
class Op:
    """A request without its header."""

    code: int
    body: bytes
    text: str
    """For people: what it is."""
    parts: tuple = ()
    """Of a multi: its operations."""

    def __repr__(self):
        return self.text


def _shown(value):
    if isinstance(value, (bytes, str)) and len(value) > 60:
        return f"<{len(value)} of {value[:12]!r}>"
    return repr(value)


def _op(code, body, *shown):
    return Op(code, body, f"{NAMES.get(code, code)}({', '.join(map(_shown, shown))})")


def create(path, data=b"", acl=OPEN_ACL, flags=PERSISTENT, code=CREATE):
    body = text(path) + buffer(data) + vector(acl, acl_entry) + int32(flags)
    shown = [tuple(entry) for entry in acl] if acl is not None and acl is not OPEN_ACL else "open" if acl else None
    return _op(code, body, path, data, shown, flags)


def create2(path, data=b"", acl=OPEN_ACL, flags=PERSISTENT):
    return create(path, data, acl, flags, CREATE2)


def create_container(path, data=b"", acl=OPEN_ACL, flags=CONTAINER):
    return create(path, data, acl, flags, CREATE_CONTAINER)


def create_ttl(path, data=b"", acl=OPEN_ACL, flags=WITH_TTL, ttl_ms=TTL_MS_MAX):
    plain = create(path, data, acl, flags, CREATE_TTL)
    return Op(CREATE_TTL, plain.body + int64(ttl_ms), f"{plain.text[:-1]}, {ttl_ms} ms)")


def delete(path, version=-1):
    return _op(DELETE, text(path) + int32(version), path, version)


def exists(path, watch=False):
    return _op(EXISTS, text(path) + boolean(watch), path, watch)


def get_data(path, watch=False):
    return _op(GET_DATA, text(path) + boolean(watch), path, watch)


def set_data(path, data, version=-1):
    return _op(SET_DATA, text(path) + buffer(data) + int32(version), path, data, version)


def get_acl(path):
    return _op(GET_ACL, text(path), path)


def set_acl(path, acl, version=-1):
    shown = [tuple(entry) for entry in acl] if acl is not None else None
    return _op(SET_ACL, text(path) + vector(acl, acl_entry) + int32(version), path, shown, version)


def get_children(path, watch=False):
    return _op(GET_CHILDREN, text(path) + boolean(watch), path, watch)


def get_children2(path, watch=False):
    return _op(GET_CHILDREN2, text(path) + boolean(watch), path, watch)


def sync(path="/"):
    return _op(SYNC, text(path), path)


def check(path, version):
    return _op(CHECK, text(path) + int32(version), path, version)


def ping():
    return _op(PING, b"")


def close_session():
    return _op(CLOSE_SESSION, b"")


def auth(scheme, credentials):
    return _op(AUTH, int32(0) + text(scheme) + buffer(credentials), scheme, credentials)


def set_watches(relative_zxid, data, exist, child):
    body = int64(relative_zxid) + vector(data, text) + vector(exist, text) + vector(child, text)
    return _op(SET_WATCHES, body, relative_zxid, data, exist, child)


def set_watches2(relative_zxid, data, exist, child, persistent, recursive):
    lists = (data, exist, child, persistent, recursive)
    body = int64(relative_zxid) + b"".join(vector(paths, text) for paths in lists)
    return _op(SET_WATCHES2, body, relative_zxid, *lists)


def add_watch(path, mode):
    return _op(ADD_WATCH, text(path) + int32(mode), path, mode)


def check_watches(path, kind):
    return _op(CHECK_WATCHES, text(path) + int32(kind), path, kind)


def remove_watches(path, kind):
    return _op(REMOVE_WATCHES, text(path) + int32(kind), path, kind)


def get_ephemerals(prefix):
    return _op(GET_EPHEMERALS, text(prefix), prefix)


def get_all_children_number(path):
    return _op(GET_ALL_CHILDREN_NUMBER, text(path), path)


def reconfig(joining=None, leaving=None, members=None, version=-1):
    body = text(joining) + text(leaving) + text(members) + int64(version)
    return _op(RECONFIG, body, joining, leaving, members, version)


def who_am_i():
    return _op(WHO_AM_I, b"")


def multi(ops, code=MULTI):
    body = b"".join(int32(op.code) + boolean(False) + int32(-1) + op.body for op in ops)
    end = int32(-1) + boolean(True) + int32(-1)
    return Op(code, body + end, f"{NAMES[code]}{list(ops)!r}", tuple(ops))


def multi_read(ops):
    return multi(ops, MULTI_READ)


def raw(code, body, note="raw"):
    """Any code with any body."""
    return Op(code, body, f"{note}(code {code}, {len(body)} bytes {body[:40].hex()})")


def decode(code, body):
    """The record of a successful reply; None where there is none. Bytes left over are an error."""
    reader = Reader(body)
    value = _DECODERS.get(code, lambda _: None)(reader)
    if reader.rest():
        raise MalformedReply(f"{reader.rest()} bytes too many in a reply to {NAMES.get(code, code)}: {body[:200]!r}")
    return value


def _decode_multi(reader):
    results = []
    while True:
        code, done, error = reader.int32(), reader.boolean(), reader.int32()
        if done:
            if (code, error) != (-1, -1):
                raise MalformedReply(f"the end of a multi reply is {code}, {error}")
            return results
        if code == ERROR:
            if (inner := reader.int32()) != error:
                raise MalformedReply(f"a multi result says {error} outside and {inner} inside")
            results.append(("error", error))
        elif code in (CREATE, CREATE2, SET_DATA, DELETE, CHECK, GET_DATA, GET_CHILDREN):
            if error != OK:
                raise MalformedReply(f"a multi result of {NAMES[code]} has the error {error}")
            results.append((NAMES[code], _DECODERS[code](reader) if code in _DECODERS else None))
        else:
            raise MalformedReply(f"a multi result of kind {code}")


_DECODERS = {
    CREATE: lambda reader: reader.text(),
    CREATE2: lambda reader: (reader.text(), reader.stat()),
    CREATE_CONTAINER: lambda reader: (reader.text(), reader.stat()),
    CREATE_TTL: lambda reader: (reader.text(), reader.stat()),
    EXISTS: lambda reader: reader.stat(),
    GET_DATA: lambda reader: (reader.buffer(), reader.stat()),
    SET_DATA: lambda reader: reader.stat(),
    RECONFIG: lambda reader: (reader.buffer(), reader.stat()),
    GET_ACL: lambda reader: (reader.vector(reader.acl), reader.stat()),
    SET_ACL: lambda reader: reader.stat(),
    GET_CHILDREN: lambda reader: reader.vector(reader.text),
    GET_CHILDREN2: lambda reader: (reader.vector(reader.text), reader.stat()),
    SYNC: lambda reader: reader.text(),
    MULTI: _decode_multi,
    MULTI_READ: _decode_multi,
    ADD_WATCH: lambda reader: reader.int32(),
    GET_EPHEMERALS: lambda reader: reader.vector(reader.text),
    GET_ALL_CHILDREN_NUMBER: lambda reader: reader.int32(),
    WHO_AM_I: lambda reader: reader.vector(lambda: (reader.text(), reader.text())),
}
