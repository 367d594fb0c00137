"""Versions of the software that made a run, bundle or result."""

import platform
from importlib.metadata import PackageNotFoundError, version


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def package_versions(*further: str) -> dict[str, str | None]:
    """Versions of hh_fast, TensorFlow, Keras, NumPy, `further` packages and Python; None for one that is not installed."""
    packages = ("hh-fast", "tensorflow", "keras", "numpy", *further)
    return {name: _version(name) for name in packages} | {"python": platform.python_version()}
