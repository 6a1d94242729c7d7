"""Sessions that one server knows: local ones, those that become global, and those of read-only clients."""

import subprocess

import pytest
from kazoo.client import KazooClient, KeeperState
from kazoo.exceptions import NotReadOnlyCallError

from harness import jute, target
from harness.rawclient import ConnectionClosed, RawClient
from harness.server import Options
from harness.wait import wait_for

EPHEMERAL_ON_LOCAL_SESSION = -120
DEADLINE_S = 60


def _open(server, **arguments):
    return RawClient(server.address.host, server.address.client_port, **arguments)


def _sessions(server):
    answer = server.mntr()
    return int(answer["zk_global_sessions"]), int(answer["zk_local_sessions"])


@pytest.fixture
def local_only(make_ensemble):
    return make_ensemble(3, options=Options(extra={"localSessionsEnabled": "true"}))


@pytest.fixture
def upgrading(make_ensemble):
    extra = {"localSessionsEnabled": "true", "localSessionsUpgradingEnabled": "true"}
    return make_ensemble(3, options=Options(extra=extra))


def test_a_local_session_changes_what_lasts_and_has_no_ephemerals(local_only):
    server = local_only.servers[-1]
    with _open(server) as client:
        assert _sessions(server) == (0, 1)
        assert client.value(jute.create("/a", b"1")) == "/a"
        client.value(jute.set_data("/a", b"2"))
        assert client.call(jute.create("/e", flags=jute.EPHEMERAL)).error == EPHEMERAL_ON_LOCAL_SESSION
        ops = [jute.create("/b"), jute.create("/e", flags=jute.EPHEMERAL), jute.delete("/a")]
        assert [result[1] for result in client.call(jute.multi(ops)).value()] == [0, EPHEMERAL_ON_LOCAL_SESSION, -2]
        client.value(jute.sync())
        assert client.value(jute.get_data("/a"))[0] == b"2"
        assert client.close().error == jute.OK
    wait_for(lambda: _sessions(server) == (0, 0), DEADLINE_S, "the closed session to be gone")


def test_requests_of_a_local_session_are_answered_in_order(local_only):
    with _open(local_only.servers[-1]) as client:
        ops = [jute.create("/order")]
        ops += [op for number in range(50) for op in (jute.set_data("/order", b"%d" % number), jute.get_data("/order"))]
        xids = client.send_all([*ops, jute.sync(), jute.close_session()])
        replies = [client.receive() for _ in xids]
        assert [reply.xid for reply in replies] == xids
        read = [reply.value()[0] for reply in replies if reply.code == jute.GET_DATA]
        assert read == [b"%d" % number for number in range(50)]
        assert all(reply.error == jute.OK for reply in replies)


def test_a_server_alone_has_no_local_sessions(make_ensemble):
    server = make_ensemble(1, options=Options(extra={"localSessionsEnabled": "true"})).servers[0]
    with _open(server) as client:
        assert _sessions(server) == (1, 0)
        client.value(jute.create("/e", flags=jute.EPHEMERAL))


def test_a_local_session_continues_on_its_server_and_on_no_other(local_only):
    own, other = local_only.servers[:2]
    with _open(own) as client:
        session = client.session
    with _open(own, session=session) as again:
        assert again.session.session_id == session.session_id
        again.value(jute.create("/again"))
    wrong = type(session)(session.session_id, b"x" * 16)
    with _open(own, session=wrong) as stranger:
        assert stranger.expired
    with _open(other, session=session) as elsewhere:
        assert elsewhere.expired


def test_a_local_session_expires(make_ensemble):
    ensemble = make_ensemble(3, options=Options(tick_ms=200, extra={"localSessionsEnabled": "true"}))
    server = ensemble.servers[0]
    with _open(server, timeout_ms=400) as client:
        session = client.session
        assert _sessions(server) == (0, 1)
        wait_for(lambda: _sessions(server) == (0, 0), DEADLINE_S, "the silent session to expire")
    with _open(server, session=session) as late:
        assert late.expired


