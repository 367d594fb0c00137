"""Dataclasses to JSON values and back, by their annotations."""

import json
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """`value` as JSON has it: dataclasses become objects, tuples lists, paths strings."""
    return json.loads(json.dumps(msgspec.to_builtins(value, enc_hook=str)))


def from_json(kind: type[T], value: Any) -> T:
    """The `kind` that `to_json` made `value` of: a dataclass, also a generic one, of dataclasses, tuples, dicts and scalars.

    Raises:
        ValueError: a field is missing without a default, or of another type; it is named by its way from the root.
    """
    return msgspec.convert(value, kind)
