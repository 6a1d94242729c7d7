"""Reconfiguration: servers come, go, move and change their roles while clients are served, as in ZooKeeper 3.9."""

import base64
import hashlib
import random
import socket
import ssl
import subprocess
import threading

import pytest
from harness import jute, target
from harness.certificates import Authority
from harness.members import CONFIG, SUPER, Members, parse_config
from harness.rawclient import Event, RawClient
from harness.reconfigs import Transcript, changes
from harness.server import Options
from harness.wait import Deadline, wait_for
from harness.writer import BROKEN, Writer, all_write_on, assert_all_there


@pytest.fixture
def make_members(flavour, tmp_path):
    """Starts ensembles whose servers change; ends all of them after the test."""
    made = []

    def make(count, first=3, start=True, **arguments):
        kind = arguments.pop("flavour", flavour)
        members = Members(kind, tmp_path / f"members-{len(made)}", count, first, **arguments)
        made.append(members)
        return members.start() if start else members

    yield make
    for members in made:
        members.close()


def set_value(members, value, server_id=None):
    """Writes /value, which is made if need be."""
    with members.client(server_id) as client:
        reply = client.call(jute.set_data("/value", value))
        if reply.error == jute.NO_NODE:
            reply = client.call(jute.create("/value", value))
        assert reply.error == jute.OK
        client.close()


def value_at(members, server_id):
    """What /value holds, as a server tells it after a sync."""
    with members.client(server_id) as client:
        client.value(jute.sync())
        data, _ = client.value(jute.get_data("/value"))
        client.close()
    return data


def assert_all_serve(members, ids, value):
    """Every one of the servers takes a write, and tells the newest one."""
    for server_id in ids:
        set_value(members, value + b" by %d" % server_id, server_id)
    for server_id in ids:
        assert value_at(members, server_id) == value + b" by %d" % ids[-1]


def test_the_same_changes_have_the_same_results_as_in_zookeeper(make_members, flavour, reference):
    if reference.version < (3, 9) or not flavour.is_zabra:
        pytest.skip("there is nothing to compare with")
    transcripts = []
    for kind in (reference, flavour):
        # So that server 2 leads: one that changes its role, or whose leader goes, ends its connections in ZooKeeper.
        members = make_members(5, flavour=kind, start=False).start(first=(1, 2))
        transcript = Transcript(members)
        try:
            changes(transcript)
        finally:
            transcript.close()
        transcripts.append(transcript.entries)
        members.close()
    for theirs, ours in zip(*transcripts, strict=True):
        assert ours == theirs


def test_one_server_grows_to_three_and_shrinks_back(make_members):
    members = make_members(3, first=1, alone_is_ensemble=True)
    set_value(members, b"alone")
    for server_id in (2, 3):
        members.join(server_id)
        config = members.change(joining=members.entry(server_id))
        assert set(config[1]) == set(range(1, server_id + 1))
        members.wait_config(list(range(1, server_id + 1)))
    assert_all_serve(members, [1, 2, 3], b"three")
    members[1].kill()
    members.leader()
    assert_all_serve(members, [2, 3], b"without the first")
    members[1].start()
    members[1].wait_serving()
    for server_id in (3, 2):
        config = members.change(through=1, leaving=str(server_id))
        assert set(config[1]) == set(range(1, server_id))
        members[server_id].kill()
        members.leader()
        assert_all_serve(members, [1], b"one fewer")
    members[1].kill()
    members[1].start()
    members[1].wait_serving()
    assert_all_serve(members, [1], b"alone again")


def test_the_leader_leaves_and_may_be_switched_off_at_once(make_members):
    members = make_members(4)
    set_value(members, b"before")
    members.join(4)
    leader = members.leader()
    with members.client(4) as client:
        client.value(jute.create("/mine", flags=jute.EPHEMERAL))
        config = members.change(joining=members.entry(4), leaving=str(leader.server_id))
        leader.kill()
        left = sorted(config[1])
        assert left == [server_id for server_id in (1, 2, 3, 4) if server_id != leader.server_id]
        members.leader()
        assert_all_serve(members, left, b"after")
        assert client.value(jute.exists("/mine")).ephemeral_owner == client.session.session_id
        client.close()


