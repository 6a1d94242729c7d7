"""The audit log: what ZooKeeper writes about the same requests, and what nobody may write into it."""

import contextlib
import os
import re

import pytest

from harness import jute
from harness.ensemble import Ensemble
from harness.jute import Acl
from harness.members import SUPER, Members
from harness.rawclient import RawClient
from harness.server import Options
from harness.wait import wait_for

AUDIT = {"audit.enable": "true", "extendedTypesEnabled": "true"}
CREATE_IF_NOT_EXISTS, REMOVE_RECURSIVE = 502, 503
_LINE = re.compile(r"(?:session=\S+\t)?user=.*result=\w+$")


def _changes(client):
    """Requests of every kind that is told, done and refused."""
    private = [Acl(jute.READ, "world", "anyone"), Acl(jute.ALL, "digest", "me:hash")]
    ops = [
        jute.auth("digest", b"me:secret"),
        jute.create("/a"),
        jute.create("/a"),
        jute.create2("/a/e", b"", flags=jute.EPHEMERAL),
        jute.create("/a/s-", b"", flags=jute.SEQUENTIAL),
        jute.create("/a/es-", b"", flags=jute.EPHEMERAL_SEQUENTIAL),
        jute.create_container("/a/c"),
        jute.create_ttl("/a/t"),
        jute.create("/none/x"),
        jute.set_data("/a", b"x"),
        jute.set_data("/a", b"x", 77),
        jute.set_acl("/a/c", [Acl(jute.ALL, "world", "anyone")]),
        jute.set_acl("/a/c", [Acl(jute.READ | jute.ADMIN, "ip", "127.0.0.1")], 77),
        jute.set_acl("/a/c", private),
        jute.set_data("/a/c", b""),
        jute.delete("/a/s-0000000001"),
        jute.delete("/none"),
        jute.multi([jute.create("/m"), jute.set_data("/m", b""), jute.check("/m", -1), jute.create("/m/n")]),
        jute.multi([jute.delete("/m/n"), jute.delete("/m")]),
        jute.multi([jute.create("/m"), jute.check("/m", 77)]),
        jute.get_data("/a"),
        jute.sync("/a"),
        jute.exists("/none"),
        jute.get_data("/none"),
    ]
    for op in ops:
        client.call(op)


def _lines(text):
    """What an audit log tells, without the time, and with the session's id as a name."""
    found = (_LINE.search(line) for line in text.splitlines())
    return [re.sub(r"session=0x\w+", "session=#", match.group(0)) for match in found if match]


def _written_by_zookeeper(reference, folder):
    options = Options(extra={"forceSync": "no", **AUDIT})
    with Ensemble(reference, folder, 1, options) as ensemble:
        server = ensemble.servers[0]
        server.launcher = ["env", "JAVA_TOOL_OPTIONS=-Dorg.apache.logging.log4j.level=INFO -Duser.name=runner"]
        ensemble.start()
        with RawClient(*ensemble.endpoints[0]) as client:
            _changes(client)
            client.close()
        wait_for(lambda: "\t/a/es-" in server.log_since(0).replace("znode=", "\t"), 10, server.log_tail)
        server.stop()
        return _lines(server.log_since(0))


def _audit_log(server):
    path = server.folder / "data" / "audit.log"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _plain(line):
    """ZooKeeper puts nothing between the entries of a list, shows hashes, and names users in no particular order."""
    line = line.replace("user=me,127.0.0.1\t", "user=127.0.0.1,me\t")
    line = line.replace("world:anyone:rdigest", "world:anyone:r,digest").replace("me:hash", "me:x")
    return line.replace("\\u{3d}", "=")


def test_the_lines_are_those_of_zookeeper(reference, flavour, make_ensemble, tmp_path):
    if not flavour.is_zabra:
        pytest.skip("where ZooKeeper's audit log goes to is a matter of its logger")
    if reference.version < (3, 9, 2):
        pytest.skip("the reference must be ZooKeeper 3.9")
    theirs = [_plain(line) for line in _written_by_zookeeper(reference, tmp_path / "reference")]
    ensemble = make_ensemble(start=False, options=Options(extra=AUDIT))
    server = ensemble.servers[0]
    server.launcher = ["env", "USER=runner"]
    ensemble.start()
    with RawClient(*ensemble.endpoints[0]) as client:
        _changes(client)
        client.close()
    server.stop()
    ours = _lines(_audit_log(server))
    assert len(theirs) > 20, theirs
    # ZooKeeper writes of its end while its logger ends too, so that line may be missing there.
    end = "user=runner\toperation=serverStop\tresult=invoked"
    assert ours.pop() == end
    theirs = [line for line in theirs if line != end]
    # The ephemerals of a session go in no particular order.
    assert sorted(ours) == sorted(theirs)
    assert [line for line in ours if "OnSession" not in line] == [line for line in theirs if "OnSession" not in line]


def _reconfigurations(kind, folder):
    """What the audit log of a server tells of some reconfigurations, done and refused."""
    with contextlib.closing(Members(kind, folder, 1, 1, Options(extra=AUDIT), alone_is_ensemble=True)) as members:
        server = members.servers[1]
        java = "JAVA_TOOL_OPTIONS=-Dorg.apache.logging.log4j.level=INFO"
        server.launcher = ["env", "-u", "USER", "-u", "LOGNAME"] if kind.is_zabra else ["env", java]
        members.start()
        same = jute.reconfig(joining=f"server.1={server.line()}")
        with RawClient(server.address.host, server.address.client_port) as client:
            assert client.call(same).error == jute.NO_AUTH
            client.value(jute.auth("digest", SUPER.encode()))
            assert client.call(jute.reconfig(joining=f"server.1={server.line()}", version=1 << 40)).error == jute.BAD_VERSION
            assert client.call(same).error == jute.OK
            client.close()
        log = lambda: _audit_log(server) if kind.is_zabra else server.log_since(0)
        told = lambda: re.findall(r"operation=(reconfig.*result=\w+)", log())
        wait_for(lambda: len(told()) == 3, 10, log)
        return told(), re.search(r"user=(\S+)\toperation=serverStart", log()).group(1)


