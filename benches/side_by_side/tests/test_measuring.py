"""What the figures rest on: gaps, processes, the protocol, and servers that do not stay behind."""

import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from contenders import Cluster, zookeeper_contender
from gap import Writer
from jute import Connection, ServerError, create_frame
from machine import Watchman
from processes import Child, Failure, cpu_seconds, free_ports, memory, wait_until
from scenarios import _wait_for_data
from tree_fill import fill, last_path, paths
from zookeeper import DEBIAN_JAR, find

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def zookeeper(tmp_path_factory):
    if not DEBIAN_JAR.exists():
        pytest.skip("Apache ZooKeeper is not installed")
    contender = zookeeper_contender(find("debian", tmp_path_factory.mktemp("cache")))
    with Cluster(contender, 1, tmp_path_factory.mktemp("servers") / "one") as cluster:
        yield cluster


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def writer_that_saw(*moments: float) -> Writer:
    writer = Writer.__new__(Writer)
    writer.acknowledged = list(moments)
    return writer


@pytest.mark.parametrize(
    ("moments", "gap"),
    [((9, 11, 14, 14.5, 20), 5.5), ((1, 9.5, 10.5), 9.5), ((1, 11, 19.5), 10), ((), 10), ((21,), 10)],
)
def test_the_longest_gap_counts_what_overlaps_the_time_asked_for_and_the_open_end(moments, gap):
    assert writer_that_saw(*moments).longest_gap(10, 20) == gap


def test_ports_are_never_given_out_twice():
    ports = free_ports(5) + free_ports(5)
    assert len(set(ports)) == 10


def test_a_child_and_what_it_started_do_not_survive_stop(tmp_path):
    child = Child("c", ["sh", "-c", "trap '' TERM; sleep 1000 & echo $!; wait; sleep 1000"], tmp_path / "log")
    wait_until("the child started its own", lambda: child.log.read_text().strip(), 10)
    grandchild = int(child.log.read_text())
    child.stop(patience_seconds=0.2)
    assert not child.is_alive()
    wait_until("the grandchild is gone", lambda: not is_running(grandchild), 10)


def test_a_child_dies_when_its_parent_is_killed(tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from processes import Child\n"
        f"print(Child('c', ['sleep', '1000'], Path({str(tmp_path / 'log')!r})).pid, flush=True)\n"
        "time.sleep(1000)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=HERE.parent
    )
    child = int(parent.stdout.readline())
    assert is_running(child)
    parent.kill()
    parent.communicate()
    wait_until("the child is gone", lambda: not is_running(child), 10)


def test_cpu_and_memory_are_those_of_the_process():
    begin = cpu_seconds(os.getpid())
    deadline = time.monotonic() + 10
    while cpu_seconds(os.getpid()) - begin < 0.1 and time.monotonic() < deadline:
        pass
    assert cpu_seconds(os.getpid()) - begin >= 0.1
    assert 2**20 < memory(os.getpid()).pss <= memory(os.getpid()).rss


def test_work_of_our_own_is_no_disturbance():
    watchman = Watchman(list)
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    own = watchman._reading()[3] - watchman._begin[3]
    assert own >= 0.25


def test_waiting_in_vain_says_for_what():
    with pytest.raises(Failure, match="a miracle"):
        wait_until("a miracle", lambda: False, 0.05)


def test_a_create_request_is_framed_as_the_protocol_says():
    frame = create_frame(7, "/a", b"xy")
    assert struct.unpack_from(">iii", frame) == (len(frame) - 4, 7, 1)
    assert frame[12:] == (b"\0\0\0\x02/a\0\0\0\x02xy" + b"\0\0\0\x01\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone"
                          + b"\0\0\0\0")  # fmt: skip


def test_filling_creates_every_path_once():
    names = list(paths(2500))
    assert len(set(names)) == 2500
    assert names[-1] == last_path(2500) == "/fill/0002/0499"


def test_a_filled_server_has_everything_and_a_client_that_waits_for_it_sees_the_last(zookeeper):
    fill(zookeeper.connect, 2500, 100, in_flight=64)
    _wait_for_data(zookeeper.connect, last_path(2500), 100, zookeeper.servers[0].child, deadline_seconds=10)
    connection = Connection(zookeeper.connect)
    with pytest.raises(ServerError, match="-101"):
        connection.get("/fill/0002/0500")
    connection.close()


def test_a_writer_comes_back_after_its_server_was_killed_and_loses_nothing(zookeeper):
    server = zookeeper.servers[0]
    writer = Writer([zookeeper.connect])
    try:
        assert writer.wait_for(0, count=100, deadline_seconds=10)
        server.child.kill()
        struck = time.monotonic()
        zookeeper.start(server)
        assert writer.wait_for(struck, count=100, deadline_seconds=30)
        ended = time.monotonic()
    finally:
        writer.stop()
    assert writer.reconnects >= 1
    assert writer.sessions == 0
    assert 0.05 < writer.longest_gap(struck, ended) < 30
    assert writer.lost_writes(zookeeper.connect) == 0


def test_a_smoke_run_measures_writes_a_report_and_leaves_no_process_behind(zookeeper, tmp_path):
    document = tmp_path / "performance.md"
    command = [sys.executable, str(HERE.parent / "run.py"), "--against-itself", "--quick", "--znodes", "2000",
               "--only", "memory", "--only", "kill", "--folder", str(tmp_path / "servers"),
               "--document", str(document)]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "2,000 znodes of 100 bytes" in document.read_text()
    assert "kill -9 of the leader" in document.read_text()
    assert servers_below(tmp_path) == []


def test_an_interrupted_run_leaves_no_process_behind(zookeeper, tmp_path):
    command = [sys.executable, str(HERE.parent / "run.py"), "--against-itself", "--quick", "--only", "stop",
               "--folder", str(tmp_path / "servers"), "--document", str(tmp_path / "d.md")]  # fmt: skip
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_until("servers run", lambda: len(servers_below(tmp_path)) == 3, 60)
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=60)
    assert child.returncode == 143
    wait_until("all servers are gone", lambda: servers_below(tmp_path) == [], 10)


def servers_below(folder: Path) -> list[int]:
    """The processes whose command line names this folder, but for the run itself."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                command = (process / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if str(folder) in command and "run.py" not in command and is_running(int(process.name)):
                found.append(int(process.name))
    return found
