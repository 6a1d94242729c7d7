"""TLS with real clients, and between servers."""

import shutil
import socket
import subprocess

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoAuthError
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.security import ACL, Id, Permissions

from harness import target
from harness.certificates import PASSWORD, Authority
from harness.kazoos import Clients, Worker
from harness.ports import free_ports
from harness.server import Options
from harness.wait import wait_for

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "certificates")


def _clients_over_tls(authority, port, **more):
    return {
        "secureClientPort": port,
        "secureClientPortAddress": "127.0.0.1",
        "ssl.keyStore.location": authority.folder / "server.pem",
        "ssl.trustStore.location": authority.pem,
        **more,
    }


@pytest.fixture
def secure(make_ensemble, flavour, authority):
    """One server with a port for TLS; gives the port."""
    if not flavour.is_zabra:
        pytest.skip("ZooKeeper needs another configuration for TLS")
    authority.make("server")
    port = free_ports(1)[0]

    def make(**more):
        make_ensemble(1, options=Options(extra=_clients_over_tls(authority, port, **more)))
        return port

    return make


def _kazoo(port, authority, name=None, **more):
    if name:
        more.update(certfile=str(authority.folder / f"{name}.crt"), keyfile=str(authority.folder / f"{name}.key"))
    return KazooClient(hosts=f"localhost:{port}", use_ssl=True, ca=str(authority.pem), timeout=10.0, **more)


def test_kazoo_is_who_its_certificate_says(secure, authority):
    port = secure()
    authority.make("alice")
    authority.make("bob")
    alice, bob = _kazoo(port, authority, "alice"), _kazoo(port, authority, "bob")
    stranger = _kazoo(port, authority)
    try:
        alice.start(20)
        bob.start(20)
        mine = [ACL(Permissions.ALL, Id("x509", "CN=alice,O=Ex"))]
        alice.create("/mine", b"x" * 200_000, acl=mine)
        assert alice.get("/mine")[0] == b"x" * 200_000
        with pytest.raises(NoAuthError):
            bob.get("/mine")
        with pytest.raises(KazooTimeoutError):
            stranger.start(2)
    finally:
        for client in (alice, bob, stranger):
            client.stop()
            client.close()


_SUBJECTS = [
    "/C=DE/ST=Ber lin/O=Ex, Inc./OU=A/CN=client \"1\" <x>",
    "/DC=org/DC=example/UID=joe/CN=J\u00fcrgen # x;y=z",
    "/O=x/CN=#lead+OU=multi+emailAddress=a@b/street=s t/L= lead /serialNumber=12/title=T",
    "/GN=g/SN=s/initials=i/CN=a  b/dnQualifier=q/postalCode=12345/pseudonym=p",
]

_NAMES_JAVA = """
import java.io.FileInputStream;
import java.security.cert.*;
public class Names {
    public static void main(String[] files) throws Exception {
        for (String file : files) {
            X509Certificate it = (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(new FileInputStream(file));
            System.out.write((it.getSubjectX500Principal().getName() + "\\n").getBytes("UTF-8"));
        }
        System.out.flush();
    }
}
"""


def test_subjects_are_printed_as_java_prints_them(secure, authority, tmp_path):
    if shutil.which("javac") is None:
        pytest.skip("no javac")
    port = secure()
    for number, subject in enumerate(_SUBJECTS):
        authority.make(f"n{number}", subject=subject)
    (tmp_path / "Names.java").write_text(_NAMES_JAVA)
    files = [str(authority.folder / f"n{number}.crt") for number in range(len(_SUBJECTS))]
    done = subprocess.run(["java", "Names.java", *files], cwd=tmp_path, capture_output=True, timeout=60, check=True)
    names = done.stdout.decode().splitlines()
    assert len(names) == len(_SUBJECTS)
    for number, name in enumerate(names):
        client = _kazoo(port, authority, f"n{number}")
        client.start(20)
        try:
            # Only who has exactly this name gets it.
            client.create(f"/n{number}", acl=[ACL(Permissions.ALL, Id("auth", ""))])
            (acl,) = client.get_acls(f"/n{number}")[0]
            assert (acl.id.scheme, acl.id.id) == ("x509", name)
            client.set_acls(f"/n{number}", [ACL(Permissions.ALL, Id("x509", name))])
            assert client.get(f"/n{number}")[0] == b""
        finally:
            client.stop()
            client.close()


