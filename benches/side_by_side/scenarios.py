"""What is measured. Each scenario runs both contenders alternately and returns plain data for the report."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from contenders import Cluster, Contender
from gap import Writer
from jute import Connection, ServerError
from load import Case, Load
from machine import Watchman
from processes import Failure, memory
from tree_fill import fill, last_path

#: Between the last create and the look at the memory.
SETTLE_SECONDS = 3.0


#: How long one look at what the others do takes.
LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Plan:
    """How much to measure."""

    rounds: int
    load: Load
    #: Load on every cluster before the first figure, for the JVM's compiler.
    warm_seconds: float
    connections: tuple[int, ...]
    in_flight: tuple[int, ...]
    znodes: int
    znode_bytes: int
    #: Writing before and after a fault.
    fault_seconds: float
    #: A disturbed measurement is repeated so many times before it is kept as it is.
    repeats_when_disturbed: int
    #: How long in all to wait for a quiet machine, before measurements.
    patience_seconds: float


class Bench:
    """The two contenders, where they may write, and how to tell what is going on."""

    def __init__(self, contenders: list[Contender], plan: Plan, folder: Path, tell: Callable[[str], None]):
        self.contenders, self.plan, self.folder, self.tell = contenders, plan, folder, tell
        self._patience_seconds = plan.patience_seconds

    def cluster(self, contender: Contender, servers: int) -> Cluster:
        return Cluster(contender, servers, self.folder / f"{contender.name}-{servers}")

    def rounds(self) -> Iterator[tuple[int, list[Contender]]]:
        """The rounds, each with the contenders in the other order than the one before."""
        for number in range(self.plan.rounds):
            yield number, self.contenders if number % 2 == 0 else self.contenders[::-1]

    def wait_for_quiet(self, cluster: Cluster) -> None:
        """Waits while others keep the machine busy, as long as there is patience left."""
        while self._patience_seconds > 0:
            watchman = Watchman(lambda: cluster.pids)
            time.sleep(LOOK_SECONDS)
            if not watchman.finish().is_disturbed:
                return
            self._patience_seconds -= LOOK_SECONDS
            if self._patience_seconds <= 0:
                self.tell("    no more patience with the others: measuring all the same from here on")

    def undisturbed(self, cluster: Cluster, measure: Callable[[], dict]) -> dict:
        """A measurement, repeated while something else kept the machine busy, as often as the plan allows."""
        last = self.plan.repeats_when_disturbed
        result: dict | None = None
        for attempt in range(last + 1):
            self.wait_for_quiet(cluster)
            load_before, watchman = os.getloadavg(), Watchman(lambda: cluster.pids)
            try:
                measured = measure()
            except Failure as reason:
                if attempt == last and result is None:
                    raise
                self.tell(f"    failed: {str(reason).splitlines()[-1]}")
                continue
            disturbance = watchman.finish()
            result = measured | {"loadavg": load_before, "disturbance": disturbance.as_dict()}
            if not disturbance.is_disturbed:
                break
            others = disturbance.foreign_cpu + disturbance.steal
            self.tell(f"    disturbed: others used {others:.0%} of the machine")
        assert result is not None
        return result


Samples = dict[str, list[dict]]


def throughput(bench: Bench, servers: int) -> dict:
    """get and set with 1 KiB, by connections and requests in flight."""
    plan = bench.plan
    cases = [
        Case(work, connections, in_flight)
        for work in ("get", "set")
        for connections in plan.connections
        for in_flight in plan.in_flight
    ]
    samples: dict[str, Samples] = {case.name: {c.name: [] for c in bench.contenders} for case in cases}
    with ExitStack() as stack:
        clusters = {c.name: stack.enter_context(bench.cluster(c, servers)) for c in bench.contenders}
        connects = {name: _followers_first(cluster) for name, cluster in clusters.items()}
        for name, cluster in clusters.items():
            bench.tell(f"  warming {name} for {plan.warm_seconds:g} s (processes {cluster.pids})")
            for work in ("get", "set"):
                warm = Load(plan.load.binary, plan.warm_seconds / 2, 0)
                warm.run(connects[name], cluster.pids, Case(work, 16, 32))
        for case in cases:
            for number, order in bench.rounds():
                for contender in order:
                    cluster, connect = clusters[contender.name], connects[contender.name]
                    result = bench.undisturbed(
                        cluster,
                        lambda connect=connect, cluster=cluster, case=case: plan.load.run(
                            connect, cluster.pids, case
                        ),
                    )
                    samples[case.name][contender.name].append(result)
                    bench.tell(
                        f"  {case.name} round {number + 1} {contender.name}: "
                        f"{result['ops_per_second']:,.0f}/s, {result['ops_per_cpu_second']:,.0f} per CPU s, "
                        f"p50 {result['p50_us']:,.0f} us, p99 {result['p99_us']:,.0f} us"
                    )
    return {
        "servers": servers,
        "cases": [asdict(case) | {"name": case.name} for case in cases],
        "samples": samples,
    }


def _followers_first(cluster: Cluster) -> str:
    """The connect string with the leader last, so that few connections go to followers in both products."""
    leader = cluster.leader()
    order = [server for server in cluster.servers if server is not leader] + [leader]
    return ",".join(f"127.0.0.1:{server.client_port}" for server in order)


def memory_and_start(bench: Bench) -> dict:
    """Many small znodes in one server: what they occupy, and how long a restart with them takes."""
    samples: Samples = {contender.name: [] for contender in bench.contenders}
    for number, order in bench.rounds():
        for contender in order:
            result = _fill_and_restart(bench, contender)
            samples[contender.name].append(result)
            bench.tell(
                f"  round {number + 1} {contender.name}: filled in {result['fill_seconds']:.1f} s, "
                f"RSS {result['rss'] / 2**20:,.0f} MiB, PSS {result['pss'] / 2**20:,.0f} MiB; served again "
                f"after {result['start_seconds']:.2f} s with RSS {result['rss_after_start'] / 2**20:,.0f} MiB"
            )
    return {"znodes": bench.plan.znodes, "znode_bytes": bench.plan.znode_bytes, "samples": samples}


def _fill_and_restart(bench: Bench, contender: Contender) -> dict:
    """One server, filled, looked at and started again. Only the start depends on how busy the machine is."""
    plan = bench.plan
    with bench.cluster(contender, 1) as cluster:
        pid = cluster.servers[0].child.pid
        empty = memory(pid)
        begin = time.monotonic()
        fill(cluster.connect, plan.znodes, plan.znode_bytes)
        fill_seconds = time.monotonic() - begin
        time.sleep(SETTLE_SECONDS)
        full = memory(pid)
        restart = bench.undisturbed(cluster, lambda: _restart(plan, cluster))
    return restart | {
        "fill_seconds": fill_seconds,
        "rss_empty": empty.rss,
        "rss": full.rss,
        "pss": full.pss,
        "rss_peak": full.rss_peak,
    }


def _restart(plan: Plan, cluster: Cluster) -> dict:
    """Ends the one server of a filled cluster politely, and starts it."""
    server = cluster.servers[0]
    server.child.stop()
    begin = time.monotonic()
    cluster.start(server)
    _wait_for_data(cluster.connect, last_path(plan.znodes), plan.znode_bytes, server.child)
    start_seconds = time.monotonic() - begin
    return {"start_seconds": start_seconds, "rss_after_start": memory(server.child.pid).rss}


def _wait_for_data(address: str, path: str, value_bytes: int, child, deadline_seconds: float = 300.0) -> None:
    """Until a client gets that znode's data from a server that is starting."""
    end = time.monotonic() + deadline_seconds
    while time.monotonic() < end:
        if not child.is_alive():
            raise Failure(f"{child.name} has ended:\n{child.tail()}")
        try:
            # A server that listens before it can serve leaves the connection without an answer: short waits.
            connection = Connection(address, connect_seconds=0.25)
        except (OSError, EOFError):
            time.sleep(0.005)
            continue
        try:
            connection.set_deadline(10.0)
            data = connection.get(path)
            if len(data) != value_bytes:
                raise Failure(f"{path} has {len(data)} bytes, not {value_bytes}")
            return
        except (OSError, EOFError):
            continue
        except ServerError as error:
            raise Failure(f"{path} cannot be read after the restart: {error}") from None
        finally:
            connection.drop()
    raise Failure(f"{child.name} does not serve within {deadline_seconds:.0f} s")


