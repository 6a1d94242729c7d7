"""What comes from clients that are broken or mean no good: their connection ends, or they get ZooKeeper's error code;
memory stays bounded; all others are served.

ZABRA_CONNECTIONS  silent connections at once (default 2000; 10000 is the long form)
ZABRA_SEED         of the random bytes (default 1)
"""

import contextlib
import itertools
import os
import random
import resource
import socket
import struct

import pytest

from harness import jute
from harness.ports import free_ports
from harness.rawclient import ConnectionClosed, RawClient, Session, connect_frame
from harness.server import Options
from harness.wait import DeadlineExceeded, wait_for

CONNECTIONS = int(os.environ.get("ZABRA_CONNECTIONS", 2000))
SEED = int(os.environ.get("ZABRA_SEED", 1))
MAX_FRAME = 1048575
MIB = 1024
"""In KiB, as memory is told."""

HUGE = 2**31 - 1


@pytest.fixture(scope="module")
def shared(flavour, tmp_path_factory):
    """One standalone server for all that needs no more."""
    from harness.ensemble import Ensemble

    with Ensemble(flavour, tmp_path_factory.mktemp("bad-input"), 1) as ensemble:
        yield ensemble.start()


@pytest.fixture
def server(shared):
    """The server; after the test it must still be there and serve."""
    served = shared.servers[0]
    before = served.starts, served.pid
    yield served
    shared.assert_healthy()
    assert (served.starts, served.pid) == before
    _assert_serves(served)


def _assert_serves(server):
    with RawClient(server.address.host, server.address.client_port) as client:
        path = client.value(jute.create("/serves-", b"yes", flags=jute.EPHEMERAL_SEQUENTIAL))
        assert client.value(jute.get_data(path))[0] == b"yes"
        client.close()


def _dial(server, port=None):
    conn = socket.create_connection((server.address.host, port or server.address.client_port), timeout=10)
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return conn


def _say_all(conn, data):
    """Sends the bytes and says that there will be no more; the server may have ended it before that."""
    with contextlib.suppress(OSError):
        conn.sendall(data)
        conn.shutdown(socket.SHUT_WR)


def _read_to_end(conn, seconds=10):
    """All that comes until the server closes; fails if it does not."""
    conn.settimeout(seconds)
    data = b""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        while part := conn.recv(65536):
            data += part
    return data


def _memory_limit_kib(server, growth_mib):
    """What the server may have; a JVM takes what it is given before it cleans up."""
    return server.process.rss_kib() + growth_mib * MIB if server.flavour.is_zabra else 900 * MIB


# --- before there is a session -------------------------------------------------------------------------------------

_GOOD_CONNECT = connect_frame(10_000, Session(), 0)

BAD_BEGINNINGS = {
    "a negative length": jute.int32(-1) + b"x" * 40,
    "the most negative length": jute.int32(-(2**31)) + b"x" * 40,
    "the greatest length": jute.int32(HUGE) + b"x" * 4096,
    "a length just above the limit": jute.int32(MAX_FRAME + 1) + b"x" * 4096,
    "an empty frame": jute.int32(0) + b"",
    "a connect of one byte": jute.int32(1) + b"\0",
    "a connect without a password": jute.int32(24) + _GOOD_CONNECT[:24],
    "a password longer than the frame": jute.int32(44) + _GOOD_CONNECT[:24] + jute.int32(1000) + b"\0" * 16,
    "a password of huge length": jute.int32(44) + _GOOD_CONNECT[:24] + jute.int32(HUGE) + b"\0" * 16,
    "a password of negative length": jute.int32(44) + _GOOD_CONNECT[:24] + jute.int32(-9) + b"\0" * 16,
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: zabra\r\n\r\n",
    "a TLS hello": bytes.fromhex("160301020001000001fc0303") + b"\x5a" * 500,
}


