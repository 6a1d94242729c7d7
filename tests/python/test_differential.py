"""The same random operations to Apache ZooKeeper and to the server under test: the answers must be the same.

ZABRA_DIFF_SEED      the first seed (default 1)
ZABRA_DIFF_PROGRAMS  how many programs each test runs (default 60); one has about a hundred operations
ZABRA_DIFF_STEPS     steps of a program (default 40)

A failure prints the seed and the shortest program that was found to fail. `ZABRA_TARGET=zookeeper38` or `zookeeper39`
compares ZooKeeper with itself, which proves the comparison. What is not compared: `harness/differences.py`.
"""

import contextlib
import itertools
import os

import pytest

from harness import jute
from harness.catalogue import catalogue
from harness.differences import left_out, rewriters
from harness.differential import Side, compare, shrink
from harness.ensemble import Ensemble
from harness.randomops import MALFORMED, ProgramMaker
from harness.rawclient import RawClient
from harness.server import Options
from harness.wait import wait_for

SEED = int(os.environ.get("ZABRA_DIFF_SEED", 1))
PROGRAMS = int(os.environ.get("ZABRA_DIFF_PROGRAMS", 60))
STEPS = int(os.environ.get("ZABRA_DIFF_STEPS", 40))
SILENCES = 2
"""How often the reference may leave a request without an answer."""
# Fewer fsyncs: what is compared here does not depend on them.
OPTIONS = Options(
    extra={
        "forceSync": "no",
        "snapCount": "100000",
        "maxSessionTimeout": "120000",
        "extendedTypesEnabled": "true",
        "enforceQuota": "true",
        "znode.container.checkIntervalMs": "86400000",
    }
)


