"""Who a client is, and what it may do: the same conversations with Apache ZooKeeper and with the server under test must
be the same, for each of the configurations that they differ by."""

import contextlib
import hashlib
import os
import subprocess
from base64 import b64encode

import pytest
from kazoo.client import KazooState
from kazoo.exceptions import NoAuthError
from kazoo.protocol.states import KeeperState
from kazoo.security import make_acl

from harness import jute, sasl, target
from harness.ensemble import Ensemble
from harness.fourletter import four_letter, parse_mntr
from harness.jute import Acl
from harness.kazoos import Clients, Seen
from harness.rawclient import ConnectionClosed, RawClient
from harness.server import Options
from harness.wait import wait_for

PACKAGE = "org.apache.zookeeper.server.auth"
JAAS = f"""// who may connect
Server {{
    {PACKAGE}.DigestLoginModule required
    user_bob="secret" user_eve=second user_root="toor" user_super="boss"
    user_stra\xdfe="gr\xfcn";
}};
"""
SUPER_DIGEST = "super:" + b64encode(hashlib.sha1(b"super:test").digest()).decode()
SASL_PROVIDER = {"authProvider.1": f"{PACKAGE}.SASLAuthenticationProvider"}


def digest_acl(user, password, hash_name="sha1"):
    digest = b64encode(hashlib.new(hash_name, f"{user}:{password}".encode()).digest()).decode()
    return Acl(jute.ALL, "digest", f"{user}:{digest}")


class Side:
    """One server, and what is seen of it."""

    def __init__(self, endpoint):
        self.endpoint = endpoint
        self.seen = []

    @contextlib.contextmanager
    def client(self, name):
        """A connected client whose answers are noted under a name."""
        with RawClient(*self.endpoint) as client:
            yield Talker(self, client, name)

    def note(self, *what):
        self.seen.append(what)


class Talker:
    """A client that notes what it is told."""

    def __init__(self, side, client, name):
        self.side, self.client, self.name = side, client, name

    def ask(self, *ops):
        """Requests one after the other; the first that closes the connection is the last."""
        for op in ops:
            try:
                reply = self.client.call(op)
            except ConnectionClosed:
                return self.side.note(self.name, op, "closed")
            value = _comparable(op.code, reply.value()) if reply.error == jute.OK else len(reply.body)
            self.side.note(self.name, op, reply.error, value)
        return None

    def sasl(self, *arguments, how=sasl.digest_md5, **changed):
        """An exchange of SASL, or as much of it as there is."""
        try:
            answer = how(self.client, *arguments, **changed)
        except ConnectionClosed:
            answer = "closed"
        if isinstance(answer, tuple) and answer[1] is not None:
            answer = (answer[0], *(part.split(b"=")[0] for part in answer[1].split(b",")))
        self.side.note(self.name, "sasl", arguments, changed, answer)

    def ended(self):
        """Whether the server has closed the connection; waits a moment for that."""
        ends = False
        with contextlib.suppress(ConnectionClosed):
            ends = not self.client.readable(0.5)
            if not ends:
                self.client.receive(0.5)
            self.side.note(self.name, "goes on")
            return
        self.side.note(self.name, "ended")


def _comparable(code, value):
    if code == jute.WHO_AM_I:
        return sorted(value)
    if code == jute.GET_ACL:
        return sorted(value[0])
    if code == jute.GET_CHILDREN:
        return sorted(value)
    if code == jute.CREATE:
        return value
    return None


@pytest.fixture
def compared(reference, flavour, tmp_path):
    """Starts both servers with these settings, runs a conversation on each, and compares. With `jaas` both have users."""
    if reference.version < (3, 9, 2):
        pytest.skip("the reference must be ZooKeeper 3.9")

    def run(conversation, settings, jaas=JAAS):
        sides = []
        for kind in (reference, flavour):
            options = Options(extra={"forceSync": "no", **settings})
            with Ensemble(kind, tmp_path / kind.name, 1, options) as ensemble:
                launch_with_users(ensemble, jaas, tmp_path)
                ensemble.start()
                side = Side(ensemble.endpoints[0])
                conversation(side)
                ensemble.assert_healthy()
            sides.append(side.seen)
        theirs, ours = sides
        assert len(theirs) == len(ours)
        different = [f"{one}\n    but {other}" for one, other in zip(theirs, ours) if one != other]
        assert not different, "\n".join(different)
        return ours

    return run


