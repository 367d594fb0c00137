"""How far a bench is, and how long it will take, by what was expected and what it took so far. Standard library only."""

import time
from collections.abc import Callable

BAR_WIDTH = 24


class Progress:
    """Turns the beginnings of measurements into lines such as `[####....]  40%, about 60 s left: hh_fast, memory`.

    The estimate starts from the plan and is corrected by how long the finished part of it took.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._total = self._done = self._current = 0.0
        self._start = time.monotonic()

    def plan(self, seconds: float) -> None:
        """From now on, `seconds` of expected work are to be done."""
        self._total, self._done, self._current = seconds, 0.0, 0.0
        self._start = time.monotonic()

    def begin(self, name: str, expected_s: float) -> None:
        """The measurement before is over, and one that should take `expected_s` begins."""
        self._done += self._current
        self._current = expected_s
        share = min(1.0, self._done / self._total) if self._total else 0.0
        elapsed = time.monotonic() - self._start
        # Until a tenth is done, the plan knows better than the clock.
        left = self._total - self._done if share < 0.1 else elapsed / share * (1 - share)
        filled = round(share * BAR_WIDTH)
        bar = "#" * filled + "." * (BAR_WIDTH - filled)
        estimate = f" {share:4.0%}, about {max(0.0, left):.0f} s left" if self._total else ""
        self._show(f"[{bar}]{estimate}: {name}")
