"""The two that are compared, behind one face: a cluster of one or more server processes."""

from __future__ import annotations

import re
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from processes import Child, Failure, four_letter_word, free_ports, wait_until
from zookeeper import Distribution


@dataclass
class Server:
    """One server of a cluster."""

    server_id: int
    client_port: int
    folder: Path
    child: Child | None = None

    def mode(self) -> str | None:
        """leader, follower or standalone; None while it does not serve."""
        found = re.search(r"^Mode: (\w+)", four_letter_word(self.client_port, "srvr"), re.MULTILINE)
        return found.group(1) if found else None


class Contender:
    """A product that can be started: its name, its command line, and what to say about it."""

    def __init__(
        self,
        name: str,
        title: str,
        command: Callable[[Path], list[str]],
        settings: str,
        extra_config: str = "",
    ):
        self.name, self.title, self.settings = name, title, settings
        self._command = command
        self._extra_config = extra_config

    def command(self, config: Path) -> list[str]:
        return self._command(config)

    @property
    def extra_config(self) -> str:
        return self._extra_config


def zookeeper_contender(distribution: Distribution, name: str = "zookeeper") -> Contender:
    """Apache ZooKeeper with default settings, but for its web server, which would only occupy port 8080."""
    settings = f"{' '.join(distribution.jvm_flags)}, {distribution.java_version()}, admin.enableServer=false"
    title = f"Apache ZooKeeper {distribution.version} ({distribution.source})"
    return Contender(name, title, distribution.command, settings, "admin.enableServer=false\n")


def zabra_contender(binary: str, version: str, name: str = "zabra") -> Contender:
    """Zabra with default settings."""
    return Contender(name, f"Zabra {version}", lambda config: [binary, "server", str(config)], "defaults")


class Cluster:
    """Running servers of one contender, in fresh folders. A context manager: nothing outlives it."""

    def __init__(self, contender: Contender, servers: int, folder: Path):
        self.contender = contender
        self._folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        ports = free_ports(3 * servers)
        self.servers = [Server(i + 1, ports[i], folder / f"server-{i + 1}") for i in range(servers)]
        members = "".join(
            f"server.{i + 1}=127.0.0.1:{ports[servers + i]}:{ports[2 * servers + i]}\n"
            for i in range(servers)
        )
        for server in self.servers:
            self._write_config(server, members if servers > 1 else "")

    def _write_config(self, server: Server, members: str) -> None:
        """The zoo.cfg that both products read: zoo_sample.cfg's values."""
        data = server.folder / "data"
        data.mkdir(parents=True)
        (data / "myid").write_text(f"{server.server_id}\n")
        (server.folder / "zoo.cfg").write_text(
            f"tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir={data}\nclientPort={server.client_port}\n"
            f"clientPortAddress=127.0.0.1\nmaxClientCnxns=0\n{self.contender.extra_config}{members}"
        )

    def __enter__(self) -> Cluster:
        try:
            for server in self.servers:
                self.start(server)
            self.wait_until_serving()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception) -> None:
        for server in self.servers:
            if server.child is not None:
                server.child.send(signal.SIGCONT)
                server.child.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self, server: Server) -> None:
        """Starts one server; it may have been ended before, and then finds its data again."""
        name = f"{self.contender.name}-{server.server_id}"
        server.child = Child(
            name,
            self.contender.command(server.folder / "zoo.cfg"),
            server.folder / "output.log",
            folder=server.folder,
        )

    def wait_until_serving(self, deadline_seconds: float = 120.0) -> None:
        """Until every server has a role."""
        for server in self.servers:

            def ready(server: Server = server) -> bool:
                if not server.child.is_alive():
                    raise Failure(f"{server.child.name} has ended:\n{server.child.tail()}")
                return server.mode() is not None

            wait_until(
                f"{self.contender.name}: server {server.server_id} does not serve", ready, deadline_seconds
            )

    @property
    def pids(self) -> list[int]:
        return [server.child.pid for server in self.servers if server.child is not None]

    @property
    def connect(self) -> str:
        return ",".join(f"127.0.0.1:{server.client_port}" for server in self.servers)

    def leader(self, deadline_seconds: float = 60.0) -> Server:
        """The server that leads."""
        end = time.monotonic() + deadline_seconds
        while time.monotonic() < end:
            for server in self.servers:
                if (
                    server.child is not None
                    and server.child.is_alive()
                    and server.mode() in ("leader", "standalone")
                ):
                    return server
            time.sleep(0.05)
        raise Failure(f"{self.contender.name}: nobody leads")
