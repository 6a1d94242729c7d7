"""One child process with its log file. It ends with its owner: by its own id, also when a test fails, and by the
kernel (PR_SET_PDEATHSIG, through util-linux's setpriv) should the test process itself be killed.

The kernel ties that to the thread that started the child, so start processes from threads that live on.
"""

import os
import shutil
import signal
import subprocess

from .wait import DeadlineExceeded, wait_for

STOP_DEADLINE_S = 15


def tidy_up_at_sigterm():
    """Lets SIGTERM end this process as Ctrl-C does: with the ends of all fixtures and context managers. What the kernel does
    not end with it, network namespaces for example, would stay otherwise. A second one, which `timeout` sends to the whole
    group, does not disturb that."""

    def end(*_):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)


class Process:
    """A started program; all signals go to its id and to no other."""

    def __init__(self, argv, log_path, cwd=None, env=None, prefix=(), death_signal="KILL"):
        """`prefix` is put before everything, for example `ip netns exec name`; it must exec what follows.
        `death_signal` is what the kernel sends it if its owner dies: TERM where it has something to tidy up."""
        guard = ["setpriv", "--pdeathsig", death_signal, "--"] if shutil.which("setpriv") else []
        self.log_path = str(log_path)
        self.argv = list(argv)
        with open(self.log_path, "ab") as log:
            self._popen = subprocess.Popen(
                [*prefix, *guard, *self.argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=env,
                start_new_session=True,
            )
        self._paused = False

    @property
    def pid(self):
        """The process id."""
        return self._popen.pid

    def alive(self):
        """True while it has not ended; a stopped process is alive."""
        return self._popen.poll() is None

    def exit_code(self):
        """The exit code, negative for a signal; None while alive."""
        return self._popen.poll()

    def wait(self, seconds):
        """Waits for the end and returns the exit code."""
        return self._popen.wait(timeout=seconds)

    def pause(self):
        """SIGSTOP, and waits until the kernel says it has stopped."""
        os.kill(self.pid, signal.SIGSTOP)
        self._paused = True
        wait_for(self.stopped, 10, f"process {self.pid} to stop")

    def stopped(self):
        """True if it is stopped now."""
        return self._state() == "T"

    def resume(self):
        """SIGCONT."""
        self._paused = False
        os.kill(self.pid, signal.SIGCONT)

    def send(self, number):
        """Sends a signal, unless the process has ended."""
        if self.alive():
            os.kill(self.pid, number)

    def kill(self):
        """SIGKILL, and waits for the end."""
        self.send(signal.SIGKILL)
        self._popen.wait(timeout=STOP_DEADLINE_S)

    def stop(self):
        """SIGTERM; SIGKILL if that does not end it in time. Returns the exit code."""
        if self.alive():
            if self._paused:
                self.resume()
            os.kill(self.pid, signal.SIGTERM)
            try:
                self._popen.wait(timeout=STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                self.kill()
        return self._popen.returncode

    def rss_kib(self):
        """Resident memory in KiB, from /proc."""
        return self._status_kib("VmRSS")

    def peak_rss_kib(self):
        """The most resident memory it ever had, in KiB."""
        return self._status_kib("VmHWM")

    def open_files(self):
        """The number of its open file descriptors."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def log_bytes(self):
        """How much it has written."""
        return os.path.getsize(self.log_path)

    def log_since(self, position):
        """All that it wrote after so many bytes."""
        with open(self.log_path, "rb") as log:
            log.seek(position)
            return log.read().decode("utf-8", errors="replace")

    def log_tail(self, lines=40):
        """The last lines it wrote."""
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as log:
                return "".join(log.readlines()[-lines:])
        except FileNotFoundError:
            return "(no log)"

    def _state(self):
        with open(f"/proc/{self.pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0]

    def _status_kib(self, field):
        with open(f"/proc/{self.pid}/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith(field + ":"):
                    return int(line.split()[1])
        raise DeadlineExceeded(f"process {self.pid} has no {field}: it ended")
