"""How far a bench is, and how long it will take, by what was expected and what it took so far."""

import logging
import sys

from tqdm import tqdm

logger = logging.getLogger(__name__)


class Progress:
    """A bar that is redrawn on a terminal, and one line a measurement in a log."""

    def __init__(self, *, shown: bool) -> None:
        on_terminal = shown and sys.stderr.isatty()
        form = "{percentage:3.0f}% |{bar:24}| about {remaining} left: {desc}"
        self._bar = tqdm(bar_format=form, file=sys.stderr, disable=not on_terminal, leave=False, total=1.0)
        self._log = shown and not on_terminal
        self._expected_s = 0.0

    def expect(self, seconds: float) -> None:
        """From now on, `seconds` of expected work are to be done."""
        self._bar.reset(total=seconds)
        self._expected_s = 0.0

    def begin(self, name: str, expected_s: float) -> None:
        """The measurement before is over, and one that should take `expected_s` begins."""
        self._bar.update(self._expected_s)
        self._bar.set_description_str(name)
        self._expected_s = expected_s
        if self._log:
            logger.info("%s", name)

    def close(self) -> None:
        """Removes the bar."""
        self._bar.close()
