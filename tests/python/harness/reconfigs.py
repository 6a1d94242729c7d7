"""The same reconfigurations against any server, and what a client can see of them."""

import re

from . import jute
from .members import CONFIG, parse_config
from .rawclient import ConnectionClosed
from .wait import DeadlineExceeded, wait_for


class Transcript:
    """What was asked and answered, with ports and versions in words, so that two of them can be compared."""

    def __init__(self, members):
        self.members = members
        self.entries = []
        self.versions = {}
        self.client = members.client(1)
        self.plain = members.client(1, is_super=False)

    def close(self):
        """Ends its sessions."""
        self.client.drop()
        self.plain.drop()

    def note(self, what, answer):
        """Adds an answer."""
        self.entries.append((what, self._in_words(answer)))

    def look(self, what):
        """Adds the text and the Stat of the configuration, as every member that runs tells it."""
        for server_id, server in sorted(self.members.servers.items()):
            if not server.alive():
                continue
            data, stat = wait_for(lambda: self._config(server_id), 30, f"server {server_id} to tell its configuration")
            self.note(f"{what}: config of server {server_id}", (data, self._stat(stat)))

    def _config(self, server_id):
        """Text and Stat at one server; None while it changes its role, when ZooKeeper serves nobody."""
        try:
            with self.members.client(server_id, is_super=False, deadline_s=5) as client:
                synced, config = client.call(jute.sync(), 5), client.call(jute.get_data(CONFIG), 5)
                client.close()
        except (OSError, ConnectionClosed, DeadlineExceeded):
            return None
        return config.value() if synced.error == config.error == jute.OK else None

    def reconfig(self, what, client=None, after=None, **change):
        """Asks for a change, and adds the answer. `after` is which of the versions that were seen the servers must have,
        counted from the first, or from the last if it is negative."""
        if after is not None:
            change["version"] = sorted(self.versions)[after]
        reply = (client or self.client).call(jute.reconfig(**change), 60)
        value = reply.value()
        if value:
            self.note(what, (value[0], self._stat(value[1])))
        else:
            self.note(what, f"error {reply.error}")

    def _stat(self, stat):
        return {
            "czxid": stat.czxid,
            "version": stat.version,
            "cversion": stat.cversion,
            "aversion": stat.aversion,
            "owner": stat.ephemeral_owner,
            "children": stat.num_children,
            "pzxid": stat.pzxid,
            "length": "that of the data",
        }

    def _in_words(self, answer):
        if isinstance(answer, tuple):
            return tuple(self._in_words(part) for part in answer)
        if isinstance(answer, bytes):
            version, _ = parse_config(answer)
            self.versions.setdefault(version, len(self.versions))
            text = answer.decode()
            for server_id, address in self.members.addresses.items():
                for name in ("client_port", "quorum_port", "election_port"):
                    text = re.sub(rf"\b{getattr(address, name)}\b", f"<{name} {server_id}>", text)
            return re.sub(r"version=[0-9a-f]+", f"version <{self.versions[version]}>", text)
        return answer


def refusals(transcript):
    """Requests that change nothing, whatever the reason."""
    members = transcript.members
    entry = members.entry
    asked = [
        ("without a right", {"leaving": "3"}, transcript.plain),
        ("without a right, and wrong", {"leaving": "x"}, transcript.plain),
        ("without a right, no quorum", {"joining": entry(4) + "," + entry(5), "leaving": "2"}, transcript.plain),
        ("another version", {"leaving": "3", "version": 77}, None),
        ("a version of the future", {"leaving": "3", "version": 1 << 40}, None),
        ("a version below any", {"leaving": "3", "version": -2}, None),
        ("no number leaves", {"leaving": "x"}, None),
        ("no port", {"joining": "server.4=127.0.0.1:1"}, None),
        ("no client port", {"joining": "server.4=127.0.0.1:1:2"}, None),
        ("no role", {"joining": "server.4=127.0.0.1:1:2:king;3"}, None),
        ("no number joins", {"joining": "server.x=127.0.0.1:1:2;3"}, None),
        ("no equals sign", {"joining": "server.4"}, None),
        ("two equals signs", {"joining": "server.4=a=127.0.0.1:1:2;3"}, None),
        ("a port twice", {"joining": "server.4=127.0.0.1:1:1;3"}, None),
        ("two servers at one address", {"joining": "server.4=10.0.0.9:1:2;3,server.5=10.0.0.9:4:1;5"}, None),
        ("one voter", {"leaving": "2,3"}, None),
        ("one voter left by role", {"joining": entry(2, "observer") + "," + entry(3, "observer")}, None),
        ("nobody", {"leaving": "1,2,3"}, None),
        ("no quorum", {"joining": entry(4) + "," + entry(5), "leaving": "2"}, None),
        ("all: nothing", {"members": ""}, None),
        ("all: one", {"members": entry(1)}, None),
        ("all: one and an observer", {"members": entry(1) + "," + entry(2, "observer")}, None),
        ("all: observers", {"members": entry(1, "observer")}, None),
        ("all: something else", {"members": "clientPort=5"}, None),
        ("all: no port", {"members": "server.1=a:1"}, None),
        ("all: no number", {"members": "server.x=a:1:2"}, None),
        ("all: no version", {"members": entry(1) + "," + entry(2) + ",version=x"}, None),
        ("all: strangers", {"members": entry(4) + "," + entry(5)}, None),
        ("all: in no group", {"members": entry(1) + "," + entry(2) + ",group.1=1"}, None),
        ("all: in two groups", {"members": entry(1) + "," + entry(2) + ",group.1=1:2,group.2=2"}, None),
        ("all: no number in a group", {"members": entry(1) + "," + entry(2) + ",group.1=1:x"}, None),
        ("all: nobody in a group", {"members": entry(1) + "," + entry(2) + ",group.1=1:2:9"}, None),
    ]
    for what, change, client in asked:
        transcript.reconfig(what, client, **change)


def changes(transcript):
    """Changes that are made, one after another, of an ensemble of three that server 2 leads: servers come and go, change
    their roles, and are told all at once."""
    members, say = transcript.members, transcript.reconfig
    transcript.look("at first")
    acl, _ = transcript.plain.value(jute.get_acl(CONFIG))
    transcript.note("its acl", [tuple(entry) for entry in acl])
    refusals(transcript)
    transcript.look("after the refusals")
    say("nothing changes", joining="")
    members.join(4)
    transcript.look("with a stranger")
    say("an observer comes", joining=members.entry(4, "observer"), after=-1)
    transcript.look("with an observer")
    say("it becomes a voter", joining=members.entry(4))
    transcript.look("with four")
    say("one leaves", leaving="4")
    say("who is no member leaves", leaving="4,77")
    say("one comes and one goes", joining=members.entry(4), leaving="3")
    members.wait_config([1, 2, 4], among=[1, 2, 3, 4])
    transcript.look("three others")
    say("an older version", leaving="4", after=0)
    say("all at once", members=",".join(members.entry(server_id) for server_id in (1, 2, 3)))
    members.wait_config([1, 2, 3], among=[1, 2, 3, 4])
    say("lines", members="\n".join(members.entry(server_id) for server_id in (1, 2, 3, 4)))
    say("as groups", members="\n".join(members.entry(server_id) for server_id in (1, 2, 3)) + "\ngroup.1=1:2:3\nweight.2=2")
    transcript.look("groups")
    say("one more to groups", joining=members.entry(4))
    say("no groups again", members=",".join(members.entry(server_id) for server_id in (1, 2, 3)))
    transcript.look("at last")
