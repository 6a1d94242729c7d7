"""`zabra shell` reading commands: what zkCli.sh has beyond looking and changing."""

import collections
import itertools
import subprocess

import pytest

from harness.certificates import Authority
from harness.ensemble import Options
from harness.target import zabra_binary, zookeeper39

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
    assert ("version=0" in out) == (len(shell.ensemble.servers) > 1)


def test_watches_are_taken_away_with_a_server_and_would_be_without(shell):
    out, err, code = shell("create @/w", "get -w @/w", "removewatches @/w -d -l", "set @/w x", "removewatches -l @/w")
    assert "DataWatchRemoved" in out and "NodeDataChanged" not in out
    assert "no such watch" in err and code == 1


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


# What zkCli 3.9 and the shell say word for word, but for the complaints, which only have to come for the same lines.
_SAME = (
    "create @/a x",
    "create -se @/n- y",
    "create -t=600000 @/ttl",
    "get -bw @/a",
    "stat -w @/none",
    "get @/a watch",
    "ls -R @/n-",
    "set -v0 @/a z",
    "ls -w @",
    "addWatch -m PERSISTENT @/a",
    "addWatch @/a",
    "get -w @/a",
    "set @/a w",
    "ls @ watch",
    "removewatches @/a",
    "removewatches @/a",
    "get -w @/a",
    "removewatches -c @/a",
    "removewatches -dl @/a",
    "stat -w @/a",
    "removewatches -c @ -d",
    "delete @/a",
    "create -sx @/x",
    "set @/n-0000000000 -5",
    "sync @",
)


def _said(output, folder):
    """The lines, without what another thread or another clock says, and how often each event was told."""
    lines = [line.replace(folder, "@") for line in output.splitlines()]
    events = collections.Counter(line.split(" zxid: ")[0] for line in lines if line.startswith("WatchedEvent"))
    assert all(" zxid: " in line for line in lines if line.startswith("WatchedEvent")), output
    return lines, {event: count for event, count in events.items() if "type:None" not in event}


def test_the_shell_says_what_zkcli_says(shell, tmp_path):
    newest = zookeeper39()
    if newest.unavailable:
        pytest.skip(newest.unavailable)
    told = {}
    for name, command in {
        "zkcli": [*newest.java(), "org.apache.zookeeper.ZooKeeperMain"],
        "zabra": [zabra_binary(), "shell", "-timeout", "30000"],
    }.items():
        folder = f"{shell.folder}/{name}"
        script = "".join(line.replace("@", folder) + "\n" for line in ("create @", *_SAME)) + "quit\n"
        done = subprocess.run(
            [*command, "-server", shell.hosts],
            input=script, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=DEADLINE_S, cwd=tmp_path,
        )
        lines, events = _said(done.stdout, folder)
        data = [line for line in lines if line in ("eA==", "x", "w", "z", "Sync is OK") or line.startswith("[")]
        told[name] = (events, data)
    events, data = told["zabra"]
    assert told["zabra"] == told["zkcli"]
    assert events["WatchedEvent state:SyncConnected type:NodeDataChanged path:@/a"] == 2, events
    for kind in ("PersistentWatchRemoved", "DataWatchRemoved"):
        assert events[f"WatchedEvent state:SyncConnected type:{kind} path:@/a"] >= 1, events
    assert data[0] == "eA=="


def test_options_share_a_dash_and_events_tell_their_transaction(shell):
    out, err, code = shell("create -se @/n-", "get -bsw @/n-0000000000", "set -v=0 @/n-0000000000 x", "sync @", "ls -?")
    assert "Created @/n-0000000000" in out and "ephemeralOwner = 0x0\n" not in out and code == 0, err
    (event,) = [line for line in out.splitlines() if line.startswith("WatchedEvent")]
    event, _, zxid = event.partition(" zxid: ")
    assert event == "WatchedEvent state:SyncConnected type:NodeDataChanged path:@/n-0000000000" and int(zxid) > 0
    assert "ls [-s] [-w] [-R] [-?] path" in out


def test_a_configuration_of_java_clients_says_how_to_connect(make_ensemble, flavour, tmp_path):
    authority = Authority(tmp_path / "keys")
    for name in ("server", "me"):
        authority.make(name)
    keys = {"ssl.keyStore.location": authority.folder / "server.pem", "ssl.trustStore.location": authority.pem}
    ensemble = make_ensemble(options=Options(extra={"client.portUnification": "true", **keys}))
    if not flavour.is_zabra:
        pytest.skip("ZooKeeper needs another configuration for TLS")
    port = ensemble.servers[0].address.client_port
    file = tmp_path / "client.properties"

    def run(*lines):
        file.write_text("".join(line + "\n" for line in lines))
        return subprocess.run(
            [zabra_binary(), "shell", "-client-configuration", file, "-server", f"localhost:{port}", "whoami"],
            capture_output=True, text=True, timeout=DEADLINE_S,
        )

    secure = (
        "zookeeper.client.secure=true",
        "zookeeper.clientCnxnSocket=org.apache.zookeeper.ClientCnxnSocketNetty",
        f"zookeeper.ssl.trustStore.location={authority.pem}",
        f"zookeeper.ssl.keyStore.location={authority.folder / 'me.pem'}",
        "zookeeper.request.timeout=20000",
    )
    done = run(*secure, "zookeeper.sasl.client.username=zk")
    assert "x509: CN=me" in done.stdout and done.returncode == 0, done
    assert done.stderr == f"{file}: zookeeper.sasl.client.username means nothing to this shell\n"
    done = run("zookeeper.client.secure=false", *secure[1:])
    assert "x509" not in done.stdout and done.returncode == 0, done
    done = run("zookeeper.client.secure=true")
    assert "needs zookeeper.ssl.trustStore.location" in done.stderr and done.returncode == 1, done
