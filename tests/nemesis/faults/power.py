"""Loss of power: the process is gone, and with it all that was not synced."""

from contextlib import suppress

from harness.wait import DeadlineExceeded, wait_for

from . import fault

# Syncs take a moment, as on a real disk, so that there is something to lose.
SYNC_MS = 40
# A sync may end between the look at what is unsynced and the cut, then nothing is lost; that is rare, so again.
CUTS_MAX = 5


@fault()
def power_one(arena):
    """One server, the leader or not."""
    _power_cut(arena, [arena.random.choice(arena.cluster.servers)])


@fault(weight=2)
def power_leader(arena):
    """The leader."""
    _power_cut(arena, [arena.cluster.leader()])


@fault(weight=2)
def power_majority(arena):
    """A majority: what was acknowledged is on the disks of a majority, so no server that is left may have it all."""
    _power_cut(arena, arena.random.sample(arena.cluster.servers, arena.cluster.majority))


@fault(weight=3)
def power_all(arena):
    """The room goes dark."""
    _power_cut(arena, list(arena.cluster.servers))


def _power_cut(arena, victims):
    cluster = arena.cluster
    survivors = arena.random.choice(["", f" {arena.random.getrandbits(32)}"])
    cuts = 1
    lost = _cut_once(cluster, victims, survivors)
    while not any(one["unsynced_files"] + one["unsynced_names"] for one in lost):
        assert cuts < CUTS_MAX, f"there was nothing to lose in {cuts} cuts"
        cuts += 1
        cluster.start(victims)
        arena.load.wait_progress("between two losses of power")
        lost = _cut_once(cluster, victims, survivors)
    names = sum(one["forgotten_names"] for one in lost)
    arena.notes.append(f"lost {sum(one['forgotten_bytes'] for one in lost)} bytes, {names} names{survivors and ', of some'}")
    if cuts > 1:
        arena.notes.append(f"{cuts} cuts")
    if len(victims) <= len(cluster.servers) - cluster.majority:
        arena.load.wait_progress("without the servers that lost their power")
    cluster.start(victims)


def _cut_once(cluster, victims, survivors):
    """Returns what each disk had and lost."""
    disks = [cluster.volume(victim) for victim in victims]
    for disk in disks:
        disk.command(f"delay {SYNC_MS}")
    before = [disk.stats() for disk in disks]
    with suppress(DeadlineExceeded):  # an idle moment: then there is little to lose, which the note tells
        wait_for(lambda: all(disk.stats()["unsynced_files"] for disk in disks), 3, "something unsynced", 0)
    for victim in victims:
        assert victim.alive(), f"server {victim.server_id} had ended:\n{victim.log_tail()}"
        victim.process.send(9)
    lost = [disk.command("cut" + survivors) for disk in disks]
    for victim in victims:
        cluster.kill(victim)
    for disk, then in zip(disks, before):
        disk.command("clear")
        assert disk.stats()["cuts"] == then["cuts"] + 1
    return lost
