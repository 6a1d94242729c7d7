"""Compares what the workers were told with what the servers hold. Each check gives a list of what is wrong."""

from collections import Counter, defaultdict
from dataclasses import dataclass

from . import jute
from .rawclient import RawClient
from .workload import CAS, COUNTER, DELETE, EPHEMERAL, EPHEMERALS, ROOT, SEQUENCE, SHARED, UNIQUE


@dataclass(frozen=True)
class Node:
    """A znode as a server shows it."""

    data: bytes
    stat: jute.Stat


def dump(server, root=ROOT):
    """Every znode under `root` as this server has it, after a sync: path -> Node."""
    nodes = {}
    with RawClient(server.address.host, server.address.client_port) as client:
        client.value(jute.sync(root))
        waiting = [root]
        while waiting:
            batch, waiting = waiting[:200], waiting[200:]
            client.send_all([op for path in batch for op in (jute.get_data(path), jute.get_children(path))])
            for path in batch:
                data, children = client.receive(), client.receive()
                assert (data.error, children.error) == (jute.OK, jute.OK), f"{path} changed while it was read"
                nodes[path] = Node(*data.value())
                waiting += [f"{path}/{child}" for child in children.value()]
        client.close()
    return nodes


def differences(dumps):
    """Where the dumps of several servers differ: {server id: dump} -> text lines."""
    (first_id, first), *others = dumps.items()
    wrong = []
    for other_id, other in others:
        for path in sorted(first.keys() | other.keys()):
            if first.get(path) != other.get(path):
                wrong.append(f"{path}: server {first_id} {first.get(path)}, server {other_id} {other.get(path)}")
    return wrong


def check(workers, nodes):
    """All checks of the histories against the final state."""
    wrong = [text for worker in workers for text in worker.history.violations]
    for worker in workers:
        wrong += _sessions(worker) + _unique(worker, nodes) + _sequences(worker, nodes)
        wrong += _counter(worker, nodes) + _order(worker, nodes) + _unanswered_prefix(worker, nodes)
    return wrong + _shared(workers, nodes)


def check_ephemerals(workers, closed, nodes):
    """Living sessions have their ephemerals; closed and lost ones have none. `closed` are the workers whose session was
    closed."""
    present = {path for path in nodes if path.startswith(EPHEMERALS + "/")}
    wrong = []
    for worker in workers:
        for sent in worker.history.sent:
            if sent.kind != EPHEMERAL:
                continue
            lives = worker not in closed and sent.session_id == worker.session.session_id
            if lives and sent.acked and sent.path not in present:
                wrong.append(f"{sent.path} is gone although its session lives")
            if not lives and sent.path in present:
                wrong.append(f"{sent.path} outlived its session")
            if sent.path in present and nodes[sent.path].stat.ephemeral_owner != sent.session_id:
                wrong.append(f"{sent.path} belongs to another session")
    return wrong


def _sessions(worker):
    """No session is lost that the server had heard of within its timeout."""
    return [
        f"worker {worker.number} lost its session 0x{loss.session_id:x} after {loss.silent_s:.1f} s of silence"
        for loss in worker.history.losses
        if loss.silent_s < loss.timeout_s
    ]


def _deletes(worker):
    """Path -> the delete that was sent for it."""
    return {sent.path: sent for sent in worker.history.sent if sent.kind == DELETE}


def _unique(worker, nodes):
    """Acknowledged creates are there, with their data; acknowledged deletes are not; what was seen stays so."""
    wrong, deletes = [], _deletes(worker)
    known = set()
    for sent in (one for one in worker.history.sent if one.kind == UNIQUE):
        known.add(sent.path)
        node, deleted = nodes.get(sent.path), deletes.get(sent.path)
        if node and node.data != b"%d" % sent.number:
            wrong.append(f"{sent.path} holds {node.data}")
        if deleted and deleted.acked and node:
            wrong.append(f"lost delete: {sent.path} is back")
        if sent.acked and not deleted and not node:
            wrong.append(f"lost write: {sent.path}, acknowledged, is not there")
        observed = worker.history.observed.get(sent.path)
        if observed is not None and not deleted and observed != bool(node):
            what = "was there and is gone" if observed else "was not there and came later"
            wrong.append(f"unstable: {sent.path}, unanswered, {what}")
    stray = [path for path in nodes if path.startswith(worker.folder + "/u") and path not in known]
    return wrong + [f"{path} was never sent" for path in stray]


