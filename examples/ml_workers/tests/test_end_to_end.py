"""The whole example, as a user starts it. Needs the zabra binary; see servers.find_zabra for where."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from servers import find_zabra

RUN = Path(__file__).resolve().parents[1] / "run.py"


@pytest.fixture(scope="module")
def zabra() -> str:
    try:
        return find_zabra(None)
    except SystemExit:
        pytest.skip("no zabra binary: cargo build first")


def run(*options: str) -> str:
    """What the run tells; it must end well and in time, and leave no process behind."""
    ended = subprocess.run([sys.executable, str(RUN), *options], capture_output=True, text=True, timeout=180)
    story = ended.stdout + ended.stderr
    assert ended.returncode == 0, story
    assert "NO" not in re.findall(r"check +(\w+)", story), story
    assert "exactly that of the undisturbed run" in story
    return story


def test_an_ensemble_survives_the_death_of_a_worker_and_of_its_leader(zabra):
    story = run("--zabra", zabra)
    assert re.search(r"kill -9 of worker-\d", story)
    assert "kill -9 of the leading server" in story
    assert "`current` moved back" in story


def test_another_worker_takes_over_when_the_coordinator_dies(zabra):
    story = run("--zabra", zabra, "--victim", "coordinator")
    terms = re.findall(r"(worker-\d)\s+elected coordinator; the job is at epoch (\d+)", story)
    assert len({name for name, epoch in terms if int(epoch) < 48}) >= 2, story


def test_models_and_gradients_of_many_znodes_each_arrive_whole(zabra):
    run("--zabra", zabra, "--standalone", "--undisturbed", "--chunk-bytes", "4096", "--epochs", "16")


def test_a_standalone_server_that_is_killed_comes_back_with_everything(zabra):
    story = run("--zabra", zabra, "--standalone")
    assert story.count("starting one server") == 2