def launch_with_users(ensemble, jaas, folder):
    """Gives servers that are not started yet a JAAS file, each in its way."""
    if jaas is None:
        return
    path = folder / "jaas.conf"
    path.write_text(jaas, encoding="utf-8")
    for server in ensemble.servers:
        if server.flavour.is_zabra:
            with (server.folder / "zoo.cfg").open("a") as config:
                config.write(f"java.security.auth.login.config={path}\n")
        else:
            flags = f"-Djava.security.auth.login.config={path} -Dfile.encoding=UTF-8"
            server.launcher = ["env", f"JAVA_TOOL_OPTIONS={flags}"]


# --- the schemes ---------------------------------------------------------------------------------------------------


def _everything(path):
    """An operation of each kind that looks at the ACL of a path."""
    open_acl = [Acl(jute.ALL, "world", "anyone")]
    return [
        jute.exists(path),
        jute.get_data(path),
        jute.get_children(path),
        jute.get_children2(path),
        jute.get_all_children_number(path),
        jute.get_acl(path),
        jute.multi_read([jute.get_data(path), jute.get_children(path)]),
        jute.set_data(path, b"x"),
        jute.multi([jute.check(path, -1)]),
        jute.create(path + "/c"),
        jute.delete(path + "/c"),
        jute.set_acl(path, open_acl, 77),
    ]


def _super_and_sasl(side):
    private = {
        "/digest": [digest_acl("al", "x")],
        "/ip": [Acl(jute.ALL, "ip", "10.0.0.0/8")],
        "/sasl": [Acl(jute.ALL, "sasl", "bob")],
        "/any": [Acl(jute.READ, "sasl", "everyone")],
        "/nobody": [Acl(0, "world", "anyone")],
        "/realm": [Acl(jute.ALL, "sasl", "bob@REALM")],
        "/odd": [Acl(jute.ALL, "sasl", "a@b@c")],
    }
    with side.client("maker") as maker:
        maker.ask(*(jute.create(path, b"", acl) for path, acl in private.items()))
    with side.client("stranger") as stranger:
        stranger.ask(*(op for path in private for op in _everything(path)), jute.who_am_i())
        stranger.ask(jute.auth("sasl", b"bob"))
    for name, user, password in [
        ("bob", "bob", "secret"),
        ("eve", "eve", "second"),
        ("root", "root", "toor"),
        ("super", "super", "boss"),
        ("latin", "stra\xdfe", "gr\xfcn"),
    ]:
        with side.client(name) as client:
            client.sasl(user, password)
            client.ask(jute.who_am_i(), *(op for path in private for op in _everything(path)))
            client.ask(jute.create(f"/own-{name}", b"", [Acl(jute.ALL, "auth", "")]), jute.get_acl(f"/own-{name}"))
            client.sasl(user, password)
            client.ended()
    with side.client("super digest") as client:
        client.ask(jute.auth("digest", b"super:test"), jute.who_am_i())
        client.ask(*(op for path in private for op in _everything(path)))
        client.ask(jute.create("/own-digest", b"", [Acl(jute.ALL, "auth", "")]), jute.get_acl("/own-digest"))
        client.ask(jute.set_acl("/digest", [digest_acl("al", "y")]), jute.get_acl("/digest"), jute.delete("/nobody"))
    with side.client("wrong super") as client:
        client.ask(jute.auth("digest", b"super:wrong"), jute.who_am_i(), jute.get_data("/ip"))


def test_super_users_and_users_of_sasl(compared):
    settings = {
        **SASL_PROVIDER,
        "DigestAuthenticationProvider.superDigest": SUPER_DIGEST,
        "superUser.1": "root",
        "letAnySaslUserDoX": "everyone",
    }
    seen = compared(_super_and_sasl, settings)
    assert ("bob", "sasl", ("bob", "secret"), {}, (jute.OK, b"rspauth")) in seen


