"""Lets the tests import the comparison's modules by their plain names, as run.py does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
