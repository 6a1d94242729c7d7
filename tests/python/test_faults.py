"""Three and five servers under write load, and all that may happen to them.

ZABRA_CYCLES  faults in each run (default 30)
ZABRA_SEED    chooses them and their order (default: the time, printed)

Nothing acknowledged may be lost, nothing applied twice, nothing out of a client's order; sessions that are heard of
live and their ephemerals with them, others do not; in the end all servers are the same.
"""

import contextlib
import os
import time

import pytest

from harness import jute, netns
from harness.nemesis import Nemesis
from harness.rawclient import RawClient
from harness.server import Options
from harness.verdict import check, check_ephemerals, differences, dump
from harness.wait import DeadlineExceeded, wait_for
from harness.workload import EPHEMERALS, Load

CYCLES = int(os.environ.get("ZABRA_CYCLES", 30))
SEED = int(os.environ.get("ZABRA_SEED", time.time()))
WORKERS = 6
# Snapshots every few seconds of load, so that recoveries and synchronizations meet them at every stage.
OPTIONS = Options(extra={"snapCount": "2000"})
DIGEST_KEYS = ("zk_tree_digest", "zk_last_processed_zxid")


@pytest.fixture
def network():
    """Namespaces for the servers, where they can be had; else None."""
    if netns.unavailable():
        yield None
        return
    with netns.Network() as made:
        yield made


def _abandon_a_session(ensemble, number):
    """A session that makes an ephemeral and is never heard of again; gives its path."""
    path = f"{EPHEMERALS}/abandoned{number}"
    host, port = ensemble.endpoints[number % len(ensemble.endpoints)]
    with RawClient(host, port, timeout_ms=3000) as client:
        assert client.call(jute.create(path, flags=jute.EPHEMERAL)).error == jute.OK
    return path


def _judge(ensemble, load):
    """Everything that is wrong in the end."""
    load.stop()
    closed = load.workers[::2]
    for worker in load.workers:
        client = worker.reconnected()
        if worker in closed:
            assert client.close().error == jute.OK
    with RawClient(*ensemble.endpoints[0]) as client:

        def abandoned():
            client.value(jute.sync())
            return [name for name in client.value(jute.get_children(EPHEMERALS)) if name.startswith("abandoned")]

        wait_for(lambda: not abandoned(), 30, lambda: f"the ephemerals of dead sessions to go: {abandoned()}", 0.1)
        client.close()
    dumps = {server.server_id: dump(server) for server in ensemble.servers}
    nodes = dumps[1]
    wrong = differences(dumps) + check(load.workers, nodes) + check_ephemerals(load.workers, closed, nodes)
    return wrong + _digests(ensemble)


def _digests(ensemble):
    """At rest all servers have the same digest at the same zxid."""
    if not ensemble.flavour.is_zabra:
        return []

    def told():
        answers = [server.mntr() for server in ensemble.servers]
        return {tuple(answer.get(key) for key in DIGEST_KEYS) for answer in answers}

    assert all(all(pair) for pair in told()), f"mntr does not tell {DIGEST_KEYS}: {told()}"
    with contextlib.suppress(AssertionError):
        wait_for(lambda: len(told()) == 1, 15, "equal digests")
        return []
    return [f"digests differ: {sorted(told())}"]


def _summary(load, nemesis):
    sent = sum(len(worker.history.sent) for worker in load.workers)
    lost = sum(one.error is None for worker in load.workers for one in worker.history.sent)
    connections = sum(worker.history.connections for worker in load.workers)
    losses = sum(len(worker.history.losses) for worker in load.workers)
    return f"{len(nemesis.done)} faults, {sent} requests, {lost} unanswered, {connections} connections, {losses} expired"


