"""The figures of a quota are right on every server, whatever became of it in between."""

import pytest

from harness import jute
from harness.rawclient import RawClient
from harness.server import Options
from harness.wait import wait_for

QUOTA = "/zookeeper/quota/q"
STATS = QUOTA + "/zookeeper_stats"


def _on(server, op):
    with RawClient(server.address.host, server.address.client_port) as client:
        client.value(jute.sync())
        return client.value(op)


def _figures(ensemble):
    """What each server shows, once it has all that was written."""
    return [_on(server, jute.get_data(STATS))[0] for server in ensemble.servers]


def test_figures_and_limits_hold_through_restarts_snapshots_and_failovers(flavour, make_ensemble):
    if not flavour.is_zabra:
        pytest.skip("ZooKeeper counts since the last restart")
    # Every few writes a snapshot, and no recent transactions: who comes back takes the leader's.
    extra = {"enforceQuota": "true", "snapCount": "20", "recentTxnBytesMax": "0"}
    ensemble = make_ensemble(3, options=Options(extra=extra))
    leader, away, _ = ensemble.leader(), *ensemble.followers()
    with RawClient(leader.address.host, leader.address.client_port) as client:
        for path in ("/q", "/q/a", QUOTA, STATS):
            client.value(jute.create(path, b"four"))
        client.value(jute.create(QUOTA + "/zookeeper_limits", b"count=-1,bytes=-1=;countHardLimit=100"))
        away.kill()
        for number in range(97):
            client.value(jute.create(f"/q/a/{number}", b"1"))
        client.value(jute.set_data("/q", b"longer than that"))
        client.close()
    away.start()
    ensemble.wait_all_serving()
    assert _figures(ensemble) == [b"count=99,bytes=117"] * 3
    leader.kill()
    wait_for(lambda: ensemble.leader_now([one for one in ensemble.servers if one.alive()]), 20, "another leader")
    leader.start()
    ensemble.wait_all_serving()
    assert _figures(ensemble) == [b"count=99,bytes=117"] * 3
    follower = ensemble.followers()[0]
    with RawClient(follower.address.host, follower.address.client_port) as client:
        client.value(jute.create("/q/last"))
        assert client.call(jute.create("/q/beyond")).error == jute.QUOTA_EXCEEDED
        assert client.call(jute.multi([jute.delete("/q/last"), jute.create("/q/beyond")])).error == jute.OK
        client.close()
    for server in ensemble.servers:
        server.kill()
    ensemble.start()
    assert _figures(ensemble) == [b"count=100,bytes=117"] * 3
    assert {server.mntr()["zk_q_quota_count_usage_per_namespace"] for server in ensemble.servers} == {"100"}
    assert len({server.mntr()["zk_tree_digest"] for server in ensemble.servers}) == 1


def test_limits_that_cannot_be_understood_are_told(flavour, make_ensemble):
    if not flavour.is_zabra:
        pytest.skip("it is written for Zabra's log")
    server = make_ensemble(options=Options(extra={"enforceQuota": "true"})).servers[0]
    with RawClient(server.address.host, server.address.client_port) as client:
        for path in ("/q", QUOTA):
            client.value(jute.create(path))
        client.value(jute.create(QUOTA + "/zookeeper_limits", b"count=5"))
        assert "cannot be understood" not in server.log_since(0)
        client.value(jute.set_data(QUOTA + "/zookeeper_limits", b"count=5, bytes=\x1b[2J"))
        client.close()
    wait_for(lambda: "a quota cannot be understood" in server.log_since(0), 10, server.log_tail)
    (line,) = [line for line in server.log_since(0).splitlines() if "a quota cannot be understood" in line]
    assert " WARN " in line and "/q" in line and "count=5, bytes=" in line and "\x1b" not in line
