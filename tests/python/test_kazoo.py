"""kazoo and its recipes, written by others for ZooKeeper: every one of them against one server and against three."""

import datetime
import itertools
import threading

import pytest
from kazoo.client import KazooState  # noqa: F401  (kazoo's own names are part of what is tested)
from kazoo.exceptions import (
    AuthFailedError,
    BadVersionError,
    InvalidACLError,
    NoAuthError,
    NoChildrenForEphemeralsError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    RolledBackError,
    RuntimeInconsistency,
)
from kazoo.protocol.states import EventType
from kazoo.recipe.cache import TreeCache, TreeEvent
from kazoo.security import OPEN_ACL_UNSAFE, make_digest_acl, make_acl

from harness.kazoos import Clients, Seen, Worker
from harness.wait import wait_for

_numbers = itertools.count(1)


@pytest.fixture
def clients(shared_ensemble):
    """Clients of the shared ensemble under a folder of the test's own."""
    chroot = f"/test{next(_numbers)}"
    with Clients(shared_ensemble.connect_string) as root:
        root.new().ensure_path(chroot)
    with Clients(shared_ensemble.connect_string, chroot) as made:
        yield made
    shared_ensemble.assert_healthy()


# --- single operations ---------------------------------------------------------------------------------------------


def test_create_get_set_and_delete_with_versions(clients):
    client = clients.new()
    assert client.create("/n", b"one") == "/n"
    data, stat = client.get("/n")
    assert (data, stat.version, stat.dataLength, stat.numChildren) == (b"one", 0, 3, 0)
    assert client.set("/n", b"two").version == 1
    with pytest.raises(BadVersionError):
        client.set("/n", b"three", version=0)
    with pytest.raises(BadVersionError):
        client.delete("/n", version=0)
    client.delete("/n", version=1)
    with pytest.raises(NoNodeError):
        client.get("/n")
    assert client.exists("/n") is None


def test_stat_tells_of_children_and_versions(clients):
    client = clients.new()
    path, created = client.create("/s", b"12345", include_data=True)
    assert (path, created.version, created.czxid) == ("/s", 0, created.mzxid)
    for child in "abc":
        client.create(f"/s/{child}")
    client.delete("/s/b")
    children, stat = client.get_children("/s", include_data=True)
    assert sorted(children) == ["a", "c"]
    assert (stat.numChildren, stat.cversion, stat.version) == (2, 4, 0)
    assert stat.pzxid > stat.mzxid == stat.czxid
    assert 0 < stat.ctime <= stat.mtime


def test_errors_are_the_right_ones(clients):
    client = clients.new()
    client.create("/e", b"", ephemeral=True)
    client.create("/p/c", b"", makepath=True)
    with pytest.raises(NodeExistsError):
        client.create("/p")
    with pytest.raises(NoNodeError):
        client.create("/none/c")
    with pytest.raises(NotEmptyError):
        client.delete("/p")
    with pytest.raises(NoChildrenForEphemeralsError):
        client.create("/e/c")
    with pytest.raises(InvalidACLError):
        client.create("/x", acl=[make_acl("nonsense", "id", all=True)])


def test_sequential_names_count_the_creations_of_the_parent(clients):
    client = clients.new()
    client.create("/seq")
    assert client.create("/seq/a-", sequence=True) == "/seq/a-0000000000"
    assert client.create("/seq/b-", sequence=True, ephemeral=True) == "/seq/b-0000000001"
    client.delete("/seq/a-0000000000")
    client.create("/seq/plain")
    assert client.create("/seq/a-", sequence=True) == "/seq/a-0000000003"


def test_many_requests_in_flight_are_answered_in_order(clients):
    client = clients.new()
    client.create("/flight")
    pending = [client.create_async("/flight/n-", str(i).encode(), sequence=True) for i in range(500)]
    paths = [one.get(timeout=20) for one in pending]
    assert paths == [f"/flight/n-{i:010d}" for i in range(500)]
    datas = [client.get_async(path) for path in paths]
    assert [one.get(timeout=20)[0] for one in datas] == [str(i).encode() for i in range(500)]