@pytest.mark.parametrize("size", [3, 5], ids=["three_servers", "five_servers"])
def test_nothing_acknowledged_is_lost_or_done_twice(make_ensemble, network, size):
    ensemble = make_ensemble(size, network=network, options=OPTIONS)
    load = Load(ensemble.endpoints, WORKERS, SEED)
    nemesis = Nemesis(ensemble, load, SEED)
    print(f"ZABRA_SEED={SEED} ZABRA_CYCLES={CYCLES}")
    try:
        load.start()
        for number, kind in enumerate(nemesis.schedule(CYCLES)):
            began = time.monotonic()
            _abandon_a_session(ensemble, number)
            nemesis.cycle(kind)
            print(f"  {number}: {kind}, {time.monotonic() - began:.1f} s, {sum(load.acks())} acknowledged")
        wrong = _judge(ensemble, load)
    except BaseException:
        load.abandon()
        raise
    print(_summary(load, nemesis))
    assert not wrong, f"ZABRA_SEED={SEED} ZABRA_CYCLES={CYCLES}\n" + "\n".join(wrong[:50])
    ensemble.assert_healthy()


def test_a_leader_cut_off_from_the_others_acknowledges_nothing(make_ensemble, network):
    """The same fault alone, and closer: a client that stays with the leader that lost its quorum."""
    if network is None:
        pytest.skip(netns.unavailable())
    ensemble = make_ensemble(3, network=network)
    leader = ensemble.leader()
    address = leader.address
    inside = RawClient(address.host, address.client_port, timeout_ms=20_000)
    inside.value(jute.create("/before"))
    network.isolate(leader.server_id)
    inside.send(jute.create("/during"))
    others = [server for server in ensemble.servers if server is not leader]
    new = ensemble.leader(60, among=others)
    with RawClient(new.address.host, new.address.client_port) as outside:
        outside.value(jute.create("/after"))
        with contextlib.suppress(Exception):  # it may close the connection or keep silent, not say that it is done
            answer = inside.receive(10)
            assert answer.error != jute.OK, "a leader without a quorum acknowledged a write"
        inside.drop()
        assert network.heal() > 0
        ensemble.wait_all_serving(60)
        outside.close()
    trees = []
    for server in ensemble.servers:
        with RawClient(server.address.host, server.address.client_port) as client:
            client.value(jute.sync())
            trees.append(sorted(client.value(jute.get_children("/"))))
            client.close()
    assert trees[0] == trees[1] == trees[2]
    assert {"before", "after"} <= set(trees[0])


@pytest.mark.parametrize("late_was", ["killed", "stopped"])
def test_a_server_that_lost_its_disk_does_not_vote_until_it_has_a_copy(make_ensemble, late_was):
    """One server misses a write, another loses its disk: these two must not become a quorum that forgot the write."""
    ensemble = make_ensemble(3)
    if not ensemble.flavour.is_zabra:
        pytest.skip("two such servers of ZooKeeper elect a leader, and the write is lost")
    leader = ensemble.leader()
    lost, late = [server for server in ensemble.servers if server is not leader]
    _write(leader, "/before")
    late.kill() if late_was == "killed" else late.pause()
    _write(leader, "/acknowledged")
    leader.kill()
    lost.kill()
    lost.wipe()
    late.start() if late_was == "killed" else late.resume()
    lost.start()
    for server in (late, lost):
        wait_for(lambda one=server: one.takes_votes(), 20, "the server to listen to the others")
    with pytest.raises(DeadlineExceeded):
        ensemble.leader(4, among=[late, lost])
    leader.start()
    ensemble.wait_all_serving()
    # With its copy the server votes again: it and the late one are a quorum now.
    ensemble.leader().kill()
    others = [server for server in ensemble.servers if server.alive()]
    ensemble.leader(30, among=others)
    for server in others:
        with RawClient(server.address.host, server.address.client_port) as client:
            client.value(jute.sync())
            for path in ("/before", "/acknowledged"):
                assert client.call(jute.exists(path)).error == jute.OK, f"{path} is lost on {server.server_id}"
            client.close()


def _write(server, path):
    with RawClient(server.address.host, server.address.client_port) as client:
        client.value(jute.create(path))
        client.close()
