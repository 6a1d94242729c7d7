"""Which server a test runs: Zabra, or Apache ZooKeeper 3.8 (Debian's package) or 3.9 (see `zk39`).

`ZABRA_TARGET` chooses it for the whole run: `zabra` (default), `zookeeper38` or `zookeeper39`. The binary of Zabra is
`ZABRA_BIN`, by default `target/release/zabra` of this repository.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from . import zk39

REPOSITORY = Path(__file__).resolve().parents[3]
DEBIAN_JAR = Path("/usr/share/java/zookeeper.jar")

_JVM = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Xmx512m"]
_JAVA_PROPERTIES = [
    "-Dzookeeper.admin.enableServer=false",
    "-Djute.maxbuffer=1048575",
    # Containers and znodes with a time to live stay as long as any test runs.
    "-Dznode.container.checkIntervalMs=86400000",
]


@dataclass(frozen=True)
class Flavour:
    """A kind of server and how it is started."""

    name: str
    is_zabra: bool
    version: tuple
    """The ZooKeeper release whose behaviour it has."""
    unavailable: str
    """Why it cannot be started here; empty if it can."""
    _classpath: str = ""
    binary: str = ""
    """Of Zabra, if it is not the one under test."""

    def command(self, config_path, server_id, keys=()):
        """The argv that starts one server. Of the file's `keys`, those that are no keys for ZooKeeper but properties of
        its JVM are given to that."""
        if self.is_zabra:
            return [self.binary or zabra_binary(), "server", str(config_path), *(["--myid", str(server_id)] if server_id else [])]
        properties = [f"-D{key}={keys[key]}" for key in keys if key.startswith("znode.container.")]
        return [*self.java(), *properties, "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(config_path)]

    def java(self):
        """`java` with the class path and properties of this flavour, for its server and for its command line."""
        return ["java", *_JVM, *_JAVA_PROPERTIES, "-cp", self._classpath]

    @property
    def start_deadline_s(self):
        """How long a server may take until it serves: a JVM on a busy machine is slow to start."""
        return 20 if self.is_zabra else 60


def zabra_binary():
    """The path of the binary under test."""
    return os.environ.get("ZABRA_BIN", str(REPOSITORY / "target" / "release" / "zabra"))


def zabra():
    """The server of this repository."""
    binary = zabra_binary()
    missing = "" if os.access(binary, os.X_OK) else f"no zabra binary at {binary}: build it or set ZABRA_BIN"
    return Flavour("zabra", True, (3, 9, 5), missing)


def zookeeper38():
    """Apache ZooKeeper as Debian has it."""
    missing = _no_java() or ("" if DEBIAN_JAR.exists() else f"no {DEBIAN_JAR}: install Debian's package zookeeper")
    return Flavour("zookeeper38", False, (3, 8, 0), missing, f"/etc/zookeeper/conf:{DEBIAN_JAR}")


def zookeeper39():
    """Apache ZooKeeper 3.9."""
    jars = zk39.jars_folder()
    missing = _no_java() or (
        "" if jars else "no ZooKeeper 3.9 jars: run `python3 -m harness.zk39` or set ZOOKEEPER_JARS"
    )
    version = (3, 9, 5)
    for jar in jars.glob("zookeeper-3*.jar") if jars else ():
        version = tuple(int(part) for part in jar.stem.split("-")[1].split("."))
    return Flavour("zookeeper39", False, version, missing, f"{jars}/*")


def newest_zookeeper():
    """The reference for comparisons: 3.9 where its jars are, else 3.8."""
    newer = zookeeper39()
    return zookeeper38() if newer.unavailable else newer


def chosen():
    """What `ZABRA_TARGET` names."""
    name = os.environ.get("ZABRA_TARGET", "zabra")
    makers = {"zabra": zabra, "zookeeper38": zookeeper38, "zookeeper39": zookeeper39}
    if name not in makers:
        raise ValueError(f"ZABRA_TARGET={name}: expected one of {', '.join(makers)}")
    return makers[name]()


def _no_java():
    return "" if shutil.which("java") else "no java in PATH"
