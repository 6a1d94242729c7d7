"""Decay of what was durable, on one server; the others have it all."""

from harness.wait import wait_for

from . import fault

COMES_BACK_WITHIN_S = 60
HEADER_BYTES = 4096


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
    victim.start()
    ended_or_serves = lambda: not victim.alive() or victim.mode()  # noqa: E731
    wait_for(ended_or_serves, COMES_BACK_WITHIN_S, lambda: f"an end or service:\n{victim.log_tail()}")
    if victim.alive():
        arena.notes.append("came back")
        return
    code = victim.process.exit_code()
    assert code == 1, f"server {victim.server_id} ended with {code}:\n{victim.log_tail()}"
    assert disk.mount.name in victim.log_tail(), f"the refusal names no file:\n{victim.log_tail()}"
    victim.wipe()
    disk.settle()
    cluster.start([victim])
    arena.notes.append("refused, came back empty")


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