def leader_failure(bench: Bench, fault: signal.Signals) -> dict:
    """The leader of three is killed or stopped: the longest gap in a client's acknowledged writes."""
    samples: Samples = {contender.name: [] for contender in bench.contenders}
    for number, order in bench.rounds():
        for contender in order:
            result = _one_failure(bench, contender, fault)
            samples[contender.name].append(result)
            bench.tell(
                f"  round {number + 1} {contender.name}: no write acknowledged for "
                f"{result['gap_ms']:,.1f} ms ({result['gap_before_ms']:.1f} ms at most before), "
                f"{result['reconnects']} reconnects, "
                f"{result['lost_writes']} acknowledged writes lost"
            )
    return {"fault": fault.name, "samples": samples}


def _one_failure(bench: Bench, contender: Contender, fault: signal.Signals) -> dict:
    """A fresh ensemble each time: a leader can be killed only once."""
    seconds = bench.plan.fault_seconds
    with bench.cluster(contender, 3) as cluster:
        leader = cluster.leader()
        survivors = [f"127.0.0.1:{s.client_port}" for s in cluster.servers if s is not leader]
        bench.wait_for_quiet(cluster)
        watchman = Watchman(lambda: cluster.pids)
        writer = Writer(survivors)
        try:
            time.sleep(seconds)
            struck = time.monotonic()
            gap_before = writer.longest_gap(struck - seconds / 2, struck)
            leader.child.send(fault)
            # Written again for a while: without a pause, or after one.
            if not writer.wait_for(struck + seconds / 10, count=1, deadline_seconds=120):
                raise Failure(f"{contender.name}: no write for 120 s after {fault.name} of the leader")
            time.sleep(seconds)
            ended = time.monotonic()
        finally:
            writer.stop()
        result = {
            "gap_ms": 1000 * writer.longest_gap(struck, ended),
            "gap_before_ms": 1000 * gap_before,
            "acknowledged": len(writer.acknowledged),
            "reconnects": writer.reconnects,
            "sessions_lost": writer.sessions,
            "lost_writes": writer.lost_writes(survivors[0]),
        }
        if fault == signal.SIGKILL:
            leader.child.kill()  # it is dead already; this reaps it, for the watchman's sum
        return result | {"disturbance": watchman.finish().as_dict()}
