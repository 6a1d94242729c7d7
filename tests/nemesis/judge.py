"""Judges histories (see `history`) against each other and against what the servers hold in the end. Each check gives a
list of what is wrong. It takes nothing for granted about how the servers work, only what they promise:

* every write that was acknowledged happened, once; one that was refused did not, and not without reason; one without an
  answer did or did not
* a znode's versions are made one after the other, each by one write, at rising zxids
* what was over before something else began has the lower zxid; a read after a sync sees it
* a session never sees the past: not on any znode, and not in the zxids of its answers
* what one client sends without waiting happens in that order
"""

from collections import defaultdict

from .history import FAILED, OK


def check(ops, nodes):
    """All that is wrong. `nodes`: path -> `harness.verdict.Node` of all znodes in the end."""
    sets = defaultdict(list)
    for op in ops:
        if op.op != "append":
            sets[op.path].append(op)
    wrong = _real_time(ops) + _sessions(ops) + _appends(ops, nodes)
    for path, of_path in sets.items():
        wrong += _register(path, of_path, nodes) + _fresh(path, of_path)
    return wrong


def _register(path, ops, nodes):
    """The life of one znode that is only ever set: version by version."""
    if path not in nodes:
        return [f"lost: {path} is gone"]
    wrong, final = [], nodes[path]
    makers = {op.value: op for op in ops if op.is_write}
    seen = {}  # version -> (value, mzxid, who saw it)
    for op in [*ops, None]:
        if op is None:
            version, value, mzxid, who = final.stat.version, final.data.decode(), final.stat.mzxid, "in the end"
        elif op.ok:
            version, value, mzxid, who = op.version, op.value, op.mzxid, str(op)
        else:
            continue
        first = seen.setdefault(version, (value, mzxid, who))
        if first[:2] != (value, mzxid):
            wrong.append(f"{path} has two versions {version}: {first[2]}; {who}")
    places = defaultdict(list)
    for version, (value, _, who) in seen.items():
        places[value].append(version)
        maker = makers.get(value)
        if version > 0 and (maker is None or maker.outcome == FAILED):
            wrong.append(f"{path} held {value!r}, which was never written or was refused: {who}")
        if maker and maker.op == "cas" and version != maker.expected + 1:
            wrong.append(f"a cas of version {maker.expected} made version {version}: {maker}")
    wrong += [f"applied twice: {value!r} made versions {at} of {path}" for value, at in places.items() if len(at) > 1]
    in_order = sorted(seen)
    for older, newer in zip(in_order, in_order[1:]):
        if seen[older][1] >= seen[newer][1]:
            wrong.append(f"{path}: version {newer} has no higher zxid: {seen[older][2]}; {seen[newer][2]}")
    maker_of = {version: makers.get(value) for version, (value, _, _) in seen.items()}
    wrong += _refusals(path, ops, maker_of, final.stat.version)
    return wrong + _versions_add_up(path, makers.values(), final.stat.version)


def _refusals(path, ops, maker_of, last):
    """A cas is refused only if its version was not the newest at some moment while it was under way."""
    reached = {}  # version -> when it was surely there
    for op in ops:
        if op.ok:
            reached[op.version] = min(op.returned, reached.get(op.version, op.returned))
    wrong = []
    for op in ops:
        is_refused = op.op == "cas" and "BadVersion" in (op.error or "")
        if not is_refused or reached.get(op.expected, op.invoked) >= op.invoked:
            continue
        following = maker_of.get(op.expected + 1)
        if op.expected == last or following and following.invoked > op.returned:
            wrong.append(f"{path} was at version {op.expected} all the time: {op}")
    return wrong


def _versions_add_up(path, writes, final):
    """As many versions as writes that happened."""
    acked = [op for op in writes if op.ok]
    unknown = [op for op in writes if op.outcome not in (OK, FAILED)]
    wrong = [f"lost write: {path} is at version {final}: {op}" for op in acked if op.version > final]
    if not len(acked) <= final <= len(acked) + len(unknown):
        wrong.append(f"{path} is at version {final} after {len(acked)} writes and {len(unknown)} that may have happened")
    return wrong


