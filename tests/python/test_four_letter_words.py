"""All eighteen four-letter words beside Apache ZooKeeper's: the same lines, but for numbers and for what is Java's."""

import re
from collections import Counter

import pytest

from harness.ensemble import Ensemble
from harness.fourletter import four_letter
from harness.kazoos import Clients
from harness.rawclient import RawClient
from harness.wait import wait_for

_NUMBERS = re.compile(r"0x[0-9a-f]+|\b[0-9a-f]*[0-9][0-9a-f]*\b")
# Java prints the moment, Zabra how long it is until then; how many share one is chance.
_MOMENTS = re.compile(r"^# expire (?:at .*|in # ms):$")

def _shape(text):
    """Its lines without the numbers in them, counted: the order of most is that of a hash table in Java."""
    lines = [_NUMBERS.sub("#", line) for line in text.splitlines()]
    lines = [line for line in lines if not line.startswith("Zookeeper version:")]
    return Counter(line for line in lines if not _MOMENTS.match(line))


class Scene:
    """A server with one client that has an ephemeral, a data watch and a data watch on what is not there."""

    def __init__(self, ensemble, clients):
        self.ensemble = ensemble
        self.server = ensemble.leader()
        self.client = clients.new(self.server.hostport)
        self.client.create("/words", b"x" * 10)
        self.client.create("/words/ephemeral", ephemeral=True)
        self.client.get("/words", watch=lambda event: None)
        self.client.exists("/words/absent", watch=lambda event: None)

    def ask(self, word):
        answer = self.server.word(word)
        assert answer is not None, f"no answer to {word}"
        return answer


