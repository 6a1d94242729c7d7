"""What a fault of a disk did is found in a log that goes on for long, and what was there before is not taken for it."""

from types import SimpleNamespace

import pytest

from harness.process import Process
from nemesis.faults.disks import EXIT_HALTED, Since


class Victim:
    """A process that says one thing, and then a lot of others, before it halts."""

    server_id = 1

    def __init__(self, folder):
        self.log_path = folder / "server.log"
        self.log_path.write_text("this server stops, as it did once before\n")
        self.process = None

    def halt(self, words):
        """Starts it."""
        script = f"echo '{words}'; seq 1000; exit {EXIT_HALTED}"
        self.process = Process(["sh", "-c", script], self.log_path)

    def log_bytes(self):
        return self.log_path.stat().st_size

    def log_since(self, position):
        return self.process.log_since(position)

    def log_tail(self):
        return self.process.log_tail()


class Disk:
    """It counts, and does as it is told."""

    def __init__(self):
        self.failed, self.commands = 0, []

    def stats(self):
        return {"failed_writes": self.failed}

    def command(self, line):
        self.commands.append(line)


@pytest.fixture(name="disk")
def _disk():
    return Disk()


@pytest.fixture(name="victim")
def _victim(tmp_path):
    return Victim(tmp_path)


@pytest.fixture(name="since")
def _since(disk, victim):
    return Since(SimpleNamespace(volume=lambda server: disk), victim, "failed_writes")


def test_what_a_server_said_is_found_however_much_it_says_afterwards(since, disk, victim):
    disk.failed = 1
    victim.halt("the log cannot be written: this server stops")
    since.assert_halted()
    assert disk.commands == ["clear"]


def test_what_it_said_before_the_fault_does_not_count(since, disk, victim):
    disk.failed = 1
    victim.halt("good bye")
    with pytest.raises(AssertionError, match="1000"):
        since.assert_halted()


def test_an_end_without_a_fault_is_none_of_it(since, victim):
    victim.halt("this server stops")
    with pytest.raises(AssertionError, match="nothing failed"):
        since.assert_halted()
