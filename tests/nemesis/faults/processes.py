"""Servers that are killed and started again, or stopped for a while."""

from harness.wait import wait_for

from . import fault

STORM_KILLS = 8


@fault(weight=2)
def kill_leader(arena):
    """kill -9 of the leader: another one takes over, in a new epoch."""
    cluster = arena.cluster
    leader, epoch = cluster.leader_and_epoch()
    cluster.kill(leader)
    cluster.new_leader(leader, epoch)
    arena.load.wait_progress("without the old leader")
    cluster.start([leader])


@fault()
def kill_follower(arena):
    """kill -9 of a follower: the leader stays, and so does its epoch."""
    cluster = arena.cluster
    before = cluster.leader_and_epoch()
    follower = arena.random.choice(cluster.others(before[0]))
    cluster.kill(follower)
    arena.load.wait_progress("without a follower")
    cluster.start([follower])
    assert cluster.leader_and_epoch() == before, f"the leader changed although only {follower.server_id} was killed"


@fault(servers_min=5)
def kill_minority(arena):
    """kill -9 of as many servers as may be missing, the leader among them."""
    cluster = arena.cluster
    leader, epoch = cluster.leader_and_epoch()
    victims = [leader, *arena.random.sample(cluster.others(leader), len(cluster.servers) - cluster.majority - 1)]
    cluster.kill_together(victims)
    cluster.new_leader(leader, epoch, cluster.others(*victims))
    arena.load.wait_progress("of the majority that is left")
    cluster.start(victims)


@fault(weight=2)
def kill_all(arena):
    """kill -9 of every server at once, and a start of all of them in any order."""
    cluster = arena.cluster
    _, epoch = cluster.leader_and_epoch()
    cluster.kill_together(cluster.servers)
    cluster.start(arena.random.sample(cluster.servers, len(cluster.servers)))
    cluster.newer_epoch(epoch)


@fault()
def kill_two_leaders(arena):
    """kill -9 of the leader, and of the next one as soon as there is one; both come back at once."""
    cluster = arena.cluster
    first, epoch = cluster.leader_and_epoch()
    cluster.kill(first)
    second = cluster.leader(cluster.others(first))
    cluster.kill(second)
    first.start()
    second.start()
    cluster.newer_epoch(epoch)


@fault()
def kill_storm(arena):
    """Any server is killed and started again as soon as anybody is served, many times over."""
    cluster = arena.cluster
    before = sum(server.starts for server in cluster.servers)
    for _ in range(STORM_KILLS):
        acks = sum(arena.load.workers.acks())
        victim = arena.random.choice(cluster.servers)
        cluster.kill(victim)
        victim.start()
        what = lambda: f"a write in the storm:\n{cluster.ensemble.log_tails()}"  # noqa: E731
        wait_for(lambda then=acks: sum(arena.load.workers.acks()) > then, 60, what)
    assert sum(server.starts for server in cluster.servers) == before + STORM_KILLS


@fault(weight=2)
def pause_leader(arena):
    """SIGSTOP of the leader until another one leads and serves, then SIGCONT: it must follow."""
    cluster = arena.cluster
    leader, epoch = cluster.leader_and_epoch()
    leader.pause()
    try:
        cluster.new_leader(leader, epoch)
        arena.load.wait_progress("while the old leader is stopped")
    finally:
        leader.resume()
    cluster.follows(leader)


@fault()
def pause_follower(arena):
    """SIGSTOP of a follower for 1 to 5 s: the others go on, and it comes back by itself."""
    _pause(arena, arena.random.uniform(1, 5))


@fault(slow=True)
def pause_long(arena):
    """SIGSTOP of any server for 20 to 60 s, longer than any session lives."""
    _pause(arena, arena.random.uniform(20, 60), arena.random.choice(arena.cluster.servers))


def _pause(arena, seconds, victim=None):
    victim = victim or arena.random.choice(arena.cluster.followers())
    victim.pause()
    arena.notes.append(f"{seconds:.1f} s")
    try:
        arena.load.wait_progress("while a server is stopped")
        arena.rest(seconds)
        assert victim.process.stopped(), "the server ran during its pause"
    finally:
        victim.resume()
    wait_for(victim.mode, 60, lambda: f"the stopped server to serve again:\n{victim.log_tail()}")


@fault()
def pause_all(arena):
    """SIGSTOP of all servers for a moment: nobody can tell that from a hiccup, or elects; all go on."""
    seconds = arena.random.uniform(0.5, 4)
    arena.notes.append(f"{seconds:.1f} s")
    for server in arena.cluster.servers:
        server.pause()
    acks = sum(arena.load.workers.acks())
    try:
        arena.rest(seconds)
        # Answers that were on their way may still come.
        assert sum(arena.load.workers.acks()) <= acks + 100, "stopped servers acknowledged writes"
    finally:
        for server in arena.cluster.servers:
            server.resume()
