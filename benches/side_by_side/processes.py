"""Child processes that never outlive the run, and what /proc says about them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


class Failure(Exception):
    """The run cannot go on; the text says why, for the reader of the terminal."""


def die_with_parent() -> None:
    """In a child: ask the kernel for SIGKILL when the parent ends, however it ends."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Child:
    """A process of ours, in a group of its own, with its output in a file."""

    def __init__(
        self,
        name: str,
        command: list[str],
        log: Path,
        folder: Path | None = None,
        environment: dict[str, str] | None = None,
    ):
        self.name, self.command, self.log = name, command, log
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as output:
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=folder,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    def is_alive(self) -> bool:
        return self._popen.poll() is None

    def send(self, number: signal.Signals) -> None:
        if self.is_alive():
            self._popen.send_signal(number)

    def tail(self, lines: int = 20) -> str:
        """The last lines of its output, for an error message."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self, patience_seconds: float = 10.0) -> None:
        """Ends it politely, then by force, with all of its group. Safe to call again."""
        if self.is_alive():
            self._popen.send_signal(signal.SIGCONT)
            self._popen.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(patience_seconds)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self._popen.kill()
        self._popen.wait()


@dataclass(frozen=True)
class Memory:
    """What a process occupies, in bytes."""

    rss: int
    pss: int
    rss_peak: int


def cpu_seconds(pid: int) -> float:
    """User and system time of a process with all its threads, ended ones included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


def total_cpu_seconds() -> tuple[float, float]:
    """What all processes of the machine have used, and what it has lost to others of its host (steal)."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields[:8]
    return (user + nice + system + irq + softirq) / _TICKS_PER_SECOND, steal / _TICKS_PER_SECOND


def memory(pid: int) -> Memory:
    """RSS, PSS and the peak of RSS of a process."""

    def kilobytes(path: str, key: str) -> int:
        for line in Path(path).read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1]) * 1024
        raise Failure(f"{path} has no {key}")

    rollup = f"/proc/{pid}/smaps_rollup"
    return Memory(
        kilobytes(rollup, "Rss"), kilobytes(rollup, "Pss"), kilobytes(f"/proc/{pid}/status", "VmHWM")
    )


_given_out: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Ports that are free now, all different from each other and from all that were given out before.

    They are taken from below the range that the kernel gives to outgoing connections, so that a
    connection of the run cannot take a port that a server is about to be given.
    """
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found: list[int] = []
    candidate = 10_000 + (os.getpid() * 131) % max(1, lowest - 12_000)
    while len(found) < count:
        candidate = candidate + 1 if candidate + 1 < lowest else 10_000
        if candidate in _given_out:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
        _given_out.add(candidate)
        found.append(candidate)
    return found


def four_letter_word(port: int, word: str, timeout: float = 1.0) -> str:
    """The answer of a server on this machine; empty if there is none."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout) as connection:
            connection.settimeout(timeout)
            connection.sendall(word.encode())
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
            return answer.decode(errors="replace")
    except OSError:
        return ""


def wait_until(what: str, ready, deadline_seconds: float, pause_seconds: float = 0.01) -> None:
    """Polls until `ready()`; a Failure that says `what` after the deadline."""
    end = time.monotonic() + deadline_seconds
    while not ready():
        if time.monotonic() > end:
            raise Failure(f"{what}: not within {deadline_seconds:.0f} s")
        time.sleep(pause_seconds)
