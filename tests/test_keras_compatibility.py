"""Keras' own tests of `image_dataset_from_directory`, from the installed wheel, with ours in its place."""

import functools
from unittest import mock

import pytest
from keras.src.utils import image_dataset_utils_test as of_keras

from hh_fast.data.image_dataset import image_dataset_from_directory

pytestmark = pytest.mark.slow
TESTS = [name for name in dir(of_keras.ImageDatasetFromDirectoryTest) if name.startswith("test_")]
GRAIN = [name for name in TESTS if name.endswith("_grain")]  # `format="grain"`, which ours refuses


class TestAsKeras(of_keras.ImageDatasetFromDirectoryTest):
    locals().update(dict.fromkeys(GRAIN))

    def setUp(self) -> None:
        super().setUp()
        ours = functools.partial(image_dataset_from_directory, cache_dir=self.get_temp_dir())
        patch = mock.patch.object(of_keras.image_dataset_utils, "image_dataset_from_directory", ours)
        patch.start()
        self.addCleanup(patch.stop)


def test_that_is_all_of_them_but_for_grain() -> None:
    assert len(GRAIN) == 14
    assert len([name for name in TESTS if getattr(TestAsKeras, name) is not None]) == 15
