"""A program against Debian's Go client, `golang-github-samuel-go-zookeeper-dev`: `tests/clients/go`."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from harness import clientprogram, secured
from harness.server import Options
from harness.target import REPOSITORY

SOURCE = REPOSITORY / "tests" / "clients" / "go" / "main.go"
GOPATH = Path("/usr/share/gocode")
BUILD_DEADLINE_S = 300


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """Builds it. Skips with the reason where that cannot be."""
    if not shutil.which("go"):
        pytest.skip("no go in PATH: install Debian's package golang-go")
    if not (GOPATH / "src" / "github.com" / "samuel" / "go-zookeeper").exists():
        pytest.skip("no Go client: install Debian's package golang-github-samuel-go-zookeeper-dev")
    binary = tmp_path_factory.mktemp("go") / "client"
    made = subprocess.run(
        ["go", "build", "-o", str(binary), str(SOURCE)],
        env=dict(os.environ, GO111MODULE="off", GOPATH=str(GOPATH), GOFLAGS="", CGO_ENABLED="0"),
        capture_output=True,
        text=True,
        timeout=BUILD_DEADLINE_S,
    )
    assert made.returncode == 0, made.stderr
    return str(binary)


def test_go_client(program, make_ensemble):
    ensemble = make_ensemble(3)
    passed = clientprogram.run([program, ensemble.connect_string], ensemble)
    assert len(passed) == 10, passed


def test_go_client_with_tls(program, make_ensemble, flavour, tmp_path):
    authority, keys = secured.keys(flavour, tmp_path)
    ensemble = make_ensemble(3, options=Options(extra=keys))
    passed = clientprogram.run([program, ensemble.connect_string, str(authority.pem)], ensemble)
    assert len(passed) == 10, passed
