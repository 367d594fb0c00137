"""Versions of the software that made a run, bundle or result."""

import platform
from importlib.metadata import PackageNotFoundError, version

from hh_fast import __version__


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def package_versions(*further: str) -> dict[str, str | None]:
    """Versions of hh_fast, TensorFlow, Keras, NumPy, `further` packages and Python; None for one that is not installed."""
    packages = {name: _version(name) for name in ("tensorflow", "keras", "numpy", *further)}
    # What pip noted of hh_fast when .venv was made is older than a clone that was updated since.
    return {"hh-fast": __version__, **packages, "python": platform.python_version()}
