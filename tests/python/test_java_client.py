"""The Java client, through its command line: zkCli.sh of Debian's package, and the one of ZooKeeper 3.9 where its jars
are. Both read a script from their input and do one line after the other."""

import itertools
import os
import re
import subprocess
from pathlib import Path

import pytest

from harness import target

ZKCLI = Path("/usr/share/zookeeper/bin/zkCli.sh")
DEADLINE_S = 60
_QUICK_JVM = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"
_numbers = itertools.count(1)
_TIMES = re.compile(r"^[cm]time = .*$")
_ZXIDS = re.compile(r"^[cmp]Zxid = 0x[0-9a-f]+$")


def _debian_command():
    return [str(ZKCLI)] if ZKCLI.exists() else None


def _newest_command():
    newest = target.zookeeper39()
    return None if newest.unavailable else [*newest.java(), "org.apache.zookeeper.ZooKeeperMain"]


@pytest.fixture(params=["debian", "3.9"])
def zkcli(request, shared_ensemble, tmp_path):
    """Runs a script; gives the lines of the answers, without the talk around them."""
    if request.param == "3.9" and len(shared_ensemble.servers) == 1:
        pytest.skip("the 3.9 client runs against three servers only: every JVM takes its seconds")
    command = _debian_command() if request.param == "debian" else _newest_command()
    if command is None:
        reasons = {"debian": f"no {ZKCLI}: install Debian's package zookeeper", "3.9": target.zookeeper39().unavailable}
        pytest.skip(reasons[request.param])
    folder = f"/java{next(_numbers)}"

    def run(*lines, hosts=shared_ensemble.connect_string):
        script = "".join(line.replace("@", folder) + "\n" for line in lines) + "quit\n"
        done = subprocess.run(
            [*command, "-server", hosts],
            input=script,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE_S,
            env=dict(os.environ, JVMFLAGS=_QUICK_JVM, ZOO_LOG_DIR=str(tmp_path)),
            cwd=tmp_path,
        )
        answers = _answers(done.stdout)
        assert answers is not None, f"the client did not connect:\n{done.stdout}"
        return [line.replace(folder, "@") for line in answers]

    run.hosts, run.folder = shared_ensemble.connect_string, folder
    yield run
    shared_ensemble.assert_healthy()


_TALK = ("SLF4J", "WATCHER::", "Connecting to ", "Welcome to ", "JLine support")


def _answers(output):
    """The output without the talk around it; None if there was no connection. Where the line of the connection stands
    says nothing: another thread writes it."""
    lines = [line.rstrip() for line in output.splitlines()]
    if not any("state:SyncConnected type:None" in line for line in lines):
        return None
    lines = [line for line in lines if line and not line.startswith(_TALK)]
    return [line for line in lines if "type:None" not in line and "Exiting JVM" not in line]


def _without_stat_numbers(lines):
    """Stat lines without what differs from run to run."""
    return [line for line in lines if not _TIMES.match(line) and not _ZXIDS.match(line)]


def test_create_get_set_and_delete(zkcli):
    assert zkcli(
        "create @ hello",
        "get @",
        "set @ changed",
        "get @",
        "set -v 7 @ no",
        "set -v 1 @ again",
        "get @",
        "create @",
        "delete -v 9 @",
        "delete @",
        "get @",
    ) == [
        "Created @",
        "hello",
        "changed",
        "version No is not valid : @",
        "again",
        "Node already exists: @",
        "version No is not valid : @",
        "Node does not exist: @",
    ]


def test_a_watch_that_stays_tells_of_all_below(zkcli):
    lines = zkcli("create @", "addWatch @", "create @/a", "set @/a x", "create @/a/b", "delete @/a/b")
    events = [line.split(" zxid")[0] for line in lines if line.startswith("WatchedEvent")]
    kinds = [("NodeCreated", "@/a"), ("NodeDataChanged", "@/a"), ("NodeCreated", "@/a/b"), ("NodeDeleted", "@/a/b")]
    assert events == [f"WatchedEvent state:SyncConnected type:{kind} path:{path}" for kind, path in kinds]


def test_what_a_session_can_ask_about_itself_and_the_tree(zkcli):
    lines = zkcli("create @", "create -c @/c", "create @/c/d", "create -e @/e", "getAllChildrenNumber @", "getEphemerals @")
    assert lines == ["Created @", "Created @/c", "Created @/c/d", "Created @/e", "3", "[@/e]"]
    who = zkcli("addauth digest me:secret", "whoami")
    assert who[0] == "Auth scheme: User" and who[2:] == ["digest: me"] and who[1].startswith("ip: 127."), who


def test_sequential_and_ephemeral_znodes(zkcli):
    made = zkcli("create @", "create -s @/s- x", "create -e @/e x", "create -s -e @/es- x", "create @/e/c", "ls @")
    assert made == [
        "Created @",
        "Created @/s-0000000000",
        "Created @/e",
        "Created @/es-0000000002",
        "Ephemerals cannot have children: @/e/c",
        "[e, es-0000000002, s-0000000000]",
    ]
    assert zkcli("sync @", "ls @", "deleteall @", "ls @") == ["Sync is OK", "[s-0000000000]", "Node does not exist: @"]


