"""What is done to the servers. A fault is a function that gets the `Arena`; when it returns, the fault is over, it is proved
that it took place, and all servers run again or are starting."""

import time
from dataclasses import dataclass, field

from harness.wait import wait_for


@dataclass(frozen=True)
class Fault:
    """One entry of the catalogue."""

    name: str
    act: object
    servers_min: int = 3
    needs: object = None
    """A function that tells why it is not possible here; empty if it is."""
    weight: int = 1
    """How often it is drawn, compared to others."""
    slow: bool = False
    """Takes much longer than others; only drawn in long runs, or by name."""


CATALOGUE = {}


@dataclass
class Arena:
    """All that a fault has in hand."""

    cluster: object
    load: object
    random: object
    notes: list = field(default_factory=list)
    """What a fault wants to have in its line of the report."""

    def rest(self, seconds):
        """Lets the load run for so long."""
        until = time.monotonic() + seconds
        wait_for(lambda: time.monotonic() >= until, seconds + 1, "the time to pass")


def fault(**options):
    """Puts a function into the catalogue, under its name."""

    def add(act):
        CATALOGUE[act.__name__] = Fault(act.__name__, act, **options)
        return act

    return add


def load_catalogue():
    """All faults, by name."""
    from . import clocks, crowds, damage, disks, network, power, processes  # noqa: F401  they add themselves

    return CATALOGUE
