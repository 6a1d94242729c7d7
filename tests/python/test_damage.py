"""Files of a server are really damaged: it says so, does not vote, and heals from the others; one that is alone refuses to
start and says what is left. `docs/faults.md` has a row for each of these.
"""

import subprocess

import pytest

from harness import jute
from harness.ports import free_ports
from harness.rawclient import RawClient
from harness.server import Options
from harness.target import zabra_binary
from harness.wait import DeadlineExceeded, wait_for

# A segment holds about sixty of the writes below.
OPTIONS = Options(extra={"logSegmentBytes": "65536"})
WRITES = 300
# Behind the header page of a segment. A segment in the middle has a record at least.
FIRST_RECORD = 4096
EXIT_DAMAGED = 4
HEAL_DEADLINE_S = 60
# Without a leader for this long a server takes connections, so that `mntr` can be asked.
PORT_DEADLINE_S = 30


@pytest.fixture(autouse=True)
def only_zabra(flavour):
    if not flavour.is_zabra:
        pytest.skip("these are the files of Zabra")


def _write(server, prefix, count=WRITES):
    with RawClient(server.address.host, server.address.client_port) as client:
        for number in range(count):
            client.value(jute.create(f"/{prefix}{number}", b"x" * 1000))
        client.close()


def _names(server):
    with RawClient(server.address.host, server.address.client_port) as client:
        client.value(jute.sync())
        names = client.value(jute.get_children("/"))
        client.close()
    return set(names) - {"zookeeper"}


def _data(server):
    return server.folder / "data"


def _segments(server):
    """The segments of its log, oldest first."""
    return sorted(_data(server).glob("log.*"), key=lambda path: int(path.suffix[1:], 16))


def _snapshots(server):
    return list(_data(server).glob("snapshot.*"))


def _flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0x10]))


def _contents(folder):
    """What must not change, by name; without the lock file, which holds a process id."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "zabra.lock"}


def _flip_in_a_middle_segment(server):
    segments = _segments(server)
    assert len(segments) > 3, segments
    _flip(segments[1], FIRST_RECORD + 100)
    return segments[1].name


def _delete_a_middle_segment(server):
    segments = _segments(server)
    assert len(segments) > 3, segments
    segments[1].unlink()
    # What is found is the gap behind it.
    return segments[2].name


def _flip_in_the_epoch_file(server):
    _flip(_data(server) / "epoch", 20)
    return "epoch"


def _flip_in_all_snapshots(server, part):
    for snapshot in _snapshots(server):
        _flip(snapshot, snapshot.stat().st_size // part)
    return "snapshot."


DAMAGES = [_flip_in_a_middle_segment, _delete_a_middle_segment, _flip_in_the_epoch_file]


def _digests(ensemble):
    answers = [server.mntr() for server in ensemble.servers]
    return {(answer.get("zk_tree_digest"), answer.get("zk_last_processed_zxid")) for answer in answers}


def _wait_for_line(server, words):
    wait_for(lambda: words in server.log_tail(1000), PORT_DEADLINE_S, lambda: f"{words!r} in\n{server.log_tail(1000)}")


def _assert_healed(ensemble, server, named):
    """It said what it found, put its data aside, has everything again and votes again."""
    log = server.log_tail(1000)
    assert "DAMAGED" in log and named in log and "does not vote" in log, log
    assert list(_data(server).glob("damaged-1.*")), "nothing is put aside"
    wait_for(lambda: server.mntr().get("zk_may_vote") == "1", HEAL_DEADLINE_S, "the server to vote again")
    assert server.mntr()["zk_damaged_sets"] == "1"
    wait_for(lambda: len(_digests(ensemble)) == 1, HEAL_DEADLINE_S, lambda: f"equal digests: {_digests(ensemble)}")


@pytest.mark.parametrize("which", ["follower", "former_leader"])
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__.strip("_"))
def test_a_damaged_server_says_so_and_heals_from_the_others(make_ensemble, damage, which):
    ensemble = make_ensemble(3, options=OPTIONS)
    leader = ensemble.leader()
    _write(leader, "a")
    server = leader if which == "former_leader" else ensemble.followers()[0]
    server.kill()
    named = damage(server)
    kept = _contents(_data(server))
    ensemble.leader(among=[other for other in ensemble.servers if other is not server])
    server.start()
    ensemble.wait_all_serving()
    _assert_healed(ensemble, server, named)
    # Nothing was deleted.
    aside = _contents(_data(server))
    for name, contents in kept.items():
        if name.startswith(("log.", "snapshot.")):
            assert aside[f"damaged-1.{name}"] == contents, name
    if damage is _flip_in_the_epoch_file:
        assert aside["damaged-1.epoch"] == kept["epoch"]
    # Its vote counts again: it and one other are a quorum.
    ensemble.leader().kill()
    others = [other for other in ensemble.servers if other.alive()]
    ensemble.leader(30, among=others)
    assert _names(others[0]) == {f"a{number}" for number in range(WRITES)}


def test_damaged_snapshots_are_made_up_for_or_heal(make_ensemble):
    """With the log that leads up to it a damaged snapshot costs nothing; without, the others give everything."""
    options = Options(extra={"logSegmentBytes": "65536", "snapCount": "100", "autopurge.purgeInterval": "0"})
    ensemble = make_ensemble(3, options=options)
    _write(ensemble.leader(), "a")
    server = ensemble.followers()[0]
    wait_for(lambda: _snapshots(server), 20, "a snapshot")
    server.stop()
    _flip_in_all_snapshots(server, 2)
    server.start()
    ensemble.wait_all_serving()
    log = server.log_tail(1000)
    assert "nothing is lost" in log and "DAMAGED" not in log, log
    assert server.mntr()["zk_damaged_sets"] == "0"
    # Now the log does not reach back to the beginning any more.
    server.stop()
    _segments(server)[0].unlink()
    named = _flip_in_all_snapshots(server, 3)
    server.start()
    ensemble.wait_all_serving()
    _assert_healed(ensemble, server, named)
    assert _names(server) == {f"a{number}" for number in range(WRITES)}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__.strip("_"))
def test_a_damaged_server_does_not_vote(make_ensemble, damage):
    """One server misses writes, another one's copy of them is damaged: together they are no quorum."""
    ensemble = make_ensemble(3, options=OPTIONS)
    leader = ensemble.leader()
    damaged, late = ensemble.followers()
    _write(leader, "a")
    late.kill()
    _write(leader, "b", 1)
    leader.kill()
    damaged.kill()
    damage(damaged)
    late.start()
    damaged.start()
    with pytest.raises(DeadlineExceeded):
        ensemble.leader(4, among=[late, damaged])
    wait_for(lambda: damaged.mntr().get("zk_may_vote") == "0", PORT_DEADLINE_S, "mntr to tell that it does not vote")
    wait_for(lambda: late.mntr().get("zk_voters_without_vote") == "1", PORT_DEADLINE_S, "mntr of the other one")
    assert late.mntr()["zk_may_vote"] == "1" and late.mntr()["zk_voters_unheard"] == "1"
    _wait_for_line(late, "no leader for")
    leader.start()
    ensemble.wait_all_serving()
    wait_for(lambda: damaged.mntr().get("zk_may_vote") == "1", HEAL_DEADLINE_S, "the server to vote again")
    assert all("b0" in _names(server) for server in ensemble.servers)


