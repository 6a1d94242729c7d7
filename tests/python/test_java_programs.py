"""Programs against the Java client 3.9 and Curator: `tests/clients/java` and `tests/clients/curator`."""

import shutil
import subprocess

import pytest

from harness import clientprogram, secured, zk39
from harness.server import Options
from harness.target import REPOSITORY

SOURCES = REPOSITORY / "tests" / "clients"
CURATOR = ("curator-client-", "curator-framework-", "curator-recipes-", "guava-", "failureaccess-")
# Containers and times to live end within the test.
KEYS = {"extendedTypesEnabled": "true", "znode.container.checkIntervalMs": "200"}


@pytest.fixture(scope="module")
def compile_java(tmp_path_factory):
    """Compiles one of the programs; gives its command. Skips with the reason where that cannot be."""

    def compiled(source):
        if not shutil.which("javac"):
            pytest.skip("no javac in PATH: install Debian's package default-jdk-headless")
        if lacking := zk39.lacking("zookeeper-3", *CURATOR):
            pytest.skip(f"no jars {', '.join(lacking)}: run `python3 -m harness.zk39` or set ZOOKEEPER_JARS")
        classes = tmp_path_factory.mktemp(source.stem)
        jars = f"{zk39.jars_folder()}/*"
        files = [str(SOURCES / "java" / "Checks.java"), str(source)]
        made = subprocess.run(
            ["javac", "-J-XX:TieredStopAtLevel=1", "-nowarn", "-d", str(classes), "-cp", jars, *files],
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert made.returncode == 0, made.stderr
        return ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{classes}:{jars}", source.stem]

    return compiled


@pytest.fixture
def over_tls(make_ensemble, flavour, tmp_path):
    """Starts servers that speak TLS, and may know users; gives the ensemble, and what makes Java a client of it."""

    def make(has_users):
        authority, keys = secured.keys(flavour, tmp_path, "java" if has_users else None)
        properties = {
            "zookeeper.client.secure": "true",
            "zookeeper.clientCnxnSocket": "org.apache.zookeeper.ClientCnxnSocketNetty",
            "zookeeper.ssl.trustStore.location": authority.pem,
        }
        if has_users:
            user = tmp_path / "user"
            user.write_text(f'Client {{ {secured.MODULE} username="java" password="{secured.PASSWORD}"; }};\n')
            properties["java.security.auth.login.config"] = user
            properties["zookeeper.ssl.keyStore.location"] = authority.folder / "client.pem"
            # DIGEST-MD5 is no algorithm of FIPS.
            properties["zookeeper.fips-mode"] = "false"
        ensemble = make_ensemble(3, options=Options(extra=KEYS | keys))
        return ensemble, [f"-D{key}={value}" for key, value in properties.items()]

    return make


def test_curator_recipes_with_tls_and_sasl(compile_java, over_tls):
    ensemble, properties = over_tls(has_users=True)
    java, *rest = compile_java(SOURCES / "curator" / "Recipes.java")
    passed = clientprogram.run([java, *properties, *rest, ensemble.connect_string], ensemble)
    assert len(passed) == 22, passed


def test_operations_of_the_newest_client_with_tls(compile_java, over_tls):
    ensemble, properties = over_tls(has_users=False)
    java, *rest = compile_java(SOURCES / "java" / "Operations.java")
    passed = clientprogram.run([java, *properties, *rest, ensemble.connect_string], ensemble)
    assert len(passed) == 23, passed


def test_curator_recipes(compile_java, make_ensemble):
    command = compile_java(SOURCES / "curator" / "Recipes.java")
    ensemble = make_ensemble(3, options=Options(extra=KEYS))
    passed = clientprogram.run([*command, ensemble.connect_string], ensemble)
    assert len(passed) == 22, passed


def test_operations_of_the_newest_client(compile_java, make_ensemble, flavour):
    if flavour.version < (3, 9):
        pytest.skip("older servers do not tell the zxid of an event")
    command = compile_java(SOURCES / "java" / "Operations.java")
    ensemble = make_ensemble(3, options=Options(extra=KEYS))
    passed = clientprogram.run([*command, ensemble.connect_string], ensemble)
    assert len(passed) == 23, passed
