"""`zabra ensemble` as its users and the examples see it: the lines it prints, and no process left behind."""

import json
import os
import signal
import subprocess
import threading

import pytest
from harness import target as targets
from harness.wait import wait_for

DEADLINE_S = 30


class EnsembleCommand:
    """A running `zabra ensemble --json`; it ends with this process at the latest, by its stdin."""

    def __init__(self, folder, *options):
        argv = [targets.zabra_binary(), "ensemble", "--json", "--exit-with-stdin", "--client-port", "0"]
        argv += ["--dir", str(folder), *options]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.events = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def wait(self, event, after=0, **fields):
        """The index of the first such event from index `after` on."""

        def found():
            for index, seen in enumerate(self.events[after:], after):
                if seen["event"] == event and all(seen.get(key) == value for key, value in fields.items()):
                    return (index,)
            assert self.process.poll() is None or self._reader.is_alive(), self.events
            return None

        return wait_for(found, DEADLINE_S, lambda: f"{event} {fields} in {self.events}", 0.02)[0]

    def pids(self):
        """The process id of every server, as last told."""
        return {seen["server"]: seen["pid"] for seen in self.events if "pid" in seen}

    def close(self):
        """Ends it by closing its stdin, and kills it if that does not help."""
        self.process.stdin.close()
        try:
            return self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def is_running(pid):
    """False once the process is gone; a zombie that nobody waits for counts as gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def start(flavour, tmp_path):
    """Starts `zabra ensemble` with options."""
    if not flavour.is_zabra:
        pytest.skip("only Zabra has this command")
    started = []

    def start(*options):
        started.append(EnsembleCommand(tmp_path / "ensemble", *options))
        return started[-1]

    yield start
    for command in started:
        command.close()


def wait_until_gone(pids):
    wait_for(lambda: not any(map(is_running, pids)), DEADLINE_S, lambda: f"the end of {pids}", 0.02)


def test_a_killed_leader_is_replaced_and_comes_back(start):
    command = start()
    serving = command.events[command.wait("serving")]
    assert len(serving["connect"].split(",")) == 3
    leader = command.events[command.wait("leader")]["server"]
    os.kill(command.pids()[leader], signal.SIGKILL)
    ended = command.wait("ended", server=leader, signal=9)
    others = [server for server in command.pids() if server != leader]
    command.wait("restarted", after=ended, server=leader)
    command.wait("follower", after=ended, server=leader)
    new_leaders = [seen["server"] for seen in command.events[ended:] if seen["event"] == "leader"]
    assert new_leaders and new_leaders[0] in others


def test_the_data_is_there_after_a_restart_of_all(start):
    command = start("--servers", "1", "--set", "tickTime=500")
    command.wait("standalone", server=1)
    pids = command.pids().values()
    command.process.send_signal(signal.SIGTERM)
    assert command.process.wait(DEADLINE_S) == 0
    assert not any(map(is_running, pids))
    command.wait("stopped")
    assert command.events[command.wait("ended", server=1)]["exit_code"] == 0
    again = start("--servers", "1")
    again.wait("standalone", server=1)


def test_no_server_outlives_a_killed_ensemble(start):
    command = start()
    command.wait("serving")
    pids = list(command.pids().values())
    command.process.kill()
    wait_until_gone(pids)


def test_servers_stay_down_if_asked(start):
    command = start("--no-restart")
    command.wait("serving")
    for pid in command.pids().values():
        os.kill(pid, signal.SIGKILL)
    command.wait("stopped")
    assert command.process.wait(DEADLINE_S) == 1
    assert not any(seen["event"] == "restarted" for seen in command.events)
