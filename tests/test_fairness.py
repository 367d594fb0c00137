import shutil

import numpy as np
import pytest
from PIL import Image

from hh_fast.bench import baseline, fairness, inputs
from hh_fast.errors import CheckError


def check(folder, size=(24, 24), batch_size=4):
    common = {"directory": folder, "image_size": size, "batch_size": batch_size}
    paths = [
        inputs.GeneratorInput(**common, feeding=baseline.Feeding()),
        inputs.KerasInput(**common),
        inputs.HHFastInput(**common, cache="none"),
    ]
    files = [str(path) for class_dir in sorted(folder.iterdir()) for path in sorted(class_dir.iterdir())]
    return fairness.check(paths, inputs.HHFastInput(**common), files)


def test_equal_files_are_equal_to_the_bit(make_images):
    found = check(make_images("train", {"a": 3, "b": 2}))
    assert (found.num_images, found.num_exact, found.failed, found.remarks) == (5, 5, {}, [])


def test_resized_files_differ_by_interpolation_which_is_said(make_images):
    found = check(make_images("train", {"a": 1, "b": 1}), size=(20, 30))
    assert found.num_exact == 0
    [remark] = found.remarks
    assert remark.startswith("ImageDataGenerator resizes by nearest neighbor, the others bilinear: 2 images, by ")


def test_jpeg_files_differ_by_the_transform_of_keras_which_is_said(make_images):
    folder = make_images("train", {"a": 2, "b": 2})
    for path in folder.rglob("*.png"):
        Image.open(path).save(path.with_suffix(".jpg"), quality=90)
        path.unlink()
    found = check(folder)
    assert found.num_exact == 0
    [remark] = found.remarks
    assert remark.startswith(
        "image_dataset_from_directory decodes JPEG by another transform than hh_fast: 4 images, by "
    )


def test_a_file_type_that_the_generator_does_not_know_leaves_it_out(make_images):
    folder = make_images("train", {"a": 2, "b": 2})
    path = folder / "b" / "000.png"
    Image.open(path).convert("P").save(path.with_suffix(".gif"))
    path.unlink()
    found = check(folder)
    assert found.failed == {
        "ImageDataGenerator": "ValueError: it yields other images than the 4 that hh_fast reads"
        " (file types it does not know?)"
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


class Mislabelled(inputs.KerasInput):
    def ordered(self):
        for images, labels in super().ordered():
            yield images, 1 - np.asarray(labels)


def test_other_labels_stop_the_bench(make_images):
    folder = make_images("train", {"a": 1, "b": 1})
    common = {"directory": folder, "image_size": (24, 24), "batch_size": 4}
    files = [str(folder / "a" / "000.png"), str(folder / "b" / "000.png")]
    with pytest.raises(CheckError) as caught:
        fairness.check([Mislabelled(**common)], inputs.HHFastInput(**common), files)
    assert str(caught.value) == f"{files[0]}: image_dataset_from_directory gives it label 1, hh_fast 0"


def test_a_path_that_cannot_read_fails_alone(make_images):
    folder = make_images("train", {"a": 2, "b": 2})
    away = folder.with_name("away")
    shutil.copytree(folder, away)
    (away / "a" / "000.png").write_bytes(b"no image")
    common = {"image_size": (24, 24), "batch_size": 4}
    files = [str(path) for class_dir in sorted(folder.iterdir()) for path in sorted(class_dir.iterdir())]
    found = fairness.check(
        [inputs.KerasInput(directory=away, **common)], inputs.HHFastInput(directory=folder, **common), files
    )
    assert found.failed["image_dataset_from_directory"].startswith("InvalidArgumentError: ")
