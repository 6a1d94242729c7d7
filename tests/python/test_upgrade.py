"""Servers of two versions in one ensemble: it is upgraded, and brought back, one server after the other, while clients
write. What the older version would misread waits until nobody speaks it any more (docs/upgrading.md)."""

import hashlib

import pytest

from harness import jute
from harness.older import older_zabra
from harness.rawclient import RawClient
from harness.server import Options
from harness.wait import wait_for
from harness.writer import Writer, all_write_on, assert_all_there

DEADLINE_S = 30

GAP_S_MAX = 3.0
"""A leader of the older version does not hand over: it is missed after `peerTimeoutMs` (500 ms), on a busy machine."""


@pytest.fixture(scope="module")
def older(flavour):
    """The release before this one."""
    if not flavour.is_zabra:
        pytest.skip("only this project's servers form an ensemble with its older ones")
    older = older_zabra()
    if older.unavailable:
        pytest.skip(older.unavailable)
    return older


def client_of(server, timeout_ms=10_000):
    """A client of this server alone."""
    return RawClient(server.address.host, server.address.client_port, timeout_ms)


def replace(ensemble, server, flavour):
    """The server goes on with another binary, as an operator would do it."""
    assert server.stop() == 0
    server.flavour = flavour
    server.start()
    ensemble.wait_all_serving()


def replace_all(ensemble, flavour, writers):
    """All servers, the leader last; writes go on between any two."""
    for server in sorted(ensemble.servers, key=lambda server: server is ensemble.leader_now()):
        all_write_on(writers)
        replace(ensemble, server, flavour)
    all_write_on(writers)


def lead_with(ensemble, flavour):
    """Sees to it that the leader is of this version."""
    for _ in range(5):
        leader = ensemble.leader()
        if leader.flavour is flavour:
            return leader
        assert leader.stop() == 0
        rest = [server for server in ensemble.servers if server is not leader]
        ensemble.leader(among=rest)
        leader.start()
        ensemble.wait_all_serving()
    raise AssertionError(f"no server of {flavour.name} came to lead")


def files_of(server):
    """Every file in the data folder of a server but its lock, and what is in it."""
    files = [path for path in (server.folder / "data").iterdir() if path.is_file() and path.name != "zabra.lock"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_an_ensemble_is_upgraded_under_load_and_brought_back(older, flavour, make_ensemble, record_property):
    ensemble = make_ensemble(3, flavour=older)
    writers = [Writer(ensemble.servers, f"w{index}", index) for index in range(3)]
    with client_of(ensemble.servers[0], 60_000) as holder:
        holder.value(jute.create("/held", flags=jute.EPHEMERAL))
        session, last_zxid = holder.session, holder.last_zxid
        replace_all(ensemble, flavour, writers)
        assert {server.mntr()["zk_ensemble_version"] for server in ensemble.servers} == {"4"}
        replace_all(ensemble, older, writers)
    for writer in writers:
        writer.end()
        record_property(f"longest pause of {writer.name}, s", writer.longest_pause_s())
        print(f"{writer.name}: {len(writer.done)} writes, longest pause {writer.longest_pause_s():.3f} s")
    assert max(writer.longest_pause_s() for writer in writers) < GAP_S_MAX
    assert_all_there(ensemble.servers, writers)
    server = ensemble.servers[1]
    address = server.address
    with RawClient(address.host, address.client_port, 60_000, session, last_zxid) as holder:
        assert not holder.expired
        assert holder.value(jute.get_ephemerals("/held") if server.flavour is flavour else jute.exists("/held"))
        holder.close()


def test_what_older_servers_would_misread_waits_for_the_last_one(older, flavour, make_ensemble):
    ensemble = make_ensemble(3, flavour=older)
    last = ensemble.server(1)
    for server in ensemble.servers[1:]:
        replace(ensemble, server, flavour)
    leader = lead_with(ensemble, flavour)
    with client_of(leader) as client:
        assert client.call(jute.create_container("/c")).error == jute.UNIMPLEMENTED
        assert client.call(jute.multi([jute.create("/d"), jute.create_container("/c")])).error == jute.UNIMPLEMENTED
        assert client.call(jute.exists("/d")).error == jute.NO_NODE, "a multi happens as a whole or not at all"
        replace(ensemble, last, flavour)
        wait_for(lambda: leader.mntr()["zk_ensemble_version"] == "4", DEADLINE_S, "the leader to know")
        assert leader.mntr()["zk_data_version"] == "2", "the way back is open"
        assert client.call(jute.create_container("/c")).error == jute.OK
        assert leader.mntr()["zk_data_version"] == "3"
        client.close()
    refused_by_its_snapshot(last, older)
    last.flavour = flavour
    last.start()
    ensemble.wait_all_serving()
    # A leader, however new it is, keeps that in mind.
    assert {server.mntr()["zk_data_version"] for server in ensemble.servers} == {"3"}
    last.stop()
    refused_by_the_others(ensemble, last, older)


def refused_by_its_snapshot(server, older):
    """The older binary sees that the data is not for it, and changes nothing."""
    wait_for(lambda: any(name.startswith("snapshot.") for name in files_of(server)), DEADLINE_S, "a snapshot")
    server.stop()
    before, position = files_of(server), server.log_bytes()
    server.flavour = older
    server.start()
    wait_for(lambda: not server.alive(), DEADLINE_S, "the older server to end")
    assert "format version 2" in server.log_since(position)
    assert files_of(server) == before


def refused_by_the_others(ensemble, server, older):
    """With an empty disk it is told so by the others."""
    server.wipe()
    server.flavour = older
    position = server.log_bytes()
    server.start()
    said = "version 3 of the protocol between servers"
    wait_for(lambda: said in server.log_since(position), DEADLINE_S, "the older server to be refused")
    assert ensemble.leader(among=ensemble.servers[1:])


def test_sessions_are_the_ensembles_while_an_older_server_leads(older, flavour, make_ensemble):
    ensemble = make_ensemble(3, start=False, flavour=older)
    for server in ensemble.servers:
        with open(server.folder / "zoo.cfg", "a", encoding="ascii") as file:
            file.write("localSessionsEnabled=true\n")
    ensemble.start()
    newer = next(server for server in ensemble.servers if server is not ensemble.leader())
    replace(ensemble, newer, flavour)
    lead_with(ensemble, older)
    with client_of(newer) as client:
        # A local session could have none.
        assert client.call(jute.create("/e", flags=jute.EPHEMERAL)).error == jute.OK
        assert newer.mntr()["zk_local_sessions"] == "0"
        client.close()


def test_the_history_says_who_the_servers_are_when_all_can_read_it(older, flavour, make_ensemble):
    ensemble = make_ensemble(3, start=False, flavour=older, options=Options(extra={"reconfigEnabled": "true"}))
    ensemble.start()
    for server in ensemble.servers[1:]:
        replace(ensemble, server, flavour)
    leader = lead_with(ensemble, flavour)
    with client_of(leader) as client:
        assert client.call(jute.create("/a")).error == jute.OK
        assert leader.mntr()["zk_data_version"] == "2", "an older server would not know what it reads"
        replace(ensemble, ensemble.server(1), flavour)
        wait_for(lambda: leader.mntr()["zk_data_version"] == "3", DEADLINE_S, "the servers to be recorded")
        assert client.value(jute.get_data("/zookeeper/config"))[0].count(b"server.") == 3
        client.close()
