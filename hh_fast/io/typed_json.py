"""Dataclasses to JSON values and back, by their annotations. Standard library only."""

import contextlib
import dataclasses
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
NAMES: dict[Any, str] = {
    tuple: "a list", dict: "an object", float: "a number", int: "a whole number", str: "a text", bool: "true or false"
}  # fmt: skip


def to_json(value: Any) -> Any:
    """`value` as JSON has it: dataclasses become objects, tuples lists, paths strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    return str(value) if isinstance(value, Path) else value


def from_json(kind: type[T], value: Any) -> T:
    """The `kind` that `to_json` made `value` of: a dataclass, also a generic one, of dataclasses, tuples, dicts and scalars.

    Raises:
        ValueError: a field is missing without a default, unknown, or of another type; it is named by its way from the root.
    """
    made: T = _read(kind, value, "")
    return made


def _read(kind: Any, value: Any, where: str) -> Any:
    bare_kind, arguments = typing.get_origin(kind) or kind, typing.get_args(kind)
    if dataclasses.is_dataclass(bare_kind):
        return _read_dataclass(bare_kind, arguments, value, where)
    if bare_kind in (typing.Union, types.UnionType):
        kinds = [one for one in arguments if one is not type(None)]
        if value is None and len(kinds) < len(arguments):
            return None
        return _read_one_of(kinds, value, where)
    if bare_kind is tuple and arguments and isinstance(value, list):
        kinds = list(arguments[:1] * len(value) if arguments[-1] is ... else arguments)
        if len(kinds) == len(value):
            return tuple(
                _read(one, item, f"{where}[{i}]") for i, (one, item) in enumerate(zip(kinds, value, strict=True))
            )
    if bare_kind is dict and isinstance(value, dict):
        return {key: _read(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    scalar = (int, float) if kind is float else kind
    if kind is Any or (
        isinstance(kind, type) and isinstance(value, scalar) and (kind is bool or not isinstance(value, bool))
    ):
        return value
    raise ValueError(f"`{where.lstrip('.')}` must be {NAMES.get(bare_kind, 'another value')}. Received: {value!s:.80}")


def _read_one_of(kinds: list[Any], value: Any, where: str) -> Any:
    for one in kinds[:-1]:
        with contextlib.suppress(ValueError):
            return _read(one, value, where)
    return _read(kinds[-1], value, where)


def _read_dataclass(kind: Any, arguments: tuple[Any, ...], value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"`{where.lstrip('.')}` must be an object. Received: {value!s:.80}")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    defaulted = {
        name
        for name, field in fields.items()
        if field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
    }
    for word, names in (
        ("lacks", fields.keys() - defaulted - value.keys()),
        ("has unknown", value.keys() - fields.keys()),
    ):
        if names:
            raise ValueError(f"`{where.lstrip('.') or kind.__name__}` {word} {', '.join(sorted(names))}")
    hints = typing.get_type_hints(kind)
    chosen = dict(zip(getattr(kind, "__parameters__", ()), arguments, strict=False))
    return kind(**{name: _read(_filled(hints[name], chosen), item, f"{where}.{name}") for name, item in value.items()})


def _filled(kind: Any, chosen: dict[Any, Any]) -> Any:
    """`kind` with the type variables of a generic dataclass replaced by what it was parametrized with."""
    if isinstance(kind, TypeVar):
        return chosen.get(kind, Any)
    parameters = getattr(kind, "__parameters__", ())
    return kind[tuple(chosen.get(one, Any) for one in parameters)] if parameters else kind
