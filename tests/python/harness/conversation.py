"""Talking to an interactive program: a line in, then waiting for the lines that answer it."""

import re
import subprocess
import threading

from .wait import Deadline, DeadlineExceeded


class Conversation:
    """A program with its input and output (both streams of it, merged). Ends with its owner."""

    def __init__(self, argv, env=None, cwd=None):
        self._popen = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            bufsize=1,
            env=env,
            cwd=cwd,
        )
        self.lines = []
        self._heard = 0
        self._ended = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def say(self, line):
        """Sends one line."""
        self._popen.stdin.write(line + "\n")
        self._popen.stdin.flush()

    def hear(self, pattern, seconds=20):
        """Waits for a line that matches, after the last one heard; returns the match."""
        deadline = Deadline(seconds)
        with self._changed:
            while True:
                for index in range(self._heard, len(self.lines)):
                    if found := re.search(pattern, self.lines[index]):
                        self._heard = index + 1
                        return found
                if self._ended or not self._changed.wait(deadline.left()) and deadline.over():
                    tail = "\n".join(self.lines[-30:])
                    raise DeadlineExceeded(f"no line {pattern!r} within {seconds} s, but:\n{tail}")

    def ask(self, line, pattern, seconds=20):
        """`say` and `hear`."""
        self.say(line)
        return self.hear(pattern, seconds)

    def exit_code(self, seconds=20):
        """Waits for the end of the program."""
        return self._popen.wait(timeout=seconds)

    def end(self):
        """Kills it if it has not ended."""
        if self._popen.poll() is None:
            self._popen.kill()
        self._popen.wait(timeout=10)
        self._popen.stdin.close()
        self._reader.join(timeout=10)
        self._popen.stdout.close()

    def _read(self):
        for line in self._popen.stdout:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
