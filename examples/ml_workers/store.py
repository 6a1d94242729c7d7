"""How the job's state lies in znodes, and how it is read and written through connection losses.

    /job                  what is asked for: epochs, shards, workers (JSON)
    /state                what the job is doing now: phase, epoch, versions (JSON; every step moves it on)
    /hyper                the hyper-parameters (JSON); the znode's own version numbers them
    /current              the number of the model version in use
    /models/0000000012    model version 12 (a blob)
    /members/worker-1     ephemeral: this worker is alive
    /election             the candidates for coordinator
    /assignment           who computes which shard now (JSON), and /assignments/0000000003: how it came so
    /epochs/0000000012    one epoch at work: gradients/<shard> (blobs), arrived/<worker>, barrier
    /results/0000000012   what came of the epoch (JSON)
    /chunks/...           the pieces of blobs that are too big for one znode

All paths lie under a chroot, one per job. Writes are safe to repeat: a create that finds the znode made
is content, and a transaction carries the version of what it changes, so a second try cannot apply twice.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import zlib
from collections.abc import Callable

from kazoo.client import KazooClient, TransactionRequest
from kazoo.exceptions import ConnectionLoss, KazooException, NodeExistsError, NoNodeError
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.protocol.states import KazooState, ZnodeStat
from kazoo.retry import KazooRetry

JOB, STATE, HYPER, CURRENT, MEMBERS, ELECTION = (
    "/job",
    "/state",
    "/hyper",
    "/current",
    "/members",
    "/election",
)
ASSIGNMENT, ASSIGNMENTS, MODELS, EPOCHS, RESULTS = (
    "/assignment",
    "/assignments",
    "/models",
    "/epochs",
    "/results",
)
CHUNKS = "/chunks"

#: A request must stay below the server's jute.maxbuffer (1 MiB); half of it leaves room for the rest of
#: a transaction.
CHUNK_BYTES = 512 * 1024

#: The shortest session that servers with the default tickTime of 2 s grant. A killed worker is noticed
#: when its session ends, so shorter is better here.
SESSION_SECONDS = 4.0

Watch = Callable[..., None]


def numbered(folder: str, number: int) -> str:
    """The path of the znode with this number in this folder."""
    return f"{folder}/{number:010d}"


def encode(value: object) -> bytes:
    """The JSON that a znode holds."""
    return json.dumps(value, sort_keys=True).encode()


def encode_blob(payload: bytes, about: dict, chunk_bytes: int = CHUNK_BYTES) -> tuple[bytes, list[bytes]]:
    """A blob as the data of its head znode, and the chunks that are stored beside it.

    The head is one line of JSON: what the blob is `about`, and its checksum. A payload that fits follows
    in the head itself, so that it can be created in one transaction with other things.
    """
    packed = zlib.compress(payload, 1)
    pieces = [packed[at : at + chunk_bytes] for at in range(0, len(packed), chunk_bytes)]
    inline = len(pieces) <= 1
    line = {
        "about": about,
        "sha256": hashlib.sha256(payload).hexdigest(),
        "chunks": 0 if inline else len(pieces),
    }
    head = encode(line) + b"\n"
    return (head + packed, []) if inline else (head, pieces)


def decode_blob(head: bytes, read_chunk: Callable[[int], bytes]) -> tuple[bytes, dict]:
    """The payload of a blob and what it is about; ValueError if it is not what was written."""
    line, _, inline = head.partition(b"\n")
    manifest = json.loads(line)
    packed = b"".join(read_chunk(i) for i in range(manifest["chunks"])) if manifest["chunks"] else inline
    payload = zlib.decompress(packed)
    if hashlib.sha256(payload).hexdigest() != manifest["sha256"]:
        raise ValueError("a blob's checksum does not match its content")
    return payload, manifest["about"]


class Store:
    """A connection to the ensemble, with the few operations that the job is made of.

    Every operation waits through lost connections and elections. What it does not survive is the end of
    the session: that raises kazoo's SessionExpiredError, because ephemeral znodes are gone by then.
    """

    def __init__(
        self,
        connect: str,
        chroot: str,
        on_change: Callable[[str], None] | None = None,
        chunk_bytes: int = CHUNK_BYTES,
    ):
        logging.getLogger("kazoo").setLevel(logging.CRITICAL)  # the listener below says it in plain words
        patient = {"max_tries": -1, "delay": 0.02, "backoff": 2, "max_delay": 0.25, "ignore_expire": False}
        self.client = KazooClient(
            hosts=connect + chroot,
            timeout=SESSION_SECONDS,
            randomize_hosts=True,
            connection_retry=KazooRetry(**patient),
            command_retry=KazooRetry(**patient),
        )
        self._patience = KazooRetry(**patient)
        self._chunk_bytes = chunk_bytes
        self._on_change = on_change
        self.sessions_lost = 0
        self.is_closing = False
        self.client.add_listener(self._connection_changed)

    def _connection_changed(self, state: str) -> None:
        if state == KazooState.LOST:
            self.sessions_lost += 1
        if self._on_change is not None:
            self._on_change(state)

    def start(self) -> None:
        """Connects; a TimeoutError if no server takes us within half a minute."""
        try:
            self.client.start(timeout=30)
        except KazooTimeoutError:
            raise TimeoutError("no server answered within 30 s") from None

    def close(self) -> None:
        """Ends the session, so that its ephemeral znodes vanish at once. Never waits long."""
        self.is_closing = True
        try:
            self.client.stop()
            self.client.close()
        except (KazooException, KazooTimeoutError):
            pass  # the session then ends by itself

    def _retry(self, call: Callable, *args, **kwargs):
        """`call`, again after every lost connection. (A KazooRetry counts; each call has its own.)"""
        return self._patience.copy()(call, *args, **kwargs)

    # Reading

    def get(self, path: str, watch: Watch | None = None) -> tuple[bytes, ZnodeStat] | None:
        """The znode's data and Stat. None if it does not exist; then `watch` waits for its creation."""
        while True:
            try:
                return self._retry(self.client.get, path, watch)
            except NoNodeError:
                if watch is None or self._retry(self.client.exists, path, watch) is None:
                    return None

    def get_json(self, path: str, watch: Watch | None = None) -> tuple[dict, int] | None:
        """The JSON in a znode, and the znode's version."""
        found = self.get(path, watch)
        return None if found is None else (json.loads(found[0]), found[1].version)

    def children(self, path: str, watch: Watch | None = None) -> list[str]:
        """The children's names in order; none if the znode does not exist."""
        try:
            return sorted(self._retry(self.client.get_children, path, watch))
        except NoNodeError:
            return []

    def exists(self, path: str, watch: Watch | None = None) -> ZnodeStat | None:
        return self._retry(self.client.exists, path, watch)

    def get_blob(self, path: str) -> tuple[bytes, dict] | None:
        """A blob and what it is about; None if it does not exist (any more)."""
        head = self.get(path)
        if head is None:
            return None

        def read_chunk(index: int) -> bytes:
            chunk = self.get(f"{self._chunk_folder(path)}/{index}")
            if chunk is None:
                raise ValueError(f"chunk {index} of {path} is missing")
            return chunk[0]

        return decode_blob(head[0], read_chunk)

    # Writing

    def create(self, path: str, data: bytes = b"", ephemeral: bool = False) -> bool:
        """Creates a znode. False if it was there (perhaps made by a try whose answer got lost)."""
        try:
            self._retry(self.client.create, path, data, ephemeral=ephemeral)
            return True
        except NodeExistsError:
            return False

    def blob_head(self, path: str, payload: bytes, about: dict) -> bytes:
        """Stores what does not fit into one znode, and returns the data for the blob's head znode.

        The blob exists once the caller creates `path` with that data: chunks come first, so whoever sees
        the head can read the whole.
        """
        head, chunks = encode_blob(payload, about, self._chunk_bytes)
        if chunks:
            self.create(self._chunk_folder(path))
        for index, chunk in enumerate(chunks):
            self.create(f"{self._chunk_folder(path)}/{index}", chunk)
        return head

    def transact(self, build: Callable[[TransactionRequest], None]) -> bool:
        """Commits the transaction that `build` fills. False if a check in it failed: then nothing happened,
        or it had happened in a try whose answer got lost. Either way the caller looks again."""

        def once() -> bool:
            transaction = self.client.transaction()
            build(transaction)
            results = transaction.commit()
            if any(isinstance(result, ConnectionLoss) for result in results):
                raise ConnectionLoss
            return not any(isinstance(result, Exception) for result in results)

        return self._retry(once)

    def delete(self, path: str) -> None:
        """Deletes a znode if it is there."""
        with contextlib.suppress(NoNodeError):
            self._retry(self.client.delete, path)

    def delete_tree(self, path: str) -> None:
        """Deletes a znode and all below it."""
        for child in self.children(path):
            self.delete_tree(f"{path}/{child}")
        self.delete(path)

    def delete_blob(self, path: str) -> None:
        """Deletes a blob's head and then its chunks."""
        self.delete(path)
        self.delete_tree(self._chunk_folder(path))

    @staticmethod
    def _chunk_folder(path: str) -> str:
        return f"{CHUNKS}/{path.strip('/').replace('/', '.')}"
