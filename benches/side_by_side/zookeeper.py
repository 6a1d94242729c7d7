"""Apache ZooKeeper to compare with: Debian's package, or the newest release out of PyPI's pyspark."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from processes import Failure

DEBIAN_JAR = Path("/usr/share/java/zookeeper.jar")

#: The jars of pyspark that a ZooKeeper server needs.
_NEEDED = re.compile(
    r"/(zookeeper(-jute)?|slf4j-api|log4j-(api|core|slf4j2-impl)|netty-(buffer|codec|codec-base|common|handler|"
    r"resolver|transport|transport-classes-epoll|transport-native-unix-common)|metrics-core|snappy-java|"
    r"commons-(cli|io)|audience-annotations|jackson-(annotations|core|databind))-[0-9][^/]*\.jar$"
)

#: zkServer.sh's default heap (zkEnv.sh: ZK_SERVER_HEAP=1000).
HEAP = "-Xmx1000m"


@dataclass(frozen=True)
class Distribution:
    """One ZooKeeper release, ready to run."""

    version: str
    source: str
    classpath: str
    java: str

    @property
    def jvm_flags(self) -> list[str]:
        return [HEAP]

    def command(self, config: Path) -> list[str]:
        """The server that this configuration file describes; with one server it is standalone."""
        return [
            self.java,
            *self.jvm_flags,
            "-Djava.awt.headless=true",
            "-cp",
            self.classpath,
            "org.apache.zookeeper.server.quorum.QuorumPeerMain",
            str(config),
        ]

    def shell(self, *arguments: str) -> list[str]:
        """zkCli.sh's own class."""
        return [self.java, "-cp", self.classpath, "org.apache.zookeeper.ZooKeeperMain", *arguments]

    def java_version(self) -> str:
        answer = subprocess.run([self.java, "-version"], capture_output=True, text=True, check=True)
        return answer.stderr.splitlines()[0]


def find(wanted: str, cache: Path) -> Distribution:
    """`debian` or `3.9`, installed if need be."""
    java = shutil.which("java")
    if java is None:
        raise Failure("no java: `apt-get install default-jre-headless`")
    if wanted == "debian":
        return _debian(java)
    return _from_pyspark(java, wanted, cache)


def _debian(java: str) -> Distribution:
    if not DEBIAN_JAR.exists():
        if os.geteuid() != 0:
            raise Failure("Apache ZooKeeper is not installed: `apt-get install zookeeper`")
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(
            ["apt-get", "install", "-y", "--no-install-recommends", "zookeeper"],
            check=True,
            env=environment,
            stdout=subprocess.DEVNULL,
        )
    # The jar's manifest names all that it needs.
    return Distribution(_version_of(java, str(DEBIAN_JAR)), "Debian package zookeeper", str(DEBIAN_JAR), java)


def _from_pyspark(java: str, wanted: str, cache: Path) -> Distribution:
    """ZooKeeper's jars out of the newest pyspark 4, downloaded once (some 450 MB) and kept in `cache`."""
    folder = cache / f"zookeeper-{wanted}"
    if not any(folder.glob("zookeeper-3*.jar")):
        download = cache / "pyspark"
        download.mkdir(parents=True, exist_ok=True)
        if not any(download.glob("pyspark-4*.tar.gz")):
            print("downloading PyPI's pyspark 4 for its ZooKeeper jars (some 450 MB, once) ...", flush=True)
            subprocess.run(
                [
                    "pip",
                    "download",
                    "--quiet",
                    "--no-deps",
                    "--no-cache-dir",
                    "--dest",
                    str(download),
                    "pyspark>=4,<5",
                ],
                check=True,
            )
        _unpack(next(download.glob("pyspark-4*.tar.gz")), folder)
        shutil.rmtree(download)
    classpath = ":".join(sorted(str(jar) for jar in folder.glob("*.jar")))
    version = _version_of(java, classpath)
    if not version.startswith(wanted):
        raise Failure(f"pyspark has ZooKeeper {version}, not {wanted}")
    return Distribution(version, "jars of PyPI's pyspark 4", classpath, java)


def _unpack(archive: Path, folder: Path) -> None:
    """Copies the needed jars; into a folder of another name first, so that a torn copy is never used."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with tarfile.open(archive) as source:
        for member in source:
            if member.isfile() and _NEEDED.search(member.name):
                with (
                    source.extractfile(member) as content,
                    open(partial / Path(member.name).name, "wb") as jar,
                ):
                    shutil.copyfileobj(content, jar)
    if not any(partial.glob("zookeeper-3*.jar")):
        raise Failure(f"{archive.name} holds no ZooKeeper jars")
    partial.rename(folder)


def _version_of(java: str, classpath: str) -> str:
    """What the jars say their version is."""
    answer = subprocess.run(
        [java, "-cp", classpath, "org.apache.zookeeper.version.VersionInfoMain"],
        capture_output=True,
        text=True,
    )
    found = re.search(r"(\d+\.\d+\.\d+)", answer.stdout)
    if found is None:
        raise Failure(f"the jars do not say their version: {answer.stdout}{answer.stderr}")
    return found.group(1)
