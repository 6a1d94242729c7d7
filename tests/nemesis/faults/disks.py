"""Disks that fail, fill or are slow. A server whose log cannot be written ends itself, with exit code 3."""

from contextlib import suppress

from harness import jute
from harness.rawclient import ConnectionClosed, RawClient
from harness.wait import DeadlineExceeded, wait_for

from ..cluster import LEADER_DEADLINE_S
from . import fault

ENDS_WITHIN_S = 30
EXIT_HALTED = 3
# Could not start; the data is damaged and only the operator can help.
EXITS_AT_START = (1, 4)
# So much may still be allocated on a disk that fills: less than the next snapshot takes. Segments of the log are used again.
ROOM_BYTES_MAX = 12_000
FULL_S = 5
VALUE_BYTES = 500_000
VALUES_MAX = 400
ROOM_FOR_VALUES_BYTES_MAX = 16 << 20
SLOW_MS = (50, 300)


@fault(weight=2)
def eio_write(arena):
    """A write of the log fails."""
    _ends(arena, "write", "log.*", arena.random.choice(arena.cluster.servers))


@fault(weight=2)
def eio_sync(arena):
    """A sync of the log fails: what the page cache shows then is on no disk, and no later sync puts it there."""
    _ends(arena, "sync", "log.*", arena.random.choice(arena.cluster.servers))


@fault()
def eio_sync_then_power(arena):
    """The same, and after the next start the power fails: what that start trusted must have been on the disk."""
    victim = arena.random.choice(arena.cluster.servers)
    _ends(arena, "sync", "log.*", victim)
    arena.load.wait_progress("of all servers in between")
    victim.process.send(9)
    arena.cluster.volume(victim).command("cut")
    arena.cluster.kill(victim)
    arena.cluster.start([victim])


@fault()
def eio_epoch(arena):
    """A follower cannot write down the epoch it is asked to promise: it ends, and has promised nothing."""
    cluster = arena.cluster
    leader = cluster.leader()
    victim = arena.random.choice(cluster.others(leader))
    since = Since(cluster, victim, "failed_writes")
    since.disk.command("fail write all EIO epoch*")
    cluster.kill(leader)
    since.assert_halted()
    cluster.start([leader, victim])


@fault()
def eio_snapshot(arena):
    """No snapshot can be written: the server says so and goes on with its log."""
    victim = arena.random.choice(arena.cluster.servers)
    since = Since(arena.cluster, victim, "failed_writes")
    since.disk.command("fail write all EIO snapshot.*")
    wait_for(since.happened, 60, lambda: f"a snapshot to fail:\n{victim.log_tail()}")
    wait_for(lambda: since.said("no snapshot of"), 10, "the server to say that it has no snapshot")
    arena.load.wait_progress("while snapshots fail")
    victim.assert_healthy()
    since.disk.command("clear")


@fault()
def eio_read(arena):
    """A file cannot be read at a start, once or ever: the server says which, and takes that for damage or does not start."""
    cluster = arena.cluster
    victim = arena.random.choice(cluster.servers)
    disk = cluster.volume(victim)
    cluster.kill(victim)
    # The newest file of the log: older ones may not be needed.
    pattern, count = arena.random.choice([disk.files("log")[-1], "epoch"]), arena.random.choice(["1", "all"])
    since = Since(cluster, victim, "failed_reads")
    disk.command(f"fail read {count} EIO {pattern}")
    victim.start()
    ended_or_serves = lambda: not victim.alive() or victim.mode()  # noqa: E731
    wait_for(ended_or_serves, 60, lambda: f"an end or service:\n{victim.log_tail()}")
    assert since.happened()
    assert since.said("Input/output error") or since.said("the disk cannot read"), victim.log_tail()
    disk.command("clear")
    arena.notes.append(f"{pattern}, {count}")
    if victim.alive():
        arena.notes.append("came back")
        return
    code = victim.process.exit_code()
    assert code in EXITS_AT_START, f"exit code {code}:\n{victim.log_tail()}"
    arena.notes.append("refused until it could be read")
    cluster.start([victim])


@fault(weight=2)
def full_disk(arena):
    """The disk of one server is full: whether it goes on for a while or ends itself, the others serve."""
    _fill(arena, [arena.random.choice(arena.cluster.servers)])


@fault()
def full_disk_all(arena):
    """All disks are full. When there is room again and the servers are started again, nothing is missing."""
    _fill(arena, list(arena.cluster.servers))


@fault()
def full_log(arena):
    """There is no room for a write of the log."""
    _ends(arena, "write", "log.*", arena.random.choice(arena.cluster.servers), "ENOSPC")


