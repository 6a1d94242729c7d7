"""Servers with an address in each of two networks (`server.1=a:1:2|b:1:2`): one network can be lost."""

import pytest

from harness import jute, netns
from harness.rawclient import RawClient
from harness.writer import Writer, all_write_on, assert_all_there

@pytest.fixture
def make(make_ensemble, flavour):
    if not flavour.is_zabra:
        pytest.skip("ZooKeeper looks whether addresses are reachable by other means than connections")
    return make_ensemble


def line(server, addresses):
    """The `server.N` line with these addresses: hosts with their ports."""
    return f"server.{server.server_id}=" + "|".join(f"{host}:{quorum}:{election}" for host, quorum, election in addresses)


def configure(server, lines):
    """Writes these lines in the place of those that the harness wrote."""
    path = server.folder / "zoo.cfg"
    kept = [text for text in path.read_text().splitlines() if not text.startswith("server.")]
    path.write_text("\n".join([*kept, *lines]) + "\n")


def test_a_server_listens_on_all_its_addresses_and_is_found_on_any(make):
    ensemble = make(3, start=False)
    for server in ensemble.servers:
        lines = []
        for peer in ensemble.servers:
            quorum, election = peer.address.quorum_port, peer.address.election_port
            listens = [("127.0.0.1", quorum, election), ("127.0.0.2", quorum, election)]
            # The others know of one of its addresses, and of one where nobody is.
            known = [listens[peer.server_id % 2], ("127.0.0.9", quorum, election)]
            lines.append(line(peer, listens if peer is server else known))
        configure(server, lines)
    ensemble.start()
    for server in ensemble.servers:
        log = server.log_tail(200)
        for port in (server.address.quorum_port, server.address.election_port):
            assert f"127.0.0.1:{port}" in log and f"127.0.0.2:{port}" in log
    with RawClient(ensemble.servers[0].address.host, ensemble.servers[0].address.client_port) as client:
        client.value(jute.create("/a"))
        client.close()


def test_an_ensemble_in_two_networks_survives_the_loss_of_either(make):
    missing = netns.unavailable()
    if missing:
        pytest.skip(missing)
    with netns.Network() as network:
        ensemble = make(3, start=False, network=network)
        hosts = network.second_hosts()
        lines = [
            line(peer, [(host, peer.address.quorum_port, peer.address.election_port) for host in hosts[peer.server_id]])
            for peer in ensemble.servers
        ]
        for server in ensemble.servers:
            configure(server, lines)
        ensemble.start()
        writers = [Writer(ensemble.servers, f"w{index}", index) for index in range(3)]
        for cut in (network.cut_first, network.cut_second, network.cut_first, network.cut_second):
            all_write_on(writers)
            cut()
            # One may have no connection through it.
            all_write_on(writers)
            ensemble.wait_all_serving()
            all_write_on(writers)
            network.heal()
        for writer in writers:
            writer.end()
            print(f"{writer.name}: {len(writer.done)} writes, longest pause {writer.longest_pause_s():.3f} s")
        assert_all_there(ensemble.servers, writers)
        ensemble.close()