def _exchanges(side):
    """What goes wrong in an exchange, each on a connection of its own, and what becomes of the connection."""
    wrong = [
        ("password", ("bob", "wrong"), {}),
        ("user", ("nobody", "secret"), {}),
        ("no user", ("bob", "secret"), {"username": None}),
        ("realm", ("bob", "secret"), {"realm": '"other"'}),
        ("no realm", ("bob", "secret"), {"realm": None}),
        ("nonce", ("bob", "secret"), {"nonce": '"other"'}),
        ("no cnonce", ("bob", "secret"), {"cnonce": None}),
        ("count", ("bob", "secret"), {"nc": "00000002"}),
        ("no count", ("bob", "secret"), {"nc": None}),
        ("quality", ("bob", "secret"), {"qop": "auth-int"}),
        ("no quality", ("bob", "secret"), {"qop": None}),
        ("uri", ("bob", "secret"), {"digest_uri": '"ldap/zk-sasl-md5"'}),
        ("no uri", ("bob", "secret"), {"digest_uri": None}),
        ("charset", ("bob", "secret"), {"charset": "latin-1"}),
        ("no charset", ("bob", "secret"), {"charset": None}),
        ("no response", ("bob", "secret"), {"response": None}),
        ("authzid", ("bob", "secret"), {"authzid": '"root"'}),
        ("right", ("bob", "secret"), {}),
    ]
    for name, user, changed in wrong:
        with side.client(name) as client:
            client.sasl(*user, **changed)
            client.ask(jute.who_am_i())
    tokens = [b"x", b"x" * 5000, b"\0bob\0secret", b"\xff"]
    for first in tokens:
        with side.client(f"first token {first[:8]}") as client:
            client.sasl(first, how=sasl.step)
            client.ask(jute.who_am_i())
    for second in [b"", b"x", b"=,", b'username="', b"x" * 4097]:
        with side.client(f"second token {second[:8]}") as client:
            client.ask(jute.sync("/"))
            sasl.step(client.client, b"")
            client.sasl(second, how=sasl.step)
            client.ask(jute.who_am_i())
    with side.client("null token") as client:
        client.ask(sasl.op(None))
    with side.client("cut") as client:
        client.ask(jute.raw(jute.SASL, b"\0\0\0\7x"))


def test_what_goes_wrong_in_an_exchange(compared):
    compared(_exchanges, SASL_PROVIDER)


def test_a_failed_exchange_where_that_is_allowed(compared):
    """Without the provider for ACLs, too: then a user of SASL is nobody in lists."""
    compared(_exchanges, {"allowSaslFailedClients": "true"})


def _without_users(side):
    with side.client("sasl") as client:
        client.sasl(b"", how=sasl.step)
        client.ask(jute.who_am_i(), jute.create("/s", b"", [Acl(jute.ALL, "sasl", "bob")]))
    for name, password in [("al", b"al:x"), ("super", b"super:test")]:
        with side.client(name) as client:
            client.ask(jute.auth("digest", password), jute.create("/" + name, b"", [Acl(jute.ALL, "auth", "")]))
            client.ask(jute.get_acl("/" + name), jute.who_am_i())


@pytest.mark.parametrize("algorithm", ["SHA-256", "SHA3-256", "sha512", "MD5"])
def test_digests_by_other_algorithms_and_sasl_without_users(compared, algorithm):
    compared(_without_users, {"DigestAuthenticationProvider.digestAlg": algorithm}, jaas=None)


def _without_digest(side):
    with side.client("al") as client:
        client.ask(jute.create("/d", b"", [digest_acl("al", "x")]), jute.create("/open"))
        client.ask(jute.create("/auth", b"", [Acl(jute.ALL, "auth", "")]), jute.who_am_i())
        client.ask(jute.auth("digest", b"al:x"))
        client.ended()


def test_a_server_without_the_scheme_digest(compared):
    compared(_without_digest, {"DigestAuthenticationProvider.enabled": "false"}, jaas=None)


