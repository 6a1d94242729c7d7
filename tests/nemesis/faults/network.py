"""Connections between servers that are cut, one-way, lossy or slow. Clients reach every server all the time."""

import itertools

from harness.wait import wait_for

from . import fault

# At 25 % and more TCP is silent for longer than servers wait for each other, and leaders change all the time.
LOSS_PERCENT = (2, 12)


@fault(weight=2)
def isolate_leader(arena):
    """The leader loses every other server: the others go on, and it stops leading."""
    cluster = arena.cluster
    leader, epoch = cluster.leader_and_epoch()

    def during():
        cluster.new_leader(leader, epoch)
        arena.load.wait_progress("while the old leader is cut off")
        wait_for(lambda: leader.mode() != "leader", 60, "the cut off leader to step down")

    _cut(arena, _between([leader], cluster.others(leader)), during)
    cluster.follows(leader)


@fault()
def isolate_follower(arena):
    """A follower loses every other server: it stops serving, and the leader stays when it is back."""
    cluster = arena.cluster
    before = cluster.leader_and_epoch()
    victim = arena.random.choice(cluster.others(before[0]))

    def during():
        wait_for(lambda: victim.mode() is None, 60, "the cut off follower to stop serving")
        arena.load.wait_progress("while a follower is cut off")

    _cut(arena, _between([victim], cluster.others(victim)), during)
    cluster.follows(victim)
    assert cluster.leader_and_epoch() == before, "the leader changed although only a follower was cut off"


@fault(servers_min=5, weight=2)
def split(arena):
    """Two against three, drawn by lot: the three serve."""
    cluster = arena.cluster
    few = arena.random.sample(cluster.servers, len(cluster.servers) - cluster.majority)
    many = cluster.others(*few)

    def during():
        cluster.leader(many)
        arena.load.wait_progress("of the majority")
        wait_for(lambda: all(one.mode() is None for one in few), 60, "the minority to stop serving")

    _cut(arena, _between(few, many), during)


@fault(weight=2)
def bridge(arena):
    """Two halves that only one server sees both of: whoever leads needs it. The leader is in one of the halves."""
    leader = arena.cluster.leader()
    others = arena.cluster.others(leader)
    arena.random.shuffle(others)
    half = len(others) // 2  # others[0] is the bridge
    _cut(arena, _between([leader, *others[1:half]], others[half:]), _progress(arena, "over the bridge"))


@fault(servers_min=5)
def ring(arena):
    """Everybody sees two neighbours, which is a quorum for anyone who leads."""
    servers = arena.random.sample(arena.cluster.servers, len(arena.cluster.servers))
    count = len(servers)
    near = {frozenset((servers[at], servers[(at + 1) % count])) for at in range(count)}
    far = [pair for pair in itertools.permutations(servers, 2) if frozenset(pair) not in near]
    _cut(arena, far, _progress(arena, "around the ring"))


@fault()
def leader_is_deaf(arena):
    """What the others send does not reach the leader; what it sends reaches them."""
    leader = arena.cluster.leader()
    _cut(arena, [(other, leader) for other in arena.cluster.others(leader)], _progress(arena, "around a deaf leader"))


@fault()
def leader_is_mute(arena):
    """What the leader sends does not reach the others; what they send reaches it."""
    leader = arena.cluster.leader()
    _cut(arena, [(leader, other) for other in arena.cluster.others(leader)], _progress(arena, "around a mute leader"))


@fault()
def one_way(arena):
    """One server hears the leader and is not heard by it, or the other way round."""
    leader = arena.cluster.leader()
    pair = [leader, arena.random.choice(arena.cluster.others(leader))]
    arena.random.shuffle(pair)
    _cut(arena, [tuple(pair)], _progress(arena, "with a one-way line"))


@fault()
def flapping(arena):
    """A server is cut off and heard again, several times in a row."""
    cluster = arena.cluster
    victim = arena.random.choice(cluster.servers)
    for _ in range(3):
        during = lambda: arena.load.wait_any_progress("while a server is off")  # noqa: E731
        _cut(arena, _between([victim], cluster.others(victim)), during, 1.5)
        arena.load.wait_any_progress("while it is back")


@fault()
def lossy(arena):
    """A share of all packets between servers is lost."""
    percent = arena.random.randint(*LOSS_PERCENT)
    network = arena.cluster.network
    try:
        for server in arena.cluster.servers:
            network.lose(server.server_id, percent)
        arena.load.wait_progress("over lossy lines")
        arena.rest(arena.random.uniform(0.5, 5))
        arena.load.wait_progress("over lossy lines")
    finally:
        lost = network.heal()
    assert lost > 0, "no packet was lost"
    arena.notes.append(f"{percent} %, {lost} packets")


@fault()
def slow_lines(arena):
    """All that some servers send waits on its way, the leader among them."""
    network = arena.cluster.network
    leader = arena.cluster.leader()
    others = arena.cluster.others(leader)
    slow = [leader, *arena.random.sample(others, arena.random.randint(0, len(others)))]
    started, waited = [], 0
    try:
        for server in slow:
            network.slow_down(server.server_id)
            started.append(server)
        arena.load.wait_progress("over slow lines")
        arena.rest(arena.random.uniform(0.5, 3))
        arena.load.wait_progress("over slow lines")
    finally:
        for server in started:
            waited += network.speed_up(server.server_id)
    assert waited > 0, "no packet had to wait"
    arena.notes.append(f"{len(slow)} servers, {waited} packets waited")


def _between(these, those):
    return [pair for one in these for other in those for pair in ((one, other), (other, one))]


def _progress(arena, where):
    return lambda: arena.load.wait_progress(where)


def _cut(arena, pairs, during, seconds_max=5):
    """Cuts the lines for a while; `during` is what must be true meanwhile: at first, and when everybody has noticed."""
    network = arena.cluster.network
    network.cut([(sender.server_id, receiver.server_id) for sender, receiver in pairs])
    try:
        during()
        arena.rest(arena.random.uniform(0.3, seconds_max))
        during()
        wait_for(network.swallowed, 20, "the partition to swallow something")
    finally:
        network.heal()