def test_reconfigurations_are_told_and_who_runs_the_server(reference, flavour, tmp_path):
    if not flavour.is_zabra:
        pytest.skip("where ZooKeeper's audit log goes to is a matter of its logger")
    if reference.version < (3, 9, 2):
        pytest.skip("the reference must be ZooKeeper 3.9")
    theirs, ours = (_reconfigurations(kind, tmp_path / kind.name) for kind in (reference, flavour))
    assert ours == theirs


def test_each_server_tells_of_its_own_clients(flavour, make_ensemble):
    if not flavour.is_zabra:
        pytest.skip("the file is Zabra's")
    ensemble = make_ensemble(3, options=Options(extra=AUDIT))
    ends = {}
    for server in ensemble.servers:
        with RawClient(server.address.host, server.address.client_port) as client:
            path = f"/of-{server.server_id}"
            client.value(jute.create(path, flags=jute.EPHEMERAL))
            ends[server.server_id] = path
            client.close()
    for server in ensemble.servers:
        others = [path for server_id, path in ends.items() if server_id != server.server_id]
        gone = [f"operation=ephemeralZNodeDeletionOnSessionCloseOrExpire\tznode={path}" for path in ends.values()]
        wait_for(lambda: all(line in _audit_log(server) for line in gone), 10, lambda: _audit_log(server))
        log = _audit_log(server)
        assert f"operation=create\tznode={ends[server.server_id]}\t" in log
        assert not any(f"operation=create\tznode={path}\t" in log for path in others)
        assert os.stat(server.folder / "data" / "audit.log").st_mode & 0o777 == 0o600


def test_who_goes_away_before_the_answer_is_told_of(flavour, make_ensemble):
    if not flavour.is_zabra:
        pytest.skip("the file is Zabra's")
    ensemble = make_ensemble(3, options=Options(extra=AUDIT))
    server = ensemble.followers()[0]
    for number in range(20):
        with RawClient(server.address.host, server.address.client_port) as client:
            client.send(jute.create(f"/hasty-{number}"))
    with RawClient(server.address.host, server.address.client_port) as client:
        client.value(jute.create("/last"))
        made = {name for name in client.value(jute.get_children("/")) if name.startswith("hasty")}
    wait_for(lambda: "znode=/last\t" in _audit_log(server), 10, lambda: _audit_log(server))
    told = set(re.findall(r"operation=create\tznode=/(hasty-\d+)\t", _audit_log(server)))
    assert made == told


def test_clickhouse_operations_are_told(flavour, make_ensemble):
    if not flavour.is_zabra:
        pytest.skip("ZooKeeper does not have them")
    server = make_ensemble(options=Options(extra={"clickHouseOperationsEnabled": "true", **AUDIT})).servers[0]
    create = lambda path: jute.raw(CREATE_IF_NOT_EXISTS, jute.create(path).body)
    remove = lambda path, most: jute.raw(REMOVE_RECURSIVE, jute.text(path) + jute.int32(most))
    with RawClient(server.address.host, server.address.client_port) as client:
        single = [create("/k"), create("/k/x"), remove("/k", 1), remove("/k", 2), remove("/none/x", 1)]
        assert [client.call(op).error for op in single] == [jute.OK, jute.OK, jute.NOT_EMPTY, jute.OK, jute.NO_NODE]
        assert client.call(jute.multi([create("/m"), create("/m/n"), remove("/m", 9)])).error == jute.OK
        client.close()
    expected = [
        ("create", "/k", "success"),
        ("create", "/k/x", "success"),
        ("delete", "/k", "failure"),
        ("delete", "/k", "success"),
        ("delete", "/none/x", "failure"),
        ("create", "/m", "success"),
        ("create", "/m/n", "success"),
        ("delete", "/m", "success"),
    ]
    told = lambda: re.findall(r"operation=(\w+)\tznode=(\S+)\t.*result=(\w+)", _audit_log(server))
    wait_for(lambda: len(told()) == len(expected), 10, lambda: _audit_log(server))
    assert told() == expected


def test_no_name_forges_a_line(flavour, make_ensemble):
    if not flavour.is_zabra:
        pytest.skip("the file is Zabra's")
    ensemble = make_ensemble(options=Options(extra=AUDIT))
    server = ensemble.servers[0]
    forged = "x\nsession=0x1\tuser=forger\toperation=delete\tresult=success"
    with RawClient(*ensemble.endpoints[0]) as client:
        client.call(jute.auth("digest", f"{forged}:pw".encode()))
        client.call(jute.set_data(f"/{forged}", b""))
        client.call(jute.delete(f"/{forged}"))
    wait_for(lambda: _audit_log(server).count("result=failure") == 2, 10, lambda: _audit_log(server))
    for line in _audit_log(server).splitlines():
        pairs = line.split(" audit: ", 1)[1].split("\t")
        assert all(pair.count("=") == 1 for pair in pairs), line
        assert ("user=forger" not in pairs) and pairs[-1] in ("result=success", "result=failure"), line
    # What is off by default costs nothing, not even a file.
    silent = make_ensemble()
    with RawClient(*silent.endpoints[0]) as client:
        client.value(jute.create("/quiet"))
    assert not (silent.servers[0].folder / "data" / "audit.log").exists()