def _skipped(side):
    with side.client("anybody") as client:
        client.ask(jute.create("/none", b"", [Acl(0, "world", "anyone")]), *_everything("/none"))
        client.ask(jute.create("/bad", b"", [Acl(31, "digest", "x")]), jute.set_acl("/none", [digest_acl("a", "b")]))
        client.ask(jute.get_acl("/none"), jute.delete("/none"))


def test_acls_that_are_skipped(compared):
    compared(_skipped, {"skipACL": "yes"}, jaas=None)


def _ensemble_names(side):
    for name in [b"ours", b"mine", b"other", b"", b" ours", None]:
        with side.client(f"ensemble {name}") as client:
            client.ask(jute.auth("ensemble", name), jute.who_am_i())
    mntr = parse_mntr(four_letter(*side.endpoint, "mntr"))
    side.note({key: mntr[f"zk_ensemble_auth_{key}"] for key in ("success", "fail", "skip")})


def test_the_name_of_the_ensemble(compared):
    provider = {"authProvider.ensemble": f"{PACKAGE}.EnsembleAuthenticationProvider"}
    compared(_ensemble_names, {**provider, "ensembleAuthName": "ours, mine"}, jaas=None)
    compared(_ensemble_names, provider, jaas=None)


def _must_authenticate(side):
    with side.client("stranger") as client:
        client.ask(jute.get_children("/"))
        client.ended()
    with side.client("stranger that pings") as client:
        client.ask(jute.ping())
        client.ended()
    with side.client("stranger that leaves") as client:
        client.ask(jute.close_session())
    with side.client("by address") as client:
        client.ask(jute.auth("ip", b""), jute.get_children("/"))
    with side.client("by digest") as client:
        client.ask(jute.auth("digest", b"al:x"), jute.get_children("/"), jute.create("/by-digest"))
    with side.client("by sasl") as client:
        client.sasl("bob", "secret")
        client.ask(jute.get_children("/"), jute.create("/by-sasl"))
    with side.client("by sasl, wrongly") as client:
        client.sasl("bob", "wrong")
        client.ask(jute.get_children("/"))


@pytest.mark.parametrize(
    "settings",
    [
        {"enforce.auth.enabled": "true", "enforce.auth.schemes": "digest, sasl"},
        {"enforce.auth.enabled": "true", "enforce.auth.schemes": "digest"},
        {"enforce.auth.enabled": "true", "enforce.auth.schemes": "ip"},
        {"sessionRequireClientSASLAuth": "true", "allowSaslFailedClients": "true"},
    ],
    ids=["digest_or_sasl", "digest", "ip", "sasl"],
)
def test_clients_that_must_authenticate(compared, settings):
    compared(_must_authenticate, {**SASL_PROVIDER, **settings})


# --- other people's clients ----------------------------------------------------------------------------------------


@pytest.fixture(params=[1, 3], ids=["standalone", "three_servers"])
def with_users(request, flavour, make_ensemble, tmp_path):
    """Servers with users; several of them authenticate one another as well, if they are Zabra's."""
    extra = {**SASL_PROVIDER, "superUser": "root"}
    ensemble = make_ensemble(request.param, start=False, options=Options(extra=extra))
    launch_with_users(ensemble, JAAS, tmp_path)
    return ensemble.start()


def test_kazoo_authenticates_by_sasl(with_users):
    pytest.importorskip("puresasl", reason="kazoo needs pure-sasl for SASL")
    options = {"mechanism": "DIGEST-MD5", "username": "bob", "password": "secret"}
    with Clients(with_users.connect_string) as clients:
        bob = clients.new(sasl_options=dict(options))
        bob.create("/bobs", b"his", acl=[make_acl("sasl", "bob", all=True)])
        assert bob.get("/bobs")[0] == b"his"
        with pytest.raises(NoAuthError):
            clients.new().get("/bobs")
        root = clients.new(sasl_options={**options, "username": "root", "password": "toor"})
        root.set("/bobs", b"root's")
        loser = clients.unconnected(sasl_options={**options, "password": "wrong"})
        states = Seen()
        loser.add_listener(states.add)
        loser.start_async()
        # kazoo is connected before it authenticates, and gives up by itself after AUTH_FAILED.
        states.wait(lambda items: KazooState.LOST in items, "kazoo to give up")
        assert loser.client_state in (KeeperState.AUTH_FAILED, KeeperState.CLOSED)
        assert bob.get("/bobs")[0] == b"root's"