def test_a_znode_of_almost_a_mebibyte(clients):
    client = clients.new()
    big = bytes(range(256)) * 4000
    client.create("/big", big)
    assert client.get("/big")[0] == big
    assert client.sync("/big") == "/big"


# --- transactions --------------------------------------------------------------------------------------------------


def test_a_transaction_is_all_or_nothing(clients):
    client = clients.new()
    client.create("/t", b"0")
    with client.transaction() as transaction:
        transaction.create("/t/a", b"a")
        transaction.create("/t/s-", b"", sequence=True)
        transaction.check("/t", version=0)
        transaction.set_data("/t", b"1")
        transaction.delete("/t/a")
    assert client.get("/t")[0] == b"1"
    assert client.get_children("/t") == ["s-0000000001"]

    transaction = client.transaction()
    transaction.create("/t/b")
    transaction.check("/t", version=77)
    transaction.delete("/t")
    results = transaction.commit()
    assert [type(result) for result in results] == [RolledBackError, BadVersionError, RuntimeInconsistency]
    assert not client.exists("/t/b")


def test_two_clients_move_money_and_lose_none(clients):
    """Transactions that race: each moves a coin if nobody else did in between."""
    first = clients.new()
    first.create("/bank")
    for account in "ab":
        first.create(f"/bank/{account}", b"50")

    def move(client, source, target, times):
        moved = 0
        while moved < times:
            (have, source_stat), (has, target_stat) = (client.get(f"/bank/{name}") for name in (source, target))
            transaction = client.transaction()
            transaction.set_data(f"/bank/{source}", str(int(have) - 1).encode(), source_stat.version)
            transaction.set_data(f"/bank/{target}", str(int(has) + 1).encode(), target_stat.version)
            moved += not any(isinstance(result, Exception) for result in transaction.commit())

    workers = [Worker(move, clients.new(), *way, 20) for way in (("a", "b"), ("b", "a"))]
    for worker in workers:
        worker.result(60)
    first.sync("/bank")
    balances = [int(first.get(f"/bank/{account}")[0]) for account in "ab"]
    versions = [first.get(f"/bank/{account}")[1].version for account in "ab"]
    assert (balances, versions) == ([50, 50], [40, 40])


# --- watches -------------------------------------------------------------------------------------------------------


def test_data_watch_follows_a_znode_through_its_life(clients):
    client, other = clients.new(), clients.new()
    seen = Seen()
    client.DataWatch("/watched", lambda data, stat: seen.add(data) if seen.items[-1:] != [data] else None)
    seen.wait_last(None)
    for data in (b"1", b"2", b"3"):
        other.set("/watched", data) if other.exists("/watched") else other.create("/watched", data)
        seen.wait_last(data)
    other.delete("/watched")
    seen.wait_last(None)
    other.create("/watched", b"again")
    seen.wait_last(b"again")


def test_children_watch_sees_every_member(clients):
    client, other = clients.new(), clients.new()
    client.create("/group")
    seen = Seen()
    client.ChildrenWatch("/group", lambda children: seen.add(sorted(children)))
    seen.wait_last([])
    for members in (["a"], ["a", "b"], ["a", "b", "c"]):
        other.create(f"/group/{members[-1]}")
        seen.wait_last(members)
    other.delete("/group/b")
    seen.wait_last(["a", "c"])


def test_a_watch_fires_once_and_before_the_new_data(clients):
    client, other = clients.new(), clients.new()
    client.create("/once", b"0")
    seen = Seen()
    client.get("/once", watch=lambda event: seen.add((event.type, event.path)))
    for data in (b"1", b"2", b"3"):
        other.set("/once", data)
    wait_for(lambda: client.get("/once")[0] == b"3", 10, "the new data")
    seen.wait(len, "an event")
    assert seen.items == [(EventType.CHANGED, "/once")]