def test_who_has_left_stays_and_serves_until_it_is_stopped(make_members):
    members = make_members(3)
    leader = members.leader().server_id
    gone = next(server_id for server_id in (1, 2, 3) if server_id != leader)
    with members.client(gone, is_super=False) as client:
        members.change(leaving=str(gone))
        members.wait_config([server_id for server_id in (1, 2, 3) if server_id != gone], among=[1, 2, 3])
        assert_all_serve(members, [1, 2, 3], b"after")
        client.value(jute.get_data("/value"))
        client.close()
    wait_for(lambda: members[leader].mntr().get("zk_quorum_size") == "2", 10, "a quorum of two")
    members.change(joining=members.entry(gone))
    members[leader].kill()
    members.leader()
    assert_all_serve(members, [server_id for server_id in (1, 2, 3) if server_id != leader], b"it votes again")


def test_all_servers_are_replaced_and_the_new_ones_start_from_what_they_have(make_members):
    members = make_members(6)
    set_value(members, b"before")
    with members.client(1) as client:
        session, last_zxid = client.session, client.last_zxid
        client.value(jute.create("/mine", flags=jute.EPHEMERAL))
        client.drop()
    for server_id in (4, 5, 6):
        members.join(server_id)
    new = ",".join(members.entry(server_id) for server_id in (4, 5, 6))
    config = members.change(members=new)
    assert set(config[1]) == {4, 5, 6}
    for server_id in (1, 2, 3):
        members[server_id].kill()
    members.leader()
    with members.client(5, session=session, last_zxid=last_zxid) as client:
        assert not client.expired
        assert client.value(jute.exists("/mine")).ephemeral_owner == session.session_id
        client.drop()
    assert_all_serve(members, [4, 5, 6], b"replaced")
    for server_id in (4, 5, 6):
        members[server_id].kill()
    for server_id in (4, 5, 6):
        members[server_id].start()
    for server_id in (4, 5, 6):
        members[server_id].wait_serving()
    assert_all_serve(members, [4, 5, 6], b"again")


def test_a_new_server_knows_only_one_of_the_others(make_members):
    members = make_members(4)
    set_value(members, b"before")
    known = members.leader().server_id
    members.join(4, listed=[known])
    members.change(joining=members.entry(4), leaving=str(known))
    members[known].kill()
    members.leader()
    left = [server_id for server_id in (1, 2, 3, 4) if server_id != known]
    assert_all_serve(members, left, b"after")
    # Its vote is needed now.
    gone = next(server_id for server_id in left if server_id != 4)
    members[gone].kill()
    members.leader()
    assert_all_serve(members, [server_id for server_id in left if server_id != gone], b"two of three")


def test_clients_move_to_another_port_and_old_connections_stay(make_members):
    members = make_members(4)
    address = members.addresses[2]
    moved_port = members.addresses[4].client_port
    with members.client(2) as old:
        members.change(joining=members.entry(2, client_port=moved_port))
        moved = wait_for(lambda: try_client(address.host, moved_port), 20, "the new port to take clients")
        moved.value(jute.create("/through-the-new-port"))
        assert old.value(jute.exists("/through-the-new-port"))
        moved.close()
        wait_for(lambda: is_refused(address.host, address.client_port), 20, "the old port to be closed")
        old.value(jute.create("/through-the-old-connection"))
        old.close()
    members[2].kill()
    members[2].start()
    wait_for(lambda: try_client(address.host, moved_port), 30, "the new port after a restart").close()
    assert is_refused(address.host, address.client_port)


def try_client(host, port):
    """A connection, or None."""
    try:
        return RawClient(host, port, deadline_s=5)
    except BROKEN:
        return None


def is_refused(host, port):
    """True if nobody listens there."""
    try:
        RawClient(host, port, deadline_s=5).drop()
    except ConnectionRefusedError:
        return True
    except BROKEN:
        return False
    return False


