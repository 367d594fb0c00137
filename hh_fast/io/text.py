"""Text that a terminal and a reader can take."""


def printable(name: str) -> str:
    """`name` on one line of valid UTF-8: control characters and bytes that are no UTF-8 are escaped."""
    text = "".join(
        c if c.isprintable() or "\udc80" <= c <= "\udcff" else c.encode("unicode_escape").decode() for c in name
    )
    return text.encode("utf-8", "backslashreplace").decode()
