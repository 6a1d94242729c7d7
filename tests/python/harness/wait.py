"""Waiting for something to become true, with a deadline and a name for what did not come."""

import time

POLL_S = 0.02


class DeadlineExceeded(AssertionError):
    """What was waited for did not happen in time."""


class Deadline:
    """A point in monotonic time; hands out what is left of it."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.at = time.monotonic() + seconds

    def left(self):
        """Seconds left, never negative."""
        return max(0.0, self.at - time.monotonic())

    def over(self):
        """True once the time is up."""
        return time.monotonic() >= self.at


def wait_for(predicate, seconds, what, poll_s=POLL_S):
    """Calls `predicate` until it gives something true, and returns that. `what` names it when the deadline passes:
    a text, or a function that makes one at that moment."""
    deadline = Deadline(seconds)
    while True:
        value = predicate()
        if value:
            return value
        if deadline.over():
            description = what() if callable(what) else what
            raise DeadlineExceeded(f"not within {seconds} s: {description}")
        time.sleep(poll_s)
