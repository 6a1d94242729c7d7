"""Several servers that are one service; a single one is an ensemble of one."""

import contextlib
from dataclasses import replace

from .ports import free_ports
from .server import Address, Options, Server
from .wait import wait_for


class Ensemble:
    """Owns its servers: `close` ends every one of them. Use it as a context manager."""

    def __init__(self, flavour, folder, size=3, options=None, network=None, observers=0, apart=False):
        """`network` (see `netns.Network`) puts every server into a namespace of its own. The last `observers` of the
        servers never vote. `apart`: every server has an address of its own, so that all can have the same port."""
        self.flavour = flavour
        self.network = network
        self.options = options or Options()
        addresses = network.addresses(size) if network else _loopback_addresses(size, apart)
        addresses = [replace(address, observes=address.server_id > size - observers) for address in addresses]
        peers = addresses if size > 1 else ()
        self.servers = [
            Server(flavour, folder / f"server-{address.server_id}", address, peers, self.options)
            for address in addresses
        ]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def connect_string(self):
        """`host:port,host:port` of all servers."""
        return ",".join(server.hostport for server in self.servers)

    @property
    def endpoints(self):
        """(host, port) of all servers."""
        return [(server.address.host, server.address.client_port) for server in self.servers]

    def start(self):
        """Starts every server that is not running, and waits until all of them serve."""
        for server in self.servers:
            if not server.alive():
                server.start()
        self.wait_all_serving()
        return self

    def close(self):
        """Ends all servers; the first failure is raised after all have been tried."""
        with contextlib.ExitStack() as stack:
            for server in self.servers:
                if server.process:
                    stack.callback(server.process.kill)

    def server(self, server_id):
        """The server with this id."""
        return next(server for server in self.servers if server.server_id == server_id)

    def leader_now(self, among=None):
        """The server that says it leads, or None. A stopped process is given little time to answer."""
        for server in among or self.servers:
            if server.alive() and server.mode(timeout_s=0.5) in ("leader", "standalone"):
                return server
        return None

    def leader(self, seconds=None, among=None):
        """Waits for a leader and returns it."""
        seconds = seconds or self.flavour.start_deadline_s
        return wait_for(lambda: self.leader_now(among), seconds, lambda: f"a leader:\n{self.log_tails()}")

    def followers(self):
        """All servers but the leader."""
        leader = self.leader()
        return [server for server in self.servers if server is not leader]

    def wait_all_serving(self, seconds=None):
        """Waits until every server serves clients and exactly one leads."""
        seconds = seconds or self.flavour.start_deadline_s

        def settled():
            self.assert_healthy()
            modes = [server.mode(timeout_s=0.5) for server in self.servers]
            if len(self.servers) == 1:
                return modes[0] is not None
            wanted = ["observer" if server.address.observes else "follower" for server in self.servers]
            leads = [mode == "leader" and want == "follower" for mode, want in zip(modes, wanted)]
            return leads.count(True) == 1 and all(
                mode == want or leads[index] for index, (mode, want) in enumerate(zip(modes, wanted))
            )

        def what():
            modes = {server.server_id: server.mode(timeout_s=0.5) for server in self.servers}
            return f"all servers to serve, modes {modes}:\n{self.log_tails()}"

        wait_for(settled, seconds, what, 0.05)

    def assert_healthy(self):
        """Fails if a server has ended by itself."""
        for server in self.servers:
            server.assert_healthy()

    def log_tails(self, lines=15):
        """The end of every server's log."""
        return "\n".join(f"--- server {server.server_id}\n{server.log_tail(lines)}" for server in self.servers)


def _loopback_addresses(size, apart):
    ports = free_ports(3 * size)
    return [
        Address(index + 1, f"127.0.0.{index + 1 if apart else 1}", ports[3 * index], ports[3 * index + 1], ports[3 * index + 2])
        for index in range(size)
    ]
