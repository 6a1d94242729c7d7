"""A program against the crate `zookeeper-client`: `tests/clients/rust`."""

import os
import shutil
import subprocess

import pytest

from harness import clientprogram, secured
from harness.server import Options
from harness.target import REPOSITORY

SOURCE = REPOSITORY / "tests" / "clients" / "rust"
TARGET = REPOSITORY / "target" / "clients-rust"
BUILD_DEADLINE_S = 900
KEYS = {"extendedTypesEnabled": "true"}


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
    ensemble = make_ensemble(3, options=Options(extra=KEYS))
    passed = clientprogram.run([program, ensemble.connect_string], ensemble)
    assert len(passed) == 14, passed


def test_zookeeper_client_with_tls_and_sasl(program, make_ensemble, flavour, tmp_path):
    authority, keys = secured.keys(flavour, tmp_path, "rust")
    # Not SASL alone: 0.11.2 sets its watches again before it has logged in, which ZooKeeper refuses too.
    enough = {"enforce.auth.schemes": "sasl,x509"}
    ensemble = make_ensemble(3, options=Options(extra=KEYS | keys | enough))
    who = [str(authority.folder), "rust", secured.PASSWORD]
    passed = clientprogram.run([program, ensemble.connect_string, *who], ensemble)
    assert len(passed) == 15, passed
