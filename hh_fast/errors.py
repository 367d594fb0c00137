"""The user-facing errors. A command prints each as one line and ends with its `exit_code`.

What is raised anywhere else is a fault of hh_fast (or of the machine) and keeps its traceback.
"""


class HHFastError(Exception):
    """What is wrong, where, and the remedy, in one line."""

    exit_code = 2


class UsageError(HHFastError, ValueError):
    """A flag or argument that cannot be used: its name in backticks, the rule, what was got."""

    exit_code = 1


def require(holds: bool, rule: str, received: object) -> None:
    """Raises `UsageError`, the rule and what was received, unless the rule `holds`."""
    if not holds:
        raise UsageError(f"{rule}. Received: {received}")


class DataError(HHFastError):
    """Images, folders, archives, caches, run folders or model files that cannot be used."""


class CheckError(HHFastError):
    """A file that was made does not do what the model does, so it was not kept."""

    exit_code = 3