def test_tree_cache_mirrors_a_subtree(clients):
    client, other = clients.new(), clients.new()
    other.create("/tree/a/b", b"deep", makepath=True)
    client.sync("/tree")
    seen = Seen()
    cache = TreeCache(client, "/tree")
    cache.listen(lambda event: seen.add(event.event_type))
    cache.listen_fault(lambda error: seen.add(error))
    cache.start()
    seen.wait(lambda items: TreeEvent.INITIALIZED in items, "the cache to be filled")
    assert cache.get_data("/tree/a/b").data == b"deep"
    other.set("/tree/a/b", b"changed")
    wait_for(lambda: cache.get_data("/tree/a/b").data == b"changed", 10, "the change in the cache")
    other.create("/tree/a/c")
    wait_for(lambda: cache.get_children("/tree/a") == {"b", "c"}, 10, "the new child in the cache")
    other.delete("/tree/a", recursive=True)
    wait_for(lambda: cache.get_children("/tree") == frozenset(), 10, "the subtree to leave the cache")
    cache.close()
    assert not [item for item in seen.items if isinstance(item, Exception)]


# --- recipes -------------------------------------------------------------------------------------------------------


def test_lock_lets_one_in_at_a_time(clients):
    inside, most, done = [], [], []

    def work(number):
        client = clients.new()
        for _ in range(5):
            with client.Lock("/lock", f"worker {number}"):
                inside.append(number)
                most.append(len(inside))
                inside.remove(number)
        done.append(number)

    for worker in [Worker(work, number) for number in range(5)]:
        worker.result(60)
    assert (max(most), sorted(done)) == (1, [0, 1, 2, 3, 4])


def test_lock_goes_to_the_next_when_its_holder_ends(clients):
    holder, waiter = clients.new(), clients.new()
    assert holder.Lock("/lock", "holder").acquire(timeout=10)
    waiting = waiter.Lock("/lock", "waiter")
    assert not waiting.acquire(blocking=False)
    acquiring = Worker(waiting.acquire, True, 20)
    wait_for(lambda: waiting.contenders() == ["holder", "waiter"], 10, "the waiter to queue up")
    holder.stop()
    assert acquiring.result()


def test_read_locks_are_shared_and_a_write_lock_is_not(clients):
    readers = [clients.new().ReadLock("/rw", f"r{i}") for i in range(2)]
    writer = clients.new().WriteLock("/rw", "w")
    for reader in readers:
        assert reader.acquire(timeout=10)
    writing = Worker(writer.acquire, True, 20)
    wait_for(lambda: len(writer.contenders()) == 3, 10, "the writer to queue up")
    late = clients.new().ReadLock("/rw", "late")
    assert not late.acquire(blocking=False)
    for reader in readers:
        assert not writing.done()
        reader.release()
    assert writing.result()
    writer.release()
    assert late.acquire(timeout=10)


def test_semaphore_has_as_many_leases_as_told(clients):
    semaphores = [clients.new().Semaphore("/sem", f"h{i}", max_leases=2) for i in range(3)]
    assert semaphores[0].acquire(timeout=10) and semaphores[1].acquire(timeout=10)
    assert not semaphores[2].acquire(blocking=False)
    waiting = Worker(semaphores[2].acquire, True, 20)
    wait_for(lambda: sorted(semaphores[0].lease_holders()) == ["h0", "h1"], 10, "both holders to be seen")
    semaphores[0].release()
    assert waiting.result()


def test_a_lease_is_kept_by_its_holder_until_its_time_is_over(clients):
    client, other = clients.new(), clients.new()
    hour = datetime.timedelta(hours=1)
    now = datetime.datetime(2026, 1, 1)
    lease = lambda who, name, at: bool(who.NonBlockingLease("/leases", hour, identifier=name, utcnow=lambda: at))
    assert lease(client, "a", now)
    assert not lease(other, "b", now + hour / 2)
    assert lease(client, "a", now + hour / 2), "it is renewed"
    assert not lease(other, "b", now + hour), "from then on"
    assert lease(other, "b", now + hour * 2)
    assert not lease(client, "a", now + hour * 2)
    results = [Worker(lease, clients.new(), f"w{number}", now + hour * 9) for number in range(5)]
    assert sorted(worker.result(30) for worker in results) == [False] * 4 + [True]


