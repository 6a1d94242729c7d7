"""The operations that ClickHouse Keeper has beyond ZooKeeper, byte for byte as its clients send them."""

import pytest

from harness import jute
from harness.rawclient import RawClient
from harness.server import Options

FILTERED_LIST, CHECK_NOT_EXISTS, CREATE_IF_NOT_EXISTS, REMOVE_RECURSIVE, CHECK_STAT = range(500, 505)
ENABLED = Options(extra={"clickHouseOperationsEnabled": "true"})


@pytest.fixture
def client(flavour, make_ensemble):
    """A session with a follower of three servers that offer the operations."""
    if not flavour.is_zabra:
        pytest.skip("ZooKeeper has no such operations")
    ensemble = make_ensemble(3, options=ENABLED)
    address = ensemble.followers()[0].address
    with RawClient(address.host, address.client_port) as client:
        yield client
        client.close()


def _filtered(path, kind, watch=False):
    return jute.raw(FILTERED_LIST, jute.text(path) + bytes([watch, kind]))


def _numbered(code, path, number):
    return jute.raw(code, jute.text(path) + jute.int32(number))


def _children(client, path, kind, watch=False):
    reply = client.call(_filtered(path, kind, watch))
    assert reply.error == jute.OK
    return jute.decode(jute.GET_CHILDREN2, reply.body)


def test_what_a_client_of_clickhouse_reads_first(client):
    flags, _ = client.value(jute.get_data("/keeper/feature_flags"))
    # FilteredList, CheckNotExists, CreateIfNotExists, RemoveRecursive, CheckStat
    assert [bit for bit in range(16) if flags[bit // 8] & (128 >> bit % 8)] == [0, 2, 3, 4, 6]
    assert client.value(jute.get_data("/keeper/api_version"))[0] == b"1"
    assert client.call(jute.get_data("/keeper/availability_zone")).error == jute.NO_NODE
    for op in (jute.create("/keeper/x"), jute.set_data("/keeper/api_version", b"9"), jute.delete("/keeper")):
        assert client.call(op).error == jute.BAD_ARGUMENTS


def test_lists_of_one_kind(client):
    client.value(jute.create("/l"))
    client.value(jute.create("/l/p"))
    client.value(jute.create("/l/e", flags=jute.EPHEMERAL))
    names = [sorted(_children(client, "/l", kind, watch=kind == 2)[0]) for kind in (0, 1, 2)]
    assert names == [["e", "p"], ["p"], ["e"]]
    client.value(jute.create("/l/q"))
    assert client.events.pop().kind == jute.NODE_CHILDREN_CHANGED
    assert client.call(_filtered("/none", 0)).error == jute.NO_NODE
    assert client.call(_filtered("/l", 9)).error == jute.MARSHALLING_ERROR


def test_checks_creates_and_removals(client):
    create = jute.create("/c", b"x")
    create = jute.raw(CREATE_IF_NOT_EXISTS, create.body)
    for _ in range(2):
        reply = client.call(create)
        assert (reply.error, reply.body) == (jute.OK, jute.text("/c"))
    assert client.call(_numbered(CHECK_NOT_EXISTS, "/c", -1)).error == jute.NODE_EXISTS
    assert client.call(_numbered(CHECK_NOT_EXISTS, "/none", -1)).error == jute.OK
    stat = client.call(jute.exists("/c")).body
    assert client.call(jute.raw(CHECK_STAT, jute.text("/c") + jute.int32(0) + stat)).error == jute.OK
    client.value(jute.set_data("/c", b"yy"))
    assert client.call(jute.raw(CHECK_STAT, jute.text("/c") + jute.int32(-1) + stat)).error == jute.BAD_VERSION
    for path in ("/c/d", "/c/d/e", "/c/f"):
        client.value(jute.create(path))
    assert client.call(_numbered(REMOVE_RECURSIVE, "/c", 3)).error == jute.NOT_EMPTY
    assert client.value(jute.get_all_children_number("/c")) == 3
    client.value(jute.get_data("/c/d", True))
    assert client.call(_numbered(REMOVE_RECURSIVE, "/c", 4)).error == jute.OK
    assert client.events.pop().kind == jute.NODE_DELETED
    assert client.call(jute.exists("/c")).error == jute.NO_NODE


def test_in_a_multi_each_is_answered_under_its_own_code(client):
    client.value(jute.create("/m"))
    ops = [
        _numbered(CHECK_NOT_EXISTS, "/m/n", -1),
        jute.raw(CREATE_IF_NOT_EXISTS, jute.create("/m/n").body),
        jute.raw(CREATE_IF_NOT_EXISTS, jute.create("/m/n").body),
        jute.raw(CHECK_STAT, jute.text("/m/n") + jute.int32(0) + b"\xff" * 68),
        _numbered(REMOVE_RECURSIVE, "/m", 2),
    ]
    head = lambda code, done=0, error=0: jute.int32(code) + bytes([done]) + jute.int32(error)
    made = head(CREATE_IF_NOT_EXISTS) + jute.text("/m/n")
    expected = head(CHECK_NOT_EXISTS) + made + made + head(CHECK_STAT) + head(REMOVE_RECURSIVE) + head(-1, 1, -1)
    reply = client.call(jute.multi(ops))
    assert (reply.error, reply.body) == (jute.OK, expected)
    failed = client.call(jute.multi([jute.create("/m"), ops[0], _numbered(REMOVE_RECURSIVE, "/m", 0)]))
    errors = b"".join(head(-1, 0, error) + jute.int32(error) for error in (0, 0, jute.NOT_EMPTY))
    assert (failed.error, failed.body) == (jute.OK, errors + head(-1, 1, -1))


def test_where_they_are_not_enabled_they_are_unknown_operations(flavour, make_ensemble):
    if not flavour.is_zabra:
        pytest.skip("ZooKeeper ends the connection")
    with RawClient(*make_ensemble().endpoints[0]) as client:
        for code in range(500, 505):
            for body in (b"", _numbered(code, "/", 1).body):
                assert client.call(jute.raw(code, body)).error == jute.UNIMPLEMENTED
            assert client.call(jute.multi([_numbered(code, "/", 1)])).error == jute.MARSHALLING_ERROR
        assert client.call(jute.get_data("/keeper/feature_flags")).error == jute.NO_NODE
        client.value(jute.create("/keeper"))
        client.close()
