"""One server process of either flavour: its folder, its zoo.cfg, its life and the questions it answers."""

import os
import shutil
import signal
import socket
from dataclasses import dataclass, field

from .fourletter import four_letter, parse_mntr, parse_srvr
from .process import Process
from .wait import wait_for

LOG_NAME = "server.log"


@dataclass(frozen=True)
class Address:
    """Where one server listens."""

    server_id: int
    host: str
    client_port: int
    quorum_port: int
    election_port: int
    netns: str = ""
    """The network namespace it lives in; empty for the machine's own."""
    observes: bool = False
    """It never votes."""


@dataclass
class Options:
    """What a test may want to have different in zoo.cfg."""

    tick_ms: int = 1000
    init_limit: int = 20
    sync_limit: int = 4
    extra: dict = field(default_factory=dict)
    """More `key=value` lines."""


class Server:
    """A server with a data folder that survives its restarts."""

    def __init__(self, flavour, folder, address, peers=(), options=None):
        """`peers` are the addresses of the whole ensemble, this one included; empty for a standalone server."""
        self.flavour = flavour
        self.folder = folder
        self.address = address
        self.peers = tuple(peers)
        self.options = options or Options()
        self.launcher = []
        """Words before the program, which must exec it: `env NAME=VALUE` for example."""
        self.process = None
        self.starts = 0
        self._write_folder()

    @property
    def server_id(self):
        """Its myid; 1 for a standalone server."""
        return self.address.server_id

    @property
    def hostport(self):
        """`host:port` for clients."""
        return f"{self.address.host}:{self.address.client_port}"

    @property
    def pid(self):
        """The process id of the current process."""
        return self.process.pid

    def start(self):
        """Starts the process; does not wait for it to serve."""
        assert not self.alive(), f"server {self.server_id} is running"
        self.starts += 1
        prefix = ["ip", "netns", "exec", self.address.netns] if self.address.netns else []
        command = self.flavour.command(
            self.folder / "zoo.cfg", self.server_id if self.peers else None, self.options.extra
        )
        env = dict(os.environ, RUST_BACKTRACE="1", NO_COLOR="1")
        self.process = Process([*self.launcher, *command], self.folder / LOG_NAME, cwd=str(self.folder), env=env, prefix=prefix)
        return self

    def alive(self):
        """True while there is a process, stopped or not."""
        return self.process is not None and self.process.alive()

    def kill(self):
        """kill -9."""
        self.process.kill()

    def stop(self):
        """SIGTERM; returns the exit code."""
        return self.process.stop() if self.process else None

    def pause(self):
        """SIGSTOP."""
        self.process.pause()

    def resume(self):
        """SIGCONT."""
        self.process.resume()

    def wipe(self):
        """Takes away all that the stopped server had on disk, as a lost disk would; it keeps its myid."""
        assert not self.alive()
        # The folder itself stays: something may be mounted on it.
        for entry in (self.folder / "data").iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        if self.peers:
            (self.folder / "data" / "myid").write_text(f"{self.server_id}\n")

    def word(self, word, timeout_s=3.0):
        """The answer to a four-letter word; None if the server does not answer."""
        try:
            return four_letter(self.address.host, self.address.client_port, word, timeout_s)
        except OSError:
            return None

    def takes_votes(self):
        """True if its election port takes connections."""
        try:
            socket.create_connection((self.address.host, self.address.election_port), timeout=1).close()
        except OSError:
            return False
        return True

    def srvr(self, timeout_s=3.0):
        """`srvr` as a dict; empty if there is no answer."""
        return parse_srvr(self.word("srvr", timeout_s) or "")

    def mntr(self, timeout_s=3.0):
        """`mntr` as a dict; empty if there is no answer."""
        return parse_mntr(self.word("mntr", timeout_s) or "")

    def mode(self, timeout_s=3.0):
        """`leader`, `follower`, `standalone`; None while it does not serve."""
        return self.srvr(timeout_s).get("Mode")

    def zxid(self):
        """The last zxid it applied, as `srvr` tells; None while it does not serve."""
        text = self.srvr().get("Zxid")
        return int(text, 16) if text else None

    def wait_serving(self, seconds=None):
        """Waits until clients are served; returns the mode."""

        def serving():
            if not self.alive():
                code = self.process.exit_code() if self.process else None
                raise AssertionError(f"server {self.server_id} ended with {code}:\n{self.log_tail()}")
            return self.mode()

        seconds = seconds or self.flavour.start_deadline_s
        return wait_for(serving, seconds, lambda: f"server {self.server_id} to serve:\n{self.log_tail()}", 0.05)

    def log_bytes(self):
        """How much it has written to its log; starts add to it."""
        return self.process.log_bytes() if self.process else 0

    def log_since(self, position):
        """All that it wrote after so many bytes, however much that is."""
        return self.process.log_since(position) if self.process else ""

    def log_tail(self, lines=40):
        """The end of its log."""
        return self.process.log_tail(lines) if self.process else "(never started)"

    def assert_healthy(self):
        """Fails if the process has ended by itself."""
        assert self.alive(), f"server {self.server_id} ended with {self._ending()}:\n{self.log_tail()}"

    def _ending(self):
        code = self.process.exit_code() if self.process else None
        return signal.Signals(-code).name if code is not None and code < 0 else code

    def _write_folder(self):
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        lines = [
            f"tickTime={self.options.tick_ms}",
            f"initLimit={self.options.init_limit}",
            f"syncLimit={self.options.sync_limit}",
            f"dataDir={data}",
            f"clientPort={self.address.client_port}",
            f"clientPortAddress={self.address.host}",
            "4lw.commands.whitelist=*",
            "maxClientCnxns=0",
        ]
        lines += [f"{key}={value}" for key, value in self.options.extra.items()]
        for peer in self.peers:
            role = ":observer" if peer.observes else ""
            lines.append(f"server.{peer.server_id}={peer.host}:{peer.quorum_port}:{peer.election_port}{role}")
        if self.address.observes:
            lines.append("peerType=observer")
        (self.folder / "zoo.cfg").write_text("\n".join(lines) + "\n")
        if self.peers:
            (data / "myid").write_text(f"{self.server_id}\n")
            if self.flavour.is_zabra and not self.address.observes and not (data / "initialize").exists():
                (data / "initialize").write_text("")
