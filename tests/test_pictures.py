"""Every command means the same by an image: the guide's table of formats, on a picture of each row."""

import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from picture_table import LEFT_OUT, LIMIT, PICTURES, SIZE, write_pictures

from hh_fast.config import DataConfig
from hh_fast.data.explore.inspection import inspect
from hh_fast.data.load import load_data
from hh_fast.data.pipeline import eval_batches, images_at
from hh_fast.data.pixels import ImageForm, read_pixels
from hh_fast.data.sources import Source
from hh_fast.errors import DataError

NUM_BAD = sum(isinstance(expected, str) for *_, expected in PICTURES)


def assert_shows(pixels: np.ndarray, expected: np.ndarray, path: str) -> None:
    """Pillow's pixels, or where they must be resized TensorFlow's resize of them, within 1."""
    assert pixels.dtype == np.uint8
    if expected.shape[:2] == SIZE:
        np.testing.assert_array_equal(pixels, expected, err_msg=path)
    else:
        np.testing.assert_allclose(pixels, np.rint(tf.image.resize(expected, SIZE)), atol=1, err_msg=path)


@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
def test_training_reads_the_table(
    cache: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    tf.constant(0)  # or its first use says in the midst of it that there is no GPU
    capfd.readouterr()
    expected = write_pictures(tmp_path / "pictures")
    config = DataConfig(
        train_dir=str(tmp_path / "pictures"),
        image_size=SIZE,
        cache=cache,
        cache_dir=str(tmp_path / "cache"),
        validation_split=0.0,
        max_image_pixels=LIMIT,
        bad_images="skip",
    )
    for _ in range(2):  # decoded, then as recorded
        data = load_data(config)
        assert len(data.bad) == 2 * NUM_BAD
        read = np.concatenate([images for images, _ in eval_batches(data.train, batch_size=16).as_numpy_iterator()])
        assert len(read) == len(data.train) == 2 * (len(PICTURES) - NUM_BAD)
        for path, pixels in zip(data.train.images.paths, read, strict=True):
            assert_shows(pixels, expected(path), path)
        np.testing.assert_array_equal(images_at(data.train, np.array([20, 7, 3, 30])), read[[20, 7, 3, 30]])
    assert capfd.readouterr().err == ""


def test_explore_and_predict_read_the_table(tmp_path: Path) -> None:
    expected = write_pictures(tmp_path / "pictures")
    report = inspect(
        Source("pictures", tmp_path / "pictures", None),
        DataConfig(image_size=SIZE, max_image_pixels=LIMIT, cache_dir=str(tmp_path / "cache")),
        num_names=1,
    )
    refused = dict(report.splits[0].unreadable)
    for name in ("cats", "dogs"):
        for _, file, _, _ in PICTURES:
            path = str(tmp_path / "pictures" / name / file)
            wanted = expected(path)
            if isinstance(wanted, str):
                assert refused.pop(path) == wanted
                with pytest.raises(DataError) as caught:
                    read_pixels(path, ImageForm(SIZE), max_image_pixels=LIMIT)
                assert str(caught.value) == f"{path}: {wanted}"
            else:
                assert_shows(read_pixels(path, ImageForm(SIZE), max_image_pixels=LIMIT), wanted, path)
    assert refused == {}
    assert [Path(path).name for path in report.splits[0].ignored] == [*LEFT_OUT, *LEFT_OUT]


def test_the_guide_has_the_same_rows() -> None:
    text = (Path(__file__).parents[1] / "examples" / "guide.md").read_text()
    table = text.partition("| an image that is |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (.+?) +\|", table, re.MULTILINE)[1:]
    assert rows == list(dict.fromkeys(row for row, *_ in PICTURES))