@pytest.mark.parametrize("name", BAD_BEGINNINGS)
def test_a_bad_beginning_ends_the_connection(server, name):
    with _dial(server) as conn:
        _say_all(conn, BAD_BEGINNINGS[name])
        assert _read_to_end(conn) == b""


def test_a_length_that_is_refused_is_refused_before_the_bytes_come(server):
    with _dial(server) as conn:
        conn.sendall(jute.int32(MAX_FRAME + 1))
        assert _read_to_end(conn) == b""


def test_unknown_four_letter_words_are_no_words(server):
    for word in (b"zzzz", b"SRVR", b"\xff\xfe\xfd\xfc"):
        with _dial(server) as conn:
            _say_all(conn, word)
            assert _read_to_end(conn) == b""


# --- in a session --------------------------------------------------------------------------------------------------

_SOME_UTF8 = [b"/\xff", b"/\xc3", b"/\xc0\xaf", b"/\xed\xa0\x80", b"/\xf5\x80\x80\x80", b"/a\x80b", b"\xfe\xfe"]


def _bad_requests():
    """Name -> request; each must be answered with an error, or end the connection."""
    bad = {f"invalid UTF-8 {path!r}": jute.create(path) for path in _SOME_UTF8}
    for path in ("/.", "/..", "/a/./b", "/a/../b", "//", "/a/", "", "a", "/\0", "/\x01", "/a\x7f", "/\ue000", "/\ufffe"):
        bad[f"the path {path!r}"] = jute.create(path)
    path = jute.text("/bad")
    bad |= {
        "data of negative length": jute.raw(jute.CREATE, path + jute.int32(-2)),
        "data of huge length": jute.raw(jute.CREATE, path + jute.int32(HUGE) + b"x" * 10),
        "a path of huge length": jute.raw(jute.GET_DATA, jute.int32(HUGE) + b"/x\0"),
        "a huge count of ACLs": jute.raw(jute.CREATE, path + jute.buffer(b"") + jute.int32(HUGE) + b"\0" * 64),
        "a negative count of ACLs": jute.raw(jute.CREATE, path + jute.buffer(b"") + jute.int32(-2) + jute.int32(0)),
        "more ACLs than there are": jute.raw(jute.SET_ACL, path + jute.int32(3) + b"\0" * 12),
        "a multi without an end": jute.raw(jute.MULTI, jute.multi([jute.create("/bad")]).body[:-9]),
        "a multi of nothing": jute.raw(jute.MULTI, b""),
        "a multi in a multi": jute.multi([jute.multi([jute.create("/bad")])]),
        "a multi of an unknown kind": jute.multi([jute.raw(4711, b"")]),
        "a huge count of watches": jute.raw(jute.SET_WATCHES, jute.int64(0) + jute.int32(HUGE) + b"\0" * 8),
        "no body at all": jute.raw(jute.CREATE, b""),
        "an unknown operation": jute.raw(4711, b"x" * 100),
        "the most negative operation": jute.raw(-(2**31), b""),
        "a session made by a client": jute.raw(-10, jute.int32(1000)),
        "an error sent by a client": jute.raw(-1, jute.int32(0)),
        "a notification sent by a client": jute.raw(0, b""),
        "auth without credentials": jute.raw(jute.AUTH, b"\0\0"),
        "auth of an unknown scheme": jute.auth("nonsense", b"x" * 1000),
    }
    return bad


BAD_REQUESTS = _bad_requests()


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_a_bad_request_gets_an_error_or_ends_the_connection(server, name):
    if name == "a session made by a client" and not server.flavour.is_zabra:
        pytest.skip("ZooKeeper takes a createSession from a client")
    with RawClient(server.address.host, server.address.client_port) as client:
        try:
            reply = client.call(BAD_REQUESTS[name], 10)
        except ConnectionClosed:
            pass
        else:
            assert reply.error != jute.OK
            known = {-1, -2, -5, -6, -8, jute.NO_NODE, jute.NODE_EXISTS, jute.INVALID_ACL, jute.AUTH_FAILED}
            assert reply.error in known, f"error {reply.error}"
    with RawClient(server.address.host, server.address.client_port, session=client.session) as again:
        assert not again.expired, "the session ended with the connection"
        assert again.call(jute.exists("/bad")).error == jute.NO_NODE
        again.close()


