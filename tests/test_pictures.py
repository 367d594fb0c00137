"""Every command means the same by an image: the README's table of formats, on a picture of each row."""

import re
from pathlib import Path

import numpy as np
import pytest
from picture_table import LEFT_OUT, LIMIT, PICTURES, SIZE, write_pictures

from hh_fast.config import DataConfig
from hh_fast.data.explore.inspection import inspect
from hh_fast.data.load import load_data
from hh_fast.data.pipeline import eval_batches, images_at
from hh_fast.data.pixels import read_image, resize
from hh_fast.data.scan import scan_file
from hh_fast.data.sources import Source
from hh_fast.errors import DataError

NUM_BAD = sum(isinstance(expected, str) for *_, expected in PICTURES)


@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
def test_training_reads_the_table(
    cache: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
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
        assert len(read) == data.train.num_images == 2 * (len(PICTURES) - NUM_BAD)
        for path, pixels in zip(data.train.paths, read, strict=True):
            np.testing.assert_array_equal(pixels, resize(expected(path), SIZE), err_msg=path)
        np.testing.assert_array_equal(images_at(data.train, np.array([20, 7, 3, 30])), read[[20, 7, 3, 30]])
    assert capfd.readouterr().err == ""  # libjpeg and TensorFlow have their say about what is cut off


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
                    read_image(path, SIZE, max_image_pixels=LIMIT)
                assert str(caught.value) == f"{path}: {wanted}"
            else:
                pixels = read_image(path, SIZE, max_image_pixels=LIMIT)
                assert pixels.dtype == np.uint8
                np.testing.assert_array_equal(pixels, resize(wanted, SIZE), err_msg=path)
    assert refused == {}
    assert [Path(path).name for path in report.splits[0].ignored] == [*LEFT_OUT, *LEFT_OUT]


def test_tensorflow_decodes_what_it_reads_as_a_viewer_shows_it(tmp_path: Path) -> None:
    """The fast way is taken by ordinary photos."""
    write_pictures(tmp_path)
    decoders = {
        file: scan_file(str(tmp_path / "cats" / file), max_image_pixels=LIMIT).header.decoder
        for _, file, _, _ in PICTURES
    }
    ordinary = ("rgb.png", "rgba.png", "palette.png", "baseline.jpg", "progressive.jpeg", "grey.jpg", "profile.jpg")
    assert {decoders[file] for file in (*ordinary, "rgb16.png", "really_png.jpg")} == {"tensorflow"}
    assert {decoders[file] for file in ("cmyk.jpg", "rgb.bmp", "still.gif", "turned.jpg", "turned.png")} == {"pillow"}


def test_the_readme_has_the_same_rows() -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text()
    table = text.partition("| an image that is |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (.+?) +\|", table, re.MULTILINE)[1:]
    assert rows == list(dict.fromkeys(row for row, *_ in PICTURES))
