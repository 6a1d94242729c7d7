"""Decay of what was durable, on one server; the others have it all."""

from harness.wait import wait_for

from . import fault

COMES_BACK_WITHIN_S = 60
HEADER_BYTES = 4096
EXIT_DAMAGED = 4
SETS_MAX = 3


@fault()
def flip_middle(arena):
    """A byte in the middle of the log."""
    _damage(arena, _flip_middle)


@fault()
def flip_tail(arena):
    """The last byte that was written to the log."""
    _damage(arena, _flip_tail)


@fault()
def flip_snapshot(arena):
    """A byte of the newest snapshot: an older one and the log behind it are as good."""
    _damage(arena, _flip_snapshot)


@fault()
def delete_segment(arena):
    """A file of the log is gone."""
    _damage(arena, _delete_segment)


def _damage(arena, harm):
    cluster = arena.cluster
    victim = arena.random.choice(cluster.servers)
    disk = cluster.volume(victim)
    wait_for(lambda: disk.files("snapshot"), 60, lambda: f"a snapshot: {list(disk.mount.iterdir())}")
    cluster.kill(victim)
    arena.notes.append(harm(arena, disk))
    before, log_bytes = _put_aside(disk), victim.log_bytes()
    victim.start()
    ended_or_serves = lambda: not victim.alive() or victim.mode()  # noqa: E731
    wait_for(ended_or_serves, COMES_BACK_WITHIN_S, lambda: f"an end or service:\n{victim.log_tail()}")
    if victim.alive():
        healed = _put_aside(disk) - before
        arena.notes.append("healed" if healed else "started without it")
        assert not healed or "DAMAGED" in victim.log_since(log_bytes), f"nothing is said of it:\n{victim.log_tail()}"
        return
    # So many times healed that nobody can have looked: this one is for the operator.
    code = victim.process.exit_code()
    assert code == EXIT_DAMAGED and len(before) == SETS_MAX, f"{code} with {before}:\n{victim.log_tail()}"
    victim.wipe()
    disk.settle()
    cluster.start([victim])
    arena.notes.append("refused, came back empty")


def _put_aside(disk):
    """The sets of damaged files that the server put aside."""
    return {path.name.split(".")[0] for path in disk.mount.iterdir() if path.name.startswith("damaged-")}


def _flip(disk, name, offset):
    before = disk.stats()["flipped"]
    disk.command(f"flip {name} {offset} 64")
    assert disk.stats()["flipped"] == before + 1
    return f"{name}, byte {offset}"


def _end_of_records(disk, name):
    """Where the zeros begin that no record has been written over."""
    content = (disk.mount / name).read_bytes().rstrip(b"\0")
    return len(content)


def _flip_middle(arena, disk):
    logs = disk.files("log")
    name = arena.random.choice(logs[:-1] or logs)
    end = max(_end_of_records(disk, name), HEADER_BYTES + 1)
    return _flip(disk, name, arena.random.randrange(HEADER_BYTES, end))


def _flip_tail(_, disk):
    name = disk.files("log")[-1]
    return _flip(disk, name, max(_end_of_records(disk, name) - 1, 0))


def _flip_snapshot(arena, disk):
    name = disk.files("snapshot")[-1]
    return _flip(disk, name, arena.random.randrange((disk.mount / name).stat().st_size))


def _delete_segment(arena, disk):
    name = arena.random.choice(disk.files("log"))
    (disk.mount / name).unlink()
    disk.settle()
    return f"{name} deleted"