def test_as_many_leases_as_told_are_kept(clients):
    hour = datetime.timedelta(hours=1)
    now = datetime.datetime(2026, 1, 1)

    def lease(name, at):
        return bool(clients.new().MultiNonBlockingLease(2, "/many", hour, identifier=name, utcnow=lambda: at))

    assert lease("a", now) and lease("b", now)
    assert not lease("c", now)
    assert lease("b", now + hour / 2), "it is renewed"
    assert lease("c", now + hour), "the time of a is over"
    assert not lease("a", now + hour)


def test_election_has_one_leader_and_then_the_next(clients):
    leaders = Seen()
    go_on = [threading.Event() for _ in range(3)]

    def lead(number):
        leaders.add(number)
        assert go_on[number].wait(20)

    elections = [clients.new().Election("/election", f"c{number}") for number in range(3)]
    workers = [Worker(elections[number].run, lead, number) for number in range(3)]
    wait_for(lambda: len(elections[0].contenders()) == 3, 20, "three contenders")
    for count in (1, 2, 3):
        items = leaders.wait(lambda items: len(items) >= count, f"leader {count}")
        assert len(items) == count
        go_on[items[-1]].set()
    for worker in workers:
        worker.result()
    assert sorted(leaders.items) == [0, 1, 2]


def test_barrier_holds_until_it_is_removed(clients):
    barrier = clients.new().Barrier("/barrier")
    barrier.create()
    waiting = [Worker(clients.new().Barrier("/barrier").wait, 20) for _ in range(3)]
    assert not any(worker.done() for worker in waiting)
    barrier.remove()
    assert all(worker.result() for worker in waiting)


def test_double_barrier_enters_and_leaves_together(clients):
    steps = Seen()

    def member(number):
        barrier = clients.new().DoubleBarrier("/double", 3, f"m{number}")
        barrier.enter()
        assert barrier.participating
        steps.add("entered")
        barrier.leave()
        steps.add("left")

    workers = [Worker(member, number) for number in range(2)]
    watcher = clients.new()
    wait_for(lambda: watcher.exists("/double") and len(watcher.get_children("/double")) == 2, 20, "two to wait")
    assert steps.items == []
    workers.append(Worker(member, 2))
    for worker in workers:
        worker.result(30)
    assert sorted(steps.items) == ["entered"] * 3 + ["left"] * 3


def test_queue_gives_every_entry_once_by_priority(clients):
    queue = clients.new().Queue("/queue")
    for number in range(20):
        queue.put(str(number).encode(), priority=100 if number % 2 else 50)
    assert len(queue) == 20
    taken = Seen()

    def take(own):
        while (entry := own.get()) is not None:
            taken.add(int(entry))

    for worker in [Worker(take, clients.new().Queue("/queue")) for _ in range(3)]:
        worker.result(30)
    assert sorted(taken.items) == list(range(20))
    assert {number % 2 for number in taken.items[:5]} == {0}


def test_locking_queue_keeps_an_entry_until_it_is_consumed(clients):
    producer, consumer, another = (clients.new() for _ in range(3))
    queue = producer.LockingQueue("/locking")
    queue.put_all([b"a", b"b"])
    mine = consumer.LockingQueue("/locking")
    assert mine.get(timeout=10) == b"a"
    assert mine.holds_lock()
    consumer.stop()  # without consume: the entry is free again when the session has ended
    left = another.LockingQueue("/locking")
    got = [left.get(timeout=20)]
    assert left.consume()
    got.append(left.get(timeout=20))
    assert left.consume()
    assert sorted(got) == [b"a", b"b"]
    assert len(left) == 0


