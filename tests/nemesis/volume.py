"""A server's disk: `faultfs` mounted on its data folder, and the commands that make it forget and fail."""

import os
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

from harness.process import Process
from harness.target import REPOSITORY
from harness.wait import wait_for

MOUNT_DEADLINE_S = 10


def faultfs_binary():
    """The program; `./test` builds it."""
    return Path(os.environ.get("ZABRA_FAULTFS", REPOSITORY / "target/faultfs/release/zabra-faultfs"))


def unavailable():
    """Why it cannot be used here; empty if it can."""
    if os.geteuid() != 0:
        return "mounting needs root"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "there is no /dev/fuse"
    binary = faultfs_binary()
    return "" if os.access(binary, os.X_OK) else f"no {binary}: build tests/nemesis/faultfs or set ZABRA_FAULTFS"


class Volume:
    """One mounted file system. `close` unmounts it, whatever happened."""

    def __init__(self, folder):
        """Mounts on `folder/data`."""
        self.mount = folder / "data"
        self.mount.mkdir(parents=True)
        control = folder / "faultfs.sock"
        self._process = Process([str(faultfs_binary()), self.mount, control], folder / "faultfs.log", death_signal="TERM")
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            wait_for(lambda: os.path.ismount(self.mount), MOUNT_DEADLINE_S, self._process.log_tail)
            self._socket.connect(str(control))
        except BaseException:
            self.close()
            raise

    def command(self, line):
        """Sends one command and returns what it tells, as a dict of numbers."""
        self._socket.sendall(line.encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            part = self._socket.recv(4096)
            if not part:
                raise RuntimeError(f"faultfs ended: {self._process.log_tail()}")
            answer += part
        status, *pairs = answer.decode().split()
        if status != "ok":
            raise RuntimeError(f"faultfs, {line!r}: {answer.decode().strip()}")
        return {key: int(value) for key, value in (pair.split("=") for pair in pairs)}

    def stats(self):
        """What it did and how it stands: see `zabra-faultfs --help`."""
        return self.command("stats")

    def settle(self):
        """Syncs everything, as an operator does who prepares a folder."""
        for path in [*self.mount.iterdir(), self.mount]:
            handle = os.open(path, os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)

    def files(self, prefix):
        """The names that begin so, in the order of the zxids in them."""
        names = [path.name for path in self.mount.iterdir() if path.name.startswith(prefix + ".")]
        return sorted((name for name in names if not name.endswith(".tmp")), key=lambda name: int(name.split(".")[1], 16))

    def close(self):
        """Unmounts and ends it."""
        self._socket.close()
        self._process.stop()
        with suppress(FileNotFoundError):
            if os.path.ismount(self.mount) or not self._readable():
                # It was killed, or somebody still has a file of it open.
                subprocess.run(["umount", "--lazy", self.mount], check=True)

    def _readable(self):
        try:
            os.listdir(self.mount)
        except OSError:
            return False
        return True
