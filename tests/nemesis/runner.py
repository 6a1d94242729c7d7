"""Cycles of faults over ensembles under load, each ensemble judged when its cycles are over."""

import json
import random
import re
import shutil
import time
import traceback
from dataclasses import asdict, dataclass, field

from harness import target
from harness.server import LOG_NAME
from harness.wait import wait_for

from . import cluster, load
from .faults import Arena, load_catalogue

DIGEST_KEYS = ("zk_tree_digest", "zk_last_processed_zxid")
DIGEST_DEADLINE_S = 15
PLAN = re.compile(r"synchronizing a learner.* plan=(\w+)")
DISK_COUNTS = ("cuts", "forgotten", "failed", "refused", "delayed", "flipped")
CYCLES_PER_ENSEMBLE = 15
# Before a fault, so that it meets logs, snapshots and followers at any stage.
QUIET_S_MAX = 2.0


@dataclass
class Plan:
    """What a run is to do. The same plan does the same faults to the same servers; only their timing differs."""

    seed: int
    cycles: int
    minutes: float
    sizes: list
    names: list
    """The faults to draw from; empty: all that are possible here."""


@dataclass
class Result:
    """What a run did."""

    seed: int
    cycles: int = 0
    faults: dict = field(default_factory=dict)
    acknowledged: int = 0
    unknown: int = 0
    reads: int = 0
    reads_after_sync: int = 0
    sessions_expired: int = 0
    elections: int = 0
    longest_gap_s: float = 0.0
    seconds: float = 0.0
    synchronizations: dict = field(default_factory=dict)
    """How often a learner was brought up to date, by kind: Diff, Trunc, Snap."""
    disks: dict = field(default_factory=dict)
    """What all the disks did: what they forgot, refused and delayed."""
    skipped: dict = field(default_factory=dict)
    wrong: list = field(default_factory=list)

    def text(self):
        """For people."""
        lines = [
            f"seed {self.seed}: {self.cycles} cycles in {self.seconds / 60:.1f} min, {self.elections} elections",
            f"{self.acknowledged} writes acknowledged, {self.unknown} unknown; {self.reads_after_sync} reads after sync, "
            f"{self.reads} others; {self.sessions_expired} sessions expired",
            f"longest time without an acknowledged write: {self.longest_gap_s:.1f} s",
            "synchronizations: " + _pairs(self.synchronizations),
            "disks: " + _pairs(self.disks),
            *(f"  {count:4} {name}" for name, count in sorted(self.faults.items())),
            *(f"  not possible here: {name}: {why}" for name, why in sorted(self.skipped.items())),
        ]
        verdict = self.wrong[:50] or ["nothing acknowledged was lost, nothing stale after sync, nothing applied twice"]
        return "\n".join(lines + verdict)

    def write(self, folder):
        """As `report.json` and `report.txt`."""
        (folder / "report.json").write_text(json.dumps(asdict(self), indent=1) + "\n")
        (folder / "report.txt").write_text(self.text() + "\n")


def _pairs(numbers):
    return ", ".join(f"{key} {value}" for key, value in sorted(numbers.items())) or "none"


def unavailable():
    """Why there can be no run here; empty if there can."""
    return target.chosen().unavailable or cluster.unavailable() or load.unavailable()


def run(plan, folder, say=print):
    """Does it all; stops at the first ensemble with which something is wrong, and leaves its files."""
    result = Result(plan.seed)
    chance = random.Random(f"nemesis-{plan.seed}")
    began = time.monotonic()
    sizes = [plan.sizes[at % len(plan.sizes)] for at in range(plan.cycles)]
    pools = {size: _pool(plan, size, result) for size in plan.sizes}
    decks = {size: [] for size in plan.sizes}
    number = 0
    over = lambda: time.monotonic() - began > plan.minutes * 60  # noqa: E731
    while result.cycles < plan.cycles and not over() and not result.wrong:
        size = sizes[number]
        here = folder / f"ensemble-{number}"
        here.mkdir(parents=True)
        count = min(CYCLES_PER_ENSEMBLE, plan.cycles - result.cycles)
        names = [_draw(decks[size], pools[size], chance) for _ in range(count)]
        say(f"ensemble {number}: {size} servers")
        try:
            _one_ensemble(here, size, names, random.Random(chance.getrandbits(64)), result, over, say)
        except Exception as error:  # also of an end that fails after a failure that is known already
            result.wrong.append(_text(error))
        if not result.wrong:
            shutil.rmtree(here)
        number += 1
        result.seconds = time.monotonic() - began
    return result


def _pool(plan, size, result):
    """The names of the faults for ensembles of a size, each as often as its weight says."""
    catalogue = load_catalogue()
    unknown = set(plan.names) - set(catalogue)
    if unknown:
        raise ValueError(f"no such fault: {', '.join(sorted(unknown))}; there are {', '.join(sorted(catalogue))}")
    pool = []
    for one in catalogue.values():
        why = one.needs() if one.needs else ""
        if why:
            result.skipped[one.name] = why
        if why or one.servers_min > size or (plan.names and one.name not in plan.names):
            continue
        if one.slow and not plan.names and plan.minutes < 20:
            continue
        pool += [one.name] * one.weight
    if not pool:
        raise ValueError(f"none of these faults is possible with {size} servers: {plan.names}")
    return pool


