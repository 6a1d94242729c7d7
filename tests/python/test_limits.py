"""Limits of what clients want kept, and of how many come, answer with an error and keep the server as it is."""

import pytest

from harness import jute
from harness.rawclient import ConnectionClosed, RawClient
from harness.server import Options


@pytest.fixture
def ensemble(flavour, make_ensemble):
    if not flavour.is_zabra:
        pytest.skip("ZooKeeper has no such limits")
    keys = {"watchesPerConnectionMax": "3", "watchesMax": "5", "ephemeralsPerSessionMax": "2", "ephemeralsMax": "3"}
    return make_ensemble(options=Options(extra=keys))


def test_watches(ensemble):
    endpoint = ensemble.endpoints[0]
    reads = [jute.exists("/none", True), jute.get_children("/", True), jute.add_watch("/x", jute.WATCH_RECURSIVE)]
    with RawClient(*endpoint) as one, RawClient(*endpoint) as two:
        assert [one.call(op).error for op in reads] == [jute.NO_NODE, jute.OK, jute.OK]
        for op in (jute.get_data("/", True), jute.add_watch("/y", jute.WATCH_PERSISTENT)):
            assert one.call(op).error == jute.QUOTA_EXCEEDED
            assert two.call(op).error == jute.OK
        assert two.call(jute.exists("/zookeeper", True)).error == jute.QUOTA_EXCEEDED, "five are all that there may be"
        assert one.call(jute.remove_watches("/x", jute.RECURSIVE_WATCHES)).error == jute.OK
        assert two.call(jute.exists("/zookeeper", True)).error == jute.OK
        assert ensemble.servers[0].mntr()["zk_watch_count"] == "5"
        one.close()
        two.close()


def test_watches_set_again_that_do_not_fit_send_the_client_elsewhere(ensemble):
    with RawClient(*ensemble.endpoints[0]) as client:
        paths = ["/a", "/b", "/c", "/d"]
        assert client.call(jute.set_watches(0, [], paths[:3], [])).error == jute.OK
        client.send(jute.set_watches(0, [], paths, []))
        with pytest.raises(ConnectionClosed):
            while client.receive():
                pass
    with RawClient(*ensemble.endpoints[0]) as other:
        assert other.call(jute.exists("/", True)).error == jute.OK
        other.close()


def test_ephemerals(ensemble):
    with RawClient(*ensemble.endpoints[0]) as client:
        create = lambda name: client.call(jute.create(name, flags=jute.EPHEMERAL)).error
        assert [create(name) for name in ("/1", "/2", "/3")] == [jute.OK, jute.OK, jute.QUOTA_EXCEEDED]
        client.value(jute.delete("/1"))
        assert create("/3") == jute.OK
        with RawClient(*ensemble.endpoints[0]) as other:
            create = lambda name: other.call(jute.create(name, flags=jute.EPHEMERAL)).error
            assert [create(name) for name in ("/4", "/5")] == [jute.OK, jute.QUOTA_EXCEEDED]
            client.close()
            assert create("/5") == jute.OK
            other.close()


def test_clients_that_come_too_fast_are_refused(flavour, make_ensemble):
    if not flavour.is_zabra:
        pytest.skip("it is written for Zabra's log")
    keys = {"connection_throttle_tokens": "3", "connection_throttle_fill_time": "3600000"}
    ensemble = make_ensemble(options=Options(extra=keys))
    clients = [RawClient(*ensemble.endpoints[0]) for _ in range(3)]
    with pytest.raises(ConnectionClosed):
        RawClient(*ensemble.endpoints[0])
    mntr = ensemble.servers[0].mntr()
    assert mntr["zk_connection_rejected"] == "1"
    assert [mntr[f"zk_{kind}_connection_token_deficit"] for kind in ("min", "max", "cnt")] == ["1", "3", "3"]
    for client in clients:
        client.close()
