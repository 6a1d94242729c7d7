"""Fills a server with very many small znodes, as fast as it takes them."""

from __future__ import annotations

import random
from collections.abc import Iterator

from jute import Connection, create_frame
from processes import Failure

CHILDREN_PER_PARENT = 1000


def paths(count: int) -> Iterator[str]:
    """The paths of `count` znodes, below one parent per thousand."""
    for number in range(count):
        yield f"/fill/{number // CHILDREN_PER_PARENT:04d}/{number % CHILDREN_PER_PARENT:04d}"


def fill(address: str, count: int, value_bytes: int, in_flight: int = 1000) -> None:
    """Creates that many znodes with that many bytes each, none of them like another."""
    connection = Connection(address)
    connection.create("/fill")
    for parent in range((count + CHILDREN_PER_PARENT - 1) // CHILDREN_PER_PARENT):
        connection.create(f"/fill/{parent:04d}")
    chance = random.Random(1)
    frames = (
        create_frame(1000 + number, path, chance.randbytes(value_bytes))
        for number, path in enumerate(paths(count))
    )
    failed = sum(code != 0 for code in connection.pipeline(frames, in_flight))
    connection.close()
    if failed:
        raise Failure(f"{failed} of {count} creates failed")


def last_path(count: int) -> str:
    """The path of the last znode that `fill` creates."""
    number = count - 1
    return f"/fill/{number // CHILDREN_PER_PARENT:04d}/{number % CHILDREN_PER_PARENT:04d}"
