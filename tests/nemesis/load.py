"""All that writes during a run: workers over the raw protocol, kazoo and the Rust client, each with its history."""

import os
import sys
from pathlib import Path

from harness import jute, verdict
from harness.process import Process
from harness.rawclient import RawClient
from harness.target import REPOSITORY
from harness.wait import wait_for
from harness.workload import EPHEMERALS, Load

from . import history, judge

WORKERS = 4
REGISTERS = 5
RECORDED = "/nemesis"
CLIENTS = ("kazoo0", "kazoo1", "rust0", "rust1")
PROGRESS = 15
PROGRESS_DEADLINE_S = 60


def rust_load_binary():
    """The example `nemesis_load`; `./test` builds it."""
    return Path(os.environ.get("ZABRA_NEMESIS_LOAD", REPOSITORY / "target/debug/examples/nemesis_load"))


def unavailable():
    """Why there can be no load; empty if there can."""
    binary = rust_load_binary()
    return "" if os.access(binary, os.X_OK) else f"no {binary}: cargo build --example nemesis_load"


class AllLoad:
    """The load of one run."""

    def __init__(self, cluster, folder, seed):
        self._cluster = cluster
        self._folder = folder
        self._prepare()
        self.workers = Load(cluster.ensemble.endpoints, WORKERS, seed)
        hosts = cluster.ensemble.connect_string
        self._histories = [folder / "kazoo.jsonl", folder / "rust.jsonl"]
        kazoo = [sys.executable, "-m", "nemesis.kazoo_load", hosts, self._histories[0], str(seed), str(REGISTERS)]
        rust = [rust_load_binary(), hosts, self._histories[1], "--seed", str(seed), "--registers", str(REGISTERS)]
        self._processes = []
        try:
            tests = Path(__file__).resolve().parents[1]
            self._processes.append(Process(kazoo, folder / "kazoo.log", cwd=tests))
            self._processes.append(Process(rust, folder / "rust.log"))
            self.workers.start()
            wait_for(self._all_record, PROGRESS_DEADLINE_S, "every client to write down its first requests")
        except BaseException:
            self.abandon()
            raise

    def wait_progress(self, when):
        """Waits until every worker has been acknowledged some more writes."""
        self._assert_going()
        before = self.workers.acks()

        def progressed():
            self._assert_going()
            return all(now >= then + PROGRESS for now, then in zip(self.workers.acks(), before))

        def what():
            gained = [now - then for now, then in zip(self.workers.acks(), before)]
            return f"writes of every worker {when} (gained {gained}):\n{self._cluster.ensemble.log_tails()}"

        wait_for(progressed, PROGRESS_DEADLINE_S, what)

    def wait_any_progress(self, when):
        """Waits until somebody has been acknowledged some more writes."""
        before = sum(self.workers.acks())
        what = lambda: f"a write {when}:\n{self._cluster.ensemble.log_tails()}"  # noqa: E731
        wait_for(lambda: sum(self.workers.acks()) >= before + PROGRESS, PROGRESS_DEADLINE_S, what)

    def stop(self):
        """Ends the load; its last requests are answered."""
        self.workers.stop()
        for process in self._processes:
            code = process.stop()
            assert code == 0, f"the load ended with {code}:\n{process.log_tail()}"

    def abandon(self):
        """Ends it without a question, after a failure."""
        if hasattr(self, "workers"):
            self.workers.abandon()
        for process in self._processes:
            process.kill()

    def verdict(self):
        """After `stop`: everything that is wrong, and the figures of the load."""
        closed = self.workers.workers[::2]
        for worker in self.workers.workers:
            client = worker.reconnected()
            if worker in closed:
                assert client.close().error == jute.OK
        self._wait_for_the_end_of_the_dead()
        dumps = {server.server_id: verdict.dump(server) for server in self._cluster.servers}
        recorded = {server.server_id: verdict.dump(server, RECORDED) for server in self._cluster.servers}
        nodes = dumps[1]
        wrong = verdict.differences(dumps) + verdict.differences(recorded) + verdict.check(self.workers.workers, nodes)
        wrong += verdict.check_ephemerals(self.workers.workers, closed, nodes)
        ops = [op for path in self._histories for op in history.read(path)]
        wrong += judge.check(ops, recorded[1])
        return wrong, self._figures(ops)

    def _figures(self, ops):
        sent = [one for worker in self.workers.workers for one in worker.history.sent]
        writes = [op for op in ops if op.is_write]
        times = [one.acked_at for one in sent if one.acked] + [op.returned for op in writes if op.ok]
        silent = [name for name in CLIENTS if not any(op.client == name and op.ok for op in ops)]
        assert not silent, f"no request of {silent} was ever acknowledged"
        return {
            "acknowledged": len(times),
            "unknown": sum(one.error is None for one in sent) + sum(op.outcome == history.UNKNOWN for op in writes),
            "reads_after_sync": sum(op.ok and op.op == "synced_get" for op in ops),
            "reads": sum(op.ok and op.op == "get" for op in ops),
            "longest_gap_s": round(judge.longest_gap(times), 2),
            "sessions_expired": sum(len(worker.history.losses) for worker in self.workers.workers),
        }

    def _wait_for_the_end_of_the_dead(self):
        """The sessions that `abandon_a_session` left behind are over at last."""
        with RawClient(*self._cluster.ensemble.endpoints[0]) as client:

            def abandoned():
                client.value(jute.sync())
                return [name for name in client.value(jute.get_children(EPHEMERALS)) if name.startswith("abandoned")]

            wait_for(lambda: not abandoned(), 30, lambda: f"the ephemerals of dead sessions to go: {abandoned()}", 0.1)
            client.close()

    def _all_record(self):
        self._assert_going()
        text = "".join(path.read_text(encoding="utf-8") for path in self._histories if path.exists())
        return all(f'"{name}"' in text for name in CLIENTS)

    def _assert_going(self):
        self.workers.assert_going()
        for process in self._processes:
            assert process.alive(), f"a load ended with {process.exit_code()}:\n{process.log_tail()}"

    def _prepare(self):
        """What kazoo and the Rust client find."""
        with RawClient(*self._cluster.ensemble.endpoints[0]) as client:
            client.value(jute.create(RECORDED))
            for name in CLIENTS:
                client.value(jute.create(f"{RECORDED}/{name}"))
            for number in range(REGISTERS):
                client.value(jute.create(f"{RECORDED}/r{number}", b"none"))
            client.close()


def abandon_a_session(cluster, number):
    """A session that makes an ephemeral and is never heard of again; it must go."""
    path = f"{EPHEMERALS}/abandoned{number}"
    host, port = cluster.ensemble.endpoints[number % len(cluster.servers)]
    with RawClient(host, port, timeout_ms=3000) as client:
        assert client.call(jute.create(path, flags=jute.EPHEMERAL)).error == jute.OK