def test_big_bad_requests_take_no_room_from_others(server):
    """Their clients stay, and send nothing else."""
    if not server.flavour.is_zabra:
        pytest.skip("it is Zabra that has a bound for big requests")
    bad = jute.raw(jute.SET_DATA, jute.text("/bad") + jute.int32(-2) + b"x" * 900_000)
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            client = stack.enter_context(RawClient(server.address.host, server.address.client_port))
            assert client.call(bad).error == jute.MARSHALLING_ERROR
        other = stack.enter_context(RawClient(server.address.host, server.address.client_port))
        assert other.call(jute.set_data("/bad", b"x" * 900_000)).error == jute.NO_NODE
        other.close()


@pytest.mark.parametrize("length", [-1, -(2**31), MAX_FRAME + 1, HUGE])
def test_a_bad_length_in_a_session_ends_the_connection_only(server, length):
    with RawClient(server.address.host, server.address.client_port) as client:
        client.socket.sendall(jute.int32(length) + b"x" * 100)
        with pytest.raises(ConnectionClosed):
            client.receive(10)
    with RawClient(server.address.host, server.address.client_port, session=client.session) as again:
        assert not again.expired
        again.close()


@pytest.mark.parametrize("size", range(8))
def test_a_frame_too_short_for_its_header_ends_the_connection(server, size):
    with RawClient(server.address.host, server.address.client_port) as client:
        client.send_frame(b"\0" * size)
        with pytest.raises(ConnectionClosed):
            client.receive(10)


def test_random_frames_in_a_session(server):
    """Well-framed rubbish with a good header: thousands of bodies, one error or one end each."""
    source = random.Random(SEED)
    codes = [code for code in jute.NAMES if code not in (jute.CLOSE_SESSION, jute.PING)]
    limit = _memory_limit_kib(server, 64)
    client = RawClient(server.address.host, server.address.client_port)
    for _ in range(2000):
        body = source.randbytes(source.choice([0, 1, 4, 8, 30, 300]))
        if source.random() < 0.5:
            body = jute.text("/rubbish") + body
        try:
            client.call(jute.raw(source.choice(codes), body), 10)
        except ConnectionClosed:
            client.drop()
            client = RawClient(server.address.host, server.address.client_port)
    client.drop()
    assert server.process.rss_kib() < limit


# --- random bytes on every port ------------------------------------------------------------------------------------


def _rubbish(source):
    """Random bytes, some of which look like the beginning of a message."""
    size = source.choice([1, 3, 4, 5, 17, 100, 5000, 70_000])
    data = source.randbytes(size)
    beginning = source.choice(
        [b"", jute.int32(size), jute.int32(HUGE), jute.int32(-1), jute.int32(1000), b"ZKSN", b"\0" * 8, b"ZABRA"]
    )
    return beginning + data