def test_the_java_client_speaks_tls(secure, authority, tmp_path):
    newest = target.zookeeper39()
    if newest.unavailable or shutil.which("keytool") is None:
        pytest.skip(newest.unavailable or "no keytool")
    authority.make("java", subject="/CN=java")
    own, trust = authority.pkcs12("java"), authority.pkcs12_trust()
    authority.make("server")
    stores = {
        "ssl.keyStore.location": authority.pkcs12("server"),
        "ssl.keyStore.password": PASSWORD,
        "ssl.trustStore.location": trust,
        "ssl.trustStore.password": PASSWORD,
    }
    port = secure(**stores)
    properties = {
        "zookeeper.client.secure": "true",
        "zookeeper.clientCnxnSocket": "org.apache.zookeeper.ClientCnxnSocketNetty",
        "zookeeper.ssl.keyStore.location": own,
        "zookeeper.ssl.keyStore.password": PASSWORD,
        "zookeeper.ssl.trustStore.location": trust,
        "zookeeper.ssl.trustStore.password": PASSWORD,
    }
    command = [*newest.java()]
    command[1:1] = [f"-D{key}={value}" for key, value in properties.items()]
    done = subprocess.run(
        [*command, "org.apache.zookeeper.ZooKeeperMain", "-server", f"localhost:{port}"],
        input="whoami\ncreate /java x x509:CN=java:cdrwa\ngetAcl /java\nget /java\nquit\n",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, cwd=tmp_path,
    )
    for words in ("x509: CN=java", "Created /java", "'x509,'CN=java"):
        assert words in done.stdout, done.stdout


