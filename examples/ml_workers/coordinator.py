"""The coordinator: assigns shards, adds gradients up, publishes model versions and judges them.

Everything it knows lies in znodes, and every step is one transaction that moves `/state` on, under the
version that was read. So a coordinator may die between any two steps and the next one elected goes on;
and one that was replaced without noticing cannot change anything any more.

    gather -> train 1 -> judge 1 -> train 2 -> ... -> judge n -> done
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass

import hashing
import model
import store as znodes
from store import Store, encode, numbered


@dataclass(frozen=True)
class Job:
    """What is asked for."""

    epochs: int
    shards: int
    #: Training begins when this many workers are there; later the number may change at any time.
    workers: int


def submit(store: Store, job: Job) -> None:
    """Lays the job out in znodes, all at once. The chroot itself exists already."""

    def build(transaction) -> None:
        transaction.create(znodes.JOB, encode(asdict(job)))
        transaction.create(znodes.HYPER, encode(model.Hyper().to_json()))
        for folder in (
            znodes.MEMBERS,
            znodes.ELECTION,
            znodes.ASSIGNMENTS,
            znodes.MODELS,
            znodes.EPOCHS,
            znodes.RESULTS,
            znodes.CHUNKS,
        ):
            transaction.create(folder)
        transaction.create(znodes.ASSIGNMENT, encode({"generation": 0, "members": [], "shards": {}}))
        transaction.create(znodes.CURRENT, b"0")
        first = {"phase": "gather", "epoch": 0, "base": 0, "at_rest": True, "hyper_version": 0}
        transaction.create(znodes.STATE, encode(first))

    if not store.transact(build):
        raise RuntimeError("the job could not be laid out: something is there already")
    path = numbered(znodes.MODELS, 0)
    store.create(path, store.blob_head(path, model.Version.first().to_bytes(), {"epoch": 0}))


class Coordinator:
    """One term of one elected candidate."""

    def __init__(self, store: Store, name: str, digits: model.Digits, tell: Callable[[str], None]):
        self._store = store
        self._name = name
        self._digits = digits
        self._tell = tell
        self._wake = threading.Event()
        self._versions: dict[int, model.Version] = {}
        self._sessions_lost_before = store.sessions_lost

    def changed(self, *_event) -> None:
        """Something this term waits for has changed; also the watch of everything it looks at."""
        self._wake.set()

    def run(self) -> None:
        """Leads until the job is done or the session has ended, and with it the mandate."""
        found = self._store.get_json(znodes.JOB)
        assert found is not None, "a candidate runs only after the job was submitted"
        job = Job(**found[0])
        phases = {"gather": self._gather, "train": self._train, "judge": self._judge}
        greeted = False
        while self._store.sessions_lost == self._sessions_lost_before:
            self._wake.clear()
            state, version = self._store.get_json(znodes.STATE, self.changed)
            if state["phase"] == "done":
                return
            if not greeted:
                self._tell(f"elected coordinator; the job is at epoch {state['epoch']} ({state['phase']})")
                greeted = True
            members = self._store.children(znodes.MEMBERS, self.changed)
            self._assign(members, job)
            if not phases[state["phase"]](job, state, version, members):
                self._wake.wait()
        self._tell("lost my session, so I am no longer the coordinator")

    # Who computes what

    def _assign(self, members: list[str], job: Job) -> None:
        """Makes the assignment that of these members."""
        before, version = self._store.get_json(znodes.ASSIGNMENT)
        if before["members"] == members:
            return
        old_owners = {int(shard): owner for shard, owner in before["shards"].items()}
        owners = hashing.assign(members, job.shards)
        joined = sorted(set(members) - set(before["members"]))
        left = sorted(set(before["members"]) - set(members))
        after = {
            "generation": before["generation"] + 1,
            "members": members,
            "joined": joined,
            "left": left,
            "shards": {str(shard): owner for shard, owner in owners.items()},
            "moved": hashing.moved(old_owners, owners),
        }

        def build(transaction) -> None:
            transaction.set_data(znodes.ASSIGNMENT, encode(after), version)
            transaction.create(numbered(znodes.ASSIGNMENTS, after["generation"]), encode(after))

        if self._store.transact(build):
            news = " and ".join([f"{name} joined" for name in joined] + [f"{name} is gone" for name in left])
            shares = ", ".join(f"{name} {count}" for name, count in sorted(Counter(owners.values()).items()))
            self._tell(f"{news}: moved {len(after['moved'])} of {job.shards} shards; now {shares}")

    # The phases. Each returns whether it did something; if not, it has left watches on what it waits for.

    def _gather(self, job: Job, state: dict, version: int, members: list[str]) -> bool:
        """Waits for enough workers."""
        if len(members) < job.workers:
            return False
        self._store.transact(lambda t: self._begin_epoch(t, {**state, "phase": "train", "epoch": 1}, version))
        return True

    def _begin_epoch(self, transaction, state: dict, version: int) -> None:
        """Adds to a transaction: the state, and the znodes of its epoch, with the barrier closed."""
        transaction.set_data(znodes.STATE, encode({**state, "coordinator": self._name}), version)
        path = numbered(znodes.EPOCHS, state["epoch"])
        for part in ("", "/gradients", "/arrived", "/barrier"):
            transaction.create(path + part)

    def _train(self, job: Job, state: dict, version: int, members: list[str]) -> bool:
        """Once every gradient is in and every live worker stands at the barrier: the next model version."""
        epoch, path = state["epoch"], numbered(znodes.EPOCHS, state["epoch"])
        gradients_in = self._store.children(path + "/gradients", self.changed)
        arrived = self._store.children(path + "/arrived", self.changed)
        if len(gradients_in) < job.shards or not members or not set(members) <= set(arrived):
            return False
        blobs = [self._store.get_blob(f"{path}/gradients/{shard:04d}") for shard in range(job.shards)]
        hyper, hyper_version = self._store.get_json(znodes.HYPER)
        if None in blobs or hyper_version != state["hyper_version"]:
            return True  # the state has moved on under us: look again
        gradients = [model.vector_from_bytes(payload) for payload, _ in blobs]
        candidate = model.step(self._base(state), gradients, len(self._digits.train[1]), model.Hyper(**hyper))
        target = numbered(znodes.MODELS, epoch)
        head = self._store.blob_head(target, candidate.to_bytes(), {"epoch": epoch, "base": state["base"]})
        after = {
            **state,
            "phase": "judge",
            "coordinator": self._name,
            "by": dict(Counter(about["worker"] for _, about in blobs)),
        }

        def build(transaction) -> None:
            transaction.set_data(znodes.STATE, encode(after), version)
            transaction.create(target, head)
            transaction.set_data(znodes.CURRENT, str(epoch).encode())
            transaction.delete(path + "/barrier")

        if self._store.transact(build):
            self._versions[epoch] = candidate
        return True

    def _judge(self, job: Job, state: dict, version: int, _members: list[str]) -> bool:
        """Compares the new version with the one before, moves `current` back if it is worse, and goes on."""
        epoch, base = state["epoch"], state["base"]
        loss = model.loss(self._version(epoch), *self._digits.judge)
        loss_before = model.loss(self._version(base), *self._digits.judge)
        worse = loss > loss_before
        kept = base if worse else epoch
        hyper, hyper_version = self._store.get_json(znodes.HYPER)
        hyper_after = model.Hyper(**hyper).after(worse)
        result = {
            "epoch": epoch,
            "loss": loss,
            "loss_before": loss_before,
            "taken_back": worse,
            "kept": kept,
            "by": state["by"],
            "hyper": hyper,
            "hyper_version": state["hyper_version"],
            "coordinator": self._name,
        }
        after = {
            "phase": "train",
            "epoch": epoch + 1,
            "base": kept,
            "at_rest": worse,
            "hyper_version": state["hyper_version"] + 1,
        }

        def build(transaction) -> None:
            if epoch < job.epochs:
                self._begin_epoch(transaction, after, version)
            else:
                transaction.set_data(znodes.STATE, encode(self._final_state(epoch, kept)), version)
            transaction.set_data(znodes.HYPER, encode(hyper_after.to_json()), state["hyper_version"])
            transaction.create(numbered(znodes.RESULTS, epoch), encode(result))
            if worse:
                transaction.set_data(znodes.CURRENT, str(kept).encode())

        if hyper_version == state["hyper_version"] and self._store.transact(build):
            self._tell_result(result, hyper_after)
            self._tidy_up(epoch)
        return True

    def _final_state(self, epoch: int, kept: int) -> dict:
        version = self._version(kept)
        return {
            "phase": "done",
            "epoch": epoch,
            "base": kept,
            "digest": version.digest(),
            "accuracy": model.accuracy(version, *self._digits.test),
            "coordinator": self._name,
        }

    def _tell_result(self, result: dict, hyper_after: model.Hyper) -> None:
        line = (
            f"epoch {result['epoch']}: {sum(result['by'].values())} gradients "
            f"from {len(result['by'])} workers, loss {result['loss_before']:.4f} -> {result['loss']:.4f}"
        )
        if result["taken_back"]:
            line += (
                f": worse. `current` moved back to version {result['kept']}, "
                f"learning rate cut to {hyper_after.learning_rate:.3f}"
            )
        self._tell(line)

    # Model versions

    def _base(self, state: dict) -> model.Version:
        version = self._version(state["base"])
        return model.without_momentum(version) if state["at_rest"] else version

    def _version(self, number: int) -> model.Version:
        """A model version, from memory if this term has read or made it."""
        if number not in self._versions:
            found = self._store.get_blob(numbered(znodes.MODELS, number))
            if found is None:
                raise RuntimeError(f"model version {number} is missing")
            self._versions[number] = model.Version.from_bytes(found[0])
        return self._versions[number]

    def _tidy_up(self, epoch: int) -> None:
        """Deletes what finished epochs leave behind, also where a coordinator died before it could."""
        self._versions = {number: kept for number, kept in self._versions.items() if number >= epoch - 1}
        for name in self._store.children(znodes.EPOCHS):
            if int(name) <= epoch:
                gradients = f"{znodes.EPOCHS}/{name}/gradients"
                for shard in self._store.children(gradients):
                    self._store.delete_blob(f"{gradients}/{shard}")
                self._store.delete_tree(f"{znodes.EPOCHS}/{name}")
