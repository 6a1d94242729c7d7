"""Free TCP ports, chosen at run time.

They come from below the kernel's range for outgoing connections: a port from inside that range could be taken by any
client socket between our looking and the server's binding it.
"""

import itertools
import os
import random
import socket

_LOWEST, _HIGHEST = 11_000, 31_000
_start = random.Random(os.getpid()).randrange(_LOWEST, _HIGHEST)
_candidates = itertools.cycle(itertools.chain(range(_start, _HIGHEST), range(_LOWEST, _start)))


def _is_free(port):
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind((address, port))
        except OSError as error:
            if family == socket.AF_INET6 and not socket.has_ipv6:
                continue
            if error.errno in (97, 99):  # no such address family or address on this machine
                continue
            return False
    return True


def free_ports(count):
    """`count` ports that nobody listens on, never the same ones twice within this process."""
    found = []
    for port in itertools.islice(_candidates, _HIGHEST - _LOWEST):
        if _is_free(port):
            found.append(port)
            if len(found) == count:
                return found
    raise RuntimeError(f"no {count} free ports between {_LOWEST} and {_HIGHEST}")
