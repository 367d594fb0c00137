"""Text for terminals, plots and messages."""

from collections.abc import Callable, Sequence


def printable(name: str) -> str:
    """`name` on one line of valid UTF-8: control characters and invalid bytes are escaped."""
    text = "".join(
        c if c.isprintable() or "\udc80" <= c <= "\udcff" else c.encode("unicode_escape").decode() for c in name
    )
    return text.encode("utf-8", "backslashreplace").decode()


def drawable(text: str, has_glyph: Callable[[str], bool]) -> str:
    """`text` with each character that has no glyph replaced by its code point, such as U+99AC."""
    parts = (c if c in "\n" or has_glyph(c) else f" U+{ord(c):04X} " for c in text)
    return "\n".join(" ".join(line.split()) for line in "".join(parts).split("\n"))


def listed(items: Sequence[str], most: int = 10, separator: str = ", ") -> str:
    """`a, b, c`; for more than `most` items, the first ones and the number of others."""
    more = f" and {len(items) - most:,} more" if len(items) > most else ""
    return separator.join(items[:most]) + more
