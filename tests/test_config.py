"""Configs check themselves, and go to JSON and back."""

import json
from typing import Any

import pytest

from hh_fast.config import DataConfig, TrainConfig, require_model_size
from hh_fast.errors import UsageError


@pytest.mark.parametrize(
    "config", [DataConfig(), TrainConfig(epochs=3), DataConfig(train_dir="a", image_size=(96, 128))]
)
def test_json_and_back(config: Any) -> None:
    assert type(config).from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (
            DataConfig,
            {"dataset": "x"},
            "`dataset` must be `sample` or `tfds:NAME`; for folders use --train_dir. Received: x",
        ),
        (DataConfig, {"cache": "ram"}, "`cache` must be one of auto, memory, disk, none. Received: ram"),
        (DataConfig, {"validation_dir": "v"}, "`validation_dir` must be given together with --train_dir. Received: v"),
        (
            DataConfig,
            {"train_dir": "t", "validation_split": 1.0},
            "`validation_split` must be at least 0 and under 1. Received: 1.0",
        ),
        (
            DataConfig,
            {"train_dir": "t", "validation_dir": "v", "validation_split": 0.1},
            "`validation_split` must be left out where --validation_dir is given. Received: 0.1",
        ),
        (
            DataConfig,
            {"train_dir": "t", "dataset": "tfds:x"},
            "`dataset` must be left out where --train_dir is given. Received: tfds:x",
        ),
        (
            DataConfig,
            {"tfds_manual_dir": "m"},
            "`tfds_manual_dir` must be given together with --dataset=tfds:NAME. Received: m",
        ),
        (DataConfig, {"seed": -1}, "`seed` must be at least 0 and under 2147483648. Received: -1"),
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


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(UsageError, match=r"`config` must be made of .*dataset.* Received: nope"):
        DataConfig.from_json({"nope": 1})


def test_the_least_image_size_is_named() -> None:
    require_model_size((94, 94))
    with pytest.raises(UsageError, match="`image_size` must be at least 94,94, .* Received: 300,93"):
        require_model_size((300, 93))
