"""More than the servers can carry: their memory stays bounded, the leader stays, no session is lost that kept its pings.

The table of docs/overload.md comes from the same scenarios (benches/overload/run.py)."""

import os
import re
import select
import socket
from contextlib import ExitStack

import pytest

from harness import jute, overload
from harness.rawclient import RawClient
from harness.server import Options
from harness.wait import wait_for

SECONDS = float(os.environ.get("ZABRA_OVERLOAD_SECONDS", "6"))
SCALE = int(os.environ.get("ZABRA_OVERLOAD_SCALE", "1"))

MEMORY_MIB_MAX = 512 + 32 * 2 * SCALE
"""For each server, with as many connections that send requests of 1 MiB; docs/overload.md states it."""

PEER_TIMEOUT_MS = 3000
"""Six times the default: a machine that gives the servers no time, because it is busy with something else, is not what
is asked about here. The table of the document is made with the default."""


BIG = b"x" * (overload.MIB - 200)
ROOM_REQUESTS = 16
"""So many big requests a server takes that are not decided."""
REQUESTS_A_CONNECTION = 4
"""So many of them one connection may have."""
SESSION_MS = 60_000
"""Longer than any wait here: nothing comes of connections that are closed because they are silent."""
DECIDED_S = 20


@pytest.fixture(autouse=True)
def _only_zabra(flavour):
    if not flavour.is_zabra:
        pytest.skip("the bounds are those that Zabra states")