def _sequences(worker, nodes):
    """Every payload under at most one name, and acknowledged ones under the name that was told."""
    wrong, deletes = [], _deletes(worker)
    names = defaultdict(list)
    for path, node in nodes.items():
        if path.startswith(worker.folder + "/s-"):
            names[int(node.data)].append(path)
    sent_numbers = {sent.number: sent for sent in worker.history.sent if sent.kind == SEQUENCE}
    for number, paths in names.items():
        sent = sent_numbers.get(number)
        if sent is None:
            wrong.append(f"{paths} hold a number that was never sent: {number}")
        elif len(paths) > 1:
            wrong.append(f"applied twice: number {number} is in {paths}")
        elif sent.acked and sent.value != paths[0]:
            wrong.append(f"applied twice: number {number} is in {paths[0]}, acknowledged as {sent.value}")
    for number, sent in sent_numbers.items():
        if sent.acked and sent.value not in deletes and not names.get(number):
            wrong.append(f"lost write: {sent.value}, acknowledged, is not there")
    told = Counter(sent.value for sent in sent_numbers.values() if sent.acked)
    return wrong + [f"the name {name} was given {count} times" for name, count in told.items() if count > 1]


def _counter(worker, nodes):
    """The version of a counter that only this worker sets counts each set once."""
    wrong = []
    low = high = 0  # bounds of the version before the next answer
    last = None
    for sent in (one for one in worker.history.sent if one.kind == COUNTER):
        if not sent.acked:
            high += 1
            continue
        version = sent.value.version
        if not low + 1 <= version <= high + 1:
            wrong.append(f"{sent.path}: set {sent.number} made version {version}, not {low + 1} to {high + 1}")
        low = high = version
        last = sent
    node = nodes[f"{worker.folder}/counter"]
    if not low <= node.stat.version <= high:
        wrong.append(f"{worker.folder}/counter has version {node.stat.version}, not {low} to {high}")
    if last and int(node.data) < last.number:
        wrong.append(f"{worker.folder}/counter went back to {node.data} from {last.number}")
    return wrong


def _order(worker, nodes):
    """What one client sent in an order was done in that order."""
    wrong, last_zxid, last_path = [], 0, None
    for sent in worker.history.sent:
        if sent.kind not in (UNIQUE, SEQUENCE):
            continue
        path = sent.value if sent.acked else sent.path if sent.kind == UNIQUE else None
        if path in nodes:
            czxid = nodes[path].stat.czxid
            if czxid <= last_zxid:
                wrong.append(f"out of order: {path} was created at 0x{czxid:x}, {last_path} before it at 0x{last_zxid:x}")
            last_zxid, last_path = czxid, path
    return wrong


def _unanswered_prefix(worker, nodes):
    """Of what a lost connection left unanswered, a beginning was done and the rest was not."""
    by_data = {
        int(node.data): path for path, node in nodes.items() if path.startswith(worker.folder + "/s-")
    }
    tails = defaultdict(list)
    for sent in worker.history.sent:
        if sent.error is None and sent.kind in (UNIQUE, SEQUENCE):
            there = sent.path in nodes if sent.kind == UNIQUE else sent.number in by_data
            tails[sent.connection].append((there, sent.number))
    wrong = []
    for connection, tail in tails.items():
        flags = [there for there, _ in tail]
        if flags != sorted(flags, reverse=True):
            wrong.append(f"worker {worker.number}, connection {connection}: of the unanswered {tail} no prefix was done")
    return wrong


def _shared(workers, nodes):
    """The counter all workers raise: every version made by exactly one of them, in real-time order."""
    wrong = []
    attempts = [sent for worker in workers for sent in worker.history.sent if sent.kind == CAS]
    makers = defaultdict(list)
    for sent in attempts:
        if sent.acked:
            makers[sent.target].append(sent)
    wrong += [f"version {version} of {SHARED} was made {len(by)} times" for version, by in makers.items() if len(by) > 1]
    node = nodes[SHARED]
    final = node.stat.version
    if int(node.data) != final:
        wrong.append(f"{SHARED} holds {node.data} at version {final}")
    if makers and max(makers) > final:
        wrong.append(f"lost write: {SHARED} is at {final}, acknowledged up to {max(makers)}")
    unanswered = {sent.target for sent in attempts if sent.error is None}
    missing = [version for version in range(1, final + 1) if version not in makers and version not in unanswered]
    wrong += [f"nobody made version {version} of {SHARED}" for version in missing]
    # Going down from the newest version: none may have been acknowledged before an older one was sent.
    earliest_ack = float("inf")
    for version in sorted(makers, reverse=True):
        sent = makers[version][0]
        if earliest_ack < sent.sent_at:
            wrong.append(f"version {version} of {SHARED} was sent after a newer one was acknowledged")
        earliest_ack = min(earliest_ack, sent.acked_at)
    return wrong
