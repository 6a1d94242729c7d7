"""kazoo clients that end with their test."""

import contextlib
import threading

from kazoo.client import KazooClient
from kazoo.retry import KazooRetry

from .wait import Deadline, DeadlineExceeded

CONNECT_DEADLINE_S = 20


class Clients:
    """Makes connected kazoo clients and closes them all."""

    def __init__(self, hosts, chroot=""):
        self.hosts = hosts
        self.chroot = chroot
        self._stack = contextlib.ExitStack()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stack.close()

    def new(self, hosts=None, chroot=None, **arguments):
        """A connected client; `chroot` defaults to the test's own."""
        client = self.unconnected(hosts, chroot, **arguments)
        client.start(CONNECT_DEADLINE_S)
        return client

    def unconnected(self, hosts=None, chroot=None, **arguments):
        """One that is not started yet."""
        chroot = self.chroot if chroot is None else chroot
        arguments.setdefault("timeout", 10.0)
        retry = KazooRetry(max_tries=-1, delay=0.02, max_delay=0.3, backoff=1.5)
        client = KazooClient(hosts=(hosts or self.hosts) + chroot, connection_retry=retry, **arguments)
        self._stack.callback(_end, client)
        return client


def _end(client):
    with contextlib.suppress(Exception):
        client.stop()
    with contextlib.suppress(Exception):
        client.close()


class Worker:
    """A thread whose exception is not lost: `result` raises it."""

    def __init__(self, function, *arguments):
        self._outcome = None
        self._error = None
        self._thread = threading.Thread(target=self._run, args=(function, arguments), daemon=True)
        self._thread.start()

    def _run(self, function, arguments):
        try:
            self._outcome = function(*arguments)
        except BaseException as error:  # handed to the test, which raises it
            self._error = error

    def done(self):
        """True once the function has come back."""
        return not self._thread.is_alive()

    def result(self, seconds=20):
        """What the function gave."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            raise DeadlineExceeded(f"a worker did not end within {seconds} s")
        if self._error:
            raise self._error
        return self._outcome


class Seen:
    """A list that other threads append to and a test waits on."""

    def __init__(self):
        self.items = []
        self._changed = threading.Condition()

    def add(self, item):
        """Appends; for use as a callback."""
        with self._changed:
            self.items.append(item)
            self._changed.notify_all()

    def wait(self, holds, what, seconds=20):
        """Waits until `holds(items)`; returns a copy of the items."""
        deadline = Deadline(seconds)
        with self._changed:
            while not holds(self.items):
                if not self._changed.wait(deadline.left()) and deadline.over():
                    raise DeadlineExceeded(f"not within {seconds} s: {what}; seen {self.items}")
            return list(self.items)

    def wait_last(self, value, seconds=20):
        """Waits until the newest item is `value`."""
        return self.wait(lambda items: items and items[-1] == value, f"{value!r} as the last", seconds)