def test_a_damaged_majority_halts_until_the_operator_gives_up_what_it_alone_had(make_ensemble):
    ensemble = make_ensemble(3, options=OPTIONS)
    _write(ensemble.leader(), "a")
    for server in ensemble.servers:
        server.stop()
    whole, first, second = ensemble.servers
    _flip_in_a_middle_segment(first)
    _flip_in_the_epoch_file(second)
    for server in ensemble.servers:
        server.start()
    wait_for(lambda: whole.mntr().get("zk_voters_without_vote") == "2", PORT_DEADLINE_S, "mntr to tell the halt")
    assert ensemble.leader_now() is None
    _wait_for_line(whole, "no quorum is left")
    second.stop()
    (_data(second) / "initialize").write_text("")
    second.start()
    ensemble.wait_all_serving(HEAL_DEADLINE_S)
    assert "given up" in second.log_tail(1000)
    assert not (_data(second) / "initialize").exists()
    wait_for(lambda: len(_digests(ensemble)) == 1, HEAL_DEADLINE_S, "equal digests")
    assert all(_names(server) == {f"a{number}" for number in range(WRITES)} for server in ensemble.servers)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__.strip("_"))
def test_a_damaged_server_that_is_alone_refuses_and_says_what_is_left(make_ensemble, tmp_path, damage):
    ensemble = make_ensemble(1, options=OPTIONS)
    server = ensemble.servers[0]
    _write(server, "a")
    server.stop()
    named = damage(server)
    before = _contents(_data(server))
    server.start()
    assert server.process.wait(20) == EXIT_DAMAGED
    log = server.log_tail(1000)
    assert "DAMAGED" in log and named in log and "zabra salvage" in log, log
    assert _contents(_data(server)) == before

    new = tmp_path / "salvaged"
    done = subprocess.run(
        [zabra_binary(), "salvage", str(_data(server)), str(new)], capture_output=True, text=True, timeout=60
    )
    whole = damage is _flip_in_the_epoch_file
    assert done.returncode == (0 if whole else 1), done.stdout + done.stderr
    assert "salvaged: everything through" in done.stdout
    assert _contents(_data(server)) == before
    _data(server).rename(server.folder / "damaged")
    new.rename(_data(server))
    server.start().wait_serving()
    names = _names(server)
    assert names == {f"a{number}" for number in range(len(names))}, "a beginning of what was written"
    assert len(names) == WRITES if whole else 0 < len(names) < WRITES
    _write(server, "b", 3)
    server.kill()
    server.start().wait_serving()
    assert {"b0", "b1", "b2"} <= _names(server)


def test_a_new_ensemble_begins_with_a_snapshot_that_is_put_into_its_folders(make_ensemble):
    ensemble = make_ensemble(3, options=Options(extra={"snapCount": "50"}))
    _write(ensemble.servers[0], "x")
    for server in ensemble.servers:
        wait_for(lambda server=server: _snapshots(server), PORT_DEADLINE_S, lambda: "a snapshot")
    for server in ensemble.servers:
        server.stop()
    newest = max(_snapshots(ensemble.servers[0]), key=lambda path: int(path.suffix[1:], 16))
    name, backup = newest.name, newest.read_bytes()
    for server in ensemble.servers:
        for path in _data(server).iterdir():
            if path.name != "myid":
                path.unlink()
        (_data(server) / name).write_bytes(backup)
        (_data(server) / "initialize").touch()
    ensemble.start()
    for server in ensemble.servers:
        restored = _names(server)
        assert restored == {f"x{number}" for number in range(len(restored))} and restored, restored
    _write(ensemble.servers[1], "new", 10)


def test_a_folder_that_is_to_be_there_is_not_made(tmp_path):
    missing, file = tmp_path / "missing", tmp_path / "zoo.cfg"
    file.write_text(f"dataDir={missing}\ndatadir.autocreate=false\nclientPort={free_ports(1)[0]}\n")
    done = subprocess.run([zabra_binary(), "server", str(file)], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1, done.stderr
    assert f"{missing}, and datadir.autocreate=false" in done.stderr
    assert not missing.exists()
