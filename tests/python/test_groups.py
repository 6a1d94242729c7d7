"""Quorums of groups: most of the weight in most of the groups, as in ZooKeeper."""

import pytest

from harness.kazoos import Clients
from harness.server import Options
from harness.wait import wait_for

# Three of the five make one group: they are most of the servers, and no quorum.
_GROUPS = {"group.1": "1:2:3", "group.2": "4", "group.3": "5"}


@pytest.fixture
def grouped(make_ensemble):
    return make_ensemble(5, start=False, options=Options(extra=_GROUPS))


def _start(servers):
    for server in servers:
        server.start()


def test_most_of_the_servers_are_no_quorum_and_two_groups_of_three_are(grouped):
    big, small = grouped.servers[:3], grouped.servers[3:]
    _start(big)
    wait_for(lambda: all(server.takes_votes() for server in big), 60, lambda: grouped.log_tails())
    _start(small)
    grouped.wait_all_serving()
    with Clients(small[0].hostport) as clients:
        client = clients.new()
        client.create("/groups", b"1")
        for server in big:
            server.kill()
        leader = grouped.leader(among=small)
        assert leader in small
        client.retry(client.set, "/groups", b"2")
        small[0 if leader is small[1] else 1].kill()
        _start(big)
        # One of the small groups and the big one: a quorum again, with what the other two had decided.
        grouped.leader(among=[*big, leader])
    with Clients(leader.hostport) as clients:
        assert clients.new().get("/groups")[0] == b"2"
        leader.kill()
        wait_for(lambda: all(server.mode() not in ("leader", "follower") for server in big), 60, "the end of the quorum")