def test_servers_move_to_other_ports_for_one_another(make_members):
    members = make_members(6)
    set_value(members, b"before")
    for server_id in (1, 2, 3):
        spare = members.addresses[server_id + 3]
        changed = {"quorum_port": spare.quorum_port, "election_port": spare.election_port}
        members.change(through=1, joining=members.entry(server_id, **changed))
        members.leader()
    members.wait_config([1, 2, 3])
    assert_all_serve(members, [1, 2, 3], b"moved")
    for server_id in (1, 2, 3):
        if not members[server_id].takes_votes():
            continue
        wait_for(lambda: not members[server_id].takes_votes(), 20, "the old election port to be closed")  # noqa: B023
    leader = members.leader()
    leader.kill()
    members.leader()
    assert_all_serve(members, [server_id for server_id in (1, 2, 3) if server_id != leader.server_id], b"elected")
    leader.start()
    leader.wait_serving()
    assert_all_serve(members, [1, 2, 3], b"back")


def test_roles_change_to_and_fro(make_members):
    members = make_members(3)
    leader = members.leader().server_id
    changed = next(server_id for server_id in (1, 2, 3) if server_id != leader)
    config = members.change(joining=members.entry(changed, "observer"))
    assert ":observer;" in config[1][changed]
    wait_for(lambda: members[changed].mode() == "observer", 20, "it to observe")
    assert_all_serve(members, [1, 2, 3], b"two voters")
    assert members[leader].mntr()["zk_quorum_size"] == "2"
    members.change(joining=members.entry(changed))
    wait_for(lambda: members[changed].mode() == "follower", 20, "it to follow")
    assert members[leader].mntr()["zk_quorum_size"] == "3"
    members[leader].kill()
    members.leader()
    assert_all_serve(members, [server_id for server_id in (1, 2, 3) if server_id != leader], b"it votes")


def test_a_leader_that_becomes_an_observer_lets_another_lead(make_members):
    members = make_members(3)
    leader = members.leader().server_id
    members.change(joining=members.entry(leader, "observer"))
    wait_for(lambda: members[leader].mode() == "observer", 30, "it to observe")
    assert_all_serve(members, [1, 2, 3], b"after")
    if members.flavour.is_zabra:
        assert members[leader].mntr()["zk_cnt_observer_sync_time"] == "1", "by what is in force, not by its file"


def test_what_would_lose_the_quorum_is_refused(make_members):
    members = make_members(5)
    version, _ = members[1].config()
    for change in (
        {"joining": members.entry(4) + "," + members.entry(5), "leaving": "1,2"},
        {"members": members.entry(4) + "," + members.entry(5)},
    ):
        assert members.reconfig(**change) == (jute.NEW_CONFIG_NO_QUORUM, None)
    leader = members.leader().server_id
    gone = next(server_id for server_id in (1, 2, 3) if server_id != leader)
    members[gone].kill()
    other = next(server_id for server_id in (1, 2, 3) if server_id not in (leader, gone))
    wait_for(lambda: members[leader].mntr().get("zk_synced_followers") == "1", 20, "one to be missed")
    error, _ = members.reconfig(leaving=str(other))
    assert error == jute.NEW_CONFIG_NO_QUORUM
    assert members[leader].config()[0] == version
    config = members.change(leaving=str(gone))
    assert set(config[1]) == {leader, other}


def test_a_watch_tells_of_other_servers(make_members):
    members = make_members(3)
    leader = members.leader().server_id
    gone, other = (server_id for server_id in (1, 2, 3) if server_id != leader)
    with members.client(other, is_super=False) as client:
        client.value(jute.get_data(CONFIG, watch=True))
        config = members.change(leaving=str(gone))
        event = client.receive(20)
        assert isinstance(event, Event) and (event.kind, event.path) == (jute.NODE_DATA_CHANGED, CONFIG)
        data, stat = client.value(jute.get_data(CONFIG))
        assert parse_config(data) == config
        assert (stat.version, stat.mzxid) == (-1, config[0])
        client.close()


def test_without_reconfig_enabled_nothing_changes_and_no_stranger_comes_in(make_members):
    members = make_members(4, options=Options(extra={"reconfigEnabled": "false"}))
    assert members.reconfig(leaving="3") == (jute.RECONFIG_DISABLED, None)
    version, servers = members[1].config()
    assert (version, set(servers)) == (0, {1, 2, 3})
    with members.client(1, is_super=False) as client:
        data, stat = client.value(jute.get_data(CONFIG))
        assert (stat.data_length, stat.version, stat.mzxid) == (len(data), -1, 0)
        assert client.value(jute.exists(CONFIG)) == stat
        assert client.value(jute.get_children2(CONFIG))[1] == client.value(jute.get_acl(CONFIG))[1] == stat
        client.close()
    if not members.flavour.is_zabra:
        return
    stranger = members.add(4)
    wait_for(lambda: "is not in the server list" in stranger.log_tail(), 20, "it to be refused")
    assert stranger.mode() is None