def test_a_local_session_outlives_its_leader(local_only):
    ensemble = local_only
    follower, leader = ensemble.followers()[0], ensemble.leader()
    with _open(follower) as client:
        client.value(jute.create("/lasting"))
        leader.kill()
        rest = [server for server in ensemble.servers if server is not leader]
        if not ensemble.flavour.is_zabra:
            pytest.skip("ZooKeeper closes all connections when the leader is gone")
        client.value(jute.set_data("/lasting", b"1"), DEADLINE_S)
        ensemble.leader(among=rest)
        assert _sessions(follower) == (0, 1)


def test_a_session_that_wants_an_ephemeral_becomes_global(upgrading):
    server, other = upgrading.servers[:2]
    with _open(server) as client:
        client.value(jute.create("/before"))
        assert _sessions(server) == (0, 1)
        xids = client.send_all(
            [
                jute.set_data("/before", b"1"),
                jute.create("/mine", flags=jute.EPHEMERAL),
                jute.set_data("/before", b"2"),
                jute.multi([jute.create("/mine-too", flags=jute.EPHEMERAL)]),
                jute.create("/mine", flags=jute.EPHEMERAL),
            ]
        )
        replies = [client.receive() for _ in xids]
        assert [reply.error for reply in replies] == [0, 0, 0, 0, -110]
        assert client.value(jute.exists("/mine")).ephemeral_owner == client.session.session_id
        assert _sessions(server) == (1, 0)
        client.value(jute.set_data("/before", b"3"))
        session, seen = client.session, client.last_zxid
    with _open(other, session=session, last_zxid=0) as elsewhere:
        assert not elsewhere.expired
        elsewhere.value(jute.sync())
        assert elsewhere.last_zxid >= seen
        assert elsewhere.value(jute.get_ephemerals(None)) and elsewhere.close().error == jute.OK
    with _open(server) as witness:
        witness.value(jute.sync())
        assert witness.call(jute.exists("/mine")).error == -101


def test_nothing_comes_behind_the_end_of_a_local_session(upgrading):
    server = upgrading.servers[-1]
    with _open(server) as client:
        client.send_all([jute.create("/before-end"), jute.close_session(), jute.create("/behind", flags=jute.EPHEMERAL)])
        assert [client.receive().error for _ in range(2)] == [0, 0]
        with pytest.raises(ConnectionClosed):
            client.receive()
    with _open(server) as witness:
        witness.value(jute.sync())
        assert witness.call(jute.exists("/behind")).error == -101
        assert _sessions(server) == (0, 1)


def test_a_refused_ephemeral_makes_a_session_global_all_the_same(upgrading):
    server = upgrading.servers[0]
    with _open(server) as client:
        assert client.call(jute.create("/no/such", flags=jute.EPHEMERAL)).error == -101
        assert _sessions(server) == (1, 0)
        client.value(jute.create("/works"))
        client.value(jute.create("/e", flags=jute.EPHEMERAL))
        assert client.close().error == jute.OK
    wait_for(lambda: _sessions(server) == (0, 0), DEADLINE_S, "the closed session to be gone")


# --- read-only -------------------------------------------------------------------------------------------------------


@pytest.fixture
def cut_off(make_ensemble):
    """A server of three that is alone, with a znode."""
    extra = {"readonlymode.enabled": "true"}
    ensemble = make_ensemble(3, options=Options(extra=extra))
    if not ensemble.flavour.is_zabra:
        pytest.skip("a property of Java is needed for that")
    alone = ensemble.servers[0]
    with _open(alone) as client:
        client.value(jute.create("/there", b"x"))
        client.value(jute.create("/mine", flags=jute.EPHEMERAL))
        ensemble.old_session = client.session
    for server in ensemble.servers[1:]:
        server.kill()
    wait_for(lambda: alone.word("isro") == "ro", DEADLINE_S, "the server to be read-only")
    return ensemble


