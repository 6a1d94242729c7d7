"""The C client: cli_mt and load_gen of Debian's package zookeeper-bin."""

import itertools
import subprocess
from pathlib import Path

import pytest

from harness import jute
from harness.conversation import Conversation
from harness.rawclient import RawClient

FOLDER = Path("/usr/lib/zookeeper/bin")
_numbers = itertools.count(1)


@pytest.fixture
def program():
    """Finds a program of the package; skips with the reason if it is not there."""

    def find(name):
        path = FOLDER / name
        if not path.exists():
            pytest.skip(f"no {path}: install Debian's package zookeeper-bin")
        return str(path)

    return find


@pytest.fixture
def cli(program, shared_ensemble):
    """A started cli_mt that has its session."""
    with Conversation([program("cli_mt"), "-h", shared_ensemble.connect_string]) as conversation:
        conversation.hear(r"state = CONNECTED_STATE")
        yield conversation
    shared_ensemble.assert_healthy()


@pytest.fixture
def folder():
    """A path of the test's own."""
    return f"/c{next(_numbers)}"


def test_create_get_set_and_delete(cli, folder):
    cli.ask(f"create {folder}", rf"\[{folder}\]: rc = 0")
    cli.ask(f"set {folder} hello", rf"{folder}: rc = 0 Stat")
    cli.hear("version=1")
    cli.ask(f"get {folder}", rf"{folder}: rc = 0")
    cli.hear("value_len = 5")
    cli.hear("^hello")
    cli.ask(f"create {folder}", rf"rc = {jute.NODE_EXISTS}")
    cli.ask(f"create {folder}/c", rf"\[{folder}/c\]: rc = 0")
    cli.ask(f"delete {folder}", rf"{folder}: rc = {jute.NOT_EMPTY}")
    cli.ask(f"delete {folder}/c", rf"{folder}/c: rc = 0")
    cli.ask(f"delete {folder}", rf"{folder}: rc = 0")
    cli.ask(f"get {folder}", rf"{folder}: rc = {jute.NO_NODE}")


def test_modes_of_create(cli, folder):
    cli.ask(f"create {folder}", "rc = 0")
    cli.ask(f"create +s {folder}/s", rf"name = {folder}/s0000000000")
    cli.ask(f"create +e {folder}/e", rf"name = {folder}/e$")
    cli.ask(f"create +es {folder}/b", rf"name = {folder}/b0000000002")
    cli.ask(f"create2 {folder}/two", rf"name = {folder}/two")
    cli.ask(f"create {folder}/e/c", rf"rc = {jute.NO_CHILDREN_FOR_EPHEMERALS}")
    cli.ask(f"ls {folder}", rf"{folder}: rc = 0")
    heard = {cli.hear(r"^\t(\w+)$")[1] for _ in range(4)}
    assert heard == {"s0000000000", "e", "b0000000002", "two"}


def test_watches(cli, folder, shared_ensemble):
    cli.ask(f"wexists {folder}", rf"Error {jute.NO_NODE} for {folder}")
    with RawClient(*shared_ensemble.endpoints[-1]) as other:
        other.value(jute.create(folder))
        cli.hear(f"CREATED_EVENT .* for path {folder}")
        cli.ask(f"sync {folder}", rf"\[{folder}\]: rc = 0")
        cli.ask(f"ls {folder}", rf"{folder}: rc = 0")  # leaves a child watch
        cli.ask(f"get {folder}", rf"{folder}: rc = 0")  # leaves a data watch
        other.value(jute.create(folder + "/child"))
        cli.hear(f"CHILD_EVENT .* for path {folder}$")
        other.value(jute.set_data(folder, b"new"))
        cli.hear(f"CHANGED_EVENT .* for path {folder}$")
        other.close()


def test_auth(cli, folder, shared_ensemble):
    with RawClient(*shared_ensemble.endpoints[0]) as owner:
        owner.call(jute.auth("digest", b"alice:secret"))
        owner.value(jute.create(folder, b"mine", [jute.Acl(jute.ALL, "auth", "")]))
        owner.close()
    cli.ask(f"sync {folder}", "rc = 0")
    cli.ask(f"get {folder}", rf"{folder}: rc = {jute.NO_AUTH}")
    cli.say("addauth digest alice:secret")
    cli.ask(f"get {folder}", rf"{folder}: rc = 0")
    cli.hear("^mine")


def test_an_ephemeral_goes_with_its_client(cli, folder, shared_ensemble):
    with RawClient(*shared_ensemble.endpoints[-1]) as other:
        cli.ask(f"create +e {folder}", "rc = 0")
        other.value(jute.sync())
        assert other.call(jute.exists(folder)).error == jute.OK
        cli.say("quit")
        assert cli.exit_code() == 0
        other.value(jute.sync())
        assert other.call(jute.exists(folder)).error == jute.NO_NODE
        other.close()


def test_one_command_a_call(program, shared_ensemble, folder):
    run = lambda command: subprocess.run(
        [program("cli_mt"), "-h", shared_ensemble.connect_string, "-c", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30,
    )
    assert f"[{folder}]: rc = 0" in run(f"create {folder}").stdout
    assert f"[{folder}]: rc = {jute.NODE_EXISTS}" in run(f"create {folder}").stdout


def test_load_gen_runs_its_cycle(program, shared_ensemble, folder):
    """Creates, writes, reads and deletes a thousand znodes, thousands of requests in flight, twice over."""
    with Conversation([program("load_gen"), shared_ensemble.connect_string, folder, "1000"]) as load:
        for _ in range(2):
            for cycle in ("Creating children", "the write cycle", "the read cycle", "the delete cycle"):
                load.hear(f"{cycle} for path {folder}", 60)
        load.hear("Creating children", 60)
        lines = list(load.lines)
    failures = [line for line in lines if "ERROR" in line or "Failed" in line]
    assert not failures, "\n".join(failures[:10])
    shared_ensemble.assert_healthy()


def test_load_gen_cleans_up(program, shared_ensemble, folder):
    with RawClient(*shared_ensemble.endpoints[-1]) as client:
        client.value(jute.create(folder))
        client.value(jute.multi([jute.create(f"{folder}/n-", flags=jute.SEQUENTIAL) for _ in range(500)]))
        done = subprocess.run(
            [program("load_gen"), shared_ensemble.connect_string, folder, "clean"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout[-2000:]
        assert "501 nodes" in done.stdout
        client.value(jute.sync())
        assert client.call(jute.exists(folder)).error == jute.NO_NODE
        client.close()