def test_alone_for_ever_there_is_nothing_to_change(make_ensemble):
    ensemble = make_ensemble(1, options=Options(extra={"reconfigEnabled": "true", "skipACL": "yes"}))
    server = ensemble.server(1)
    with RawClient(server.address.host, server.address.client_port) as client:
        assert client.call(jute.reconfig(leaving="1")).error == jute.UNIMPLEMENTED
        client.close()


def test_what_is_in_force_is_written_down(make_members):
    members = make_members(4, start=False)
    before = (members[1].folder / "zoo.cfg").read_text()
    members.start()
    if not members.flavour.is_zabra:
        pytest.skip("ZooKeeper does not keep what else is in the file")
    members.join(4)
    config = members.change(joining=members.entry(4))

    def is_written(server_id):
        files = members[server_id].dynamic_files()
        return files and files[-1] == (config[0], [f"server.{other}={line}" for other, line in sorted(config[1].items())])

    for server_id in (1, 2, 3, 4):
        wait_for(lambda: is_written(server_id), 20, lambda: f"it: {members[server_id].dynamic_files()}")  # noqa: B023
        server = members[server_id]
        text = wait_for(
            lambda: next((t for t in [(server.folder / "zoo.cfg").read_text()] if f".dynamic.{config[0]:x}" in t), None),  # noqa: B023
            20,
            "zoo.cfg to point to it",
        )
        assert "server." not in text
    kept = [line for line in before.split("\n") if line and not line.startswith("server.")]
    assert [line for line in (members[1].folder / "zoo.cfg").read_text().split("\n") if line][:-1] == kept
    assert (members[1].folder / "zoo.cfg.bak").read_text() == before


def test_a_server_without_its_disk_comes_back_as_what_it_is_now(make_members):
    members = make_members(4)
    set_value(members, b"before")
    members.join(4)
    config = members.change(joining=members.entry(4), leaving="1")
    members[1].kill()
    members.leader()
    file = members[4].folder / "zoo.cfg"
    wait_for(lambda: f".dynamic.{config[0]:x}" in file.read_text(), 20, "its file to be written")
    members[4].kill()
    for entry in (members[4].folder / "data").iterdir():
        if entry.name != "myid":
            entry.unlink()
    members[4].start()
    members[4].wait_serving()
    assert_all_serve(members, [2, 3, 4], b"after")
    wait_for(lambda: members[4].mode() == "follower", 20, "it to follow")


def test_a_server_that_is_not_added_yet_can_be_started_again(make_members):
    members = make_members(4)
    set_value(members, b"before")
    members.join(4)
    members[4].kill()
    set_value(members, b"meanwhile")
    members[4].start()
    members[4].wait_serving()
    assert value_at(members, 4) == b"meanwhile"
    followers = ("zk_synced_followers", "zk_synced_non_voting_followers")
    # In ZooKeeper its own file says what it counts as.
    if members.flavour.is_zabra:
        assert [members.leader().mntr()[key] for key in followers] == ["3", "1"]
    members.change(joining=members.entry(4))
    assert [members.leader().mntr()[key] for key in followers] == ["3", "0"]
    assert_all_serve(members, [1, 2, 3, 4], b"after")


def test_a_lost_server_is_replaced_by_a_new_one_that_votes(make_members):
    members = make_members(4)
    set_value(members, b"before")
    leader = members.leader().server_id
    lost, other = (server_id for server_id in (1, 2, 3) if server_id != leader)
    members[lost].kill()
    members.join(4)
    members.change(joining=members.entry(4), leaving=str(lost))
    if members.flavour.is_zabra:
        wait_for(lambda: members[4].mntr().get("zk_may_vote") == "1", 20, lambda: members[4].log_tail())
    members[other].kill()
    members.leader()
    assert_all_serve(members, [leader, 4], b"with the vote of the new one")


def join_as_voter(members, server_id):
    """Starts a server that is no member, and waits until its vote would count: it has heard all that vote."""
    server = members.join(server_id)
    if members.flavour.is_zabra:
        wait_for(lambda: "joining again as a voter" in server.log_tail(), 20, lambda: f"its vote:\n{server.log_tail()}")
        server.wait_serving()


