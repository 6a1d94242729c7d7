"""Load from kazoo, written down: `python -m nemesis.kazoo_load HOSTS HISTORY SEED REGISTERS`. `history` says what the lines
mean. Ends with SIGTERM."""

import json
import logging
import random
import signal
import sys
import threading
import time

from kazoo.client import KazooClient
from kazoo.exceptions import BadVersionError, KazooException
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.retry import KazooRetry

from .history import FAILED, OK, UNKNOWN

CLIENTS = 2
BATCH_MAX = 4
PAUSE_S = 0.02
ANSWER_DEADLINE_S = 40
UNHEARD = (KazooException, KazooTimeoutError)


class Recorder:
    """One client with its thread."""

    def __init__(self, name, hosts, seed, registers, out, stop):
        self._name = name
        self._random = random.Random(f"{seed}-{name}")
        self._registers = registers
        self._out = out
        self._stop = stop
        self._order = self._number = 0
        retry = KazooRetry(max_tries=-1, delay=0.02, max_delay=0.3, backoff=1.5)
        self._client = KazooClient(hosts=hosts, timeout=15.0, connection_retry=retry, randomize_hosts=True)
        self.failure = None
        self.thread = threading.Thread(target=self._guarded, name=name)

    def _guarded(self):
        try:
            self._run()
        except BaseException as error:  # told by main()
            self.failure = error
            self._stop.set()

    def _run(self):
        self._client.start(60)
        while not self._stop.is_set():
            self._batch()
            self._stop.wait(PAUSE_S)
        self._client.stop()
        self._client.close()

    def _batch(self):
        choice = self._random.random()
        path = self._register()
        if choice < 0.4:
            self._send([self._write() for _ in range(self._random.randint(1, BATCH_MAX))])
        elif choice < 0.6:
            (read,) = self._send([self._read("get", path)])
            if read["outcome"] == OK:
                value = self._value()
                send = lambda: self._client.set_async(path, value.encode(), read["version"])  # noqa: E731
                self._send([({"op": "cas", "path": path, "value": value, "expected": read["version"]}, send)])
        elif choice < 0.9:
            began = time.monotonic()
            try:
                self._client.sync_async("/nemesis").get(timeout=ANSWER_DEADLINE_S)
            except UNHEARD:
                return
            self._send([self._read("synced_get", path)], began)
        else:
            self._send([self._read("get", path)])

    def _register(self):
        return f"/nemesis/r{self._random.randrange(self._registers)}"

    def _value(self):
        self._number += 1
        return f"{self._name}-{self._number}"

    def _read(self, op, path):
        return {"op": op, "path": path}, lambda: self._client.get_async(path)

    def _write(self):
        value = self._value()
        if self._random.random() < 0.25:
            path = f"/nemesis/{self._name}/s-"
            send = lambda: self._client.create_async(path, value.encode(), sequence=True, include_data=True)  # noqa: E731
            return {"op": "append", "path": path, "value": value}, send
        path = self._register()
        return {"op": "set", "path": path, "value": value}, lambda: self._client.set_async(path, value.encode())

    def _send(self, planned, began=None):
        """Sends all, then waits for all and writes them down."""
        sent = []
        for line, send in planned:
            self._order += 1
            line |= {"client": self._name, "session": self._session(), "order": self._order}
            line["invoked"] = began or time.monotonic()
            sent.append((line, send()))
        for line, result in sent:
            self._wait(line, result)
            if line["session"] != self._session():
                line["session"] += f" or later, {self._order}"  # which one carried it cannot be told
            self._out.write(json.dumps(line) + "\n")
        return [line for line, _ in sent]

    def _session(self):
        session = self._client.client_id
        return f"{session[0]:x}" if session else "none"

    def _wait(self, line, result):
        try:
            answer = result.get(timeout=ANSWER_DEADLINE_S)
        except BadVersionError as error:
            line |= {"outcome": FAILED, "error": repr(error)}
        except UNHEARD as error:
            line |= {"outcome": UNKNOWN, "error": repr(error)}
        else:
            first, stat = answer if isinstance(answer, tuple) and len(answer) == 2 else (None, answer)
            line |= {"outcome": OK, "version": stat.version, "mzxid": stat.mzxid}
            if line["op"] == "append":
                line["name"] = first
            elif line["op"] in ("get", "synced_get"):
                line["value"] = first.decode()
        line["returned"] = time.monotonic()


def main():
    hosts, history, seed, registers = sys.argv[1:]
    logging.basicConfig(level=logging.CRITICAL)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with open(history, "w", encoding="utf-8", buffering=1) as out:
        names = [f"kazoo{number}" for number in range(CLIENTS)]
        recorders = [Recorder(name, hosts, seed, int(registers), out, stop) for name in names]
        for recorder in recorders:
            recorder.thread.start()
        stop.wait()
        for recorder in recorders:
            recorder.thread.join()
    failures = [recorder.failure for recorder in recorders if recorder.failure]
    if failures:
        raise failures[0]


if __name__ == "__main__":
    main()