def test_stat_of_every_kind(zkcli):
    stat = ["cversion = 1", "dataVersion = 1", "aclVersion = 0", "ephemeralOwner = 0x0", "dataLength = 5"]
    stat.append("numChildren = 1")
    lines = zkcli("create @ 123", "create @/c", "set -s @ 12345", "get -s @", "ls -s @", "stat @")
    assert _without_stat_numbers(lines) == [
        "Created @",
        "Created @/c",
        *stat,
        "12345",
        *stat,
        "[c]",
        *stat,
        *stat,
    ]
    zxids = [line for line in lines if _ZXIDS.match(line)]
    created, changed, children = (int(line.split("0x")[1], 16) for line in zxids[:3])
    assert created < children < changed
    assert zxids[:3] * 4 == zxids


def test_trees_are_listed_and_deleted_as_a_whole(zkcli):
    paths = ["@", "@/a", "@/a/x", "@/a/y", "@/b"]
    lines = zkcli(*[f"create {path}" for path in paths], "ls -R @", "delete @", "deleteall @", "stat @")
    assert lines[:5] == [f"Created {path}" for path in paths]
    assert sorted(lines[5:10]) == sorted(paths)
    assert lines[10:] == ["Node not empty: @", "Node does not exist: @"]


def test_deleteall_of_many(zkcli):
    """In batches, each a multi."""
    creates = [f"create -s @/n- {number}" for number in range(300)]
    lines = zkcli("create @", *creates, "deleteall @ -b 100", "stat @")
    assert len(lines) == 302
    assert lines[-2:] == ["Created @/n-0000000299", "Node does not exist: @"]


def test_acls(zkcli):
    digest = "digest,'alice:aYXlLOpEooaV1cRAvUL1fp9Qt7E="
    assert zkcli(
        "create @ x",
        "getAcl @",
        "addauth digest alice:secret",
        "setAcl @ auth::cdrwa",
        "getAcl @",
        "create @/c",
        "setAcl @ world:anyone:r,ip:127.0.0.1:a",
        "getAcl @",
        "sync @",  # a leading ZooKeeper checks against the old list for a moment
        "create @/d",
        "setAcl -v 0 @ world:anyone:cdrwa",
        "setAcl -v 2 @ world:anyone:cdrwa",
        "setAcl @ nonsense:x:r",
    ) == [
        "Created @",
        "'world,'anyone",
        ": cdrwa",
        "'" + digest,
        ": cdrwa",
        "Created @/c",
        "'world,'anyone",
        ": r",
        "'ip,'127.0.0.1",
        ": a",
        "Sync is OK",
        "Insufficient permission : @/d",
        "version No is not valid : @",
        "Acl is not valid : @",
    ]


def test_a_stranger_is_kept_out(zkcli):
    zkcli("create @ secret", "addauth digest alice:secret", "setAcl @ auth::cdrwa")
    assert zkcli("sync @", "get @", "set @ x", "addauth digest alice:secret", "get @") == [
        "Sync is OK",
        "Insufficient permission : @",
        "Insufficient permission : @",
        "secret",
    ]


def test_many_watches_fire_once_each(zkcli):
    lines = zkcli(
        "create @ x",
        "get -w @",
        "ls -w @",
        "stat -w @/a",
        "stat -w @/b",
        "create @/a",
        "get -w @/a",
        "set @ y",
        "set @ z",
        "create @/b",
        "delete @/a",
        "get @",
        "sync @",
    )
    # Another thread writes the events: where they stand among the answers says nothing.
    events = [re.search(r"type:(\w+) path:(\S+)", line).groups() for line in lines if "WatchedEvent" in line]
    assert sorted(events) == [
        ("NodeChildrenChanged", "@"),
        ("NodeCreated", "@/a"),
        ("NodeCreated", "@/b"),
        ("NodeDataChanged", "@"),
        ("NodeDeleted", "@/a"),
    ]
    assert [line for line in lines if "WatchedEvent" not in line][-2:] == ["z", "Sync is OK"]


def test_chroot(zkcli):
    zkcli("create @", "create @/inner")
    inside = zkcli("ls /", "create /more", "ls /", hosts=zkcli.hosts + zkcli.folder)
    assert inside == ["[inner]", "Created /more", "[inner, more]"]


def test_one_command_a_call(zkcli, shared_ensemble):
    """`zkCli.sh -server host cmd args` exits with 0, and with 1 after an error."""
    command = _debian_command() or _newest_command()
    run = lambda *words: subprocess.run(
        [*command, "-server", shared_ensemble.connect_string, *words], capture_output=True, text=True, timeout=DEADLINE_S
    )
    path = f"/java-once{next(_numbers)}"
    assert run("create", path, "data").returncode == 0
    got = run("get", path)
    assert got.returncode == 0
    assert "data" in got.stdout.splitlines()  # another thread writes the line of the connection, before or after it
    assert run("get", path + "/none").returncode == 1