@pytest.fixture
def java_client(with_users, tmp_path):
    """Runs lines in ZooKeeper's own shell, as a user of SASL or as nobody."""
    newest = target.zookeeper39()
    if newest.unavailable:
        pytest.skip(newest.unavailable)

    def run(*lines, user=None, password=None):
        command = newest.java()
        if user:
            path = tmp_path / "client.conf"
            module = f'{PACKAGE}.DigestLoginModule required username="{user}" password="{password}";'
            path.write_text(f"Client {{ {module} }};\n", encoding="utf-8")
            # Since 3.9 a client takes DIGEST-MD5 only when told that it need not obey FIPS.
            command += [f"-Djava.security.auth.login.config={path}", "-Dzookeeper.fips-mode=false"]
        command += ["-Dfile.encoding=UTF-8", "org.apache.zookeeper.ZooKeeperMain", "-server", with_users.connect_string]
        script = "".join(f"{line}\n" for line in [*lines, "quit"])
        done = subprocess.run(
            command, input=script, capture_output=True, text=True, timeout=60, cwd=tmp_path, env=dict(os.environ)
        )
        return done.stdout + done.stderr

    yield run
    with_users.assert_healthy()


def test_the_java_client_authenticates_by_sasl(java_client):
    said = java_client("create /b his sasl:bob:cdrwa", "get /b", "whoami", user="bob", password="secret")
    assert "type:None path:null" in said and "state:SaslAuthenticated" in said, said
    assert "Created /b" in said and "\nhis\n" in said and "sasl: bob" in said, said
    assert "Insufficient permission : /b" in java_client("get /b")
    assert "\nhis\n" in java_client("get /b", user="root", password="toor")
    assert "state:SaslAuthenticated" in java_client("ls /", user="stra\xdfe", password="gr\xfcn")
    said = java_client("get /b", user="bob", password="wrong")
    assert "state:AuthFailed" in said and "\nhis\n" not in said, said


def test_scram_proves_a_user_of_the_same_file(flavour, with_users):
    if not flavour.is_zabra:
        pytest.skip("ZooKeeper has no SCRAM")
    for endpoint in with_users.endpoints:
        for token in [b"\x60\x82 GSSAPI", b"n,,x", b"p=tls-exporter,,n=bob,r=x"]:
            with RawClient(*endpoint) as client:
                assert sasl.step(client, token) == (jute.AUTH_FAILED, None)
                with pytest.raises(ConnectionClosed):
                    client.receive()
        with RawClient(*endpoint) as client:
            assert sasl.scram(client, "bob", "secret") == jute.OK
            assert ("sasl", "bob") in client.value(jute.who_am_i())
        with RawClient(*endpoint) as client:
            assert sasl.scram(client, "bob", "wrong") == jute.AUTH_FAILED
            with pytest.raises(ConnectionClosed):
                client.receive()
        with RawClient(*endpoint) as client:
            assert sasl.scram(client, "root", "toor") == jute.OK
            assert ("super", "") in client.value(jute.who_am_i())
    assert "GSSAPI (Kerberos), which is not offered" in with_users.servers[0].log_since(0)


