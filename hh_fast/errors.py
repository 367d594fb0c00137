"""The user-facing errors. A command prints each as one line and ends with its `exit_code`.

Any other exception is a bug in hh_fast (or a fault of the machine) and keeps its traceback.
"""


class HHFastError(Exception):
    """One line: what is wrong, where, and the remedy."""

    exit_code = 2


class UsageError(HHFastError, ValueError):
    """An invalid flag or argument: its name in backticks, the rule, and the value received."""

    exit_code = 1


def require(holds: bool, rule: str, received: object) -> None:
    """Raises `UsageError`, the rule and what was received, unless the rule `holds`."""
    if not holds:
        raise UsageError(f"{rule}. Received: {received}")


class DataError(HHFastError):
    """Images, folders, archives, caches, run folders or model files that cannot be used."""


class CheckError(HHFastError):
    """An exported file does not match the model, so it was not kept."""

    exit_code = 3
