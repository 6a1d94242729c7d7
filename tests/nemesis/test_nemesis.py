"""A bounded round of the nemesis: every fault that is possible here, at three and at five servers.

ZABRA_NEMESIS_MINUTES  how long (default 8)
ZABRA_SEED             chooses faults and servers (default: the time, printed)
"""

import os
import time

import pytest

from nemesis import runner

MINUTES = float(os.environ.get("ZABRA_NEMESIS_MINUTES", 8))
SEED = int(os.environ.get("ZABRA_SEED", time.time()))


def test_nothing_acknowledged_is_lost_stale_or_done_twice(tmp_path, capsys):
    why = runner.unavailable()
    if why:
        pytest.skip(why)
    plan = runner.Plan(SEED, 10_000, MINUTES, [3, 5], [])

    def say(line):
        with capsys.disabled():
            print(line, flush=True)

    say(f"\nZABRA_SEED={SEED} ZABRA_NEMESIS_MINUTES={MINUTES:g}")
    result = runner.run(plan, tmp_path, say)
    result.write(tmp_path)
    say(result.text())
    assert not result.wrong, f"seed {SEED}, files in {tmp_path}"
    assert result.cycles > 0 and result.reads_after_sync > 0 and result.elections > 0
