"""The tour of the README, run as it is written: each `print(...)  # ...` must print what stands behind the `#`."""

import contextlib
import io
import re
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"
HOSTS_IN_README = "127.0.0.1:2181,127.0.0.1:2182,127.0.0.1:2183"
EXPECTED = re.compile(r"print\(.*\)\)?  # (.*)$", re.MULTILINE)


def python_blocks():
    """The pieces of the tour, in order."""
    return re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)


def test_every_piece_of_the_tour_prints_what_the_readme_says(make_ensemble):
    ensemble = make_ensemble(3)
    blocks = python_blocks()
    assert len(blocks) >= 7, "the tour has moved"
    names = {}
    try:
        for block in blocks:
            code = block.replace(HOSTS_IN_README, ensemble.connect_string)
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(code, str(README), "exec"), names)
            assert printed.getvalue().splitlines() == EXPECTED.findall(block), block
    finally:
        for client in (names.get("worker"), names.get("zk")):
            if client is not None:
                client.stop()


def test_the_pieces_start_from_the_address_that_the_quick_start_prints():
    text = README.read_text()
    assert f"serving: {HOSTS_IN_README}" in text
    assert f'HOSTS = "{HOSTS_IN_README}"' in text
