"""Tells what happens, one line at a time, in plain words."""

from __future__ import annotations

import sys
import threading
import time


class Story:
    """Lines with the seconds since the start and who says it; safe to use from many threads."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._lock = threading.Lock()

    def tell(self, who: str, text: str) -> None:
        with self._lock:
            print(f"{time.monotonic() - self._begin:6.2f} s  {who:<9} {text}", flush=True)

    def retell(self, who: str, stream) -> threading.Thread:
        """Tells every line of a child's output as that child's, in the background."""

        def pump() -> None:
            for line in stream:
                self.tell(who, line.rstrip())

        thread = threading.Thread(target=pump, daemon=True)
        thread.start()
        return thread


def fail(text: str) -> SystemExit:
    """An end with exit code 1 and its reason."""
    print(f"run.py: {text}", file=sys.stderr)
    return SystemExit(1)
