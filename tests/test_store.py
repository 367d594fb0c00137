"""Decoded once, in memory or on disk; written atomically; damage is noticed."""

import logging
import multiprocessing
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from picture_table import png_chunk
from PIL import Image

from hh_fast.data import store
from hh_fast.data.decode import decoded_batches
from hh_fast.data.image_form import ImageForm
from hh_fast.data.scan import ImageFile, list_images, scan

SIZE = ImageForm((24, 24))


@pytest.fixture
def files(make_images: Callable[..., Path]) -> list[ImageFile]:
    return scan(list_images(make_images("a", {"x": 40, "y": 30}))[0], max_image_pixels=10**6)


def pixels(files: list[ImageFile]) -> np.ndarray:
    return np.concatenate([images for _, images in decoded_batches([file.path for file in files], SIZE)])


def the_folder(cache_root: Path) -> Path:
    (folder,) = [entry for entry in (cache_root / "decoded").iterdir() if entry.is_dir()]
    return folder


def test_memory_and_disk_hold_the_same_pixels(files: list[ImageFile], tmp_path: Path) -> None:
    expected = pixels(files)
    in_memory = store.fill_memory(files, SIZE)
    filled = store.open_on_disk(files, SIZE, tmp_path / "cache")
    opened = store.open_on_disk(files, SIZE, tmp_path / "cache")
    for made in (in_memory, filled, opened):
        np.testing.assert_array_equal(made.images.numpy(), expected)
        assert made.bad == {}
    assert len(files) * SIZE.num_bytes == expected.nbytes


def test_bad_files_are_named_by_every_home(files: list[ImageFile], tmp_path: Path) -> None:
    Path(files[5].path).write_bytes(Path(files[5].path).read_bytes()[:100])
    Path(files[9].path).write_bytes(b"")
    files = scan([file.path for file in files], max_image_pixels=10**6)
    expected = pixels([file for i, file in enumerate(files) if i not in (5, 9)])
    homes = [
        store.fill_memory(files, SIZE),
        store.open_on_disk(files, SIZE, tmp_path / "cache"),
        store.open_on_disk(files, SIZE, tmp_path / "cache"),
        store.check_only(files, SIZE, tmp_path / "cache"),
        store.check_only(files, SIZE, tmp_path / "cache"),
    ]
    for made in homes:
        assert set(made.bad) == {5, 9}
        assert made.bad[9] == "empty file"
        assert made.bad[5] == "the file is cut off: not all of the image is there"
    for made in homes[:3]:
        np.testing.assert_array_equal(made.images.numpy(), expected)


