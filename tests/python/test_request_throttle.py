"""ZooKeeper's keys that throttle requests: what clients see is what they see of ZooKeeper, which is asked the same."""

import pytest

from harness import jute
from harness.rawclient import ConnectionClosed, RawClient
from harness.server import Options
from harness.wait import wait_for

REQUESTS = 500


@pytest.fixture(params=["tested", "reference"])
def start_ensemble(request, flavour, reference, make_ensemble):
    """Starts servers of either kind with these keys. They are patient with one another."""
    chosen = flavour if request.param == "tested" else reference

    def start_ensemble(size, **keys):
        extra = {key: str(value) for key, value in keys.items()}
        if chosen.is_zabra:
            extra["peerTimeoutMs"] = "30000"
        return make_ensemble(size, flavour=chosen, options=Options(sync_limit=30, extra=extra))

    return start_ensemble


@pytest.fixture
def start(start_ensemble):
    """Starts a single one."""
    return lambda **keys: start_ensemble(1, **keys).servers[0]


def _connect(server):
    return RawClient(server.address.host, server.address.client_port)


def _replies(client, xids):
    replies = [client.receive() for _ in xids]
    assert [reply.xid for reply in replies] == xids, "answered in another order"
    return [reply.error for reply in replies]


def _unthrottled(client, op):
    while (error := client.call(op).error) == jute.THROTTLED_OP:
        continue
    return error


def test_requests_beyond_the_limit_wait_for_their_turn(start):
    server = start(request_throttle_max_requests=1)
    with _connect(server) as one, _connect(server) as two:
        asked = [
            (client, client.send_all([jute.create(f"/{name}{number}") for number in range(REQUESTS)]))
            for name, client in (("one", one), ("two", two))
        ]
        for client, xids in asked:
            assert set(_replies(client, xids)) == {jute.OK}
        mntr = server.mntr()
        assert int(mntr["zk_request_throttle_wait_count"]) > 0
        assert int(mntr["zk_cnt_request_throttle_queue_time_ms"]) >= 2 * REQUESTS
        assert (mntr["zk_throttled_ops"], mntr["zk_stale_requests_dropped"]) == ("0", "0")
        one.close()
        two.close()


def test_who_waited_for_too_long_is_refused_without_a_trace(start):
    server = start(request_throttle_max_requests=1, throttled_op_wait_time=5)
    with _connect(server) as client:
        creates = [jute.create(f"/{number}") for number in range(REQUESTS)]
        errors = _replies(client, client.send_all([*creates, jute.exists("/")]))
        assert set(errors) == {jute.OK, jute.THROTTLED_OP}
        # The read came last, and may have found nothing to wait for.
        assert errors.pop() in (jute.OK, jute.THROTTLED_OP)
        for number, error in enumerate(errors):
            expected = jute.OK if error == jute.OK else jute.NO_NODE
            assert _unthrottled(client, jute.exists(f"/{number}")) == expected
        assert int(server.mntr()["zk_throttled_ops"]) >= errors.count(jute.THROTTLED_OP)
        # The session lives on, and can be closed at any time.
        assert client.close().error == jute.OK


def test_what_is_older_than_its_session_can_be_ends_its_connection(start_ensemble):
    keys = {"request_throttle_max_requests": 1, "request_throttle_stall_time": 50, "request_stale_latency_check": "true"}
    ensemble = start_ensemble(3, **keys)
    leader, followers = ensemble.leader(), ensemble.followers()
    with _connect(leader) as one, RawClient(leader.address.host, leader.address.client_port, timeout_ms=2000) as two:
        for follower in followers:
            follower.pause()
        one.send(jute.create("/one"))
        # Otherwise the other one may come first, and this one wait.
        wait_for(lambda: int(leader.mntr()["zk_outstanding_requests"]) > 0, 5, "the request to be in process")
        two.send(jute.create("/two"))
        # Its pings say that it lives, and are read, but come behind the request that waits.
        with pytest.raises(ConnectionClosed):
            while True:
                two.send(jute.ping())
                if two.readable(0.3):
                    two.receive()
        dropped = int(leader.mntr()["zk_stale_requests_dropped"])
        # Of Zabra pings wait for nothing. ZooKeeper may count those behind it too, which it drops with their connection.
        assert dropped == 1 if ensemble.flavour.is_zabra else dropped >= 1
        for follower in followers:
            follower.resume()
        assert one.receive().error == jute.OK
        assert one.call(jute.exists("/two")).error == jute.NO_NODE
        one.close()


def test_large_requests_that_are_too_many_bytes_end_their_connection(start):
    server = start(largeRequestThreshold=1000, largeRequestMaxBytes=5000)
    with _connect(server) as client, _connect(server) as other:
        assert client.call(jute.create("/small", b"x" * 900)).error == jute.OK
        for number in range(5):
            assert client.call(jute.create(f"/large{number}", b"x" * 4000)).error == jute.OK
        client.send(jute.create("/too-large", b"x" * 5000))
        with pytest.raises(ConnectionClosed):
            client.receive()
        assert other.call(jute.exists("/too-large")).error == jute.NO_NODE
        assert server.mntr()["zk_large_requests_rejected"] == "1"
        other.close()