def test_secrets_are_nowhere_to_be_read(flavour, make_ensemble, tmp_path):
    if not flavour.is_zabra:
        pytest.skip("what ZooKeeper shows is its own matter")
    secrets = ["hunter2", "secret", "second", "toor", "boss", SUPER_DIGEST.split(":")[1], "between"]
    extra = {
        **SASL_PROVIDER,
        "DigestAuthenticationProvider.superDigest": SUPER_DIGEST,
        "SASLAuthenticationProvider.superPassword": "hunter2",
        "audit.enable": "true",
    }
    ensemble = make_ensemble(start=False, options=Options(extra=extra))
    server = ensemble.servers[0]
    server.launcher = ["env", "ZABRA_LOG=debug"]
    jaas = tmp_path / "users.conf"
    between = f'{PACKAGE}.DigestLoginModule required user_z="between" username="z" password="between";'
    jaas.write_text(f"{JAAS}QuorumServer {{ {between} }};\nQuorumLearner {{ {between} }};\n", encoding="utf-8")
    with (server.folder / "zoo.cfg").open("a") as config:
        config.write(f"java.security.auth.login.config={jaas}\nquorum.auth.enableSasl=true\n")
    ensemble.start()
    for user, password in [("bob", "secret"), ("bob", "toor"), ("super", "hunter2"), ("eve", "second")]:
        for prove in (sasl.digest_md5, sasl.scram):
            with RawClient(*ensemble.endpoints[0]) as client:
                prove(client, user, password)
    with RawClient(*ensemble.endpoints[0]) as client:
        client.call(jute.auth("digest", b"super:hunter2"))
        client.call(jute.create("/s", b"", [digest_acl("super", "test")]))
        client.call(jute.set_acl("/s", [digest_acl("super", "test")]))
    words = ["conf", "cons", "dump", "envi", "mntr", "srvr", "stat", "wchs", "wchc", "wchp", "dirs", "hash"]
    shown = {word: server.word(word) or "" for word in words}
    server.stop()
    shown["log"] = server.log_since(0)
    shown["audit"] = (server.folder / "data" / "audit.log").read_text()
    assert "serverStop" in shown["audit"] and "maxClientCnxns" in shown["conf"]
    for where, text in shown.items():
        for secret in secrets:
            assert secret not in text.replace(str(tmp_path), ""), f"{secret} in {where}: {text}"


# --- between servers -----------------------------------------------------------------------------------------------


def _configure(server, folder, password="between", **keys):
    """Gives a server a JAAS file of its own with what servers know of each other, and more keys. The last value counts."""
    path = folder / f"jaas-{server.server_id}-{password}.conf"
    module = f"{PACKAGE}.DigestLoginModule required"
    path.write_text(
        f'QuorumServer {{ {module} user_zabra="between"; }};\n'
        f'QuorumLearner {{ {module} username="zabra" password="{password}"; }};\n'
    )
    lines = {"java.security.auth.login.config": path, **{f"quorum.auth.{key}": value for key, value in keys.items()}}
    with (server.folder / "zoo.cfg").open("a") as config:
        config.writelines(f"{key}={value}\n" for key, value in lines.items())


@pytest.fixture
def three(flavour, make_ensemble):
    """Three servers of Zabra that are not started yet."""
    if not flavour.is_zabra:
        pytest.skip("how servers authenticate one another is Zabra's own")
    return make_ensemble(3, start=False)


EVERYTHING = {"enableSasl": "true", "learnerRequireSasl": "true", "serverRequireSasl": "true"}


def test_a_server_with_a_wrong_password_is_not_let_in(three, tmp_path):
    *good, wrong = three.servers
    for server in good:
        _configure(server, tmp_path, **EVERYTHING)
    _configure(wrong, tmp_path, password="guessed", **EVERYTHING)
    for server in three.servers:
        server.start()
    for server in good:
        server.wait_serving()
    with RawClient(good[0].address.host, good[0].address.client_port) as client:
        assert client.value(jute.create("/kept", b"x")) == "/kept"
    refused = "refused by the other side: it could not authenticate: no such user, or the wrong password"
    wait_for(lambda: refused in wrong.log_since(0), 20, wrong.log_tail)
    wait_for(lambda: any("not authenticated" in server.log_since(0) for server in good), 20, three.log_tails)
    assert wrong.mode() is None, "no server serves it, and it serves nobody"
    for server in three.servers:
        log = server.log_since(0)
        assert "guessed" not in log and "between" not in log
        # Each says it once in a while, not at every dial.
        assert log.count("no such user, or the wrong password") < 20, log
    wrong.stop()
    _configure(wrong, tmp_path, **EVERYTHING)
    wrong.start()
    three.wait_all_serving()