@pytest.mark.parametrize("scenario", overload.SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_load_beyond_what_can_be_carried(make_ensemble, scenario):
    ensemble = make_ensemble(3, options=Options(extra={"peerTimeoutMs": str(PEER_TIMEOUT_MS)}))
    loads = scenario(ensemble, SCALE)
    outcome = overload.measure(ensemble, loads, SECONDS)
    assert all(load.did_something() for load in loads), "the load took place"
    assert max(outcome.peak_mib) <= MEMORY_MIB_MAX, outcome
    assert outcome.sessions_lost == 0, outcome
    assert outcome.elections == 0 and not outcome.leader_changed, f"{outcome}\n{ensemble.log_tails(30)}"
    assert len(outcome.pings_ms) > SECONDS, f"the quiet clients kept their pings: {outcome}"


PATIENCE = {"peerTimeoutMs": "60000", "maxSessionTimeout": str(SESSION_MS)}
"""With this nobody is taken for dead while the others stand still."""


def test_beyond_the_limit_every_connection_has_its_share_of_it(make_ensemble):
    limit, many = 100, 200
    options = Options(sync_limit=60, extra=PATIENCE | {"globalOutstandingLimit": str(limit)})
    ensemble = make_ensemble(3, options=options)
    leader = ensemble.leader()
    with ExitStack() as stack:
        clients = []
        for _ in range(2):
            clients.append(RawClient(leader.address.host, leader.address.client_port, timeout_ms=SESSION_MS))
            stack.callback(clients[-1].drop)
        first, second = clients
        first.value(jute.create("/shared"))
        others = ensemble.followers()
        for other in others:
            other.pause()
            stack.callback(other.resume)
        outstanding = lambda: int(leader.mntr()["zk_outstanding_requests"])
        first.send_all([jute.set_data("/shared", b"")] * many)
        wait_for(lambda: outstanding() == limit + 1, 20, lambda: f"{outstanding()} to be outstanding")
        second.send_all([jute.set_data("/shared", b"")] * many)
        # Whoever asks has a connection as well.
        wait_for(lambda: outstanding() >= limit + 1 + limit // 4, 20, lambda: f"{outstanding()} to be outstanding")
        assert outstanding() <= limit + 1 + limit // 2
        for other in others:
            other.resume()
        versions = [[client.receive(DECIDED_S).value().version for _ in range(many)] for client in clients]
    assert all(versions[n] == sorted(versions[n]) for n in range(2)), "each in its order"
    assert sorted(versions[0] + versions[1]) == list(range(1, 2 * many + 1)), "and all of them once"


@pytest.fixture(name="full", params=["leader", "follower"])
def _full(request, make_ensemble):
    """A server that has as many big requests as it takes; the others stand still, so that none is decided."""
    ensemble = make_ensemble(3, options=Options(sync_limit=60, extra=PATIENCE))
    with ExitStack() as stack:
        is_leader = request.param == "leader"
        yield Full(ensemble, ensemble.leader() if is_leader else ensemble.followers()[0], stack)


class Full:
    """See above. `senders` have sent them; `another` client has done nothing yet."""

    def __init__(self, ensemble, server, stack):
        self.ensemble, self.server, self._stack = ensemble, server, stack
        self.another = self._client()
        self.senders = [self._client() for _ in range(ROOM_REQUESTS // REQUESTS_A_CONNECTION)]
        self.another.value(jute.create("/big"))
        self._others = [other for other in ensemble.servers if other is not server]
        for other in self._others:
            other.pause()
            stack.callback(other.resume)
        for sender in self.senders:
            sender.send_all([jute.set_data("/big", BIG)] * REQUESTS_A_CONNECTION)
        wait_for(lambda: self.outstanding() == ROOM_REQUESTS, 20, lambda: f"{self.outstanding()} to be outstanding")

    def _client(self):
        address = self.server.address
        client = RawClient(address.host, address.client_port, timeout_ms=SESSION_MS)
        self._stack.callback(client.drop)
        return client

    def outstanding(self):
        """Requests that the server has taken and that are not decided."""
        return int(self.server.mntr()["zk_outstanding_requests"])

    def connection(self, client):
        """What the server tells of a client's connection: packets it took, and requests of it that are not answered; None
        if there is none."""
        port = client.socket.getsockname()[1]
        line = re.search(rf":{port}\[1\]\(queued=(\d+),recved=(\d+)", self.server.word("stat"))
        return line and (int(line[2]), int(line[1]))

    def decide(self):
        """The others go on."""
        for other in self._others:
            other.resume()

    def assert_room_for_all(self, version):
        """Another client's big requests are decided, as many as there is room for; `version` writes came before."""
        for number in range(ROOM_REQUESTS + 1):
            stat = self.another.value(jute.set_data("/big", BIG), DECIDED_S)
            assert stat.version == version + 1 + number
        self.ensemble.assert_healthy()


def test_a_client_that_goes_away_leaves_its_requests_their_room(full):
    for sender in full.senders:
        # Its port tells which connection it was, so the socket stays.
        sender.socket.shutdown(socket.SHUT_WR)
        wait_for(lambda: full.connection(sender) is None, 20, "the server to notice that a client is gone")
    assert full.outstanding() == ROOM_REQUESTS, "they are on their way still"
    packets, _ = full.connection(full.another)
    full.another.send(jute.set_data("/big", BIG))
    wait_for(lambda: full.connection(full.another)[0] > packets, 20, "the next request to come")
    assert full.connection(full.another) == (packets + 1, 0), "it waits for room"
    assert full.outstanding() == ROOM_REQUESTS
    full.decide()
    assert full.another.receive(DECIDED_S).value().version == ROOM_REQUESTS + 1
    wait_for(lambda: full.outstanding() == 0, 20, "the last to come to its end")
    full.assert_room_for_all(ROOM_REQUESTS + 1)


def test_a_client_that_does_not_read_keeps_no_room_for_what_is_answered(full):
    ping = overload.frame(jute.ping())
    pings = ping * 10_000
    for sender in full.senders:
        sender.socket.setblocking(False)
        sent = 0
        # Until the answers stand in the way of more, which a full socket on this side shows.
        while select.select([], [sender.socket], [], 1)[1]:
            sent += sender.socket.send(memoryview(pings)[sent % len(ping) :])
    full.decide()
    full.assert_room_for_all(ROOM_REQUESTS)
    for sender in full.senders:
        _, unanswered = full.connection(sender)
        assert unanswered == REQUESTS_A_CONNECTION, "it did not read"
