"""Sessions as kazoo sees them: lost connections, lost servers, expiry."""

import itertools
import time

import pytest
from kazoo.client import KazooState
from kazoo.exceptions import NoNodeError
from kazoo.protocol.states import EventType

from harness import jute
from harness.kazoos import Clients, Seen
from harness.rawclient import ConnectionClosed, RawClient, Session
from harness.wait import Deadline, DeadlineExceeded, wait_for

_numbers = itertools.count(1)


@pytest.fixture
def clients(shared_ensemble):
    """Clients of the shared ensemble."""
    with Clients(shared_ensemble.connect_string) as made:
        yield made
    shared_ensemble.assert_healthy()


def _folder(client):
    return client.create(f"/sessions{next(_numbers)}")


def _cut(client):
    """Ends kazoo's TCP connection under it, as a network would."""
    client._connection._socket.shutdown(2)


def _end_session(ensemble, client):
    """Closes kazoo's session over another connection.

    kazoo comes back at once when its session moves away, and may take it back before the close is sent: the connection
    that lost ends, and this one tries again.
    """
    session_id, password = client.client_id
    deadline = Deadline(30)
    while deadline.left() > 0:
        try:
            with RawClient(*ensemble.endpoints[0], session=Session(session_id, password)) as other:
                if not other.expired:
                    other.close()
                return
        except ConnectionClosed:
            continue
    raise DeadlineExceeded("kazoo took its session back every time")


def test_ephemerals_and_recipes_outlive_a_lost_connection(clients):
    client, other = clients.new(), clients.new()
    folder = _folder(client)
    client.create(folder + "/e", ephemeral=True)
    states, children = Seen(), Seen()
    client.add_listener(states.add)
    client.ChildrenWatch(folder, lambda names: children.add(sorted(names)))
    children.wait_last(["e"])
    session = client.client_id
    _cut(client)
    states.wait(lambda items: items == [KazooState.SUSPENDED, KazooState.CONNECTED], "the connection to come back")
    assert client.client_id == session
    other.sync(folder)
    assert other.exists(folder + "/e").ephemeralOwner == session[0]
    other.create(folder + "/c")
    children.wait_last(["c", "e"])


def test_a_change_while_disconnected_is_told_after_the_reconnect(shared_ensemble, clients):
    """With setWatches, which kazoo does not use and the Java and C clients do."""
    other = clients.new()
    folder = _folder(other)
    for name in ("data", "gone", "same", "parent"):
        other.create(f"{folder}/{name}", b"0")
    first = RawClient(*shared_ensemble.endpoints[0])
    first.value(jute.sync())
    first.drop()
    other.set(folder + "/data", b"1")
    other.create(folder + "/new")
    other.delete(folder + "/gone")
    other.create(folder + "/parent/child")
    again = jute.set_watches(
        first.last_zxid,
        [f"{folder}/{name}" for name in ("data", "gone", "same")],
        [f"{folder}/{name}" for name in ("new", "never")],
        [f"{folder}/parent"],
    )
    with RawClient(*shared_ensemble.endpoints[-1], session=first.session, last_zxid=first.last_zxid) as client:
        client.value(jute.sync())
        assert client.call(again).error == jute.OK
        told = [(event.kind, event.path.removeprefix(folder)) for event in client.events]
        assert told == [
            (jute.NODE_DATA_CHANGED, "/data"),
            (jute.NODE_DELETED, "/gone"),
            (jute.NODE_CREATED, "/new"),
            (jute.NODE_CHILDREN_CHANGED, "/parent"),
        ]
        client.events.clear()
        other.set(folder + "/same", b"1")
        other.create(folder + "/never")
        client.value(jute.sync())
        told = [(event.kind, event.path.removeprefix(folder)) for event in client.events]
        assert told == [(jute.NODE_DATA_CHANGED, "/same"), (jute.NODE_CREATED, "/never")]
        client.close()


def test_closing_a_session_takes_its_ephemerals_at_once(clients):
    client, other = clients.new(), clients.new()
    folder = _folder(client)
    for number in range(5):
        client.create(f"{folder}/e{number}", ephemeral=True)
    other.sync(folder)
    seen = Seen()
    other.ChildrenWatch(folder, lambda children: seen.add(len(children)))
    seen.wait_last(5)
    client.stop()
    seen.wait_last(0, seconds=5)


def test_a_silent_session_expires_after_its_timeout_and_not_before(shared_ensemble, clients):
    watcher = clients.new()
    folder = _folder(watcher)
    tick_s = shared_ensemble.options.tick_ms / 1000
    with RawClient(*shared_ensemble.endpoints[-1], timeout_ms=int(3 * tick_s * 1000)) as silent:
        timeout_s = silent.session.timeout_ms / 1000
        assert timeout_s == 3 * tick_s
        silent.value(jute.sync())
        silent.value(jute.create(folder + "/e", b"", flags=jute.EPHEMERAL))
        since = time.monotonic()
        watcher.sync(folder)
        deleted = Seen()
        assert watcher.exists(folder + "/e", watch=lambda event: deleted.add(event.type))
        deleted.wait_last(EventType.DELETED, seconds=timeout_s + 6 * tick_s)
        lived_s = time.monotonic() - since
    # ZooKeeper rounds up to its tick; a follower tells the leader of its sessions twice a tick.
    assert timeout_s * 0.95 <= lived_s <= timeout_s + 4 * tick_s
    with RawClient(*shared_ensemble.endpoints[0], session=silent.session) as again:
        assert again.expired


