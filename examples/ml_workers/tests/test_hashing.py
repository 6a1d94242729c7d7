"""Consistent hashing: everybody agrees, and little moves."""

from collections import Counter

import pytest

from hashing import Ring, assign, moved

WORKERS = [f"worker-{number}" for number in range(1, 8)]
SHARDS = 500


def test_the_ring_gives_the_same_answer_in_every_process():
    # Written down, not computed: a change of the hash would break running jobs during an upgrade.
    assert assign(["a", "b", "c"], 8) == {0: "c", 1: "c", 2: "a", 3: "b", 4: "b", 5: "b", 6: "a", 7: "c"}


def test_the_order_and_repetition_of_members_do_not_matter():
    assert assign(WORKERS, SHARDS) == assign(list(reversed(WORKERS)) + WORKERS, SHARDS)


@pytest.mark.parametrize("gone", WORKERS)
def test_when_a_worker_leaves_only_its_shards_move(gone):
    before = assign(WORKERS, SHARDS)
    after = assign([worker for worker in WORKERS if worker != gone], SHARDS)
    assert moved(before, after) == [shard for shard, owner in before.items() if owner == gone]


@pytest.mark.parametrize("count", range(1, 7))
def test_when_a_worker_joins_shards_move_only_to_it(count):
    before, after = assign(WORKERS[:count], SHARDS), assign(WORKERS[: count + 1], SHARDS)
    changed = moved(before, after)
    assert changed
    assert {after[shard] for shard in changed} == {WORKERS[count]}


def test_a_worker_that_comes_back_gets_its_shards_back():
    before = assign(WORKERS, SHARDS)
    assert assign([*WORKERS[:3], *WORKERS[4:], WORKERS[3]], SHARDS) == before


def test_every_shard_has_one_owner_and_the_shares_are_not_far_apart():
    shares = Counter(assign(WORKERS, 7000).values())
    assert sum(shares.values()) == 7000
    assert max(shares.values()) < 1.5 * min(shares.values())


def test_without_members_nothing_is_assigned():
    assert assign([], SHARDS) == {}
    assert Ring([]).owner("shard-0") is None
