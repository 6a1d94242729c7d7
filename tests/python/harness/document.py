"""Tables in the documents that a program writes."""


def write_between(document, begin, end, lines):
    """Puts these lines between the two marks, each of which the document has once."""
    before, rest = document.read_text().split(begin)
    _, after = rest.split(end)
    document.write_text("\n".join([before + begin, "", *lines, "", end]) + after)
