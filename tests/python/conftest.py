"""Fixtures of all process tests: the server under test, and ensembles that end with their test."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness import target as targets  # noqa: E402
from harness.ensemble import Ensemble  # noqa: E402
from harness.process import tidy_up_at_sigterm  # noqa: E402


def pytest_configure():
    tidy_up_at_sigterm()


def pytest_report_header():
    flavour = targets.chosen()
    state = flavour.unavailable or "available"
    reference = targets.newest_zookeeper()
    return [f"server under test: {flavour.name} ({state})", f"reference: {reference.name} {reference.version}"]


@pytest.fixture(scope="session")
def flavour():
    """The server that `ZABRA_TARGET` names; skips with the reason where it cannot run."""
    chosen = targets.chosen()
    if chosen.unavailable:
        pytest.skip(chosen.unavailable)
    return chosen


@pytest.fixture(scope="session")
def reference():
    """Apache ZooKeeper to compare with."""
    chosen = targets.newest_zookeeper()
    if chosen.unavailable:
        pytest.skip(chosen.unavailable)
    return chosen


@pytest.fixture
def make_ensemble(flavour, tmp_path):
    """Starts ensembles of the server under test; ends all of them after the test."""
    made = []

    def make(size=1, start=True, **arguments):
        kind = arguments.pop("flavour", flavour)
        ensemble = Ensemble(kind, tmp_path / f"ensemble-{len(made)}", size, **arguments)
        made.append(ensemble)
        return ensemble.start() if start else ensemble

    yield make
    for ensemble in made:
        ensemble.close()


@pytest.fixture(scope="module", params=[1, 3], ids=["standalone", "three_servers"])
def shared_ensemble(request, flavour, tmp_path_factory):
    """One standalone server and one ensemble of three, each kept for a whole file."""
    with Ensemble(flavour, tmp_path_factory.mktemp("ensemble"), request.param) as ensemble:
        yield ensemble.start()


def env_int(name, default):
    """An integer setting from the environment."""
    return int(os.environ.get(name, default))