@fault()
def big_values_fill_a_disk(arena):
    """Values of half a MiB are written until the log of one server needs more than there is; the others have room."""
    cluster = arena.cluster
    victim = arena.random.choice(cluster.servers)
    since = Since(cluster, victim, "refused_full")
    since.disk.command(f"room {arena.random.randrange(ROOM_FOR_VALUES_BYTES_MAX)}")
    other = arena.random.choice(cluster.others(victim)).address
    path = f"/filled{arena.random.getrandbits(40):x}"
    written = 0
    while victim.alive() and written < VALUES_MAX:
        # While the victim is the leader and ends, the answer may be lost with the connection.
        with suppress(OSError, ConnectionClosed, DeadlineExceeded):
            with RawClient(other.host, other.client_port) as client:
                client.call(jute.create(path))
                while victim.alive() and written < VALUES_MAX:
                    client.value(jute.set_data(path, arena.random.randbytes(VALUE_BYTES)))
                    written += 1
    since.assert_halted()
    arena.notes.append(f"after {written} values")
    cluster.start([victim])
    with RawClient(other.host, other.client_port) as client:
        client.value(jute.delete(path))
        client.close()


@fault()
def slow_disk(arena):
    """Every sync of one server takes long: the others are a quorum without it, or it leads and all are slow."""
    _slow(arena, [arena.random.choice(arena.cluster.servers)])


@fault()
def slow_disk_all(arena):
    """Every sync takes long on every server."""
    _slow(arena, list(arena.cluster.servers))


def _ends(arena, op, pattern, victim, error="EIO"):
    cluster = arena.cluster
    leader, epoch = cluster.leader_and_epoch()
    since = Since(cluster, victim, f"failed_{op}s")
    since.disk.command(f"fail {op} 1 {error} {pattern}")
    since.assert_halted()
    arena.notes.append("leader" if victim is leader else "follower")
    if victim is leader:
        cluster.new_leader(leader, epoch)
    arena.load.wait_progress("without the server whose disk failed")
    cluster.start([victim])


class Since:
    """What has become of a server and its disk since this was made, which must be before the fault."""

    def __init__(self, cluster, victim, count):
        """`count` is what the disk counts of the fault."""
        self.victim, self.disk, self._count = victim, cluster.volume(victim), count
        self._before = self.disk.stats()[count]
        self._log_bytes = victim.log_bytes()

    def happened(self):
        """True if the disk did something wrong."""
        return self.disk.stats()[self._count] > self._before

    def said(self, words):
        """True if they are in the server's log, however much it wrote behind them."""
        return words in self.victim.log_since(self._log_bytes)

    def assert_ended(self):
        """The server has ended itself, or does now."""
        code = self.victim.process.wait(ENDS_WITHIN_S)
        assert code == EXIT_HALTED, f"server {self.victim.server_id} ended with {code}:\n{self.victim.log_tail()}"

    def assert_halted(self):
        """The server ends itself because of the fault, and the disk is good again."""
        self.assert_ended()
        assert self.happened(), f"nothing failed, {self._count} was {self._before}: {self.disk.stats()}"
        assert self.said("this server stops"), self.victim.log_tail()
        self.disk.command("clear")


def _fill(arena, victims):
    cluster = arena.cluster
    since = [Since(cluster, victim, "refused_full") for victim in victims]
    for one in since:
        one.disk.command(f"room {arena.random.randrange(ROOM_BYTES_MAX)}")
    full = lambda: any(one.happened() for one in since)  # noqa: E731
    wait_for(full, 60, lambda: f"the disk to be full:\n{cluster.ensemble.log_tails()}")
    # The log goes on until its next file does not fit; in a full file it may end within moments, or much later.
    with suppress(DeadlineExceeded):
        wait_for(lambda: not all(victim.alive() for victim in victims), FULL_S, "a server to end")
    if len(victims) <= len(cluster.servers) - cluster.majority:
        arena.load.wait_progress("while a disk is full")
    ended = [one for one in since if not one.victim.alive()]
    for one in ended:
        one.assert_ended()
        assert one.said("No space left"), one.victim.log_tail()
    arena.notes.append(f"{len(ended)} of {len(victims)} ended")
    for one in since:
        one.disk.command("clear")
    # What found no room at the last moment still runs, and may even answer, but is about to end.
    _start_the_halted(victims)
    arena.load.wait_progress("with room again")
    _start_the_halted(victims)


def _start_the_halted(victims):
    """Waits until all serve, and starts those that halt before they do."""

    def serve():
        for victim in victims:
            if not victim.alive():
                code = victim.process.exit_code()
                assert code == EXIT_HALTED, f"server {victim.server_id} ended with {code}:\n{victim.log_tail()}"
                victim.start()
        return all(victim.mode() for victim in victims)

    what = lambda: "\n".join(["all to serve:", *(victim.log_tail() for victim in victims)])  # noqa: E731
    wait_for(serve, LEADER_DEADLINE_S, what)


def _slow(arena, victims):
    disks = [arena.cluster.volume(victim) for victim in victims]
    delay = arena.random.randint(*SLOW_MS)
    before = [disk.stats()["delayed_syncs"] for disk in disks]
    for disk in disks:
        disk.command(f"delay {delay}")
    try:
        arena.load.wait_progress("with slow disks")
        arena.rest(arena.random.uniform(0.5, 4))
        arena.load.wait_progress("with slow disks")
    finally:
        for disk in disks:
            disk.command("clear")
    slowed = sum(disk.stats()["delayed_syncs"] - then for disk, then in zip(disks, before))
    assert slowed > 0, "no sync was slow"
    arena.notes.append(f"{slowed} syncs of {delay} ms")