def test_random_bytes_on_client_quorum_and_election_ports(make_ensemble):
    ensemble = make_ensemble(3)
    source = random.Random(SEED)
    leader = ensemble.leader()
    _assert_serves(leader)  # the first write of an epoch shows it
    epoch = leader.zxid() >> 32
    limits = {server.server_id: _memory_limit_kib(server, 96) for server in ensemble.servers}
    accepted = {"client": 0, "quorum": 0, "election": 0}
    with contextlib.ExitStack() as open_ones, RawClient(*ensemble.endpoints[0]) as bystander:
        for round_number in range(100):
            for server in ensemble.servers:
                address = server.address
                ports = {"client": address.client_port, "quorum": address.quorum_port, "election": address.election_port}
                for name, port in ports.items():
                    try:
                        conn = _dial(server, port)
                    except ConnectionRefusedError:  # a ZooKeeper that does not lead has no quorum port
                        continue
                    accepted[name] += 1
                    with contextlib.suppress(OSError):
                        conn.sendall(_rubbish(source))
                    # Some stay open, half a message sent.
                    open_ones.enter_context(conn) if round_number % 4 == 0 else conn.close()
            assert bystander.call(jute.set_data("/", b"%d" % round_number)).error == jute.OK
        assert all(accepted.values()), f"nobody listens: {accepted}"
        ensemble.assert_healthy()
        for server in ensemble.servers:
            assert server.process.rss_kib() < limits[server.server_id]
        assert ensemble.leader() is leader and leader.zxid() >> 32 == epoch, "the ensemble lost its leader over this"
        bystander.close()
    for server in ensemble.servers:
        _assert_serves(server)
    # A server that was restarted still finds its way back through ports full of rubbish.
    follower = next(server for server in ensemble.servers if server is not leader)
    follower.kill()
    follower.start().wait_serving()
    _assert_serves(follower)


# --- slow, silent and greedy clients -------------------------------------------------------------------------------


