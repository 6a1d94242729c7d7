"""`python -m nemesis`: cycles of faults until there were enough, or until something is wrong."""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from harness.process import tidy_up_at_sigterm

from . import runner
from .faults import load_catalogue


def _arguments():
    parser = argparse.ArgumentParser(prog="nemesis", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="chooses faults and servers (default: the time)")
    parser.add_argument("--cycles", type=int, default=200, help="how many faults (default 200)")
    parser.add_argument("--minutes", type=float, default=600, help="begin no new cycle after so long")
    parser.add_argument("--servers", choices=("3", "5", "both"), default="both", help="ensembles of this size (default both)")
    parser.add_argument("--fault", nargs="+", default=[], metavar="NAME", help="only these faults (default all)")
    parser.add_argument("--list", action="store_true", help="tell the names of the faults, and end")
    parser.add_argument("--out", type=Path, help="a folder for the report and the files of a failure (default: a new one)")
    return parser.parse_args()


def main():
    arguments = _arguments()
    tidy_up_at_sigterm()
    if arguments.list:
        for one in load_catalogue().values():
            print(f"{one.name:20} {one.act.__doc__ or ''}")
        return 0
    why = runner.unavailable()
    if why:
        print(f"nemesis: {why}", file=sys.stderr)
        return 2
    sizes = [3, 5] if arguments.servers == "both" else [int(arguments.servers)]
    plan = runner.Plan(arguments.seed, arguments.cycles, arguments.minutes, sizes, arguments.fault)
    folder = (arguments.out or Path(tempfile.mkdtemp(prefix="nemesis-"))).resolve()
    os.makedirs(folder, exist_ok=True)
    result = runner.run(plan, folder, lambda line: print(line, flush=True))
    result.write(folder)
    print(result.text())
    print(f"reports in {folder}")
    return 1 if result.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
