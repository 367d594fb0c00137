"""Dataclasses to JSON values and back, by their annotations."""

import json
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """`value` as JSON types: dataclasses become dicts, tuples lists, paths strings."""
    return json.loads(json.dumps(msgspec.to_builtins(value, enc_hook=str)))


def from_json(kind: type[T], value: Any) -> T:
    """The inverse of `to_json` for a dataclass `kind` of dataclasses, tuples, dicts and scalars.

    Raises:
        ValueError: a field without a default is missing, or has another type; the message has its path.
    """
    return msgspec.convert(value, kind)
