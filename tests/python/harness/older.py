"""The release before this one, built from the repository's history: what servers of different versions do together.

`python3 -m harness.older` in the folder tests/python builds it beforehand.
"""

import fcntl
import os
import subprocess

from .target import REPOSITORY, Flavour

COMMIT = "57010a8"
"""The last one that speaks version 2 and nothing newer: no containers, no hand-over, no local sessions."""

FOLDER = REPOSITORY / "target" / f"older-{COMMIT}"
BUILD_DEADLINE_S = 1800


def older_zabra():
    """A server of that commit; built at the first call (1 to 10 minutes), which later ones find done and those meanwhile
    wait for. `unavailable` says why it cannot be."""
    binary = FOLDER / "build" / "debug" / "zabra"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = "" if os.access(binary, os.X_OK) else _build()
    return Flavour("zabra-older", True, (3, 8, 0), missing, binary=str(binary))


def _build():
    source = FOLDER / "source"
    source.mkdir(parents=True, exist_ok=True)
    archive = subprocess.run(["git", "archive", COMMIT], cwd=REPOSITORY, capture_output=True, check=False)
    if archive.returncode != 0:
        return f"git has no commit {COMMIT} here: {archive.stderr.decode(errors='replace').strip()}"
    subprocess.run(["tar", "-x"], cwd=source, input=archive.stdout, check=True)
    command = ["nice", "cargo", "build", "--quiet", "--locked", "--bin", "zabra"]
    env = dict(os.environ, CARGO_TARGET_DIR=str(FOLDER / "build"))
    try:
        built = subprocess.run(
            command, cwd=source, env=env, capture_output=True, timeout=BUILD_DEADLINE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"commit {COMMIT} cannot be built: {error}"
    if built.returncode != 0:
        return f"commit {COMMIT} cannot be built: {built.stderr.decode(errors='replace')[-500:]}"
    return ""


if __name__ == "__main__":
    if why := older_zabra().unavailable:
        raise SystemExit(why)
