"""Which worker computes which shard: consistent hashing.

Every worker owns many points on a ring; a shard belongs to the owner of the first point at or after
its own. When a worker leaves, only its shards move; when one joins, shards move only to it. No other
shard changes hands, so nobody has to talk about it: whoever knows the members knows the assignment.
"""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Iterable

#: Points on the ring per worker. More points spread the shards more evenly and cost memory only.
POINTS_PER_MEMBER = 160


def ring_position(key: str) -> int:
    """The place of `key` on the ring: the same in every process and on every machine."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big")


class Ring:
    """The ring of a set of members. Two rings of the same members are equal in every answer."""

    def __init__(self, members: Iterable[str], points_per_member: int = POINTS_PER_MEMBER):
        # Should two points collide, the smaller name wins: sorting by (position, name) decides it.
        self._points = sorted(
            (ring_position(f"{member}#{point}"), member)
            for member in set(members)
            for point in range(points_per_member)
        )

    def owner(self, key: str) -> str | None:
        """The member `key` belongs to, or None while there are no members."""
        if not self._points:
            return None
        index = bisect.bisect_left(self._points, (ring_position(key), ""))
        return self._points[index % len(self._points)][1]


def assign(members: Iterable[str], shards: int) -> dict[int, str]:
    """The owner of every shard; empty while there are no members."""
    ring = Ring(members)
    owners = {shard: ring.owner(f"shard-{shard}") for shard in range(shards)}
    return {shard: owner for shard, owner in owners.items() if owner is not None}


def moved(before: dict[int, str], after: dict[int, str]) -> list[int]:
    """The shards whose owner is another one in `after` than it was in `before`."""
    return sorted(shard for shard, owner in after.items() if before.get(shard) != owner)
