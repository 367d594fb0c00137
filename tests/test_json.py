from pathlib import Path

import msgspec
import pytest

from hh_fast.config import DataConfig, TrainConfig
from hh_fast.io.files import to_json


def test_what_goes_out_comes_back():
    assert msgspec.convert(to_json(DataConfig(image_size=(96, 96))), DataConfig) == DataConfig(image_size=(96, 96))
    assert to_json({"path": Path("pictures"), "name": "\udcff"}) == {"path": "pictures", "name": "\udcff"}


@pytest.mark.parametrize("value", [20, 20.0, (4.0, 8.0), None])
def test_one_of_several_kinds_comes_back_as_it_was(value):
    config = TrainConfig(width_shift_range=value)
    assert repr(msgspec.convert(to_json(config), TrainConfig)) == repr(config)


def test_another_type_is_named_by_its_field():
    with pytest.raises(ValueError, match="Expected `int`, got `str` - at `\\$.epochs`"):
        msgspec.convert({**to_json(TrainConfig()), "epochs": "many"}, TrainConfig)
