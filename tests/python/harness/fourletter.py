"""Four-letter words: the health questions of ZooKeeper's client port."""

import socket


def four_letter(host, port, word, timeout_s=3.0):
    """Sends `word` and returns the whole answer as text. Raises OSError if there is none."""
    with socket.create_connection((host, port), timeout=timeout_s) as conn:
        conn.settimeout(timeout_s)
        return ask(conn, word)


def ask(conn, word):
    """The same on a connection that is there; the server ends it."""
    conn.sendall(word.encode("ascii"))
    answer = bytearray()
    while True:
        part = conn.recv(65536)
        if not part:
            return answer.decode("utf-8", errors="replace")
        answer += part


def parse_srvr(text):
    """`srvr` as a dict of its `Name: value` lines; empty while the server does not serve."""
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def parse_mntr(text):
    """`mntr` as a dict of its tab-separated lines."""
    pairs = (line.split("\t", 1) for line in text.splitlines() if "\t" in line)
    return {name.strip(): value.strip() for name, value in pairs}
