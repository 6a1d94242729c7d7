"""A network namespace per server on one bridge, so that servers can be cut off from each other and clients not.

    test process (bridge, 10.x.y.1) --- zbNs1 (10.x.y.11)
                                    \\-- zbNs2 (10.x.y.12) ...

Needs root. All names carry the process id, so runs do not disturb each other; `close` takes everything away, and the next
run what a killed one has left.
"""

import itertools
import os
import re
import shutil
import subprocess

from .server import Address

_networks = itertools.count()
# Of bridges, lines and namespaces: the process id and the number of the network, in hexadecimal. With the greatest id that
# there can be, 22 bits, and 4095 networks they have 14 of the 15 characters that the kernel allows.
_NAME = re.compile(r"(?:zb|zv|zbns)([0-9a-f]+)n[0-9a-f]+(?:s\d+)?")
_CLIENT_PORT, _QUORUM_PORT, _ELECTION_PORT = 2181, 2888, 3888


def unavailable():
    """Why namespaces cannot be used here; empty if they can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool in ("ip", "nft"):
        if not shutil.which(tool):
            return f"network namespaces need the program {tool}"
    probe = f"zbprobe{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True)
    if made.returncode != 0:
        return f"ip netns add failed: {made.stderr.strip()}"
    ruled = subprocess.run(
        ["ip", "netns", "exec", probe, "nft", "add table inet probe"], capture_output=True, text=True
    )
    subprocess.run(["ip", "netns", "del", probe], check=False)
    return f"nft failed: {ruled.stderr.strip()}" if ruled.returncode else ""


class Network:
    """A bridge and the namespaces that hang on it."""

    def __init__(self):
        _remove_leftovers()
        number = next(_networks)
        self._tag = f"{os.getpid():x}n{number:x}"
        self._bridge = f"zb{self._tag}"
        self._subnet = f"10.{100 + os.getpid() % 100}.{(os.getpid() // 100 + number) % 250}"
        self._namespaces = {}
        self._filtered = set()
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("addr", "add", f"{self._subnet}.1/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def addresses(self, size):
        """Makes a namespace for each of `size` servers."""
        return [self._add(server_id) for server_id in range(1, size + 1)]

    def isolate(self, server_id):
        """Cuts the server off from every other server, silently in both directions; clients still reach it."""
        others = [other for other in self._namespaces if other != server_id]
        self.cut([pair for other in others for pair in ((server_id, other), (other, server_id))])

    def cut(self, pairs):
        """What the first server of a pair sends never reaches the second one, which is not told."""
        for receiver in {receiver for _, receiver in pairs}:
            senders = ", ".join(self._host(sender) for sender, other in pairs if other == receiver)
            self._filter(receiver, f"ip saddr {{ {senders} }} counter drop")

    def second_hosts(self):
        """Gives every server a second address; {id: (first, second)}. What goes to or comes from a second one counts as
        another network than what goes between first ones: `cut_first` and `cut_second`."""
        for server_id, namespace in self._namespaces.items():
            _ip("-n", namespace, "addr", "add", f"{self._second(server_id)}/24", "dev", "eth0")
        return {server_id: (self._host(server_id), self._second(server_id)) for server_id in self._namespaces}

    def cut_first(self):
        """Nothing passes between the first addresses of servers any more, and nobody is told."""
        firsts = ", ".join(self._host(server_id) for server_id in self._namespaces)
        for server_id in self._namespaces:
            self._filter(server_id, f"ip saddr {{ {firsts} }} ip daddr {self._host(server_id)} counter drop")

    def cut_second(self):
        """The same of the second ones."""
        seconds = ", ".join(self._second(server_id) for server_id in self._namespaces)
        for server_id in self._namespaces:
            self._filter(server_id, f"ip saddr {{ {seconds} }} counter drop")
            self._filter(server_id, f"ip daddr {self._second(server_id)} counter drop")

    def lose(self, server_id, percent):
        """So many of the packets from other servers to this one are lost, by chance."""
        others = ", ".join(self._host(other) for other in self._namespaces if other != server_id)
        self._filter(server_id, f"ip saddr {{ {others} }} numgen random mod 100 < {percent} counter drop")

    def swallowed(self):
        """How many packets `isolate`, `cut` and `lose` have swallowed so far."""
        count = 0
        for server_id in self._filtered:
            words = self._nft(server_id, "list table inet zabra").split()
            count += sum(int(words[i + 1]) for i, word in enumerate(words) if word == "packets")
        return count

    def heal(self):
        """Ends what `isolate`, `cut` and `lose` began; returns how many packets they swallowed."""
        count = self.swallowed()
        for server_id in self._filtered:
            self._nft(server_id, "delete table inet zabra")
        self._filtered.clear()
        return count

    def slow_down(self, server_id):
        """Whatever the server sends waits: with netem 20 to 80 ms by chance, else in the queue of a narrow line."""
        try:
            self._tc(server_id, "add", "netem", "delay", "50ms", "30ms")
        except RuntimeError:  # a kernel without it
            self._tc(server_id, "add", "tbf", "rate", "1mbit", "burst", "16kb", "latency", "100ms")

    def speed_up(self, server_id):
        """Ends what `slow_down` began; returns how many packets had to wait."""
        listing = _ip("netns", "exec", self._namespaces[server_id], "tc", "-s", "qdisc", "show", "dev", "eth0")
        words = listing.replace(",", "").split()
        self._tc(server_id, "del")
        # netem lets every packet wait; the narrow line counts those that found it taken.
        return int(words[words.index("bytes" if "netem" in words else "overlimits") + 1])

    def close(self):
        """Removes namespaces and bridge."""
        for server_id, namespace in self._namespaces.items():
            # With its namespace the line would go too, but only some time after the command.
            subprocess.run(["ip", "link", "del", self._outside(server_id)], check=False, capture_output=True)
            subprocess.run(["ip", "netns", "del", namespace], check=False, capture_output=True)
        self._namespaces.clear()
        subprocess.run(["ip", "link", "del", self._bridge], check=False, capture_output=True)

    def _host(self, server_id):
        return f"{self._subnet}.{10 + server_id}"

    def _second(self, server_id):
        return f"{self._subnet}.{100 + server_id}"

    def _outside(self, server_id):
        return f"zv{self._tag}s{server_id}"

    def _add(self, server_id):
        namespace, outside = f"zbns{self._tag}s{server_id}", self._outside(server_id)
        _ip("netns", "add", namespace)
        self._namespaces[server_id] = namespace
        _ip("link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        _ip("link", "set", outside, "master", self._bridge, "up")
        _ip("-n", namespace, "addr", "add", f"{self._host(server_id)}/24", "dev", "eth0")
        _ip("-n", namespace, "link", "set", "eth0", "up")
        _ip("-n", namespace, "link", "set", "lo", "up")
        return Address(server_id, self._host(server_id), _CLIENT_PORT, _QUORUM_PORT, _ELECTION_PORT, namespace)

    def _filter(self, server_id, rule):
        if server_id not in self._filtered:
            self._filtered.add(server_id)
            self._nft(
                server_id,
                "add table inet zabra",
                "add chain inet zabra in { type filter hook input priority 0; }",
            )
        self._nft(server_id, f"add rule inet zabra in {rule}")

    def _tc(self, server_id, verb, *discipline):
        namespace = self._namespaces[server_id]
        _ip("netns", "exec", namespace, "tc", "qdisc", verb, "dev", "eth0", "root", *discipline)

    def _nft(self, server_id, *commands):
        argv = ["ip", "netns", "exec", self._namespaces[server_id], "nft", "; ".join(commands)]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def names():
    """What there is of all processes: the namespaces, and the bridges and lines."""
    folders = ("/run/netns", "/sys/class/net")
    return [[name for name in os.listdir(at) if _NAME.fullmatch(name)] if os.path.isdir(at) else [] for at in folders]


def _remove_leftovers():
    """Takes away what processes have left that are gone. Another one may do the same at the same time."""
    gone = lambda name: not os.path.exists(f"/proc/{int(_NAME.fullmatch(name)[1], 16)}")  # noqa: E731
    for kind, found in zip(("netns", "link"), names()):
        for name in filter(gone, found):
            subprocess.run(["ip", kind, "del", name], check=False, capture_output=True)


def _ip(*arguments):
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
