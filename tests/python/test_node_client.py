"""A program against the npm package `node-zookeeper-client`: `tests/clients/node`."""

import shutil
import subprocess

import pytest

from harness import clientprogram
from harness.target import REPOSITORY

SOURCE = REPOSITORY / "tests" / "clients" / "node"
TARGET = REPOSITORY / "target" / "clients-node"
INSTALL_DEADLINE_S = 180


@pytest.fixture(scope="module")
def folder():
    """The program beside the packages that it needs. Skips with the reason where that cannot be."""
    for tool in ("node", "npm"):
        if not shutil.which(tool):
            pytest.skip(f"no {tool} in PATH: install Node 18 or later, with npm")
    TARGET.mkdir(parents=True, exist_ok=True)
    installed = TARGET / "installed-lock.json"
    lock = (SOURCE / "package-lock.json").read_bytes()
    for file in SOURCE.iterdir():
        shutil.copyfile(file, TARGET / file.name)
    if not installed.exists() or installed.read_bytes() != lock:
        done = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
            cwd=TARGET,
            capture_output=True,
            text=True,
            timeout=INSTALL_DEADLINE_S,
        )
        if done.returncode != 0:
            pytest.skip(f"npm could not install node-zookeeper-client: {done.stderr[-300:]}")
        installed.write_bytes(lock)
    return TARGET


def test_node_zookeeper_client(folder, make_ensemble):
    ensemble = make_ensemble(3)
    passed = clientprogram.run(["node", "main.js", ensemble.connect_string], ensemble, cwd=folder)
    assert len(passed) == 9, passed
