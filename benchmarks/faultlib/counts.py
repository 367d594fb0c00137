"""What a section of the campaign counts."""

import dataclasses
import time
from typing import Any


@dataclasses.dataclass
class Counts:
    """How many faults were tried, and which of them were not survived, each with a line that says how."""

    name: str
    tried: int = 0
    lost: list[str] = dataclasses.field(default_factory=list)
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)
    started: float = dataclasses.field(default_factory=time.monotonic)

    def check(self, holds: bool, what: str) -> None:
        """Counts one fault; `what` tells of it if it was not survived."""
        self.tried += 1
        if not holds:
            self.lost.append(what)

    def note(self, key: str, amount: int = 1) -> None:
        self.notes[key] = self.notes.get(key, 0) + amount

    def to_json(self) -> dict[str, Any]:
        return {
            "tried": self.tried,
            "survived": self.tried - len(self.lost),
            "lost": len(self.lost),
            "what_was_lost": self.lost,
            "notes": dict(sorted(self.notes.items())),
            "seconds": round(time.monotonic() - self.started, 1),
        }
