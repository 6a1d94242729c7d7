"""An ensemble whose servers change while it runs: members that are, that may come, and that have left."""

import base64
import hashlib

from . import jute
from .ports import free_ports
from .rawclient import ConnectionClosed, RawClient
from .server import Address, Options, Server
from .wait import DeadlineExceeded, wait_for

SUPER = "super:secret"
_DIGEST = base64.b64encode(hashlib.sha1(SUPER.encode()).digest()).decode()
CONFIG = "/zookeeper/config"


class Member(Server):
    """A server whose line says where clients reach it, so that a reconfiguration can change that too."""

    def __init__(self, flavour, folder, address, listed, is_first, options):
        """`listed` are the lines of its first file. One that `is_first` makes an ensemble with the others of the list; all
        others wait to be synchronized."""
        self.listed = listed
        self.is_first = is_first
        super().__init__(flavour, folder, address, (address,), options)

    def line(self, role="participant", **changed):
        """What stands behind `server.N=`."""
        return server_line(self.address, role, **changed)

    def _write_folder(self):
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        settings = {
            "tickTime": self.options.tick_ms,
            "initLimit": self.options.init_limit,
            "syncLimit": self.options.sync_limit,
            "dataDir": data,
            "4lw.commands.whitelist": "*",
            "maxClientCnxns": 0,
            **self.options.extra,
        }
        if not self.flavour.is_zabra:
            settings["admin.enableServer"] = "false"
        lines = [f"{key}={value}" for key, value in settings.items()]
        lines += [f"server.{server_id}={line}" for server_id, line in sorted(self.listed.items())]
        (self.folder / "zoo.cfg").write_text("\n".join(lines) + "\n")
        (data / "myid").write_text(f"{self.server_id}\n")
        if self.flavour.is_zabra and self.is_first:
            (data / "initialize").write_text("")

    def dynamic_files(self):
        """The files with servers that it has written, oldest version first: (version, lines)."""
        found = {}
        for path in self.folder.glob("zoo.cfg.dynamic.*"):
            if path.suffix not in (".tmp", ".next"):
                found[int(path.suffix[1:], 16)] = sorted(path.read_text().split("\n"))
        return sorted((version, [line for line in lines if line]) for version, lines in found.items())

    def config(self):
        """The configuration as this server tells it: (version, {id: line}); None if it does not answer."""
        try:
            with RawClient(self.address.host, self.address.client_port, deadline_s=5) as client:
                data, _ = client.value(jute.get_data(CONFIG), 5)
                client.close()
        except (OSError, ConnectionClosed, DeadlineExceeded, AssertionError):
            return None
        return parse_config(data or b"")


def server_line(address, role="participant", **changed):
    """What stands behind `server.N=`; `changed` are ports."""
    ports = {name: changed.get(name, getattr(address, name)) for name in ("quorum_port", "election_port", "client_port")}
    return f"{address.host}:{ports['quorum_port']}:{ports['election_port']}:{role};{address.host}:{ports['client_port']}"


def parse_config(data):
    """(version, {id: line}) of the text of a configuration."""
    version, servers = 0, {}
    for entry in data.decode().split("\n"):
        key, _, value = entry.partition("=")
        if key == "version":
            version = int(value, 16)
        elif key.startswith("server."):
            servers[int(key.split(".")[1])] = value
    return version, servers