def test_a_second_opening_decodes_nothing(
    files: list[ImageFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.open_on_disk(files, SIZE, tmp_path / "cache")
    store.check_only(files, SIZE, tmp_path / "cache")
    monkeypatch.setattr(store, "decoded_batches", None)
    store.open_on_disk(files, SIZE, tmp_path / "cache")
    store.check_only(files, SIZE, tmp_path / "cache")


@pytest.mark.parametrize("damage", ["flip", "flip the last", "cut", "no meta", "bad meta", "other checksums"])
def test_a_damaged_file_is_noticed_and_made_again(
    files: list[ImageFile], tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    expected = store.open_on_disk(files, SIZE, tmp_path / "cache").images.numpy()
    folder = the_folder(tmp_path / "cache")
    images, meta = folder / store.PIXELS, folder / store.META
    data = bytearray(images.read_bytes())
    if damage.startswith("flip"):
        data[-1 if damage == "flip the last" else len(data) // 2] ^= 1
        images.write_bytes(data)
    elif damage == "cut":
        images.write_bytes(data[:-1])
    elif damage == "no meta":
        meta.unlink()
    elif damage == "bad meta":
        meta.write_text("{")
    else:
        meta.write_text(meta.read_text().replace('"checksums": [', '"checksums": [1'))
    caplog.clear()
    again = store.open_on_disk(files, SIZE, tmp_path / "cache")
    np.testing.assert_array_equal(again.images.numpy(), expected)
    assert ("are damaged: decoding them again" in caplog.text) == (damage != "no meta")
    assert "Decoded 70 images" in caplog.text


def test_changed_content_is_another_file(files: list[ImageFile], tmp_path: Path) -> None:
    store.open_on_disk(files, SIZE, tmp_path / "cache")
    path = Path(files[0].path)
    status = path.stat()
    path.write_bytes(Path(files[1].path).read_bytes())
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # a copy that keeps the time
    files = scan([file.path for file in files], max_image_pixels=10**6)
    made = store.open_on_disk(files, SIZE, tmp_path / "cache")
    np.testing.assert_array_equal(made.images[0], made.images[1])


def test_another_size_is_another_file(files: list[ImageFile], tmp_path: Path) -> None:
    store.open_on_disk(files, SIZE, tmp_path / "cache")
    assert store.open_on_disk(files, ImageForm((12, 20)), tmp_path / "cache").images.shape == (70, 12, 20, 3)


def test_another_limit_of_pixels_is_another_file(files: list[ImageFile], tmp_path: Path) -> None:
    small = scan([file.path for file in files], max_image_pixels=10)
    for fill in (store.open_on_disk, store.check_only):
        for _ in range(2):
            assert fill(files, SIZE, tmp_path / "cache").bad == {}
            assert len(fill(small, SIZE, tmp_path / "cache").bad) == len(files)


def test_no_image_that_decodes_is_an_empty_store(files: list[ImageFile], tmp_path: Path) -> None:
    for file in files[:2]:
        Path(file.path).write_bytes(b"")
    empty = scan([file.path for file in files[:2]], max_image_pixels=10**6)
    for made in (store.fill_memory(empty, SIZE), store.open_on_disk(empty, SIZE, tmp_path / "cache")):
        assert made.images.shape == (0, *SIZE.shape)
        assert set(made.bad) == {0, 1}


def _open_and_sum(args: tuple[list[str], str]) -> tuple[int, bool]:
    logging.getLogger("hh_fast").setLevel(logging.INFO)
    seen: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: seen.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("hh_fast").addHandler(handler)
    files = scan(args[0], max_image_pixels=10**6)
    images = store.open_on_disk(files, SIZE, Path(args[1])).images.numpy()
    return int(images.sum()), any(text.startswith("Decoded") for text in seen)


@pytest.mark.slow
def test_of_several_processes_one_fills(files: list[ImageFile], tmp_path: Path) -> None:
    work = ([file.path for file in files], str(tmp_path / "cache"))
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.map(_open_and_sum, [work] * 2, chunksize=1)
    assert len({total for total, _ in found}) == 1
    assert sorted(filled for _, filled in found) == [False, True]
    assert [path.name for path in (tmp_path / "cache" / "decoded").iterdir() if ".tmp" in path.name] == []


def test_what_is_on_disk_stays_readable_and_is_not_counted_as_memory(files: list[ImageFile], tmp_path: Path) -> None:
    import gc

    made = store.open_on_disk(files, SIZE, tmp_path / "cache").images
    expected = store.fill_memory(files, SIZE).images.numpy()
    place = str(the_folder(tmp_path / "cache") / store.PIXELS)
    mappings = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(place)]
    assert [fields[1] for fields in mappings] == [
        "r--s"
    ]  # shared and read only: the kernel may drop and reread its pages
    (the_folder(tmp_path / "cache") / store.PIXELS).unlink()
    gc.collect()
    np.testing.assert_array_equal(made.numpy(), expected)


def test_a_changed_record_of_bad_files_is_noticed(files: list[ImageFile], tmp_path: Path) -> None:
    path = Path(files[3].path)
    chunks = png_chunk(b"IDAT", zlib.compress(b"")) + png_chunk(b"IEND", b"")
    path.write_bytes(path.read_bytes()[:33] + chunks)  # what only a decoder notices
    broken = scan([file.path for file in files], max_image_pixels=10**6)
    first = store.open_on_disk(broken, SIZE, tmp_path / "cache")
    assert set(first.bad) == {3}
    store.check_only(broken, SIZE, tmp_path / "cache")
    records = [the_folder(tmp_path / "cache") / store.META, *(tmp_path / "cache" / "checked").iterdir()]
    for record in records:
        text = record.read_text()
        assert text.count('"3": "') == 1
        record.write_text(text.replace('"3": "', '"4": "'))
    for fill in (store.open_on_disk, store.check_only):
        assert set(fill(broken, SIZE, tmp_path / "cache").bad) == {3}


def test_what_libraries_say_of_damaged_files_is_not_shown(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """libjpeg reads this JPEG, as viewers do, and tells standard error that it is damaged, but not which file."""
    monkeypatch.setattr("hh_fast.io.quiet._in_command", True)
    path = tmp_path / "a.jpg"
    Image.effect_noise((64, 64), 50).save(path)
    data = bytearray(path.read_bytes())
    data[-100:-90] = b"\xff\xd0" * 5
    path.write_bytes(data)
    files = scan([str(path)], max_image_pixels=10**6)
    assert files[0].header.decoder == "tensorflow"
    assert store.fill_memory(files, SIZE).bad == {}
    assert capfd.readouterr().err == ""
    list(decoded_batches([str(path)], SIZE))
    assert "orrupt JPEG data" in capfd.readouterr().err


def test_what_pillow_reads_and_tensorflow_refuses_is_left_to_pillow(
    files: list[ImageFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such files are rare, and damaged; here two whole ones are hidden from TensorFlow."""
    hidden = frozenset(file.path for file in (files[3], files[50]))
    real = store.decoded_batches

    expected = pixels(files)

    def without(paths: list[str], image_size: tuple[int, int], by_pillow: frozenset[str]) -> object:
        for numbers, images in real(paths, image_size, by_pillow):
            kept = [paths[i] not in hidden - by_pillow for i in numbers]
            yield numbers[kept], images[kept]

    monkeypatch.setattr(store, "decoded_batches", without)
    for made in (
        store.fill_memory(files, SIZE),
        store.open_on_disk(files, SIZE, tmp_path / "cache"),
        store.open_on_disk(files, SIZE, tmp_path / "cache"),
    ):
        assert made.bad == {}
        assert made.by_pillow == hidden
        np.testing.assert_array_equal(made.images.numpy(), expected)
    assert store.check_only(files, SIZE, tmp_path / "cache").by_pillow == hidden
