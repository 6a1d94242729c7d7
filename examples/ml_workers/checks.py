"""What should have happened, looked up in what the job left behind in its znodes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import store as znodes
from store import Store


@dataclass
class Expected:
    """What run.py did to the job, and what an undisturbed run gave."""

    epochs: int
    accuracy: float
    digest: str
    taken_back: int
    killed_worker: str | None = None
    joining_worker: str | None = None
    leader_before: object = None
    leader_after: object = None
    #: The last epoch whose result was there when the leader was killed.
    epoch_at_kill: int = 0
    #: Workers that must have ended by themselves, with their exit codes.
    exit_codes: dict[str, int | None] = field(default_factory=dict)


@dataclass
class Left:
    """What the job left behind."""

    state: dict
    current: int
    results: list[dict]
    assignments: list[dict]
    models: list[str]

    @staticmethod
    def read(store: Store) -> Left:
        def all_of(folder: str) -> list[dict]:
            return [json.loads(store.get(f"{folder}/{name}")[0]) for name in store.children(folder)]

        return Left(
            state=store.get_json(znodes.STATE)[0],
            current=int(store.get(znodes.CURRENT)[0]),
            results=all_of(znodes.RESULTS),
            assignments=all_of(znodes.ASSIGNMENTS),
            models=store.children(znodes.MODELS),
        )


Finding = tuple[bool, str]


def check(left: Left, expected: Expected) -> list[Finding]:
    """Every expectation, and whether it was met."""
    findings = list(_check_result(left, expected))
    if expected.joining_worker:
        findings += _check_join(left, expected.joining_worker)
    if expected.killed_worker:
        findings += _check_death(left, expected.killed_worker)
    if expected.leader_before is not None:
        findings += _check_leader_change(left, expected)
    return findings


def _check_result(left: Left, expected: Expected) -> list[Finding]:
    state, results = left.state, left.results
    last = results[-1] if results else {"kept": None}
    hyper_versions = [result["hyper_version"] for result in results]
    bad = {name: code for name, code in expected.exit_codes.items() if code != 0}
    return [
        (
            state.get("accuracy") == expected.accuracy,
            f"accuracy {state.get('accuracy', 0):.2%}, undisturbed {expected.accuracy:.2%}",
        ),
        (
            state.get("digest") == expected.digest,
            f"weights {state.get('digest')}, undisturbed {expected.digest}: the same to the last bit",
        ),
        (
            [result["epoch"] for result in results] == list(range(1, expected.epochs + 1)),
            f"{len(results)} results for {expected.epochs} epochs, each one once",
        ),
        (
            len(left.models) == expected.epochs + 1,
            f"{len(left.models)} numbered model versions, the first included",
        ),
        (
            sum(result["taken_back"] for result in results) == expected.taken_back,
            f"{expected.taken_back} versions were worse and `current` was moved back",
        ),
        (
            left.current == last["kept"] == state["base"],
            f"`current` is the best version, number {left.current}",
        ),
        (
            hyper_versions == list(range(expected.epochs)),
            "every epoch used its own version of the hyper-parameters",
        ),
        (not bad, f"workers that ended with an error: {bad or 'none'}"),
    ]


def _owned(assignment: dict, worker: str) -> list[int]:
    return sorted(int(shard) for shard, owner in assignment["shards"].items() if owner == worker)


def _check_join(left: Left, worker: str) -> list[Finding]:
    joins = [assignment for assignment in left.assignments if worker in assignment["joined"]]
    if not joins:
        return [(False, f"{worker} joined")]
    now_its = _owned(joins[0], worker)
    worked = sum(result["by"].get(worker, 0) for result in left.results)
    return [
        (
            joins[0]["moved"] == now_its and bool(now_its),
            f"when {worker} joined, the shards it got moved and no others: {now_its}",
        ),
        (worked > 0, f"{worker} computed {worked} gradients"),
    ]


def _check_death(left: Left, worker: str) -> list[Finding]:
    for before, after in zip(left.assignments, left.assignments[1:], strict=False):
        if worker in after["left"] and not after["joined"] and len(after["left"]) == 1:
            its = _owned(before, worker)
            return [
                (
                    after["moved"] == its and bool(its),
                    f"the death of {worker} was noticed; its shards moved and no others: {its}",
                ),
                (
                    worker not in left.results[-1]["by"] and len(left.results[-1]["by"]) >= 2,
                    f"the last epoch was computed by {', '.join(sorted(left.results[-1]['by']))}",
                ),
            ]
    return [(False, f"the death of {worker} was noticed")]


def _check_leader_change(left: Left, expected: Expected) -> list[Finding]:
    before, after = expected.leader_before, expected.leader_after
    gone = [name for assignment in left.assignments for name in assignment["left"]]
    finished = len(left.results) - expected.epoch_at_kill
    return [
        (
            after is not None and after.pid != before.pid,
            f"server {before.address} (process {before.pid}) was killed; now {after and after.address} leads",
        ),
        (finished > 0, f"{finished} epochs were finished after that"),
        (set(gone) <= {expected.killed_worker}, "no other worker lost its session"),
    ]