def test_a_server_alone_serves_those_who_only_read(cut_off):
    alone = cut_off.servers[0]
    with _open(alone, read_only=True) as client:
        assert client.read_only is True and not client.expired
        assert client.value(jute.get_data("/there", watch=True))[0] == b"x"
        for op in (jute.set_data("/there", b"y"), jute.create("/c"), jute.sync(), jute.delete("/there")):
            assert client.call(op).error == -119
        session = client.session
    with _open(alone, read_only=True, session=session) as again:
        assert again.session.session_id == session.session_id
        assert again.close().error == jute.OK
    assert "READ-ONLY mode" in alone.word("srvr")
    assert alone.mntr()["zk_server_state"] == "read-only"


def test_a_client_of_before_read_only_mode_is_answered_without_a_word_of_it(make_ensemble, reference):
    told = []
    for flavour in (None, reference):
        ensemble = make_ensemble(1, **({"flavour": flavour} if flavour else {}))
        server = ensemble.servers[0]
        with _open(server, read_only=None) as client:
            assert not client.expired
            assert client.value(jute.create("/old", b"x")) == "/old"
            session = client.session
            shown = [client.read_only, client.protocol_version, len(session.password)]
        with _open(server, read_only=None, session=session) as again:
            assert again.session.session_id == session.session_id
            shown += [again.read_only, again.value(jute.get_data("/old"))[0], again.close().error]
        with _open(server, read_only=False) as newer:
            shown.append(newer.read_only)
        told.append(shown)
    assert told[0] == told[1]
    assert told[0][0] is None and told[0][-1] is False


def test_a_server_alone_serves_neither_writers_nor_sessions_of_the_ensemble(cut_off):
    alone = cut_off.servers[0]
    for arguments in ({}, {"session": cut_off.old_session, "read_only": True}):
        with pytest.raises(ConnectionClosed):
            _open(alone, **arguments)


def test_a_read_only_client_gets_a_session_of_the_ensemble_when_there_is_a_leader(cut_off):
    client = KazooClient(hosts=cut_off.connect_string, read_only=True, timeout=5.0)
    try:
        client.start(DEADLINE_S)
        wait_for(lambda: client.client_state == KeeperState.CONNECTED_RO, DEADLINE_S, "the read-only connection")
        assert client.get("/there")[0] == b"x"
        with pytest.raises(NotReadOnlyCallError):
            client.set("/there", b"y")
        for server in cut_off.servers[1:]:
            server.start()
        cut_off.wait_all_serving()
        wait_for(lambda: client.client_state == KeeperState.CONNECTED, DEADLINE_S, "a session of the ensemble")
        client.retry(client.set, "/there", b"y")
    finally:
        client.stop()
        client.close()


def test_a_read_only_shell_tells_so_and_goes_on_to_a_server_that_is_not(cut_off):
    """The shell's own client; zkCli -r prints the same lines."""
    command = [target.zabra_binary(), "shell", "-r", "-server", cut_off.connect_string]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as shell:
        try:
            seen = []

            def read_until(words):
                for line in iter(shell.stdout.readline, ""):
                    seen.append(line)
                    if words in line:
                        return
                raise AssertionError(f"no {words!r} in {seen}")

            def say(line):
                shell.stdin.write(line + "\n")
                shell.stdin.flush()

            read_until("WatchedEvent state:ConnectedReadOnly type:None path:null zxid: -1")
            say("get /there")
            read_until("x")
            say("set /there y")
            assert "read-only" in shell.stderr.readline()
            for server in cut_off.servers[1:]:
                server.start()
            read_until("WatchedEvent state:SyncConnected type:None path:null zxid: -1")
            say("set -s /there y")
            read_until("dataVersion = 1")
            shell.communicate("quit\n", DEADLINE_S)
        finally:
            shell.kill()


def test_without_being_asked_to_a_shell_does_not_read_from_a_server_that_is_cut_off(cut_off):
    command = [target.zabra_binary(), "shell", "--connect-timeout-ms", "500", "-server", cut_off.connect_string]
    done = subprocess.run([*command, "get", "/there"], capture_output=True, text=True, timeout=DEADLINE_S)
    assert "could be reached" in done.stderr and done.returncode == 1
