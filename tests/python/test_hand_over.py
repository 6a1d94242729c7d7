"""A leader that is told to end, or to lead no longer, leaves its place to another: clients of the others notice a pause."""

import fcntl
import os
import subprocess
import time

import pytest

from harness.target import zabra_binary
from harness.wait import wait_for
from harness.writer import Writer, all_write_on, assert_all_there


@pytest.fixture
def ensemble(make_ensemble):
    """Three servers of this project: the other one's leaders do not hand over."""
    ensemble = make_ensemble(3, start=False)
    if not ensemble.flavour.is_zabra:
        pytest.skip("a leader of ZooKeeper does not hand over")
    return ensemble.start()


def hand_over(data):
    """What `zabra hand-over` prints."""
    command = [zabra_binary(), "hand-over", str(data)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout


def test_without_a_server_nobody_is_told_to_hand_over(ensemble, tmp_path):
    follower = ensemble.followers()[0]
    assert follower.stop() == 0
    for data, reason in [
        (follower.folder / "data", "no server runs with"),
        (tmp_path, "no server runs with"),
        (tmp_path / "none", "No such file"),
    ]:
        with pytest.raises(subprocess.CalledProcessError) as failure:
            hand_over(data)
        assert failure.value.returncode == 1 and reason in failure.value.stderr


def test_a_process_that_is_no_server_is_not_told_to_hand_over(flavour, tmp_path):
    if not flavour.is_zabra:
        pytest.skip("a leader of ZooKeeper does not hand over")
    with open(tmp_path / "zabra.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        with pytest.raises(subprocess.CalledProcessError) as failure:
            hand_over(tmp_path)
    assert "is no zabra" in failure.value.stderr


def test_a_rolling_restart_under_load_loses_no_write_and_no_session(ensemble):
    writers = [Writer(ensemble.servers, f"w{index}", index) for index in range(3)]
    # The leader last, as an operator would do it: it moves once.
    order = sorted(ensemble.servers, key=lambda server: server is ensemble.leader_now())
    for server in order:
        all_write_on(writers)
        assert server.stop() == 0
        server.start()
        ensemble.wait_all_serving()
    all_write_on(writers)
    for writer in writers:
        writer.end()
    assert_all_there(ensemble.servers, writers)


def test_clients_of_the_others_stay_connected_when_the_leader_is_told_to_end(ensemble):
    leader = ensemble.leader()
    others = [server for server in ensemble.servers if server is not leader]
    writers = [Writer(ensemble.servers, f"w{server.server_id}", ensemble.servers.index(server)) for server in others]
    all_write_on(writers)
    assert leader.stop() == 0
    all_write_on(writers)
    for writer in writers:
        writer.end()
    assert [writer.moves for writer in writers] == [0, 0]
    # An election after a missed leader takes `peerTimeoutMs`, 500 ms; this one is much shorter also on a busy machine.
    assert max(writer.longest_pause_s() for writer in writers) < 0.4
    assert "is left to server" in leader.log_tail()
    leader.start()
    ensemble.wait_all_serving()
    assert_all_there(ensemble.servers, writers)


def test_a_leader_that_is_asked_to_hand_over_follows_the_next_one(ensemble):
    leader = ensemble.leader()
    writer = Writer(ensemble.servers, "w", ensemble.servers.index(leader))
    all_write_on([writer])
    assert str(leader.pid) in hand_over(leader.folder / "data")
    wait_for(lambda: leader.mode() == "follower", 10, "the leader to follow another")
    all_write_on([writer])
    writer.end()
    assert writer.moves == 0, "its own clients stay, too"
    ensemble.wait_all_serving()
    assert_all_there(ensemble.servers, [writer])


def test_a_leader_that_nobody_follows_ends_at_once(ensemble):
    leader = ensemble.leader()
    for server in ensemble.servers:
        if server is not leader:
            server.kill()
    began = time.monotonic()
    assert leader.stop() == 0
    assert time.monotonic() - began < 5
