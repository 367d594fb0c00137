"""TensorFlow's pixels: those of keras.utils.image_dataset_from_directory for PNG, of browsers and Pillow for JPEG."""

import io
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from hh_fast.data.decode import decode, decoded_batches, first_undecodable, path_tensor
from hh_fast.data.image_form import ImageForm


def noise(mode: str, size: tuple[int, int]) -> Image.Image:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (*size, 4), np.uint8)
    if mode == "I;16":
        return Image.fromarray(rng.integers(0, 65536, size, np.uint16))
    return Image.fromarray(pixels).convert("RGB").convert(mode) if mode != "RGBA" else Image.fromarray(pixels)


FILES = [  # file name, Pillow mode, options
    ("rgb.png", "RGB", {}),
    ("rgba.png", "RGBA", {}),
    ("grey.png", "L", {}),
    ("grey_alpha.png", "LA", {}),
    ("palette.png", "P", {}),
    ("one_bit.png", "1", {}),
    ("sixteen_bit.png", "I;16", {}),
]


@pytest.mark.parametrize("size", [(31, 40), (24, 32)], ids=["as it is", "resized"])
def test_pixels_of_png_are_those_of_keras(tmp_path: Path, size: tuple[int, int]) -> None:
    for number, (name, mode, options) in enumerate(FILES):
        (tmp_path / f"{number:02d}").mkdir()
        noise(mode, (31, 40)).save(tmp_path / f"{number:02d}" / name, **options)
    theirs = keras.utils.image_dataset_from_directory(
        tmp_path, shuffle=False, batch_size=None, image_size=size, verbose=False
    )
    batches = list(decoded_batches(theirs.file_paths, ImageForm(size)))
    ours = np.concatenate([images for _, images in batches])
    assert len(ours) == len(FILES)
    for (name, _, _), mine, (pixels, _) in zip(FILES, ours, theirs, strict=True):
        assert mine.dtype == np.uint8
        np.testing.assert_array_equal(mine, np.rint(pixels.numpy()), err_msg=name)


JPEGS = [  # Pillow mode, options
    ("RGB", {"quality": 80}),
    ("RGB", {"quality": 97, "subsampling": 0}),
    ("RGB", {"quality": 50, "subsampling": 1}),
    ("RGB", {"quality": 20, "progressive": True}),
    ("L", {"quality": 90}),
]


@pytest.mark.parametrize(("mode", "options"), JPEGS)
def test_pixels_of_jpeg_are_those_of_pillow(mode: str, options: dict[str, object]) -> None:
    for size in [(31, 40), (200, 301)]:
        out = io.BytesIO()
        noise(mode, size).resize(size[::-1], Image.Resampling.BICUBIC, (0, 0, 9, 9)).save(out, "JPEG", **options)
        expected = np.asarray(Image.open(out).convert("RGB"))
        np.testing.assert_array_equal(decode(out.getvalue(), ImageForm(size)), expected)


def test_other_formats_are_refused_in_words() -> None:
    for kind in ("BMP", "GIF", "WEBP"):
        out = io.BytesIO()
        noise("RGB", (31, 40)).save(out, kind)
        with pytest.raises(tf.errors.InvalidArgumentError, match="only PNG and JPEG are decoded here"):
            decode(out.getvalue(), ImageForm((31, 40)))


def test_an_image_of_the_right_size_is_not_touched(tmp_path: Path) -> None:
    noise("RGB", (31, 40)).save(tmp_path / "a.png")
    pixels = decode(tf.io.read_file(str(tmp_path / "a.png")), ImageForm((31, 40)))
    np.testing.assert_array_equal(pixels, np.asarray(noise("RGB", (31, 40))))


def test_files_that_do_not_decode_are_left_out(make_images: Callable[..., Path]) -> None:
    folder = make_images("a", {"x": 70}) / "x"
    paths = sorted(str(path) for path in folder.iterdir())
    whole = Path(paths[0]).read_bytes()
    Path(paths[3]).write_bytes(whole[: len(whole) // 2])
    Path(paths[40]).write_bytes(b"no image at all")
    Path(paths[69]).unlink()
    found = [i for numbers, _ in decoded_batches(paths, ImageForm((24, 24))) for i in numbers]
    assert found == sorted(set(range(70)) - {3, 40, 69})


def test_no_files_give_no_batches() -> None:
    assert list(decoded_batches([], ImageForm((24, 24)))) == []


def test_paths_keep_bytes_that_are_not_utf8() -> None:
    assert path_tensor(["a\udcff.png"]).numpy().tolist() == [b"a\xff.png"]


def test_the_first_file_that_is_lost_is_named(make_images: Callable[..., Path]) -> None:
    paths = sorted(str(path) for path in (make_images("a", {"x": 5}) / "x").iterdir())
    assert first_undecodable(paths, ImageForm((24, 24))) is None
    Path(paths[3]).unlink()
    Path(paths[2]).write_bytes(b"")
    found = first_undecodable(paths, ImageForm((24, 24)))
    assert found is not None and found.startswith(f"{paths[2]}: ")