def _draw(deck, pool, chance):
    """The next fault: all of the pool in random order, then again."""
    if not deck:
        deck.extend(chance.sample(pool, len(pool)))
    return deck.pop()


def _one_ensemble(folder, size, names, chance, result, over, say):
    """One ensemble from its start to the verdict."""
    with cluster.Cluster(target.chosen(), folder, size, chance) as servers:
        clients = load.AllLoad(servers, folder, chance.getrandbits(32))
        try:
            _, first_epoch = servers.leader_and_epoch()
            for name in names:
                if over():
                    break
                _cycle(name, Arena(servers, clients, chance), result, say)
            _, last_epoch = servers.leader_and_epoch()
            clients.stop()
            wrong, figures = clients.verdict()
            wrong += _digests(servers)
        except BaseException as error:
            result.wrong.append(_text(error))
            _attempt(result.wrong, "the load does not end", clients.abandon)
            if not isinstance(error, Exception):
                raise
            _keep_disks(servers, folder, result.wrong)
            return
        result.wrong += wrong
        if wrong:
            _keep_disks(servers, folder, result.wrong)
        _count_syncs(servers, result.synchronizations)
        _count_disks(servers, result.disks)
    result.elections += last_epoch - first_epoch
    result.longest_gap_s = max(result.longest_gap_s, figures.pop("longest_gap_s"))
    for key, value in figures.items():
        setattr(result, key, getattr(result, key) + value)


def _cycle(name, arena, result, say):
    """One fault and its end; afterwards all servers serve and all workers write."""
    began = time.monotonic()
    acks = sum(arena.load.workers.acks())
    arena.load.wait_progress("before the fault")
    load.abandon_a_session(arena.cluster, result.cycles)
    arena.rest(arena.random.uniform(0, QUIET_S_MAX))
    load_catalogue()[name].act(arena)
    arena.cluster.ensemble.wait_all_serving(cluster.LEADER_DEADLINE_S)
    arena.load.wait_progress("after the fault")
    _wait_all_vote(arena.cluster)
    arena.cluster.ensemble.assert_healthy()
    result.cycles += 1
    result.faults[name] = result.faults.get(name, 0) + 1
    seconds, acks = time.monotonic() - began, sum(arena.load.workers.acks()) - acks
    say(f"{result.cycles:5} {name:20} {seconds:5.1f} s {acks:7} writes  {'; '.join(arena.notes)}")


def _wait_all_vote(servers):
    """Whoever lost its vote with its data has it again."""

    def votes():
        return {server.server_id: server.mntr().get("zk_may_vote") for server in servers.servers}

    wait_for(lambda: set(votes().values()) == {"1"}, cluster.LEADER_DEADLINE_S, lambda: f"all to vote: {votes()}")


def _digests(servers):
    """At rest all servers have the same digest at the same zxid."""
    def told():
        return {tuple(server.mntr().get(key) for key in DIGEST_KEYS) for server in servers.servers}

    assert all(all(pair) for pair in told()), f"mntr does not tell {DIGEST_KEYS}: {told()}"
    try:
        wait_for(lambda: len(told()) == 1, DIGEST_DEADLINE_S, "equal digests")
    except AssertionError:
        return [f"digests differ: {sorted(told())}"]
    return []


def _count_syncs(servers, counts):
    for server in servers.servers:
        text = (server.folder / LOG_NAME).read_text(encoding="utf-8", errors="replace")
        for kind in PLAN.findall(text):
            counts[kind] = counts.get(kind, 0) + 1


def _count_disks(servers, counts):
    for server in servers.servers:
        for key, value in servers.volume(server).stats().items():
            if key.startswith(DISK_COUNTS):
                counts[key] = counts.get(key, 0) + value


def _keep_disks(servers, folder, wrong):
    """What the servers have on disk is in memory, and gone with its mount: a copy for whoever looks into the failure."""
    _attempt(wrong, "not all servers end", servers.ensemble.close)  # a file that is removed meanwhile cannot be copied

    def keep(server):
        servers.volume(server).command("clear")  # so that all of it can be read
        shutil.copytree(servers.volume(server).mount, folder / f"disk-{server.server_id}")

    for server in servers.servers:
        _attempt(wrong, f"the disk of server {server.server_id} is not kept", keep, server)


def _attempt(wrong, otherwise, act, *arguments):
    """What is done after a failure; should it fail too, that is told beside the failure."""
    try:
        act(*arguments)
    except Exception as error:
        wrong.append(f"{otherwise}: {_text(error)}")


def _text(error):
    return "".join(traceback.format_exception(error))
