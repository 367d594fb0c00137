import dataclasses

import numpy as np
import pytest
from PIL import Image

from benchmarks.race import fairness
from benchmarks.race.inputs import input_paths
from benchmarks.race.names import READ_GENERATOR as GENERATOR
from benchmarks.race.names import READ_STOCK as STOCK
from benchmarks.race.workload import Workload
from hh_fast.config import DataConfig, TrainConfig
from hh_fast.errors import CheckError

NAMED = {path.name: path for path in input_paths()}


def check(folder, size=(24, 24), paths=(NAMED[GENERATOR], NAMED[STOCK], NAMED["hh_fast, none"])):
    config = DataConfig(train_dir=str(folder), validation_split=0.0, image_size=size)
    return fairness.check(paths, Workload(config, TrainConfig(batch_size=4), 2))


def as_jpeg(folder, **options):
    for path in folder.rglob("*.png"):
        Image.open(path).save(path.with_suffix(".jpg"), quality=90, **options)
        path.unlink()
    return folder


def test_equal_files_are_equal_to_the_bit(make_images):
    assert check(make_images("train", {"a": 3, "b": 2})) == ({}, [])


def test_resized_files_differ_by_interpolation_which_is_said(make_images):
    _, [remark] = check(make_images("train", {"a": 1, "b": 1}), size=(20, 30))
    assert remark.startswith("ImageDataGenerator resizes by nearest neighbor: 2 images, by ")


def test_jpeg_files_differ_by_their_decoders_which_is_said(make_images):
    failed, remarks = check(as_jpeg(make_images("train", {"a": 2, "b": 2})))
    assert failed == {}
    assert remarks
    for remark in remarks:
        assert " decodes JPEG by another transform: 4 images, by " in remark


def test_turned_images_are_counted_and_not_compared(make_images):
    exif = Image.Exif()
    exif[fairness.ORIENTATION] = 6
    _, remarks = check(as_jpeg(make_images("train", {"a": 2, "b": 2}), exif=exif))
    assert [remark.partition(":")[0] for remark in remarks] == [
        "ImageDataGenerator does not heed EXIF orientation",
        "image_dataset_from_directory does not heed EXIF orientation",
    ]


def test_other_jpeg_pixels_stop_the_bench(make_images):
    def darker(workload, **how):
        epochs = NAMED[STOCK].open(workload, **how)
        return lambda first, num: ((images / 2, labels) for images, labels in epochs(first, num))

    folder = as_jpeg(make_images("train", {"a": 2, "b": 2}))
    with pytest.raises(
        CheckError, match=r"^image_dataset_from_directory reads other JPEG pixels than hh_fast: 4 images, by "
    ):
        check(folder, paths=[dataclasses.replace(NAMED[STOCK], open=darker)])


def test_a_file_type_that_the_generator_does_not_know_leaves_it_out(make_images):
    folder = make_images("train", {"a": 2, "b": 2})
    path = folder / "b" / "000.png"
    Image.open(path).convert("P").save(path.with_suffix(".gif"))
    path.unlink()
    failed, _ = check(folder)
    assert failed == {
        "ImageDataGenerator": "ValueError: it yields others of the 4 images that hh_fast reads (file types it does not know?)"
    }


def test_pixels_that_must_be_equal_and_are_not_stop_the_bench(make_images):
    folder = make_images("train", {"a": 2, "b": 2})
    path = folder / "a" / "001.png"
    Image.fromarray(np.full((24, 24), 40_000, np.uint16)).save(path)  # Pillow clips 16 bits, TensorFlow scales them
    with pytest.raises(CheckError) as caught:
        check(folder)
    assert str(caught.value).startswith(f"{path}: ImageDataGenerator reads other pixels than hh_fast (by up to ")
    assert str(caught.value).endswith(
        "of 255), so their times would not compare; convert the file to 8-bit RGB, or leave it out"
    )


def test_other_labels_stop_the_bench(make_images):
    def mislabelled(workload, **how):
        epochs = NAMED[STOCK].open(workload, **how)
        return lambda first, num: ((images, 1 - np.asarray(labels)) for images, labels in epochs(first, num))

    folder = make_images("train", {"a": 1, "b": 1})
    with pytest.raises(CheckError) as caught:
        check(folder, paths=[dataclasses.replace(NAMED[STOCK], open=mislabelled)])
    assert str(caught.value) == f"{folder / 'a' / '000.png'}: image_dataset_from_directory gives it label 1, hh_fast 0"


def test_a_path_that_cannot_read_fails_alone(make_images):
    def fails(workload, **how):
        raise ImportError("no SciPy\nhere")

    failed, _ = check(make_images("train", {"a": 2, "b": 2}), paths=[dataclasses.replace(NAMED[STOCK], open=fails)])
    assert failed == {STOCK: "ImportError: no SciPy here"}
