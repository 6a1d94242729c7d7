"""A program against the crate `zookeeper-client`: `tests/clients/rust`."""

import os
import shutil
import subprocess

import pytest

from harness import clientprogram
from harness.server import Options
from harness.target import REPOSITORY

SOURCE = REPOSITORY / "tests" / "clients" / "rust"
TARGET = REPOSITORY / "target" / "clients-rust"
BUILD_DEADLINE_S = 900


@pytest.fixture(scope="module")
def program():
    """Builds it, in a target folder of its own. Skips with the reason where that cannot be."""
    if not shutil.which("cargo"):
        pytest.skip("no cargo in PATH")
    binary = TARGET / "debug" / "zabra-client-rust"
    if not binary.exists() and "ZABRA_LONG" not in os.environ:
        pytest.skip("its hundred crates are compiled with ./test --long only; afterwards it always runs")
    manifest = ["--manifest-path", str(SOURCE / "Cargo.toml"), "--target-dir", str(TARGET)]
    made = subprocess.run(
        ["cargo", "build", "--quiet", "--locked", *manifest], capture_output=True, text=True, timeout=BUILD_DEADLINE_S
    )
    assert made.returncode == 0, made.stderr
    return str(binary)


def test_zookeeper_client(program, make_ensemble, flavour):
    if flavour.version < (3, 9):
        pytest.skip("older servers do not tell the zxid of an event")
    ensemble = make_ensemble(3, options=Options(extra={"extendedTypesEnabled": "true"}))
    passed = clientprogram.run([program, ensemble.connect_string], ensemble)
    assert len(passed) == 14, passed