def test_pings_keep_a_session_alive(shared_ensemble, clients):
    watcher = clients.new()
    folder = _folder(watcher)
    with RawClient(*shared_ensemble.endpoints[-1], timeout_ms=2000) as pinging:
        pinging.value(jute.sync())
        pinging.value(jute.create(folder + "/e", b"", flags=jute.EPHEMERAL))
        until = time.monotonic() + 3 * pinging.session.timeout_ms / 1000
        while time.monotonic() < until:
            assert pinging.call(jute.ping()).error == jute.OK
            assert not pinging.readable(pinging.session.timeout_ms / 3000)  # nothing comes but answers
        watcher.sync(folder)
        assert watcher.exists(folder + "/e")
        pinging.close()
    wait_for(lambda: not watcher.exists(folder + "/e"), 5, "the ephemeral to go with its session")


def test_an_expired_client_hears_of_it_and_starts_anew(shared_ensemble, clients):
    client = clients.new()
    folder = _folder(client)
    client.create(folder + "/e", ephemeral=True)
    states = Seen()
    client.add_listener(states.add)
    old = client.client_id
    _end_session(shared_ensemble, client)
    states.wait(lambda items: KazooState.LOST in items, "kazoo to learn that its session is over")
    states.wait_last(KazooState.CONNECTED)
    assert client.client_id[0] != old[0]
    client.sync(folder)
    with pytest.raises(NoNodeError):
        client.get(folder + "/e")


def test_the_wrong_password_does_not_open_a_session(shared_ensemble, clients):
    client = clients.new()
    session_id, _ = client.client_id
    with RawClient(*shared_ensemble.endpoints[0], session=Session(session_id, b"guess" + b"\0" * 11)) as thief:
        assert thief.expired
    # ZooKeeper may end the owner's connection on such an attempt; its session must go on.
    assert client.retry(client.exists, "/")
    assert client.client_id[0] == session_id


def test_wrong_passwords_do_not_keep_a_session_alive(shared_ensemble, clients):
    watcher = clients.new()
    folder = _folder(watcher)
    with RawClient(*shared_ensemble.endpoints[-1], timeout_ms=2000) as silent:
        silent.value(jute.create(folder + "/e", b"", flags=jute.EPHEMERAL))
    guess = Session(silent.session.session_id, b"guess" + b"\0" * 11)

    def is_over():
        for endpoint in shared_ensemble.endpoints:
            with RawClient(*endpoint, session=guess) as thief:
                assert thief.expired
        return not watcher.exists(folder + "/e")

    wait_for(is_over, 20, "the ephemeral to go with its session, whoever tries to take that over")


def test_the_negotiated_timeout_lies_within_the_limits(shared_ensemble):
    tick_ms = shared_ensemble.options.tick_ms
    for asked, given in ((1, 2 * tick_ms), (5 * tick_ms, 5 * tick_ms), (10**9, 20 * tick_ms)):
        with RawClient(*shared_ensemble.endpoints[0], timeout_ms=asked) as client:
            assert client.session.timeout_ms == given
            client.close()


def test_a_client_goes_to_another_server_with_its_session(make_ensemble):
    ensemble = make_ensemble(3)
    with Clients(ensemble.connect_string) as clients:
        client = clients.new(randomize_hosts=False)
        client.create("/folder")
        client.create("/folder/e", b"mine", ephemeral=True)
        datas, states = Seen(), Seen()
        client.add_listener(states.add)
        client.DataWatch("/folder", lambda data, _: datas.add(data))
        session = client.client_id
        port = client._connection._socket.getpeername()[1]
        home = next(server for server in ensemble.servers if server.address.client_port == port)
        home.kill()
        states.wait_last(KazooState.CONNECTED, seconds=30)
        assert client.client_id == session
        assert client._connection._socket.getpeername()[1] != port
        assert client.exists("/folder/e").ephemeralOwner == session[0]
        client.set("/folder", b"watched still")
        datas.wait_last(b"watched still")
        home.start().wait_serving()
        assert client.get("/folder/e")[0] == b"mine"


def test_a_server_that_is_behind_refuses_a_client_that_saw_more(make_ensemble):
    ensemble = make_ensemble(3)
    host, port = ensemble.endpoints[0]
    with RawClient(host, port) as client:
        client.value(jute.create("/seen"))
        ahead = client.last_zxid + (1 << 32)
    with pytest.raises(Exception) as refused, RawClient(host, port, session=client.session, last_zxid=ahead) as again:
        again.call(jute.ping())
    assert "Closed" in type(refused.value).__name__
    with RawClient(host, port, session=client.session, last_zxid=client.last_zxid) as again:
        assert not again.expired
