"""The same random operations to Apache ZooKeeper and to the server under test: the answers must be the same.

ZABRA_DIFF_SEED      the first seed (default 1)
ZABRA_DIFF_PROGRAMS  how many programs each test runs (default 60); one has about a hundred operations
ZABRA_DIFF_STEPS     steps of a program (default 40)

A failure prints the seed and the shortest program that was found to fail. `ZABRA_TARGET=zookeeper38` or `zookeeper39`
compares ZooKeeper with itself, which proves the comparison. What is not compared: `harness/differences.py`.
"""

import contextlib
import os

import pytest

from harness import jute
from harness.catalogue import catalogue
from harness.differences import left_out, rewriters
from harness.differential import Side, compare, shrink
from harness.ensemble import Ensemble
from harness.randomops import ProgramMaker
from harness.rawclient import RawClient
from harness.server import Options

SEED = int(os.environ.get("ZABRA_DIFF_SEED", 1))
PROGRAMS = int(os.environ.get("ZABRA_DIFF_PROGRAMS", 60))
STEPS = int(os.environ.get("ZABRA_DIFF_STEPS", 40))
# Fewer fsyncs: what is compared here does not depend on them.
OPTIONS = Options(
    extra={
        "forceSync": "no",
        "snapCount": "100000",
        "extendedTypesEnabled": "true",
        "enforceQuota": "true",
        "znode.container.checkIntervalMs": "86400000",
    }
)


class Pair:
    """The reference and the server under test, started afresh."""

    def __init__(self, reference, flavour, folder, size):
        self.flavours = (reference, flavour)
        self._rules = rewriters(reference, flavour, size)
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as starting:
            one = starting.enter_context(Ensemble(reference, folder / "reference", 1, OPTIONS))
            other = starting.enter_context(Ensemble(flavour, folder / "tested", size, OPTIONS))
            one.start()
            other.start()
            self._stack = starting.pop_all()
        self.ensembles = (one, other)
        self.sides = (
            Side(f"reference ({reference.name})", one.endpoints, patient=True),
            Side(flavour.name, other.endpoints, patient=not flavour.is_zabra),
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


def _program(seed, reference, flavour, size):
    return ProgramMaker(seed, f"/p{seed}", left_out(reference, flavour, size)).program(STEPS)


def _explain(reference, flavour, tmp_path, size, seed, program, parting):
    """Shrinks the program on fresh servers and fails with what is left of it."""
    runs = iter(range(1000))

    def parts(candidate):
        with Pair(reference, flavour, tmp_path / f"shrink-{next(runs)}", size) as pair:
            return pair.parting(candidate)

    shorter, again = shrink(program, parts)
    listing = "\n".join(f"{index}: {step}" for index, step in enumerate(shorter))
    once = "" if again else "\nOn fresh servers the same program did not fail: it needs what ran before."
    pytest.fail(f"seed {seed} (ZABRA_DIFF_SEED={seed} ZABRA_DIFF_PROGRAMS=1)\n{again or parting}\n{listing}{once}")


@pytest.mark.parametrize("size", [1, 3], ids=["standalone", "three_servers"])
def test_random_operations_are_answered_as_zookeeper_answers_them(reference, flavour, tmp_path, size):
    with Pair(reference, flavour, tmp_path / "pair", size) as pair:
        for seed in range(SEED, SEED + PROGRAMS):
            program = _program(seed, reference, flavour, size)
            parting = pair.parting(program)
            if parting:
                break
        else:
            return
    _explain(reference, flavour, tmp_path, size, seed, program, parting)


def test_the_catalogue_of_odd_requests_is_answered_as_zookeeper_answers_it(reference, flavour, tmp_path):
    if min(reference.version, flavour.version) < (3, 9, 2):
        pytest.skip("3.8 differs in many of these: it takes the jars of 3.9 (python3 -m harness.zk39)")
    partings = []
    with Pair(reference, flavour, tmp_path / "pair", 1) as pair:
        for name, program in catalogue().items():
            if parting := pair.parting(program):
                partings.append(f"{name}: {parting}")
    assert not partings, "\n\n".join(partings)


NOT_BUILT_YET = [16, 20]


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