def _fresh(path, ops):
    """A read after a sync sees what was acknowledged, or read after a sync, before that sync began. And no read sees
    what is only written later."""
    wrong, newest = [], (0, None)
    known = sorted((op for op in ops if op.ok and op.op != "get"), key=lambda op: op.returned)
    known_index = 0
    for read in sorted((op for op in ops if op.ok and op.op == "synced_get"), key=lambda op: op.invoked):
        while known_index < len(known) and known[known_index].returned < read.invoked:
            newest = max(newest, (known[known_index].mzxid, known_index))
            known_index += 1
        if read.mzxid < newest[0]:
            wrong.append(f"stale after sync: {read}; before it {known[newest[1]]}")
    makers = {op.value: op for op in ops if op.is_write}
    for read in ops:
        maker = makers.get(read.value) if read.ok and not read.is_write else None
        if maker and read.returned < maker.invoked:
            wrong.append(f"{path} was read before it was written: {read}; {maker}")
    return wrong


def _real_time(ops):
    """Of two acknowledged writes, anywhere, the one that was over when the other began has the lower zxid."""
    wrong = []
    writes = [op for op in ops if op.ok and op.is_write]
    over = sorted(writes, key=lambda op: op.returned)
    index, highest = 0, None
    for op in sorted(writes, key=lambda op: op.invoked):
        while over[index].returned < op.invoked:
            if highest is None or over[index].mzxid > highest.mzxid:
                highest = over[index]
            index += 1
        if highest and op.mzxid <= highest.mzxid:
            wrong.append(f"out of real time: {op}; over before it began: {highest}")
    return wrong


def _sessions(ops):
    """Within a session nothing goes back: the zxids of answers, the versions of each znode, the zxids of its writes."""
    wrong = []
    sessions = defaultdict(list)
    for op in ops:
        if op.ok:
            sessions[op.client, op.session].append(op)
    for of_session in sessions.values():
        zxid, writes, paths = 0, 0, {}
        for op in sorted(of_session, key=lambda op: op.order):
            if op.zxid is not None:
                if op.zxid < zxid or op.zxid < op.mzxid:
                    wrong.append(f"an answer at zxid 0x{op.zxid:x} after one at 0x{zxid:x}: {op}")
                zxid = max(zxid, op.zxid)
            if op.is_write:
                if op.mzxid <= writes:
                    wrong.append(f"out of order: an earlier write of the session has zxid 0x{writes:x}: {op}")
                writes = op.mzxid
            if op.op != "append":
                if op.mzxid < paths.get(op.path, 0):
                    wrong.append(f"the session went back in time: it knew 0x{paths[op.path]:x}: {op}")
                paths[op.path] = op.mzxid
    return wrong


def _appends(ops, nodes):
    """Each append is there once if it was acknowledged, under its name; at most once if it was not answered."""
    wrong = []
    appends = {op.value: op for op in ops if op.op == "append"}
    prefixes = tuple({op.path for op in appends.values()})
    names = defaultdict(list)
    for path, node in nodes.items():
        if path.startswith(prefixes):
            names[node.data.decode()].append(path)
    for value, paths in names.items():
        op = appends.get(value)
        if op is None or op.outcome == FAILED:
            wrong.append(f"{paths} hold {value!r}, which was never sent or was refused")
        elif len(paths) > 1:
            wrong.append(f"applied twice: {value!r} is in {paths}")
        elif op.ok and (op.name, op.mzxid) != (paths[0], nodes[paths[0]].stat.mzxid):
            wrong.append(f"applied twice: {value!r} is in {paths[0]}: {op}")
    wrong += [f"lost write: {op}" for value, op in appends.items() if op.ok and value not in names]
    return wrong


def longest_gap(times):
    """The longest time between two of these moments, in seconds."""
    times = sorted(times)
    return max((newer - older for older, newer in zip(times, times[1:])), default=0.0)
