"""Configs check themselves."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hh_fast.augmentation import BORDERS, Augmentation
from hh_fast.config import (
    FILL_MODES,
    AugmentationConfig,
    Config,
    DataConfig,
    ExportConfig,
    TrainConfig,
    require_model_size,
)
from hh_fast.errors import UsageError


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (
            DataConfig,
            {"dataset": "x"},
            "`dataset` must be `sample` or `tfds:NAME`; for folders use --train_dir. Received: x",
        ),
        (DataConfig, {"cache": "ram"}, "`cache` must be one of auto, memory, disk, none. Received: ram"),
        (DataConfig, {"validation_dir": "v"}, "`validation_dir` must be given with --train_dir. Received: v"),
        (
            DataConfig,
            {"train_dir": "t", "validation_split": 1.0},
            "`validation_split` must be at least 0 and under 1. Received: 1.0",
        ),
        (
            DataConfig,
            {"train_dir": "t", "validation_dir": "v", "validation_split": 0.1},
            "`validation_split` must be left out if --validation_dir is given. Received: 0.1",
        ),
        (
            DataConfig,
            {"train_dir": "t", "dataset": "tfds:x"},
            "`dataset` must be left out if --train_dir is given. Received: tfds:x",
        ),
        (
            DataConfig,
            {"tfds_manual_dir": "m"},
            "`tfds_manual_dir` must be given with --dataset=tfds:NAME. Received: m",
        ),
        (DataConfig, {"seed": -1}, "`seed` must be from 0 to 2147483647. Received: -1"),
        (TrainConfig, {"epochs": 0}, "`epochs` must be at least 1. Received: 0"),
        (TrainConfig, {"learning_rate": 0.0}, "`learning_rate` must be above 0 and finite. Received: 0.0"),
        (
            TrainConfig,
            {"require_gpu": True, "device": "cpu"},
            "`require_gpu` must be left out with --device=cpu. Received: True",
        ),
    ],
)
def test_values_that_cannot_be_used(kind: Any, values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        kind(**values)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "given", "meant"),
    [
        ("image_size", [94, 96], (94, 96)),
        ("image_size", np.asarray([94, 96]), (94, 96)),
        ("image_size", 96, (96, 96)),
        ("image_size", "94,96", (94, 96)),
        ("image_size", (94.0, np.int64(96)), (94, 96)),
        ("seed", "3", 3),
        ("seed", 2.0, 2),
        ("seed", np.int32(2), 2),
        ("seed", np.float64(2), 2),
        ("train_dir", Path("pictures"), "pictures"),
        ("epochs", "3", 3),
        ("learning_rate", 1, 1.0),
        ("learning_rate", np.float32(0.5), 0.5),
        ("learning_rate", "1e-3", 0.001),
        ("augment", np.bool_(True), True),
        ("jit_compile", True, "true"),
        ("width_shift_range", np.int64(20), 20),
        ("width_shift_range", 20.0, 20.0),
        ("width_shift_range", [4, 8], (4, 8)),
        ("zoom_range", "0.8,1.2", (0.8, 1.2)),
        ("profile_steps", [1, 2], (1, 2)),
        ("run_dir", None, None),
        ("formats", "int8", ("int8",)),
        ("formats", ["int8", "float32"], ("int8", "float32")),
    ],
)
def test_what_is_meant_is_taken(name: str, given: Any, meant: Any) -> None:
    kinds: tuple[Any, ...] = (DataConfig, TrainConfig, functools.partial(ExportConfig, model="m"))
    fields = [{field.name for field in dataclasses.fields(kind)} for kind in (DataConfig, TrainConfig, ExportConfig)]
    made = getattr(
        next(kind for kind, names in zip(kinds, fields, strict=True) if name in names)(**{name: given}), name
    )
    assert repr(made) == repr(meant)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("epochs", "three", "`epochs` must be a whole number. Received: three"),
        ("epochs", 2.5, "`epochs` must be a whole number. Received: 2.5"),
        ("epochs", True, "`epochs` must be a whole number. Received: True"),
        ("warmup_steps", None, "`warmup_steps` must be a whole number. Received: None"),
        ("epochs", float("inf"), "`epochs` must be a whole number. Received: inf"),
        ("learning_rate", float("nan"), "`learning_rate` must be a number. Received: nan"),
        ("learning_rate", [0.1], "`learning_rate` must be a number. Received: 0.1"),
        ("augment", "yes", "`augment` must be true or false. Received: yes"),
        ("augment", 1, "`augment` must be true or false. Received: 1"),
        ("run_dir", 3, "`run_dir` must be text. Received: 3"),
        ("zoom_range", [], "`zoom_range` must be a number, or comma-separated numbers. Received: "),
        ("profile_steps", ["a", 2], "`profile_steps` must be comma-separated whole numbers. Received: a,2"),
        ("batch_size", {}, "`batch_size` must be a whole number. Received: {}"),
    ],
)
def test_what_means_nothing_is_refused(name: str, given: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        TrainConfig(**{name: given})
    assert str(caught.value) == message


def test_the_least_image_size_is_named() -> None:
    require_model_size((94, 94))
    with pytest.raises(UsageError, match="`image_size` must be at least 94,94: .* Received: 300,93"):
        require_model_size((300, 93))


@pytest.mark.parametrize(
    ("num_images", "num_replicas", "batch_size"),
    [(1027, 1, 128), (1024, 1, 128), (36, 1, 4), (36, 8, 8), (4, 1, 1), (5000, 3, 126)],
)
def test_the_batch_that_nobody_asked_for(num_images: int, num_replicas: int, batch_size: int) -> None:
    assert TrainConfig().for_images(num_images, num_replicas).batch_size == batch_size
    assert TrainConfig(batch_size=128).for_images(num_images, num_replicas).batch_size == 128


def test_gates_of_few_images_let_one_differ() -> None:
    config = ExportConfig(run_dir="run")
    assert config.gates(10_000, 0) == pytest.approx((0.01, 0.9666), abs=1e-4)
    assert config.gates(10_000, 100) == pytest.approx((0.012, 0.9666), abs=1e-4)
    assert config.gates(100, 4) == pytest.approx((0.05, 0.9359), abs=1e-4)
    assert ExportConfig(run_dir="run", max_accuracy_drop=0.01, min_agreement=0.97).gates(100, 4) == (0.01, 0.97)


def test_paths_that_hold_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = DataConfig(train_dir="pictures", cache_dir="~/cache").absolute()
    assert made == DataConfig(train_dir=str(tmp_path / "pictures"), cache_dir=str(Path.home() / "cache"))


DEFAULT = {
    "rotation_range": 20.0,
    "width_shift_range": 0.1,
    "height_shift_range": 0.1,
    "zoom_range": 0.1,
    "horizontal_flip": True,
}


@pytest.mark.parametrize(
    ("flags", "ranges"),
    [
        ({}, {}),
        ({"augment": True}, DEFAULT),
        ({"shear_range": 5.0}, {"shear_range": 5.0}),
        ({"augment": True, "zoom_range": (0.5, 1.0)}, DEFAULT | {"zoom_range": (0.5, 1.0)}),
        ({"augment": True, "rotation_range": 0.0}, DEFAULT | {"rotation_range": 0.0}),
        ({"augment": True, "horizontal_flip": False}, DEFAULT | {"horizontal_flip": False}),
        ({"vertical_flip": True, "fill_mode": "wrap"}, {"vertical_flip": True, "fill_mode": "wrap"}),
    ],
)
def test_a_range_alone_is_only_itself_and_beside_augment_overrules_it(
    flags: dict[str, Any], ranges: dict[str, Any]
) -> None:
    assert TrainConfig(**flags).augmentation() == ranges
    assert bool(Augmentation(**TrainConfig(**flags).augmentation())) == bool(ranges)


def test_the_help_of_augment_states_its_ranges() -> None:
    (text,) = (f.metadata["help"] for f in dataclasses.fields(AugmentationConfig) if f.name == "augment")
    stated = "rotation_range 20, width_shift_range and height_shift_range 0.1, zoom_range 0.1, horizontal_flip."
    assert stated in text
    assert {field.name for field in dataclasses.fields(Augmentation)} == {
        field.name for field in dataclasses.fields(AugmentationConfig)
    } - {"augment"}
    assert tuple(BORDERS) == FILL_MODES


@pytest.mark.parametrize(
    ("kind", "name"), [(DataConfig, "train_dir"), (DataConfig, "cache_dir"), (TrainConfig, "run_dir")]
)
def test_an_empty_path_is_no_path(kind: type[Config], name: str) -> None:
    with pytest.raises(UsageError) as caught:
        kind(**{name: ""})
    assert str(caught.value) == f"`{name}` must be left out, or not empty. Received: "
