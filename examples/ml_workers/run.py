"""One command for the whole example: servers, workers, the two kills, and the comparison.

    python run.py                          three zabra servers, four workers, a fifth that joins later
    python run.py --standalone             the same against one zabra server, which is killed and restarted
    python run.py --connect host:port,...  against servers that run already (the leader is killed, too)

Ends with exit code 0 only if the accuracy equals that of an undisturbed run and everything that was to
happen has happened.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import model  # first: it tells numpy's BLAS how many threads to use
import store as znodes
from checks import Expected, Left, check
from coordinator import Job, submit
from servers import Servers, ZabraEnsemble, ZabraStandalone, end_child, find_zabra
from store import Store
from story import Story, fail

HERE = Path(__file__).resolve().parent


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--servers", type=int, default=3, help="size of the ensemble (default 3)")
    where.add_argument("--standalone", action="store_true", help="one zabra server instead of an ensemble")
    where.add_argument(
        "--connect", metavar="HOST:PORT,...", help="use servers of this machine that run already"
    )
    parser.add_argument(
        "--zabra", metavar="PATH", help="the zabra binary (default: $ZABRA, then target/, then PATH)"
    )
    parser.add_argument("--workers", type=int, default=4, help="workers to begin with (default 4)")
    parser.add_argument("--epochs", type=int, default=48, help="epochs to train (default 48)")
    parser.add_argument("--shards", type=int, default=16, help="pieces of the training set (default 16)")
    parser.add_argument(
        "--chunk-bytes",
        type=int,
        default=znodes.CHUNK_BYTES,
        help="most bytes of a model or gradient in one znode (default 524288)",
    )
    parser.add_argument(
        "--victim",
        choices=["worker", "coordinator"],
        default="worker",
        help="kill a plain worker, or the one that is the coordinator (default worker)",
    )
    parser.add_argument("--undisturbed", action="store_true", help="kill nobody")
    parser.add_argument(
        "--deadline", type=float, default=180, help="give up after this many seconds (default 180)"
    )
    options = parser.parse_args()
    if options.workers < 2 or options.epochs < 8 or options.shards < 1 or options.chunk_bytes < 1024:
        parser.error("at least 2 workers, 8 epochs, 1 shard and chunks of 1024 bytes are needed")
    return options


class Run:
    """One run of the job: its servers, its worker processes, and what was done to them."""

    def __init__(self, options: argparse.Namespace, story: Story):
        self._options = options
        self._story = story
        self._chroot = f"/ml-{os.getpid()}"
        self._workers: dict[str, subprocess.Popen] = {}
        self._changed = threading.Event()
        self._end = time.monotonic() + options.deadline

    def tell(self, text: str) -> None:
        self._story.tell("run", text)

    def run(self) -> bool:
        """The whole run; True if all went as it should."""
        expected = self._train_alone()
        servers = self._open_servers()
        try:
            self.tell(f"connecting to {servers.connect}")
            store = self._submit(servers)
            try:
                self._start_workers(servers, expected)
                self._follow(store, servers, expected)
                self._wait_for_workers(expected)
                return self._compare(Left.read(store), expected)
            finally:
                store.close()
        finally:
            for child in self._workers.values():
                end_child(child, signal.SIGTERM, patience_seconds=1)
            servers.stop()

    def _train_alone(self) -> Expected:
        digits = model.Digits.load()
        self.tell(
            f"first the same training alone in this process: {self._options.epochs} epochs over "
            f"{len(digits.train[1])} images of digits in {self._options.shards} shards"
        )
        version, taken_back = model.train_alone(digits, self._options.epochs, self._options.shards)
        expected = Expected(
            self._options.epochs, model.accuracy(version, *digits.test), version.digest(), taken_back
        )
        self.tell(
            f"undisturbed: accuracy {expected.accuracy:.2%} on {len(digits.test[1])} images never trained "
            f"on, {taken_back} steps taken back, weights {expected.digest}"
        )
        return expected

    def _open_servers(self) -> Servers:
        if self._options.connect:
            return Servers(self._options.connect)
        binary = find_zabra(self._options.zabra)
        if self._options.standalone:
            return ZabraStandalone(binary, self._story)
        return ZabraEnsemble(binary, self._options.servers, self._story)

    def _submit(self, servers: Servers) -> Store:
        """Lays the job out in znodes below a chroot of its own."""
        root = Store(servers.connect, "")
        root.start()
        root.create(self._chroot)
        root.close()
        store = Store(
            servers.connect, self._chroot, lambda _state: self._changed.set(), self._options.chunk_bytes
        )
        store.start()
        submit(store, Job(self._options.epochs, self._options.shards, self._options.workers))
        self.tell(
            f"laid out the job below {self._chroot}: {self._options.epochs} epochs, begins with "
            f"{self._options.workers} workers"
        )
        return store

    def _start_workers(self, servers: Servers, expected: Expected) -> None:
        for number in range(1, self._options.workers + 1):
            self._start_worker(servers, f"worker-{number}", 0)
        late = self._options.epochs // 4
        expected.joining_worker = f"worker-{self._options.workers + 1}"
        self._start_worker(servers, expected.joining_worker, late)
        self.tell(
            f"started {self._options.workers} workers; {expected.joining_worker} will join at epoch {late}"
        )

    def _start_worker(self, servers: Servers, name: str, join_at_epoch: int) -> None:
        command = [
            sys.executable,
            str(HERE / "worker.py"),
            "--connect",
            servers.connect,
            "--chroot",
            self._chroot,
            "--name",
            name,
            "--join-at-epoch",
            str(join_at_epoch),
            "--chunk-bytes",
            str(self._options.chunk_bytes),
            "--end-with-parent",
        ]
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._workers[name] = child
        self._story.retell(name, child.stdout)

    def _follow(self, store: Store, servers: Servers, expected: Expected) -> None:
        """Watches the job to its end, and disturbs it half way."""
        half_way = self._options.epochs // 2
        disturbed = self._options.undisturbed
        while True:
            self._changed.clear()
            state, _ = store.get_json(znodes.STATE, lambda _event: self._changed.set())
            if state["phase"] == "done":
                break
            if state["epoch"] >= half_way and not disturbed:
                disturbed = True
                self._disturb(store, servers, expected, state)
            for name, child in self._workers.items():
                if child.poll() not in (None, 0) and name != expected.killed_worker:
                    raise fail(f"{name} ended with exit code {child.returncode}")
            if (
                not self._changed.wait(min(1.0, self._end - time.monotonic()))
                and time.monotonic() >= self._end
            ):
                raise fail(f"not done after {self._options.deadline:.0f} s: the state is {state}")
        self.tell(f"the job is done: accuracy {state['accuracy']:.2%}, weights {state['digest']}")
        if expected.leader_before is not None:
            expected.leader_after = servers.leader()

    def _disturb(self, store: Store, servers: Servers, expected: Expected, state: dict) -> None:
        """Kills a worker and the leading server, without a word of warning to either."""
        assignment, _ = store.get_json(znodes.ASSIGNMENT)
        shards = list(assignment["shards"].values())
        if self._options.victim == "coordinator":
            victim = state["coordinator"]
        else:
            others = sorted(set(shards) - {state["coordinator"], expected.joining_worker})
            victim = max(others, key=shards.count)
        leader = servers.leader()
        expected.killed_worker = victim
        self.tell(
            f"half way, epoch {state['epoch']}: kill -9 of {victim} (process {self._workers[victim].pid}, "
            f"{shards.count(victim)} shards)"
        )
        self._workers[victim].kill()
        if not servers.survives_kill():
            self.tell("there is only one server and it is not ours: it is left alone")
            return
        self.tell(f"and kill -9 of the leading server {leader.address} (process {leader.pid})")
        os.kill(leader.pid, signal.SIGKILL)
        expected.leader_before, expected.epoch_at_kill = leader, state["epoch"]
        servers.after_kill()

    def _wait_for_workers(self, expected: Expected) -> None:
        for name, child in self._workers.items():
            if name != expected.killed_worker:
                try:
                    expected.exit_codes[name] = child.wait(20)
                except subprocess.TimeoutExpired:
                    expected.exit_codes[name] = None
        self.tell("all workers have gone home")

    def _compare(self, left: Left, expected: Expected) -> bool:
        findings = check(left, expected)
        for met, text in findings:
            self._story.tell("check", ("yes   " if met else "NO    ") + text)
        ok = all(met for met, _ in findings)
        self.tell(
            f"accuracy {left.state['accuracy']:.2%}, exactly that of the undisturbed run"
            if ok
            else "something did not happen as it should have: see the lines with NO"
        )
        return ok


def main() -> int:
    # A polite end is an exception, so that nothing stays behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return 0 if Run(parse_options(), Story()).run() else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except TimeoutError as reason:
        raise fail(str(reason)) from None
