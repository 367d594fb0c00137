import dataclasses
from pathlib import Path
from typing import Generic, TypeVar

import pytest

from hh_fast.config import DataConfig, TrainConfig
from hh_fast.io.typed_json import from_json, to_json

F = TypeVar("F")


@dataclasses.dataclass(frozen=True)
class Figures:
    rate: float
    images: int
    epochs: tuple[float, ...] = ()
    wait: float | None = None


@dataclasses.dataclass(frozen=True)
class Outcome(Generic[F]):
    name: str
    repeats: tuple[F, ...]
    sizes: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    cold: bool = False


OUTCOME = Outcome("a", (Figures(1.5, 3, (1.0, 2.0)), Figures(2.0, 4, wait=0.5)), {"b": (1, 2)}, True)


def test_what_goes_out_comes_back():
    assert from_json(Outcome[Figures], to_json(OUTCOME)) == OUTCOME
    assert from_json(DataConfig, to_json(DataConfig(image_size=(96, 96)))) == DataConfig(image_size=(96, 96))
    assert to_json({"path": Path("pictures")}) == {"path": "pictures"}


@pytest.mark.parametrize("value", [20, 20.0, (4.0, 8.0), None])
def test_one_of_several_kinds_comes_back_as_it_was(value):
    config = TrainConfig(width_shift_range=value)
    assert repr(from_json(TrainConfig, to_json(config))) == repr(config)


def test_whole_numbers_are_floats_too():
    assert from_json(Figures, {"rate": 2, "images": 1}) == Figures(2.0, 1)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"repeats": [{"rate": 1.0}]}, "missing required field `images` - at `$.repeats[0]`"),
        ({"repeats": [{"rate": "fast", "images": 1}]}, "Expected `float`, got `str` - at `$.repeats[0].rate`"),
        ({"repeats": [{"rate": 1.0, "images": True}]}, "Expected `int`, got `bool` - at `$.repeats[0].images`"),
        ({"repeats": 3}, "Expected `array`, got `int` - at `$.repeats`"),
        ({"sizes": {"b": [1]}}, "Expected `array` of length 2, got 1 - at `$.sizes[...]`"),
    ],
)
def test_another_shape_is_named_by_its_way(change, text):
    with pytest.raises(ValueError) as caught:
        from_json(Outcome[Figures], {**to_json(OUTCOME), **change})
    assert text in str(caught.value)


def test_something_else_is_refused():
    with pytest.raises(ValueError, match="Expected `object`, got `array`"):
        from_json(Figures, [])
