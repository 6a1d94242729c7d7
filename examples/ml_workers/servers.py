"""The servers that the job runs on: a `zabra ensemble`, one `zabra server`, or somebody else's.

Which process serves a port, and so which one to kill, is read from /proc; who leads is asked for with
the four-letter word `srvr`. So nothing here depends on whose servers these are.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from story import Story, fail

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Leader:
    """The server that leads (or the only one): where it serves clients, and its process."""

    address: str
    pid: int


def find_zabra(given: str | None) -> str:
    """The zabra binary: the given one, $ZABRA, the newest one built here, or the one on the PATH."""
    if given or os.environ.get("ZABRA"):
        return given or os.environ["ZABRA"]
    target = Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target"))
    built = [target / kind / "zabra" for kind in ("release", "debug")]
    built = sorted((path for path in built if path.exists()), key=lambda path: path.stat().st_mtime)
    found = str(built[-1]) if built else shutil.which("zabra")
    if found is None:
        raise fail("no zabra binary found: run `cargo build --release`, or say --zabra PATH")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(address: str, word: str, timeout: float = 1.0) -> str:
    """A four-letter word's answer; empty if there is none."""
    host, port = address.rsplit(":", 1)
    try:
        with socket.create_connection((host, int(port)), timeout) as connection:
            connection.sendall(word.encode())
            connection.settimeout(timeout)
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
            return answer.decode(errors="replace")
    except OSError:
        return ""


def mode_of(address: str) -> str | None:
    """leader, follower or standalone; None while the server does not serve."""
    found = re.search(r"^Mode: (\w+)", ask(address, "srvr"), re.MULTILINE)
    return found.group(1) if found else None


def listening_pid(port: int) -> int | None:
    """The process of this machine that listens on a TCP port, if we may see it."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if any(os.readlink(fd) in inodes for fd in (process / "fd").iterdir()):
                    return int(process.name)
            except OSError:
                continue  # ended meanwhile, or not ours
    return None


class Servers:
    """Servers that somebody else started and will stop."""

    def __init__(self, connect: str):
        self.connect = connect

    @property
    def addresses(self) -> list[str]:
        return self.connect.split(",")

    def leader(self, deadline_seconds: float = 30.0) -> Leader:
        """Who leads, once somebody does."""
        end = time.monotonic() + deadline_seconds
        while time.monotonic() < end:
            for address in self.addresses:
                if mode_of(address) in ("leader", "standalone"):
                    pid = listening_pid(int(address.rsplit(":", 1)[1]))
                    if pid is not None:
                        return Leader(address, pid)
            time.sleep(0.02)
        raise fail(f"none of {self.connect} says that it leads (four-letter word srvr)")

    def survives_kill(self) -> bool:
        """Whether the job can be expected to go on after the leader was killed."""
        return len(self.addresses) >= 3

    def after_kill(self) -> None:
        """What there is to do once the leader was killed: nothing, the others go on."""

    def stop(self) -> None:
        """Ends what this object started: nothing."""


class ZabraEnsemble(Servers):
    """`zabra ensemble` as a child process, which has the servers as its own children."""

    def __init__(self, binary: str, servers: int, story: Story):
        self._folder = tempfile.mkdtemp(prefix="zabra-ml-")
        command = [binary, "ensemble", "--servers", str(servers), "--dir", self._folder, "--client-port", "0"]
        story.tell("run", f"starting {servers} servers: {' '.join(command)}")
        self._child = subprocess.Popen(
            # It ends when its standard input does, so even a kill -9 of this process leaves nothing behind.
            [*command, "--exit-with-stdin"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        super().__init__("")
        for line in self._child.stdout:
            story.tell("servers", line.rstrip())
            if line.startswith("serving: "):
                self.connect = line.split()[1]
                break
        if not self.connect:
            self.stop()
            raise fail("the ensemble ended without a connect string")
        story.retell("servers", self._child.stdout)

    def stop(self) -> None:
        end_child(self._child, signal.SIGINT)
        shutil.rmtree(self._folder, ignore_errors=True)


class ZabraStandalone(Servers):
    """One `zabra server`. After a kill it is started again, from its own folder."""

    def __init__(self, binary: str, story: Story):
        self._folder = tempfile.mkdtemp(prefix="zabra-ml-")
        self._story = story
        port = free_port()
        config = Path(self._folder) / "zoo.cfg"
        config.write_text(
            f"dataDir={self._folder}/data\nclientPort={port}\nclientPortAddress=127.0.0.1\n"
            "tickTime=2000\n4lw.commands.whitelist=srvr\n"
        )
        self._command = [binary, "server", str(config)]
        super().__init__(f"127.0.0.1:{port}")
        self._start()

    def _start(self) -> None:
        self._story.tell("run", f"starting one server: {' '.join(self._command)}")
        with open(Path(self._folder) / "server.log", "ab") as log:
            self._child = subprocess.Popen(self._command, stdout=log, stderr=log, start_new_session=True)
        while mode_of(self.connect) is None:
            if self._child.poll() is not None:
                raise fail(f"the server ended at once:\n{(Path(self._folder) / 'server.log').read_text()}")
            time.sleep(0.02)

    def survives_kill(self) -> bool:
        return True

    def after_kill(self) -> None:
        self._child.wait()
        self._start()

    def stop(self) -> None:
        end_child(self._child, signal.SIGTERM)
        shutil.rmtree(self._folder, ignore_errors=True)


def end_child(child: subprocess.Popen, first: signal.Signals, patience_seconds: float = 5.0) -> None:
    """Ends a child of ours politely, and if that does not help, with its whole process group."""
    if child.poll() is None:
        child.send_signal(first)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(patience_seconds)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)  # whatever is left of the group that we made for it
    child.wait()