def test_a_server_that_does_not_authenticate_is_not_let_in(three, tmp_path):
    *good, stranger = three.servers
    for server in good:
        _configure(server, tmp_path, **EVERYTHING)
    for server in three.servers:
        server.start()
    for server in good:
        server.wait_serving()
    wait_for(lambda: "quorum.auth.learnerRequireSasl=true there" in stranger.log_since(0), 20, stranger.log_tail)
    assert stranger.mode() is None


def test_servers_begin_to_authenticate_one_another_without_an_outage(three, tmp_path):
    three.start()
    with Clients(three.connect_string) as clients:
        client = clients.new()
        client.create("/count", b"0")
        written = 0
        for key in EVERYTHING:
            for server in three.servers:
                server.stop()
                _configure(server, tmp_path, **{key: "true"})
                server.start()
                three.wait_all_serving()
                written += 1
                client.retry(client.set, "/count", b"%d" % written)
        assert client.get("/count")[0] == b"9"


def test_no_identity_is_lost_on_the_way_to_the_leader(flavour, make_ensemble, tmp_path):
    if not flavour.is_zabra:
        pytest.skip("how many identities a connection may have is Zabra's own")
    extra = {**SASL_PROVIDER, "DigestAuthenticationProvider.superDigest": SUPER_DIGEST}
    ensemble = make_ensemble(3, start=False, options=Options(extra=extra))
    launch_with_users(ensemble, JAAS, tmp_path)
    ensemble.start()
    for server in ensemble.servers:
        path = f"/all-{server.server_id}"
        with RawClient(server.address.host, server.address.client_port) as client:
            assert sasl.digest_md5(client, "bob", "secret")[0] == jute.OK
            for number in range(14):
                client.value(jute.auth("digest", f"user{number}:x".encode()))
            client.value(jute.create(path, b"", [Acl(jute.ALL, "auth", "")]))
            granted = {acl.id.split(":")[0] for acl in client.value(jute.get_acl(path))[0]}
            assert granted == {"bob", *(f"user{number}" for number in range(14))}
            # With its address these are 16: one more is too many, and the client is told so.
            assert client.call(jute.auth("digest", b"more:x")).error == jute.AUTH_FAILED
            with pytest.raises(ConnectionClosed):
                client.receive()
        with RawClient(server.address.host, server.address.client_port) as client:
            assert client.call(jute.delete(path)).error == jute.OK, "DELETE is asked of the parent"
            client.value(jute.create("/locked", b"", [Acl(0, "world", "anyone")]))
            assert client.call(jute.create("/locked/x")).error == jute.NO_AUTH
            assert client.call(jute.set_acl("/locked", jute.OPEN_ACL)).error == jute.NO_AUTH
            client.value(jute.auth("digest", b"super:test"))
            client.value(jute.create("/locked/x"))
            client.value(jute.set_acl("/locked", jute.OPEN_ACL))
            client.value(jute.multi([jute.delete("/locked/x"), jute.delete("/locked")]))


def test_the_shell_authenticates_by_sasl(flavour, with_users):
    if not flavour.is_zabra:
        pytest.skip("the shell is Zabra's")

    def shell(*arguments, user, password, mechanism="digest-md5"):
        command = [target.zabra_binary(), "shell", "-s", with_users.connect_string, "--sasl-user", user]
        env = dict(os.environ, ZABRA_SASL_PASSWORD=password)
        command += ["--sasl-mechanism", mechanism, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=env)
        return done.returncode, done.stdout + done.stderr

    for mechanism in ("digest-md5", "scram-sha-256"):
        code, said = shell("whoami", user="stra\xdfe", password="gr\xfcn", mechanism=mechanism)
        assert code == 0 and "stra\xdfe" in said, said
        for user, password in [("bob", "wrong"), ("nobody", "secret")]:
            code, said = shell("whoami", user=user, password=password, mechanism=mechanism)
            assert code == 1 and "authentication failed" in said and password not in said, said