def test_who_was_away_learns_who_the_servers_are_now(make_members):
    members = make_members(4)
    set_value(members, b"before")
    leader = members.leader().server_id
    away, other = (server_id for server_id in (1, 2, 3) if server_id != leader)
    join_as_voter(members, 4)
    members[away].kill()
    members.change(joining=members.entry(4), leaving=str(other))
    members[away].start()
    members[away].wait_serving()
    members.wait_config([leader, away, 4])
    members[other].kill()
    members[leader].kill()
    members.leader()
    assert_all_serve(members, [away, 4], b"after")


def test_who_was_away_while_all_others_changed_finds_them_through_one_that_has_left(make_members):
    members = make_members(6)
    if not members.flavour.is_zabra:
        pytest.skip("with ZooKeeper the operator has to tell it")
    set_value(members, b"before")
    leader = members.leader().server_id
    away, other = (server_id for server_id in (1, 2, 3) if server_id != leader)
    for server_id in (4, 5, 6):
        join_as_voter(members, server_id)
    members[away].kill()
    members.change(members=",".join(members.entry(server_id) for server_id in (4, 5, 6)))
    members[leader].kill()
    members.leader()
    members[away].start()
    members[away].wait_serving()
    assert_all_serve(members, [4, 5, 6, other, away], b"after")
    members.wait_config([4, 5, 6], among=[away])


def test_who_may_write_the_configuration_changes_the_servers(make_members):
    members = make_members(3)
    leader = members.leader().server_id
    gone = next(server_id for server_id in (1, 2, 3) if server_id != leader)
    change = jute.reconfig(leaving=str(gone))
    with members.client(leader) as master, members.client(leader, is_super=False) as client:
        client.call(jute.auth("digest", b"operator:pass"))
        assert client.call(change).error == jute.NO_AUTH
        digest = base64.b64encode(hashlib.sha1(b"operator:pass").digest()).decode()
        operator = jute.Acl(jute.WRITE, "digest", f"operator:{digest}")
        master.value(jute.set_acl(CONFIG, [jute.Acl(jute.READ, "world", "anyone"), operator]))
        assert set(parse_config(client.value(change)[0])[1]) == {1, 2, 3} - {gone}
        client.close()
        master.close()


def test_under_load_no_write_and_no_session_is_lost(make_members):
    members = make_members(5)
    writers = [Writer(members.servers.values(), f"w{number}", number) for number in range(6)]
    try:
        for turn in range(2):
            for new, gone in ((4, 1), (5, 2), (1, 4), (2, 5)):
                if turn == 0 and new in (4, 5):
                    members.join(new)
                config = members.change(joining=members.entry(new), leaving=str(gone))
                assert new in config[1] and gone not in config[1]
                all_write_on(writers)
    finally:
        for writer in writers:
            writer.end()
    assert_all_there([members.leader()], writers)


def test_when_the_leader_leaves_clients_of_the_others_hardly_notice(make_members):
    members = make_members(4)
    if not members.flavour.is_zabra:
        pytest.skip("a leader of ZooKeeper does not hand over")
    members.join(4)
    members.change(joining=members.entry(4))
    leader = members.leader()
    others = [server for server in members.servers.values() if server is not leader]
    writers = [Writer(others, f"w{place}", place) for place in range(3)]
    all_write_on(writers)
    members.change(through=others[0].server_id, leaving=str(leader.server_id))
    leader.kill()
    all_write_on(writers)
    for writer in writers:
        writer.end()
        print(f"{writer.name}: {len(writer.done)} writes, longest pause {writer.longest_pause_s():.3f} s")
    assert [writer.moves for writer in writers] == [0, 0, 0]
    # As in test_hand_over.py: shorter than a leader is missed.
    assert max(writer.longest_pause_s() for writer in writers) < 0.4
    assert_all_there(others, writers)


