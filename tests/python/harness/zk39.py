"""The jars of Apache ZooKeeper 3.9, taken from PyPI's `pyspark` 4, which carries them.

Debian's package is 3.8; Zabra follows 3.9. Fetching is large (about 450 MB) and therefore happens only on demand:

    python3 -m harness.zk39        # from tests/python; prints the folder of the jars

Curator, which is in there too, comes with them. The result is kept under the cargo target folder and found again by `jars_folder`. `ZOOKEEPER_JARS` names another one.
"""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
CACHE = Path(os.environ.get("ZABRA_TEST_CACHE", REPOSITORY / "target" / "zookeeper-3.9"))

# What a ZooKeeper server, its command line and Curator need of the several hundred jars in there.
NEEDED = (
    "zookeeper-3",
    "zookeeper-jute-3",
    "audience-annotations-",
    "commons-cli-",
    "commons-io-",
    "curator-client-",
    "curator-framework-",
    "curator-recipes-",
    "failureaccess-",
    "guava-",
    "jackson-annotations-",
    "jackson-core-2",
    "jackson-databind-",
    "jline-2",
    "log4j-api-",
    "log4j-core-",
    "log4j-slf4j2-impl-",
    "metrics-core-",
    "netty-buffer-",
    "netty-codec-base-",
    "netty-codec-4",
    "netty-common-",
    "netty-handler-4",
    "netty-resolver-4",
    "netty-transport-4",
    "netty-transport-classes-epoll-",
    "netty-transport-native-unix-common-",
    "slf4j-api-",
    "snappy-java-",
)


def jars_folder():
    """The folder with the 3.9 jars, or None if nobody fetched them yet. Never downloads."""
    named = os.environ.get("ZOOKEEPER_JARS")
    folder = Path(named) if named else CACHE / "jars"
    return folder if any(folder.glob("zookeeper-3*.jar")) else None


def lacking(*beginnings):
    """Which of these beginnings of names no fetched jar has; all of them if nothing is there."""
    folder = jars_folder()
    return [beginning for beginning in beginnings if not (folder and any(folder.glob(f"{beginning}*.jar")))]


def fetch():
    """Downloads pyspark with pip unless every needed jar is there, keeps those, drops the rest."""
    if not lacking(*NEEDED):
        return jars_folder()
    CACHE.mkdir(parents=True, exist_ok=True)
    archives = lambda: sorted([*CACHE.glob("pyspark-*.tar.gz"), *CACHE.glob("pyspark-*.whl")])
    if not archives():
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "-d", str(CACHE), "pyspark>=4,<5"],
            check=True,
        )
    archive = archives()[-1]
    folder = CACHE / "jars"
    folder.mkdir(exist_ok=True)
    for name, data in _jars(archive):
        (folder / name).write_bytes(data)
    if missing := [needed for needed in NEEDED if not any(folder.glob(f"{needed}*.jar"))]:
        raise RuntimeError(f"{archive} lacks {', '.join(missing)}")
    archive.unlink()
    return folder


def _jars(archive):
    """The needed jars of the archive, one after the other: (file name, bytes)."""
    wanted = lambda path: path.endswith(".jar") and os.path.basename(path).startswith(NEEDED)
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as packed:
            for path in filter(wanted, packed.namelist()):
                yield os.path.basename(path), packed.read(path)
    else:
        with tarfile.open(archive) as packed:
            for member in packed:
                if member.isfile() and wanted(member.name):
                    yield os.path.basename(member.name), packed.extractfile(member).read()


if __name__ == "__main__":
    print(fetch())