def test_the_shell_and_the_load_tool_speak_tls(secure, authority):
    authority.make("me")
    authority.encrypt("server")
    port = secure(**{"ssl.keyStore.password": PASSWORD})
    folder, server = authority.folder, f"localhost:{port}"
    files = ["--tls-ca", authority.pem, "--tls-cert", folder / "me.crt", "--tls-key", folder / "me.key"]

    def run(command, *arguments, code=0):
        done = subprocess.run(
            [target.zabra_binary(), command, "-s", server, *map(str, files), *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    assert "x509: CN=me,O=Ex" in run("shell", "whoami").replace(":CN", ": CN")
    load = run("bench", "-c", "4", "-f", "8", "-d", "500ms", "--warmup", "0", "--keys", "20", "-m", "get=1,set=1", "--value-bytes", "100000")
    assert "errors" not in load.lower() or "0 errors" in load.lower(), load
    files = files[:2]
    assert "could be reached" in run("shell", "--connect-timeout-ms", "500", "whoami", code=1)


def test_a_wrong_password_ends_the_start_and_is_not_shown(make_ensemble, flavour, authority):
    if not flavour.is_zabra:
        pytest.skip("ZooKeeper needs another configuration for TLS")
    authority.make("server")
    for kind in ("p12", "pem"):
        authority.encrypt("server") if kind == "pem" else authority.pkcs12("server")
        location = authority.folder / f"server.{kind}"
        extra = _clients_over_tls(authority, free_ports(1)[0], **{"ssl.keyStore.location": location, "ssl.keyStore.password": "geheim"})
        (server,) = make_ensemble(1, start=False, options=Options(extra=extra)).servers
        server.start()
        wait_for(lambda: not server.alive(), 20, lambda: server.log_tail())
        log = server.log_since(0)
        assert f"ssl.keyStore.location={location}: " in log and "ssl.keyStore.password" in log, log
        assert "geheim" not in log


def _quorum(authority, name, **more):
    return {
        "ssl.quorum.keyStore.location": authority.folder / f"{name}.pem",
        "ssl.quorum.trustStore.location": authority.pem,
        **more,
    }


def _reconfigure(server, extra):
    """New lines for a server that is not running."""
    server.options = Options(extra=extra)
    server._write_folder()


class Writer:
    """Writes until it is told to stop; every acknowledged write must be there at the end."""

    def __init__(self, hosts):
        self.clients = Clients(hosts)
        self.client = self.clients.new()
        self.client.create("/load")
        self.acknowledged = []
        self._stops = False
        self._worker = Worker(self._write)

    def _write(self):
        while not self._stops:
            try:
                self.acknowledged.append(self.client.create("/load/n-", b"x", sequence=True))
            except KazooException:
                # A server went: whether it was written nobody knows.
                continue

    def wait_for_more(self, count=50):
        """Waits until so many more are acknowledged."""
        wanted = len(self.acknowledged) + count
        wait_for(lambda: len(self.acknowledged) >= wanted, 30, lambda: f"{wanted} writes, {len(self.acknowledged)} so far")

    def stop(self):
        """All that was acknowledged is there."""
        self._stops = True
        self._worker.result(30)
        present = {f"/load/{name}" for name in self.client.get_children("/load")}
        assert set(self.acknowledged) <= present
        self.clients.__exit__()


@pytest.fixture
def three(make_ensemble, flavour):
    """Three servers that are not started."""
    if not flavour.is_zabra:
        pytest.skip("ZooKeeper needs another configuration for TLS")
    return make_ensemble(3, start=False)


def test_servers_talk_tls_and_one_with_another_name_stays_outside(three, authority):
    authority.make("good")
    authority.make("bad", hosts=("DNS:elsewhere.example", "IP:10.9.8.7"))
    for server in three.servers:
        _reconfigure(server, _quorum(authority, "good", sslQuorum="true"))
    three.start()
    writer = Writer(three.connect_string)
    writer.wait_for_more()
    outside = three.followers()[0]
    outside.stop()
    _reconfigure(outside, _quorum(authority, "bad", sslQuorum="true"))
    outside.start()
    others = [server for server in three.servers if server is not outside]
    words = "its certificate is not for the host that the server list has"
    wait_for(lambda: any(words in server.log_since(0) for server in others), 30, lambda: three.log_tails())
    wait_for(lambda: any("not valid for name" in server.log_since(0) for server in others), 30, lambda: three.log_tails())
    assert words in outside.log_since(0), "it is told why"
    writer.wait_for_more()
    assert outside.mode() is None
    outside.kill()
    _reconfigure(outside, _quorum(authority, "good", sslQuorum="true"))
    outside.start()
    outside.wait_serving()
    writer.wait_for_more()
    writer.stop()
    zxids = lambda: {server.zxid() for server in three.servers}
    wait_for(lambda: len(zxids()) == 1, 20, lambda: f"equal zxids: {zxids()}")


def _names_of_this_address():
    """What 127.0.0.1 is called by whoever looks it up backwards, as alternative names."""
    try:
        name, others, _ = socket.gethostbyaddr("127.0.0.1")
    except OSError as error:
        pytest.skip(f"127.0.0.1 has no name here: {error}")
    return tuple(f"DNS:{name}" for name in (name, *others))


def test_a_client_has_not_the_name_that_its_address_would_be_called(secure, authority):
    authority.make("named", hosts=_names_of_this_address())
    authority.make("numbered", hosts=("IP:127.0.0.1",))
    port = secure(**{"ssl.clientHostnameVerification": "true"})
    named, numbered = _kazoo(port, authority, "named"), _kazoo(port, authority, "numbered")
    try:
        numbered.start(20)
        with pytest.raises(KazooTimeoutError):
            named.start(2)
    finally:
        for client in (named, numbered):
            client.stop()
            client.close()


def test_a_server_has_not_the_name_that_its_address_would_be_called(three, authority):
    authority.make("named", hosts=_names_of_this_address())
    for server in three.servers:
        _reconfigure(server, _quorum(authority, "named", sslQuorum="true"))
        server.start()
    refused = lambda server: "not valid for name" in server.log_since(0)
    wait_for(lambda: all(map(refused, three.servers)), 30, lambda: three.log_tails())
    assert three.leader_now() is None


def test_an_untrusted_or_plain_server_stays_outside(three, authority, tmp_path):
    authority.make("good")
    strange = Authority(tmp_path / "strange", "strange")
    strange.make("forged")
    forged = _quorum(authority, "good", sslQuorum="true")
    forged["ssl.quorum.keyStore.location"] = strange.folder / "forged.pem"
    for server in three.servers[:2]:
        _reconfigure(server, _quorum(authority, "good", sslQuorum="true"))
        server.start()
    outside = three.servers[2]
    inside = three.servers[:2]
    three.leader(among=inside)
    for extra, words in ((forged, "invalid peer certificate"), ({}, "received corrupt message")):
        before = [server.log_bytes() for server in inside]
        _reconfigure(outside, extra)
        outside.start()
        told = lambda: any(words in server.log_since(at) for server, at in zip(inside, before))
        wait_for(told, 30, lambda: three.log_tails())
        assert outside.mode() is None
        outside.kill()
        assert three.leader_now(inside) is not None


def test_a_server_whose_certificate_is_revoked_stays_outside(three, authority):
    for name in ("good", "lost"):
        authority.make(name)
    listed = {"sslQuorum": "true", "ssl.quorum.crl.location": authority.revoke()}
    reread = {**listed, "sslQuorumReloadCertFiles": "true"}
    outside, inside = three.servers[2], three.servers[:2]
    for server in inside:
        _reconfigure(server, _quorum(authority, "good", **reread))
    _reconfigure(outside, _quorum(authority, "lost", **listed))
    three.start()
    outside.kill()
    before = [server.log_bytes() for server in inside]
    authority.revoke("lost")
    for server, at in zip(inside, before):
        wait_for(lambda: "were read again" in server.log_since(at), 30, lambda: three.log_tails())
    outside.start()
    refused = lambda: any("invalid peer certificate: Revoked" in server.log_since(0) for server in inside)
    wait_for(refused, 30, lambda: three.log_tails())
    assert outside.mode() is None and three.leader_now(inside) is not None


def test_without_comparing_hosts_a_certificate_still_has_to_be_valid(three, authority):
    authority.make("any", hosts=("DNS:elsewhere.example",))
    authority.make("over", hosts=("DNS:elsewhere.example",), days=-1)
    loose = {"sslQuorum": "true", "ssl.quorum.hostnameVerification": "false"}
    for server in three.servers:
        _reconfigure(server, _quorum(authority, "any", **loose))
    three.start()
    follower = three.followers()[0]
    follower.stop()
    _reconfigure(follower, _quorum(authority, "over", **loose))
    follower.start()
    others = [server for server in three.servers if server is not follower]
    wait_for(lambda: any("invalid peer certificate: Expired" in server.log_since(0) for server in others), 30, lambda: three.log_tails())
    assert "others refuse it" in follower.log_since(0)
    assert follower.mode() is None and three.leader_now(others) is not None


def test_a_common_name_counts_where_there_is_no_other(three, authority):
    authority.make("named", hosts=(), subject="/O=Ex/CN=127.0.0.1")
    for server in three.servers:
        _reconfigure(server, _quorum(authority, "named", sslQuorum="true"))
    three.start()


def test_an_ensemble_changes_over_to_tls_without_a_stop(three, authority):
    authority.make("good")
    three.start()
    writer = Writer(three.connect_string)
    writer.wait_for_more()
    steps = ({"portUnification": "true"}, {"portUnification": "true", "sslQuorum": "true"}, {"sslQuorum": "true"})
    for step in steps:
        for server in three.servers:
            server.stop()
            _reconfigure(server, _quorum(authority, "good", **step))
            server.start()
            three.wait_all_serving()
            writer.wait_for_more(10)
    writer.stop()


def test_servers_prove_themselves_by_certificate_and_password_and_clients_by_certificate(three, authority, tmp_path):
    """All at once: TLS with SASL behind it between servers, and x509 for a client whose request is forwarded."""
    authority.make("server")
    authority.make("worker", subject="/O=Ex/CN=worker")
    jaas = tmp_path / "jaas.conf"
    module = "org.apache.zookeeper.server.auth.DigestLoginModule required"
    jaas.write_text(
        f'QuorumServer {{ {module} user_zabra="between"; }};\n'
        f'QuorumLearner {{ {module} username="zabra" password="between"; }};\n'
    )
    wrong = tmp_path / "wrong.conf"
    wrong.write_text(jaas.read_text().replace('password="between"', 'password="guessed"'))
    both = {f"quorum.auth.{key}": "true" for key in ("enableSasl", "learnerRequireSasl", "serverRequireSasl")}
    secure_ports = free_ports(len(three.servers))
    for server, port in zip(three.servers, secure_ports):
        users = {"java.security.auth.login.config": jaas}
        clients = _clients_over_tls(authority, port)
        _reconfigure(server, _quorum(authority, "server", sslQuorum="true", **both, **users, **clients))
    three.start()
    outside = three.followers()[0]
    outside.stop()
    outside.options = Options(extra={**outside.options.extra, "java.security.auth.login.config": wrong})
    outside._write_folder()
    outside.start()
    refused = "refused by the other side: it could not authenticate: no such user, or the wrong password"
    wait_for(lambda: refused in outside.log_since(0), 30, outside.log_tail)
    assert outside.mode() is None, "the certificate alone is not enough"
    outside.kill()
    outside.options = Options(extra={**outside.options.extra, "java.security.auth.login.config": jaas})
    outside._write_folder()
    outside.start()
    outside.wait_serving()
    follower = three.followers()[0]
    port = secure_ports[three.servers.index(follower)]
    client = _kazoo(port, authority, "worker")
    client.start(15)
    try:
        client.create("/mine", b"x", acl=[ACL(Permissions.ALL, Id("x509", "CN=worker,O=Ex"))])
        assert client.get("/mine")[0] == b"x"
    finally:
        client.stop()
        client.close()
    with Clients(follower.hostport) as clients, pytest.raises(NoAuthError):
        clients.new().get("/mine")


def test_certificates_of_servers_are_read_again(three, authority):
    authority.make("good")
    for server in three.servers:
        _reconfigure(server, _quorum(authority, "good", sslQuorum="true", sslQuorumReloadCertFiles="true"))
    three.start()
    authority.make("good")
    again = "the files of ssl.quorum.* were read again"
    wait_for(lambda: all(again in server.log_since(0) for server in three.servers), 30, lambda: three.log_tails())
    follower = three.followers()[0]
    follower.kill()
    follower.start()
    follower.wait_serving()
