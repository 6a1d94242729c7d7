#!/usr/bin/env python3
"""Records real traffic and real files, and makes the seeds of the fuzz targets of them (fuzz/seeds/TARGET).

Three servers are started whose connections to one another, and from their clients, lead through this process; kazoo and
(if Debian's zookeeper is installed) the Java command line are the clients. Run it again when a format changes:

    cargo build --release && target/venv/bin/python fuzz/record_seeds.py
"""

import hashlib
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "python"))

from harness import target  # noqa: E402
from harness.ports import free_ports  # noqa: E402
from harness.server import Address, Options, Server  # noqa: E402
from harness.wait import wait_for  # noqa: E402

SEEDS = Path(__file__).resolve().parent / "seeds"
ZKCLI = Path("/usr/share/zookeeper/bin/zkCli.sh")
SERVERS = 3

# What keeps the seeds small: so many of one kind of frame, so many bytes of one file.
PER_KIND_MAX = 3
FRAME_BYTES_MAX = 1500
SESSION_BYTES_MAX = 4000
FILE_BYTES_MAX = 10_000

# How the targets read their input: what stands before the bytes of a file says that nothing is changed in it.
EPOCH_HEAD = bytes(39)
SEGMENT_HEAD = bytes(24)
SNAPSHOT_HEAD = bytes(4)
RECEIVE, SETTLE, OPEN, SAY = 0, 12, 14, 3

CREATES, SET_ACL, AUTH = (1, 15), 7, 100


class Proxy:
    """Passes connections on to a port and keeps what was said, one byte string each way for each connection."""

    def __init__(self, port, forward_to):
        self.conversations = []
        self.forward_to = forward_to
        self.listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.forward_to))
            except OSError:
                near.close()
                continue
            said = (bytearray(), bytearray())
            self.conversations.append(said)
            for source, sink, kept in ((near, far, said[0]), (far, near, said[1])):
                threading.Thread(target=_pass_on, args=(source, sink, kept), daemon=True).start()


def _pass_on(source, sink, kept):
    try:
        while data := source.recv(1 << 16):
            kept += data
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def frames(stream):
    """The whole frames of a stream, without their lengths."""
    at, found = 0, []
    while at + 4 <= len(stream):
        (length,) = struct.unpack(">i", stream[at : at + 4])
        if not 0 <= length <= len(stream) - at - 4:
            break
        found.append(bytes(stream[at + 4 : at + 4 + length]))
        at += 4 + length
    return found


def behind_length(data):
    """As `Script::bytes` reads it."""
    return struct.pack(">H", len(data)) + data


def write(kind, data):
    folder = SEEDS / kind
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


class Few:
    """Lets the first few of each kind through."""

    def __init__(self):
        self.counts = {}

    def take(self, kind):
        self.counts[kind] = self.counts.get(kind, 0) + 1
        return self.counts[kind] <= PER_KIND_MAX


def start_servers(folder):
    """Servers that reach one another through proxies; the servers, and the proxies by port."""
    real, shown = free_ports(3 * SERVERS), free_ports(3 * SERVERS)
    proxies = {}
    servers = []

    def address(number, ports):
        return Address(number + 1, "127.0.0.1", *ports[3 * number : 3 * number + 3])

    flavour = target.chosen()
    assert not flavour.unavailable, flavour.unavailable
    options = Options(extra={"snapCount": "40", "logSegmentBytes": "65536"})
    for number in range(SERVERS):
        peers = [address(other, real if other == number else shown) for other in range(SERVERS)]
        server = Server(flavour, folder / f"server-{number + 1}", address(number, real), peers, options)
        servers.append(server)
    for number in range(SERVERS):
        for kind, offset in (("client", 0), ("quorum", 1), ("election", 2)):
            proxy = Proxy(shown[3 * number + offset], real[3 * number + offset])
            proxies.setdefault(kind, []).append((shown[3 * number + offset], proxy))
    for server in servers:
        server.start()
    for server in servers:
        server.wait_serving()
    return servers, proxies


