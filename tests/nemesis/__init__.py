"""Real servers, real clients, real faults: servers in network namespaces of their own, on disks that forget what was not
synced, are killed, stopped, cut off, filled, damaged and flooded, one cycle after the other, while clients write down
all they are told. A judge compares that with what the servers hold.

    cd tests && ../target/venv/bin/python -m nemesis --help

What the tests of processes share (servers, namespaces, the raw client) is in `tests/python/harness`.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))
