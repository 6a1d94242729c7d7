"""A worker process: computes the gradients of its shards, and stands as a candidate for coordinator.

    python worker.py --connect host:port,... --chroot /job --name worker-1

The worker's loop never waits for one thing only. It looks at everything it depends on, leaving a watch
on each, does what there is to do, and sleeps until a watch fires. So it does not matter in which order
things change, nor what was missed while there was no connection.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import threading
import traceback
from collections.abc import Callable

from kazoo.exceptions import ConnectionClosedError, NoNodeError, SessionExpiredError
from kazoo.protocol.states import KazooState

import model  # first: it tells numpy's BLAS how many threads to use
import store as znodes
from coordinator import Coordinator, Job
from store import Store, numbered


class Worker:
    """The part of the process that computes."""

    def __init__(self, store: Store, name: str, digits: model.Digits, tell: Callable[[str], None]):
        self._store = store
        self._name = name
        self._digits = digits
        self._tell = tell
        self._wake = threading.Event()
        self._member_since: int | None = None  # the count of lost sessions when we became a member
        self._sent: set[tuple[int, int]] = set()  # (epoch, shard)
        self._arrived = 0
        self._base: tuple[int, model.Version] | None = None

    def changed(self, *_event) -> None:
        """Something has changed; also the watch of everything the worker looks at."""
        self._wake.set()

    def run(self, join_at_epoch: int, joined: Callable[[], None]) -> None:
        """Works until the job is done. `joined` is called once, when the worker has become a member."""
        is_new = True
        while True:
            self._wake.clear()
            try:
                state, _ = self._store.get_json(znodes.STATE, self.changed)
                if state["phase"] == "done":
                    return
                if state["epoch"] >= join_at_epoch and self._is_member():
                    if is_new:
                        is_new = False
                        joined()
                    if state["phase"] == "train":
                        self._work(state)
            except SessionExpiredError:
                continue  # the next session joins again
            self._wake.wait()

    def _is_member(self) -> bool:
        """Makes sure that this session's ephemeral znode is there. False while an older session's is."""
        if self._member_since == self._store.sessions_lost:
            return True
        sessions_lost, path = self._store.sessions_lost, f"{znodes.MEMBERS}/{self._name}"
        if not self._store.create(path, str(os.getpid()).encode(), ephemeral=True):
            stat = self._store.exists(path, self.changed)
            session = self._store.client.client_id
            if stat is None or session is None or stat.ephemeralOwner != session[0]:
                self._tell("my znode of an earlier session is still there; waiting for it to go")
                return False
        self._member_since = sessions_lost
        return True

    def _work(self, state: dict) -> None:
        """Sends the gradients that are still missing of this worker, then goes to the barrier and looks
        whether it is open."""
        epoch, path = state["epoch"], numbered(znodes.EPOCHS, state["epoch"])
        assignment, _ = self._store.get_json(znodes.ASSIGNMENT, self.changed)
        hyper, hyper_version = self._store.get_json(znodes.HYPER, self.changed)
        if self._name not in assignment["members"] or hyper_version != state["hyper_version"]:
            return
        job = Job(**self._store.get_json(znodes.JOB)[0])
        for shard, owner in assignment["shards"].items():
            if owner == self._name and (epoch, int(shard)) not in self._sent:
                self._send_gradient(path, state, int(shard), job, model.Hyper(**hyper))
        if self._arrived < epoch:
            self._arrived = epoch
            self._create(f"{path}/arrived/{self._name}", b"")
        self._store.exists(path + "/barrier", self.changed)

    def _send_gradient(self, path: str, state: dict, shard: int, job: Job, hyper: model.Hyper) -> None:
        if self._base is None or self._base[0] != state["base"]:
            payload, _ = self._store.get_blob(numbered(znodes.MODELS, state["base"]))
            self._base = (state["base"], model.Version.from_bytes(payload))
        images, labels = self._digits.shard(shard, job.shards)
        gradient = model.gradient(self._base[1].weights, images, labels, hyper)
        about = {"worker": self._name, "hyper_version": state["hyper_version"]}
        target = f"{path}/gradients/{shard:04d}"
        self._create(target, self._store.blob_head(target, gradient.tobytes(), about))
        self._sent = {entry for entry in self._sent if entry[0] == state["epoch"]}
        self._sent.add((state["epoch"], shard))

    def _create(self, path: str, data: bytes) -> None:
        """Creates a znode of an epoch, unless the epoch is over and tidied up."""
        with contextlib.suppress(NoNodeError):
            self._store.create(path, data)


def campaign(
    store: Store, name: str, digits: model.Digits, tell: Callable[[str], None], terms: list[Coordinator]
) -> None:
    """Stands for coordinator until the job is done, again after every lost session."""
    while True:
        try:
            term = Coordinator(store, name, digits, tell)
            terms[:] = [term]
            store.client.Election(znodes.ELECTION, name).run(term.run)
            if store.get_json(znodes.STATE)[0]["phase"] == "done":
                return
        except SessionExpiredError:
            continue
        except ConnectionClosedError:
            return  # the process is ending
        except BaseException:
            # A candidate that only seems to stand would leave the job without a coordinator one day.
            traceback.print_exc()
            os._exit(1)


def end_with_parent() -> None:
    """Ends this process when whoever started it has ended and so closed our standard input."""

    def wait() -> None:
        os.read(sys.stdin.fileno(), 1)  # nobody writes to it; not through sys.stdin, whose lock an exit wants
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    parser = argparse.ArgumentParser(description="One worker of the example job; run.py starts several.")
    parser.add_argument("--connect", required=True, help="host:port,... of the ensemble")
    parser.add_argument("--chroot", required=True, help="the job's znode, for example /ml")
    parser.add_argument("--name", required=True, help="the name of this worker, unlike all others'")
    parser.add_argument("--join-at-epoch", type=int, default=0, help="stay out of the job until this epoch")
    parser.add_argument("--chunk-bytes", type=int, default=znodes.CHUNK_BYTES, help="most bytes in one znode")
    parser.add_argument("--end-with-parent", action="store_true", help="end when standard input is closed")
    options = parser.parse_args()
    if options.end_with_parent:
        end_with_parent()

    def tell(text: str) -> None:
        print(text, flush=True)

    digits = model.Digits.load()
    terms: list[Coordinator] = []
    connection_before: list[str] = []

    def connection_changed(connection: str) -> None:
        if connection == KazooState.SUSPENDED:
            tell("lost the connection to my server; looking for another")
        elif connection == KazooState.LOST and not store.is_closing:
            tell("my session has ended; beginning another")
        elif connection == KazooState.CONNECTED and connection_before == [KazooState.SUSPENDED]:
            tell("connected again, with the same session")
        connection_before[:] = [connection]
        for listener in [worker, *terms]:
            listener.changed()

    store = Store(options.connect, options.chroot, connection_changed, options.chunk_bytes)
    worker = Worker(store, options.name, digits, tell)
    store.start()
    candidate = threading.Thread(
        target=campaign, args=(store, options.name, digits, tell, terms), daemon=True
    )

    worker.run(options.join_at_epoch, joined=candidate.start)
    candidate.join(timeout=5)
    store.close()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