def use_kazoo(hosts):
    """A bit of everything that kazoo does."""
    from kazoo.client import KazooClient
    from kazoo.exceptions import KazooException
    from kazoo.security import make_digest_acl

    fired = threading.Event()
    for _ in range(2):
        client = KazooClient(hosts=hosts, timeout=6)
        client.start()
        client.add_auth("digest", "user:secret")
        client.ensure_path("/seeds/deep/path")
        client.create("/seeds/n-", b"x" * 50, sequence=True)
        client.create("/seeds/e-", b"", ephemeral=True, sequence=True)
        if not client.exists("/seeds/mine"):
            client.create("/seeds/mine", b"mine", acl=[make_digest_acl("user", "secret", all=True)])
        client.get_acls("/seeds/mine")
        client.exists("/seeds/absent", watch=lambda _event: None)
        client.get_children("/seeds", watch=lambda _event: None)
        client.get("/seeds/mine", watch=lambda _event: fired.set())
        client.set("/seeds/mine", b"other")
        client.sync("/seeds")
        for version in (0, 99):
            transaction = client.transaction()
            transaction.create("/seeds/multi", b"m")
            transaction.check("/seeds/multi", version)
            transaction.set_data("/seeds/multi", b"n")
            transaction.delete("/seeds/multi")
            transaction.commit()
        try:
            client.delete("/seeds/absent")
        except KazooException:
            pass
        assert fired.wait(10), "the watch did not fire"
        with client.Lock("/seeds/lock", "me"):
            pass
        for number in range(60):
            client.set("/seeds/mine", b"%d" % number)
        client.stop()
        client.close()


def use_java(hosts):
    """What the Java client does; nothing where it is not installed."""
    if not ZKCLI.exists():
        print(f"no {ZKCLI}: no seeds of the Java client")
        return
    lines = [
        "create /java data", "create -e /java/e", "create -s /java/s- x", "ls -w /java", "stat -w /java", "get -s /java",
        "set /java more", "addauth digest a:b", "setAcl /java auth:a:b:cdrwa", "getAcl /java", "sync /java",
        "deleteall /java", "quit",
    ]  # fmt: skip
    done = subprocess.run(
        [str(ZKCLI), "-server", hosts], input="\n".join(lines) + "\n", text=True, timeout=120,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ, ZOO_LOG_DIR=tempfile.gettempdir()),
    )  # fmt: skip
    assert done.returncode == 0, f"zkCli.sh ended with {done.returncode}"


