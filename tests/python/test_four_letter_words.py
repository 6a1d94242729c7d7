"""All eighteen four-letter words beside Apache ZooKeeper's: the same lines, but for numbers and for what is Java's."""

import re
from collections import Counter

import pytest

from harness.ensemble import Ensemble
from harness.fourletter import four_letter
from harness.kazoos import Clients

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


def test_every_key_of_mntr_is_one_of_zookeeper_or_known_to_be_ours(scenes):
    own = {
        "zk_last_processed_zxid",
        "zk_tree_digest",
        "zk_damaged_sets",
        "zk_may_vote",
        "zk_voters_without_vote",
        "zk_voters_unheard",
    }
    ours, theirs = (scene.server.mntr() for scene in scenes)
    assert set(ours) - set(theirs) - own == set()
