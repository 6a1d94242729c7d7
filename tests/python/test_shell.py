"""`zabra shell` reading commands: what zkCli.sh has beyond looking and changing."""

import itertools
import subprocess

import pytest

from harness.target import zabra_binary

DEADLINE_S = 60
_numbers = itertools.count(1)


@pytest.fixture
def shell(shared_ensemble):
    """Runs a script; gives its output, what it complained about, and the exit code. `@` is a folder of the test's own."""
    folder = f"/shell{next(_numbers)}"
    hosts = shared_ensemble.connect_string

    def run(*lines, servers=hosts):
        script = "".join(line.replace("@", folder) + "\n" for line in lines)
        done = subprocess.run(
            [zabra_binary(), "shell", "-s", servers], input=script, capture_output=True, text=True, timeout=DEADLINE_S
        )
        return done.stdout.replace(folder, "@"), done.stderr.replace(folder, "@"), done.returncode

    run.hosts, run.folder, run.ensemble = hosts, folder, shared_ensemble
    run("create @")
    yield run
    shared_ensemble.assert_healthy()


def test_data_that_is_not_text_can_be_set_and_shown(shell):
    out, _, code = shell("set -b @ AP8gQQ==", "get -b @", "get -x @", "set -b @ =")
    assert out == "AP8gQQ==\n00000000  00 ff 20 41                                      .. A\n"
    assert code == 1


def test_commands_have_numbers_and_can_be_redone(shell):
    out, err, code = shell("create @/a", "get @/a", "redo 0", "redo 1", "redo 2", "redo 17", "history")
    assert out.splitlines() == [
        "Created @/a",
        "",
        "",
        "0 - create @/a",
        "1 - get @/a",
        "2 - create @/a",
        "3 - get @/a",
        "4 - create @/a",
        "5 - redo 17",
        "6 - history",
    ]
    assert err.splitlines() == ["Node already exists: @/a"] * 2 + ["there is no command 17 in the history"]
    assert code == 1


def test_a_redo_is_not_redone(shell):
    _, err, _ = shell("redo 0")
    assert err == "there is no command 0 in the history\n"


def test_a_closed_session_takes_its_ephemerals_and_another_can_be_opened(shell):
    out, err, code = shell(
        "create -e @/mine", "close", "ls @", "version", f"connect {shell.hosts}{shell.folder}", "ls /", "connect", "ls /"
    )
    assert out.splitlines()[0] == "Created @/mine"
    assert out.splitlines()[1].startswith("Zabra shell version: ")
    assert out.splitlines()[2:] == ["[]", "[]"]
    assert err == "Not connected: connect opens a session\n"
    assert code == 1


def test_events_are_shown_only_while_that_is_wanted(shell):
    out, _, code = shell(
        "printwatches",
        "addWatch -m PERSISTENT @",
        "set @ 1",
        "sync @",
        "printwatches off",
        "printwatches",
        "set @ 2",
        "sync @",
    )
    assert out.count("type:NodeDataChanged path:@") <= 1
    assert "printwatches is on\n" in out and "printwatches is off\n" in out
    assert code == 0


def test_the_configuration_is_shown_whatever_the_chroot_is(shell):
    out, _, code = shell("config -s", servers=shell.hosts + shell.folder)
    assert code == 0
    assert "dataVersion = " in out


def test_whole_parts_of_the_tree_get_another_list_or_go(shell):
    out, err, code = shell(
        "create @/a",
        "create @/a/b",
        "setAcl -R @/a world:anyone:cdra",
        "getAcl @/a/b",
        "set @/a/b x",
        "deleteall @/a -b 1",
        "ls @",
    )
    assert out.splitlines()[2:] == ["'world,'anyone", ": cdra", "[]"]
    assert err == "Insufficient permission : @/a/b\n"
    assert code == 1