def seed_clients(conversations):
    few = Few()
    for said, _ in conversations:
        script = bytes([OPEN])
        for number, frame in enumerate(frames(said)):
            step = bytes([RECEIVE]) + behind_length(struct.pack(">i", len(frame)) + frame) + bytes([SETTLE])
            if len(script) + len(step) <= SESSION_BYTES_MAX:
                script += step
            if number == 0 or len(frame) < 8 or len(frame) > FRAME_BYTES_MAX:
                continue
            (code,) = struct.unpack(">i", frame[4:8])
            if few.take(code):
                write("client_frame", struct.pack("<i", code) + frame[8:])
                seed_acl(code, frame[8:])
        if len(script) > 1 and few.take("session " + str(len(script) // 500)):
            write("client_session", script)


def seed_acl(code, body):
    """What a request says of access: an access list, a proof, a path."""
    (length,) = struct.unpack(">i", body[:4]) if len(body) >= 4 else (0,)
    path = body[4 : 4 + max(length, 0)]
    acl, proofs = b"", bytes([0])
    if code in CREATES:
        (data_bytes,) = struct.unpack(">i", body[4 + length : 8 + length])
        acl = body[8 + length + max(data_bytes, 0) : -4]
    elif code == SET_ACL:
        acl = body[4 + length : -4]
    elif code == AUTH:
        proof = body[body.index(b"digest") + 10 :]
        proofs = bytes([1, 2]) + behind_length(proof)
    write("acl_path_auth", behind_length(acl) + bytes(10) + b"\xff\xff\x0a\x00\x00\x01" + proofs + behind_length(path))


def seed_peers(quorum, election):
    few = Few()
    for both in quorum:
        for direction in both:
            found = [frame for frame in frames(direction) if len(frame) <= FRAME_BYTES_MAX]
            for frame in found:
                if few.take(frame[:1]):
                    write("peer_frame", frame)
            # The first frame is a Hello, which no link ever sees; the others at several moments of a server's life.
            for behaved in (0, 6, 15, 30, 60, 125, *range(128, 136)):
                steps = b"".join(bytes([SAY]) + behind_length(frame) for frame in found[1:9])
                if steps and few.take(("state", behaved, len(direction) > 4000)):
                    write("peer_states", bytes([2 + behaved % 2, behaved]) + steps)
    for said, _ in election:
        for frame in frames(said):
            if few.take(("election", frame[:4])):
                write("peer_frame", frame)
                write("peer_states", bytes([0, 5, 7, 3, 1]) + behind_length(frame))


def seed_states():
    """One made message of each kind, in each state that the target can bring a server into, on either side."""
    for leads in (0, 1):
        for moment in range(128, 136):
            for kind in range(20):
                # the odd kinds with their flag; zxids and epochs a little beyond what the server has
                message = bytes([4, kind + 140 * (kind % 2)]) + bytes([50, 3, 1, 1])
                write("peer_states", bytes([leads, moment]) + message)


def seed_files(folder):
    few = Few()
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        kind = path.name.split(".")[0]
        heads = {"log": ("log_segment", SEGMENT_HEAD), "snapshot": ("snapshot", SNAPSHOT_HEAD), "epoch": ("epoch_file", EPOCH_HEAD)}
        if kind not in heads or path.name.endswith(".tmp"):
            continue
        data = path.read_bytes().rstrip(b"\0") if kind == "log" else path.read_bytes()
        seed, head = heads[kind]
        if data and len(data) <= 4 * FILE_BYTES_MAX and few.take(kind):
            write(seed, head + data[:FILE_BYTES_MAX])


def seed_texts(servers):
    texts = [(False, path.read_bytes()) for path in sorted((ROOT / "config").glob("*.cfg"))]
    texts += [(True, path.read_bytes()) for path in sorted((ROOT / "config").glob("*.toml"))]
    texts.append((False, (servers[0].folder / "zoo.cfg").read_bytes()))
    for is_toml, text in texts:
        # is it TOML, strict, and which server it is
        write("zoo_cfg", bytes([is_toml, 1, 1, 1]) + text)
    for word in (b"conf", b"cons", b"isro", b"mntr", b"ruok", b"srvr", b"stat", b"wchs"):
        for mode in range(4):
            write("four_letter_words", word + bytes([mode]) + bytes(range(36)) + bytes([1, 10, 0, 0, 1, 9, 9]) + bytes(8) + b"\0*")


def main():
    with tempfile.TemporaryDirectory() as folder:
        servers, proxies = start_servers(Path(folder))
        try:
            hosts = ",".join(f"127.0.0.1:{port}" for port, _ in proxies["client"])
            use_kazoo(hosts)
            use_java(hosts)
            # A follower that starts anew is synchronized; one that lost its disk takes a snapshot.
            for wiped in (False, True):
                follower = next(server for server in servers if server.mode() == "follower")
                follower.kill()
                if wiped:
                    follower.wipe()
                follower.start().wait_serving()
                wait_for(lambda: follower.zxid() == servers[0].zxid(), 20, "the follower to catch up")
            for server in servers:
                server.stop()
        finally:
            for server in servers:
                if server.process:
                    server.process.kill()
        talk = {kind: [said for _, proxy in of for said in proxy.conversations] for kind, of in proxies.items()}
        seed_clients(talk["client"])
        seed_peers(talk["quorum"], talk["election"])
        seed_states()
        seed_files(Path(folder))
        seed_texts(servers)
    for kind in sorted(SEEDS.iterdir()):
        sizes = [path.stat().st_size for path in kind.iterdir()]
        print(f"{kind.name:18} {len(sizes):4} files {sum(sizes):7} bytes")


if __name__ == "__main__":
    main()