class Pair:
    """The reference and the server under test, started afresh."""

    def __init__(self, reference, flavour, folder, size, reference_size=1):
        self.flavours = (reference, flavour)
        self._rules = rewriters(reference, flavour, size)
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as starting:
            one = starting.enter_context(Ensemble(reference, folder / "reference", reference_size, OPTIONS))
            other = starting.enter_context(Ensemble(flavour, folder / "tested", size, OPTIONS))
            one.start()
            other.start()
            self._stack = starting.pop_all()
        self.ensembles = (one, other)
        self.sides = (
            Side(f"reference ({reference.name})", one.endpoints, patient=True, ensemble=one),
            Side(flavour.name, other.endpoints, patient=not flavour.is_zabra, ensemble=other),
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stack.close()

    def parting(self, program):
        """Where the two part on this program, or None."""
        return compare(*self.sides, program, self._rewrite)

    def _rewrite(self, _step, seen):
        for rule in self._rules:
            seen = [rule(one) for one in seen]
        return seen


def _compare_all(reference, flavour, tmp_path, size, reference_size, programs):
    """Runs the (seed, program)s; fails with what is left of the first that parts them, shrunk on fresh servers. Where the
    reference falls silent the program begins again with fresh servers."""
    fresh = itertools.count()

    def pair():
        return Pair(reference, flavour, tmp_path / f"pair-{next(fresh)}", size, reference_size)

    programs = list(programs)
    for _ in range(1 + SILENCES):
        with pair() as both:
            while programs and not (parting := both.parting(programs[0][1])):
                del programs[0]
        if not programs:
            return
        if not parting.is_silence_of_the_left:
            break
    seed, program = programs[0]

    def parts(candidate):
        with pair() as both:
            found = both.parting(candidate)
        return None if found and found.is_silence_of_the_left else found

    shorter, again = (program, None) if parting.is_silence_of_the_left else shrink(program, parts)
    listing = "\n".join(f"{index}: {step}" for index, step in enumerate(shorter))
    once = "" if again else "\nOn fresh servers the same program did not fail: it needs what ran before."
    pytest.fail(f"seed {seed} (ZABRA_DIFF_SEED={seed} ZABRA_DIFF_PROGRAMS=1)\n{again or parting}\n{listing}{once}")


@pytest.mark.parametrize("size", [1, 3], ids=["standalone", "three_servers"])
def test_random_operations_are_answered_as_zookeeper_answers_them(reference, flavour, tmp_path, size):
    without = left_out(reference, flavour, size)
    seeds = range(SEED, SEED + PROGRAMS)
    programs = ((seed, ProgramMaker(seed, f"/p{seed}", without).program(STEPS)) for seed in seeds)
    _compare_all(reference, flavour, tmp_path, size, 1, programs)


@pytest.mark.parametrize("size", [1, 3], ids=["standalone", "three_servers"])
def test_nothing_is_answered_otherwise_when_servers_are_killed_in_between(reference, flavour, tmp_path, size):
    without = left_out(reference, flavour, size) | ({MALFORMED} if size > 1 else set())
    seeds = range(SEED, SEED + max(1, PROGRAMS // 30))
    programs = ((seed, ProgramMaker(seed, f"/d{seed}", without).disrupted(STEPS, 2)) for seed in seeds)
    _compare_all(reference, flavour, tmp_path, size, size, programs)


def test_the_catalogue_of_odd_requests_is_answered_as_zookeeper_answers_it(reference, flavour, tmp_path):
    if min(reference.version, flavour.version) < (3, 9, 2):
        pytest.skip("3.8 differs in many of these: it takes the jars of 3.9 (python3 -m harness.zk39)")
    partings = []
    with Pair(reference, flavour, tmp_path / "pair", 1) as pair:
        for name, program in catalogue().items():
            if parting := pair.parting(program):
                partings.append(f"{name}: {parting}")
    assert not partings, "\n\n".join(partings)


def _ends(server):
    """What becomes of containers and of znodes with a time to live, as a client sees it."""
    with RawClient(server.address.host, server.address.client_port) as client:
        client.value(jute.create("/end"))
        client.value(jute.add_watch("/end", jute.WATCH_RECURSIVE))
        for name in ("used", "kept", "never"):
            client.value(jute.create_container(f"/end/{name}"))
        for name in ("used", "kept"):
            client.value(jute.create(f"/end/{name}/child"))
        client.value(jute.delete("/end/used/child"))
        client.value(jute.create_ttl("/end/short", ttl_ms=50))
        client.value(jute.create_ttl("/end/n-", flags=6, ttl_ms=50))
        client.value(jute.create_ttl("/end/parent", ttl_ms=50))
        client.value(jute.create("/end/parent/child"))
        client.value(jute.create_ttl("/end/long", ttl_ms=3_600_000))
        names = lambda: sorted(client.value(jute.get_children("/end")))
        wait_for(lambda: names() == ["kept", "long", "never", "parent"], 30, lambda: f"the end of the others: {names()}")
        client.value(jute.delete("/end/parent/child"))
        wait_for(lambda: names() == ["kept", "long", "never"], 30, lambda: f"the end of the parent: {names()}")
        client.value(jute.sync())
        stat = client.value(jute.exists("/end"))
        last = max(event.zxid for event in client.events)
        told = [(event.kind, event.path) for event in client.events]
        assert client.close().error == jute.OK
    # Which of several goes first is chance.
    return sorted(told), stat.cversion, stat.num_children, stat.version, stat.pzxid == last


def test_containers_and_times_to_live_end_as_in_zookeeper(reference, flavour, make_ensemble):
    extra = {"extendedTypesEnabled": "true", "znode.container.checkIntervalMs": "100"}
    ends = [_ends(make_ensemble(flavour=kind, options=Options(extra=extra)).servers[0]) for kind in (reference, flavour)]
    assert ends[0] == ends[1]
    assert len([kind for kind, _ in ends[0][0] if kind == 2]) == 6, ends


NOT_BUILT_YET = [20]


def test_an_operation_that_is_not_built_is_unimplemented_and_the_session_lives_on(flavour, make_ensemble):
    if not flavour.is_zabra:
        pytest.skip("ZooKeeper implements these operations")
    with RawClient(*make_ensemble().endpoints[0]) as client:
        for code in [*NOT_BUILT_YET, 999, -1]:
            reply = client.call(jute.raw(code, jute.text("/")))
            assert (code, reply.error) == (code, jute.UNIMPLEMENTED)
        assert client.value(jute.create("/lives-on")) == "/lives-on"


def test_a_new_acl_holds_for_what_is_pipelined_behind_it(flavour, make_ensemble):
    if not flavour.is_zabra:
        pytest.skip("ZooKeeper checks what follows in the pipeline against the old list until the new one is applied")
    read_only = [jute.Acl(jute.READ, "world", "anyone")]
    with RawClient(*make_ensemble(3).endpoints[0]) as client:
        client.value(jute.create("/closing"))
        client.send_all([jute.set_acl("/closing", read_only), jute.create("/closing/late"), jute.get_acl("/closing")])
        assert [client.receive().error for _ in range(3)] == [jute.OK, jute.NO_AUTH, jute.OK]