@pytest.fixture(scope="module", params=[1, 3], ids=["standalone", "three_servers"])
def scenes(request, flavour, reference, tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    with Ensemble(flavour, folder / "ours", request.param) as ours, Ensemble(
        reference, folder / "theirs", request.param
    ) as theirs:
        with Clients(ours.start().connect_string) as our_clients, Clients(theirs.start().connect_string) as their_clients:
            yield Scene(ours, our_clients), Scene(theirs, their_clients)


@pytest.mark.parametrize("word", ["cons", "dump", "wchs", "wchp", "wchc", "dirs", "gtmk", "ruok", "isro", "stat", "srvr"])
def test_an_answer_has_the_lines_of_zookeeper(scenes, word):
    ours, theirs = (_shape(scene.ask(word)) for scene in scenes)
    assert ours == theirs


def _settings(text):
    """The lines of `conf`, without what every server has for itself: its id, folders and ports."""
    own = re.compile(r"^(clientPort|dataDir|dataLogDir|dataDirSize|dataLogSize|serverId|electionPort|quorumPort|server\.\d+)=.*$")
    return [own.sub(r"\1=", line) for line in text.splitlines()]


def test_conf_has_the_lines_of_zookeeper_with_the_same_values(scenes):
    ours, theirs = (_settings(scene.ask("conf")) for scene in scenes)
    assert ours == theirs
    assert any(line.startswith("tickTime=") for line in ours)


def test_a_follower_lists_sessions_with_their_timeouts(scenes):
    dumps = []
    for scene in scenes:
        if len(scene.ensemble.servers) == 1:
            pytest.skip("a standalone server is no follower")
        text = scene.ensemble.followers()[0].word("dump")
        dumps.append(_shape(text.split("Connections dump:")[0]))
    assert dumps[0] == dumps[1]


def test_the_environment_is_told_without_java(scenes):
    ours, theirs = ([line.split("=")[0] for line in scene.ask("envi").splitlines()] for scene in scenes)
    assert ours == [key for key in theirs if not key.startswith(("java.", "jvm.", "os.memory."))]


def test_digests_of_the_newest_states_are_equal_on_all_servers(scenes):
    ours = scenes[0]
    ours.client.sync("/")
    digests = [dict(line.split(": ") for line in server.word("hash").splitlines()) for server in ours.ensemble.servers]
    common = set.intersection(*(set(each) for each in digests))
    assert common
    for zxid in common:
        assert len({each[zxid] for each in digests}) == 1


def test_counters_can_be_reset(scenes):
    for scene in scenes:
        assert scene.ask("srst") == "Server stats reset.\n"
        assert int(re.search(r"Received: (\d+)", scene.ask("srvr"))[1]) < 10
        assert scene.ask("crst") == "Connection stats reset.\n"
        own = next(line for line in scene.ask("cons").splitlines() if "sid=" in line)
        assert int(re.search(r"recved=(\d+)", own)[1]) <= 1


def test_the_trace_mask_is_what_was_set(scenes):
    for scene in scenes:
        address = scene.server.address
        answer = four_letter(address.host, address.client_port, "stmk" + "\0" * 6 + "\x01\x02")
        assert (answer, scene.ask("gtmk")) == ("258", "258")
        assert four_letter(address.host, address.client_port, "stmk" + "\0" * 6 + "\x01\x32") == "306"


# What Zabra does not tell, with reasons in docs/compatibility.md: of queues between ZooKeeper's threads, its caches, its
# Java machine and its admin server; what only the log tells; and what compares the clocks of two machines.
_ELSEWHERE = set(
    """
    add_dead_watcher_stall_time close_session_prep_time cnxn_closed_without_zk_server_running
    commit_commit_proc_req_queued commit_process_time commit_propagation_latency
    concurrent_request_processing_in_commit_processor dead_watchers_cleaner_latency
    dead_watchers_cleared dead_watchers_queued inflight_diff_count inflight_snap_count
    insecure_admin_count jvm_pause_time_ms learner_handler_qp_size learner_handler_qp_time_ms
    learner_request_processor_queue_size local_write_committed_time_ms netty_queued_buffer_capacity
    om_commit_process_time_ms om_proposal_process_time_ms outstanding_changes_queued outstanding_changes_removed
    pending_session_queue_size prep_process_time prep_processor_queue_size prep_processor_queue_time_ms
    prep_processor_request_queued propagation_latency proposal_ack_creation_latency proposal_latency
    proposal_process_time quit_leading_due_to_disloyal_voter read_commit_proc_issued
    read_commit_proc_req_queued read_commitproc_time_ms read_final_proc_time_ms reads_after_write_in_session_queue
    reads_issued_from_session_queue request_commit_queued
    requests_in_session_queue requests_not_forwarded_to_commit_processor response_packet_cache_hits
    response_packet_cache_misses response_packet_get_children_cache_hits response_packet_get_children_cache_misses
    restore_error_count restore_rate_limited_count restore_time server_write_committed_time_ms
    session_queues_drained skip_learner_request_to_next_processor_count snapshot_rate_limited_count
    socket_closing_time stale_replies sync_process_time
    sync_processor_queue_and_flush_time_ms sync_processor_queue_flush_time_ms sync_processor_queue_size
    sync_processor_queue_time_ms sync_processor_request_queued
    time_waiting_empty_pool_in_commit_processor_read_ms unrecoverable_error_count
    write_batch_time_in_commit_processor write_commit_proc_issued write_commit_proc_req_queued
    write_commitproc_time_ms write_final_proc_time_ms read_per_namespace write_per_namespace
    """.split()
)
_STATISTIC = re.compile(r"^zk_((avg|min|max|cnt|sum|p50|p95|p99|p999)_)?(\d+_)?")


def _without_statistic(key):
    name = _STATISTIC.sub("", key)
    return re.sub(r"^.*_(read|write)_per_namespace$", r"\1_per_namespace", name)


def test_every_key_of_mntr_is_one_of_zookeeper_or_known_to_be_ours(scenes):
    own = {
        "zk_last_processed_zxid",
        "zk_tree_digest",
        "zk_data_version",
        "zk_ensemble_version",
        "zk_damaged_sets",
        "zk_may_vote",
        "zk_voters_without_vote",
        "zk_voters_unheard",
        "zk_peer_bytes_sent_count",
    }
    if scenes[1].ensemble.flavour.version < (3, 9):
        own.add("zk_snapshot_error_count")
    ours, theirs = (set(scene.server.mntr()) for scene in scenes)
    assert ours - theirs - own == set()
    assert {_without_statistic(key) for key in theirs - ours} <= _ELSEWHERE


def test_metrics_count_what_happens(flavour, tmp_path):
    with Ensemble(flavour, tmp_path, 3) as ensemble, Clients(ensemble.start().connect_string) as clients:
        leader, follower = ensemble.leader(), ensemble.followers()[0]
        client = clients.new(follower.hostport)
        seen = client.handler.event_object()
        client.create("/metrics", b"x" * 1000)
        for _ in range(10):
            client.get("/metrics")
        client.get("/metrics", watch=lambda event: seen.set())
        client.set("/metrics", b"y" * 1000)
        assert seen.wait(10)

        ours = {key: float(value) for key, value in follower.mntr().items() if _is_number(value)}
        assert ours["zk_cnt_readlatency"] >= 11 and ours["zk_cnt_updatelatency"] >= 2
        assert ours["zk_max_client_response_size"] > 1000 and ours["zk_response_bytes"] > 11_000
        assert ours["zk_bytes_received_count"] > 2000 and ours["zk_watch_bytes"] > 30
        assert ours["zk_sum_node_changed_watch_count"] == 1
        assert ours["zk_connection_request_count"] == 1 and ours["zk_connection_revalidate_count"] == 0
        assert ours["zk_learner_proposal_received_count"] >= ours["zk_learner_commit_received_count"] >= 3
        assert ours["zk_looking_count"] >= 1 and ours["zk_cnt_unavailable_time"] >= 1
        assert ours["zk_cnt_follower_sync_time"] >= 1 and ours["zk_cnt_election_time"] >= 1
        assert ours["zk_cnt_fsynctime"] >= 3 and ours["zk_max_sync_processor_batch_size"] >= 1
        assert ours["zk_cnt_dbinittime"] == 1

        # What two followers have on their disks is decided, whether the leader has or not.
        wait_for(lambda: int(leader.mntr()["zk_commit_count"]) >= 3, 10, "the leader applying what it proposed")
        theirs = leader.mntr()
        assert int(theirs["zk_proposal_count"]) >= 3
        assert int(theirs["zk_diff_count"]) + int(theirs["zk_snap_count"]) == 2
        before = int(theirs["zk_revalidate_count"])
        host, port = follower.address.host, follower.address.client_port
        with RawClient(host, port) as one, RawClient(host, port, session=one.session):
            assert int(leader.mntr()["zk_revalidate_count"]) == before + 1
        assert int(theirs["zk_leader_uptime"]) > 0 and int(theirs["zk_cnt_quorum_ack_latency"]) >= 3


def _is_number(value):
    return re.fullmatch(r"-?[0-9.]+", str(value)) is not None