class Members:
    """Owns its servers: `close` ends every one of them."""

    def __init__(self, flavour, folder, count, first=3, options=None, alone_is_ensemble=False):
        """`count` servers of which the `first` ones make the ensemble; the others are only prepared."""
        self.flavour = flavour
        self.folder = folder
        self.options = options or Options()
        self.options.extra = {
            "reconfigEnabled": "true",
            "DigestAuthenticationProvider.superDigest": f"super:{_DIGEST}",
            **({"standaloneEnabled": "false"} if alone_is_ensemble else {}),
            **self.options.extra,
        }
        ports = free_ports(3 * count)
        self.addresses = {
            index + 1: Address(index + 1, "127.0.0.1", *ports[3 * index : 3 * index + 3]) for index in range(count)
        }
        listed = {server_id: server_line(self.addresses[server_id]) for server_id in range(1, first + 1)}
        self.servers = {
            server_id: Member(flavour, folder / f"server-{server_id}", self.addresses[server_id], listed, True, self.options)
            for server_id in listed
        }

    def close(self):
        """Ends all servers."""
        for server in self.servers.values():
            if server.process:
                server.process.kill()

    def __getitem__(self, server_id):
        return self.servers[server_id]

    def line(self, server_id, role="participant", **changed):
        """What stands behind `server.N=`, whether it runs or not."""
        return server_line(self.addresses[server_id], role, **changed)

    def entry(self, server_id, role="participant", **changed):
        """The whole line, as a reconfiguration wants it."""
        return f"server.{server_id}={self.line(server_id, role, **changed)}"

    def start(self, first=()):
        """Starts those that make the ensemble, and waits until all of them serve; the `first` ones before the others."""
        for server_id in first:
            self.servers[server_id].start()
        for server_id in first:
            self.servers[server_id].wait_serving()
        for server in self.servers.values():
            if not server.alive():
                server.start()
        for server in self.servers.values():
            server.wait_serving()
        return self

    def add(self, server_id, listed=None, role="observer"):
        """Starts a server that is no member: its file lists `listed`, by default the members that run, and itself."""
        listed = [other for other, server in self.servers.items() if server.alive()] if listed is None else listed
        lines = {other: self.line(other) for other in listed}
        lines[server_id] = self.line(server_id, role if listed else "participant")
        folder = self.folder / f"server-{server_id}"
        server = Member(self.flavour, folder, self.addresses[server_id], lines, False, self.options)
        self.servers[server_id] = server
        server.start()
        return server

    def join(self, server_id, **arguments):
        """The same, and waits until it serves."""
        server = self.add(server_id, **arguments)
        server.wait_serving()
        return server

    def leader(self, seconds=30):
        """Waits for a leader and returns it."""

        def leads():
            for server in self.servers.values():
                if server.alive() and server.mode(0.5) in ("leader", "standalone"):
                    return server
            return None

        return wait_for(leads, seconds, lambda: f"a leader:\n{self.log_tails()}")

    def client(self, server_id=None, is_super=True, **arguments):
        """A connection to a server, by default the leader."""
        server = self.leader() if server_id is None else self.servers[server_id]
        client = RawClient(server.address.host, server.address.client_port, **arguments)
        if is_super:
            client.call(jute.auth("digest", SUPER.encode()))
        return client

    def reconfig(self, through=None, **change):
        """Changes the servers; returns the error, and the configuration if there is none."""
        with self.client(through) as client:
            reply = client.call(jute.reconfig(**change), 60)
            value = reply.value()
            client.close()
        return reply.error, parse_config(value[0]) if value else None

    def change(self, through=None, **change):
        """The same, for a change that must be made: a server that has just come is told apart from none for a moment, as
        it begins to vote. Returns the configuration."""
        result = []

        def is_decided():
            result[:] = self.reconfig(through, **change)
            return result[0] != jute.NEW_CONFIG_NO_QUORUM

        wait_for(is_decided, 20, lambda: f"a quorum of the new servers:\n{self.log_tails()}")
        assert result[0] == jute.OK, f"error {result[0]} for {change}:\n{self.log_tails()}"
        return result[1]

    def wait_config(self, ids, among=None, seconds=30):
        """Waits until the servers `among` (by default the `ids` themselves) tell a configuration of just these ids."""
        for server_id in among or ids:
            server = self.servers[server_id]

            def tells(server=server):
                config = server.config()
                return config is not None and set(config[1]) == set(ids)

            def what(server=server):
                return f"server {server.server_id} to tell of {ids}, not {server.config()}:\n{self.log_tails()}"

            wait_for(tells, seconds, what)

    def log_tails(self, lines=15):
        """The end of every server's log."""
        return "\n".join(f"--- server {it.server_id}\n{it.log_tail(lines)}" for it in self.servers.values())