def test_servers_that_are_killed_meanwhile_lose_nothing(make_members):
    chance = random.Random(1)
    members = make_members(6)
    for server_id in (4, 5, 6):
        members.join(server_id, listed=[1, 2, 3])
    writers = [Writer(members.servers.values(), f"w{number}", number) for number in range(4)]
    decided = 0
    try:
        deadline = Deadline(12)
        while not deadline.over():
            if chance.random() < 0.55:
                wanted = sorted(chance.sample(range(1, 7), chance.choice([2, 3, 3, 4, 5])))
                try:
                    error, _ = members.reconfig(
                        through=chance.randrange(1, 7), members=",".join(members.entry(it) for it in wanted)
                    )
                except BROKEN:
                    continue
                assert error in (jute.OK, jute.NEW_CONFIG_NO_QUORUM, jute.RECONFIG_IN_PROGRESS), error
                decided += error == jute.OK
            else:
                server = members[chance.randrange(1, 7)]
                server.kill()
                server.start()
        all_write_on(writers)
    finally:
        for writer in writers:
            writer.end()
    assert decided > 0
    assert_all_there([members.leader()], writers)


def test_changes_that_meet_follow_one_another(make_members):
    members = make_members(3)
    results = []

    def change(server_id, role):
        with members.client(1) as client:
            for _ in range(10):
                reply = client.call(jute.reconfig(joining=members.entry(server_id, role)), 30)
                results.append(reply.error)

    leader = members.leader().server_id
    others = [server_id for server_id in (1, 2, 3) if server_id != leader]
    threads = [threading.Thread(target=change, args=(others[0], role)) for role in ("observer", "participant")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(results) == 20
    assert set(results) <= {jute.OK, jute.RECONFIG_IN_PROGRESS} and jute.OK in results
    configs = {members[server_id].config() and members[server_id].config()[0] for server_id in (1, 2, 3)}
    wait_for(lambda: len({members[server_id].config()[0] for server_id in (1, 2, 3)}) == 1, 20, f"one version: {configs}")


def test_while_a_change_is_not_decided_another_is_refused(make_members):
    # Long ticks: the leader is to wait for servers that are silent.
    members = make_members(3, options=Options(tick_ms=8000))
    leader = members.leader()
    others = [members[server_id] for server_id in (1, 2, 3) if server_id != leader.server_id]
    with members.client(leader.server_id) as one, members.client(leader.server_id) as two:
        for server in others:
            server.pause()
        try:
            # Nobody acknowledges the one that comes first, whichever that is.
            for client, server in zip((one, two), others):
                client.send(jute.reconfig(joining=members.entry(server.server_id, "observer")))
            waiting = lambda: int(leader.mntr()["zk_outstanding_requests"]) >= 2
            wait_for(waiting, 5, "both to be with the leader")
        finally:
            for server in others:
                server.resume()
        errors = {client.receive().error for client in (one, two)}
    assert errors == {jute.OK, jute.RECONFIG_IN_PROGRESS}


def test_kazoo_changes_the_servers(make_members):
    kazoo_client = pytest.importorskip("kazoo.client")
    exceptions = pytest.importorskip("kazoo.exceptions")
    members = make_members(4)
    members.join(4)
    client = kazoo_client.KazooClient(
        ",".join(members[server_id].hostport for server_id in (1, 2, 3)), auth_data=[("digest", SUPER)]
    )
    client.start()
    try:
        seen = []
        client.DataWatch(CONFIG, lambda data, _: seen.append(parse_config(data)[0]))
        data, stat = client.reconfig(joining=members.entry(4), leaving=None, new_members=None)
        version, servers = parse_config(data)
        assert set(servers) == {1, 2, 3, 4} and stat.mzxid == version
        wait_for(lambda: version in seen, 10, "the watch")
        with pytest.raises(exceptions.BadVersionError):
            client.reconfig(joining=None, leaving="4", new_members=None, from_config=1)
        with pytest.raises(exceptions.BadArgumentsError):
            client.reconfig(joining=None, leaving="1,2,3,4", new_members=None)
        with pytest.raises(exceptions.NewConfigNoQuorumError):
            client.reconfig(joining=None, leaving=None, new_members="server.8=127.0.0.1:1:2;3,server.9=127.0.0.1:4:5;6")
        data, _ = client.reconfig(joining=None, leaving="4", new_members=None, from_config=version)
        assert set(parse_config(data)[1]) == {1, 2, 3}
        everybody = ",".join(members.entry(server_id) for server_id in (1, 2, 3, 4))
        data, _ = client.reconfig(joining=None, leaving=None, new_members=everybody)
        assert set(parse_config(data)[1]) == {1, 2, 3, 4}
    finally:
        client.stop()
        client.close()


def _script(members):
    """A session of a shell that changes the servers, and what each line of it says if it went well."""
    return [
        ("addauth digest super:secret", ""),
        (f"reconfig -s -remove 4 -add {members.entry(3, 'observer')}", "mZxid = 0x"),
        (f"reconfig -v 1 -add {members.entry(3)}", "version No is not valid"),
        ("reconfig -remove 1,2,3", "Arguments are not valid"),
        ("reconfig -members server.8=127.0.0.1:1:2;3,server.9=127.0.0.1:4:5;6", "No quorum of new config is connected"),
        (f"reconfig -file {members.folder / 'servers'}", f"server.3={members.line(3)}"),
        ("config -s", "dataVersion = -1"),
        ("config -c", members[1].hostport),
    ]


def _check_script(members, command):
    members.start()
    (members.folder / "servers").write_text("".join(members.entry(server_id) + "\n" for server_id in (1, 2, 3)))
    script = _script(members)
    text = "".join(line + "\n" for line, _ in script) + "quit\n"
    hosts = ",".join(members[server_id].hostport for server_id in (1, 2))
    done = subprocess.run(
        [*command, hosts], input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120
    )
    said = done.stdout
    for line, expected in script:
        assert expected in said, f"{line}: no {expected!r} in\n{said}"
    assert said.count("Committed new configuration:\n") == 2, said
    assert set(members[1].config()[1]) == {1, 2, 3}
    assert ":participant;" in members[1].config()[1][3]


def test_the_shell_changes_the_servers(make_members):
    _check_script(make_members(3, start=False), [target.zabra_binary(), "shell", "-s"])


def test_zkcli_changes_the_servers(make_members):
    newest = target.zookeeper39()
    if newest.unavailable:
        pytest.skip(newest.unavailable)
    _check_script(make_members(3, start=False), [*newest.java(), "org.apache.zookeeper.ZooKeeperMain", "-server"])


def test_with_tls_a_stranger_needs_a_certificate_for_the_host_it_names(make_members, tmp_path):
    authority = Authority(tmp_path / "keys")

    def keys(name):
        return {
            "sslQuorum": "true",
            "ssl.quorum.keyStore.location": authority.folder / f"{name}.pem",
            "ssl.quorum.trustStore.location": authority.pem,
        }

    authority.make("good")
    authority.make("other", hosts=("DNS:elsewhere.example.com",))
    members = make_members(4, options=Options(extra=keys("good")))
    if not members.flavour.is_zabra:
        pytest.skip("ZooKeeper's keys are in another format")
    members.options.extra.update(keys("other"))
    stranger = members.add(4)
    wait_for(lambda: "ertificate" in stranger.log_tail(), 20, lambda: f"it to be refused:\n{stranger.log_tail()}")
    assert stranger.mode() is None
    stranger.kill()
    members.options.extra.update(keys("good"))
    members.join(4)
    members.change(joining=members.entry(4))
    assert_all_serve(members, [1, 2, 3, 4], b"with TLS")


def test_a_port_for_tls_is_opened_by_a_reconfiguration(make_members, tmp_path):
    authority = Authority(tmp_path / "keys")
    authority.make("server")
    keys = {"ssl.keyStore.location": authority.folder / "server.pem", "ssl.clientAuth": "none"}
    # Without a port that needs them the keys would not be read at the start.
    members = make_members(4, start=False, options=Options(extra={**keys, "client.portUnification": "true"}))
    if not members.flavour.is_zabra:
        pytest.skip("3.9 takes no such port")
    members.start()
    port = members.addresses[4].client_port
    config = members.change(joining=f"{members.entry(2)};127.0.0.1:{port}")
    assert config[1][2].endswith(f";127.0.0.1:{port}")
    context = ssl.create_default_context(cafile=authority.pem)

    def shakes_hands():
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as plain:
                return context.wrap_socket(plain, server_hostname="localhost").version()
        except OSError:
            return None

    assert wait_for(shakes_hands, 20, "the port to take clients with TLS").startswith("TLS")
    members[2].kill()
    members[2].start()
    wait_for(shakes_hands, 30, "the port after a restart")