def test_half_open_connections_hold_nobody_up(server):
    """Two hundred clients that stop in the middle of a frame, at all kinds of places."""
    frame = jute.int32(len(_GOOD_CONNECT)) + _GOOD_CONNECT
    request = jute.int32(900_000) + jute.int32(1) + jute.int32(jute.CREATE)
    limit = _memory_limit_kib(server, 64)
    with contextlib.ExitStack() as stack:
        for number in range(200):
            conn = stack.enter_context(_dial(server))
            conn.sendall((frame + request)[: 1 + number * len(frame + request) // 200])
        _assert_serves(server)
        # A length alone must not cost the memory it promises.
        assert server.process.rss_kib() < limit


def test_a_client_that_never_reads_does_not_fill_the_memory(server):
    count = 2000 if server.flavour.is_zabra else 150
    limit = _memory_limit_kib(server, 128)
    with RawClient(server.address.host, server.address.client_port) as other:
        other.value(jute.create("/big", b"b" * 900_000))
        with RawClient(server.address.host, server.address.client_port, timeout_ms=20_000) as greedy:
            greedy.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            greedy.socket.setblocking(False)
            body = jute.get_data("/big").body
            frames = b"".join(
                jute.int32(8 + len(body)) + jute.int32(xid) + jute.int32(jute.GET_DATA) + body
                for xid in range(1, count + 1)
            )
            with contextlib.suppress(BlockingIOError, ConnectionError):
                sent = 0
                while sent < len(frames):
                    sent += greedy.socket.send(frames[sent:])
            highest = 0
            for _ in range(200):  # other work goes on meanwhile
                assert other.call(jute.set_data("/", b"x")).error == jute.OK
                highest = max(highest, server.process.rss_kib())
            assert highest < limit, f"{highest} KiB"
        other.value(jute.delete("/big"))
        other.close()


def test_a_watcher_that_never_reads_does_not_fill_the_memory(server):
    """Hundreds of thousands of events for a client that takes none of them."""
    limit = _memory_limit_kib(server, 128)
    path = "/" + "w" * 900
    with RawClient(server.address.host, server.address.client_port) as other:
        other.value(jute.create(path))
        with RawClient(server.address.host, server.address.client_port, timeout_ms=20_000) as deaf:
            for _ in range(20):
                with contextlib.suppress(ConnectionClosed, DeadlineExceeded, OSError):
                    deaf.socket.settimeout(0.2)
                    deaf.send_all([jute.get_data(path, True)] * 200)
                other.send_all([jute.set_data(path, b"x")] * 50)
                assert all(other.receive().error == jute.OK for _ in range(50))
            assert server.process.rss_kib() < limit
        other.value(jute.delete(path))
        other.close()


def _raise_open_files(wanted):
    """Lets this process, and the servers it starts, open that many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            return True
        return False
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    return True


def test_connections_leave_the_server_the_descriptors_that_it_needs(make_ensemble):
    """Whoever takes all that can be had must not end the log, which needs a file now and then."""
    ensemble = make_ensemble(1, options=Options(extra={"logSegmentBytes": "65536", "snapCount": "500"}))
    (server,) = ensemble.servers
    if not ensemble.flavour.is_zabra:
        pytest.skip("ZooKeeper takes every connection that the system gives it")
    address = (server.address.host, server.address.client_port)
    with contextlib.ExitStack() as stack, RawClient(*address) as inside:
        _, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (256, hard))
        silent = [stack.enter_context(_dial(server)) for _ in range(300)]
        wait_for(lambda: "file descriptors" in server.log_since(0), 10, "the server to say that it has few descriptors")
        for _ in range(20):
            inside.send_all([jute.set_data("/", b"x" * 500)] * 100)
            for _ in range(100):
                assert inside.receive().error == jute.OK
        for conn in silent:
            conn.close()
        wait_for(server.mode, 10, "the server to let clients in again")
        ensemble.assert_healthy()


@pytest.mark.parametrize("with_session", [False, True], ids=["without_a_word", "after_connecting"])
def test_thousands_of_silent_connections(make_ensemble, with_session):
    if not _raise_open_files(CONNECTIONS + 1000):
        pytest.skip(f"the limit of open files cannot be raised to {CONNECTIONS + 1000}")
    ensemble = make_ensemble(1)
    server = ensemble.servers[0]
    before = server.process.rss_kib()
    files = server.process.open_files()
    frame = jute.int32(len(_GOOD_CONNECT)) + connect_frame(20_000, Session(), 0)
    with contextlib.ExitStack() as stack:
        conns = []
        for _ in range(CONNECTIONS):
            conn = stack.enter_context(_dial(server))
            if with_session:
                conn.sendall(frame)
            conns.append(conn)
        if with_session:
            for conn in conns:
                answer = conn.recv(4096)
                assert len(answer) == 41 and struct.unpack(">i", answer[8:12])[0] == 20_000
        _assert_serves(server)  # its connection was accepted after all the others
        if server.flavour.is_zabra:
            each_kib = (server.process.rss_kib() - before) / CONNECTIONS
            assert each_kib < 32, f"a silent connection costs {each_kib:.1f} KiB"
    if server.flavour.is_zabra:  # a ZooKeeper keeps some hundred
        wait_for(lambda: server.process.open_files() <= files + 50, 30, "the connections to be given back")
    _assert_serves(server)
    ensemble.assert_healthy()


def _listening_ports(pid):
    """The TCP ports that a process listens on."""
    sockets = set()
    for descriptor in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            sockets.add(os.readlink(f"/proc/{pid}/fd/{descriptor}"))
    ports = set()
    for table in ("tcp", "tcp6"):
        with open(f"/proc/{pid}/net/{table}") as lines:
            for fields in map(str.split, itertools.islice(lines, 1, None)):
                if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                    ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports


def test_nothing_listens_but_the_ports_of_the_configuration(make_ensemble, flavour):
    if not flavour.is_zabra:
        pytest.skip("ZooKeeper has an AdminServer")
    (admin_port,) = free_ports(1)
    admin = {"admin.enableServer": "true", "admin.serverPort": admin_port, "admin.snapshot.enabled": "true"}
    admin.update({"admin.restore.enabled": "true", "metricsProvider.httpPort": admin_port})
    alone = make_ensemble(1, options=Options(extra=admin)).servers[0]
    assert _listening_ports(alone.pid) == {alone.address.client_port}
    ensemble = make_ensemble(3, options=Options(extra=admin))
    for server in ensemble.servers:
        own = server.address
        ports = _listening_ports(server.pid)
        # Only the leader needs to be reached by learners.
        assert own.client_port in ports and own.election_port in ports
        assert ports <= {own.client_port, own.election_port, own.quorum_port}
    assert ensemble.leader().address.quorum_port in _listening_ports(ensemble.leader().pid)