@pytest.mark.parametrize("kind", ["Party", "ShallowParty"])
def test_party_counts_its_members(clients, kind):
    members = [clients.new() for _ in range(3)]
    parties = [getattr(client, kind)("/party", f"m{number}") for number, client in enumerate(members)]
    for party in parties:
        party.join()
    wait_for(lambda: sorted(parties[0]) == ["m0", "m1", "m2"], 10, "all members to be seen")
    parties[1].leave()
    members[2].stop()
    wait_for(lambda: list(parties[0]) == ["m0"], 20, "the party to shrink")
    assert len(parties[0]) == 1


def test_counter_adds_up(clients):
    def count():
        counter = clients.new().Counter("/counter")
        for _ in range(20):
            counter += 1
            counter -= 3

    for worker in [Worker(count) for _ in range(3)]:
        worker.result(60)
    client = clients.new()
    client.sync("/counter")
    assert client.Counter("/counter").value == 3 * 20 * -2


def test_set_partitioner_gives_every_part_to_exactly_one(clients):
    parts = set(range(7))
    members = [clients.new() for _ in range(2)]
    shares = [
        member.SetPartitioner("/parts", parts, identifier=f"m{i}", time_boundary=0.2)
        for i, member in enumerate(members)
    ]

    def settle():
        """Drives each partitioner one state on; true when all hold their share."""
        for share in shares:
            assert not share.failed
            if share.release:
                share.release_set()
        return all(share.acquired for share in shares)

    def settled():
        return settle() and sorted(part for share in shares for part in share) == sorted(parts)

    wait_for(settled, 30, lambda: f"every part to be taken once, states {[share.state for share in shares]}")
    assert all(len(list(share)) >= 3 for share in shares)
    members[1].stop()
    shares.pop()
    wait_for(settled, 30, "the survivor to take all parts")


# --- ACLs, auth, chroot --------------------------------------------------------------------------------------------


def test_acls_keep_others_out(clients):
    owner, stranger = clients.new(), clients.new()
    owner.add_auth("digest", "alice:secret")
    mine = make_digest_acl("alice", "secret", all=True)
    owner.create("/private", b"mine", acl=[mine])
    stranger.sync("/private")
    with pytest.raises(NoAuthError):
        stranger.get("/private")
    with pytest.raises(NoAuthError):
        stranger.set_acls("/private", OPEN_ACL_UNSAFE)
    acls, stat = owner.get_acls("/private")
    assert (acls, stat.aversion) == ([mine], 0)
    stranger.add_auth("digest", "alice:secret")
    assert stranger.get("/private")[0] == b"mine"
    stranger.set_acls("/private", OPEN_ACL_UNSAFE, version=0)
    with pytest.raises(BadVersionError):
        stranger.set_acls("/private", OPEN_ACL_UNSAFE, version=0)
    assert clients.new().get("/private")[0] == b"mine"


def test_a_creator_can_keep_a_znode_to_itself(clients):
    owner = clients.new(auth_data=[("digest", "bob:hunter2")])
    owner.create("/auth", acl=[make_acl("auth", "", all=True)])
    assert owner.get_acls("/auth")[0] == [make_digest_acl("bob", "hunter2", all=True)]
    with pytest.raises(NoAuthError):
        clients.new().get_children("/auth")


def test_auth_of_an_unknown_scheme_fails(clients):
    with pytest.raises(AuthFailedError):
        clients.new().add_auth("nonsense", "x")


def test_chroot_hides_what_is_above(clients):
    outside = clients.new()
    outside.ensure_path("/app/inner")
    inside = clients.new(chroot=clients.chroot + "/app")
    seen = Seen()
    assert inside.get_children("/", watch=lambda event: seen.add(event.path)) == ["inner"]
    outside.create("/app/more")
    seen.wait_last("/")
    assert inside.create("/x-", sequence=True).startswith("/x-")
    assert inside.exists("/app") is None
