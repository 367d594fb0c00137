"""Files that have not changed are not read again, and every change is noticed."""

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_data import read_table

from hh_fast.data import reading
from hh_fast.data.images import Images, list_images
from hh_fast.data.pixels import ImageForm
from hh_fast.data.reading import CHANGED, PixelFill, index_path, read_images

LIMIT = 10**6


@pytest.fixture
def images(make_images: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Images:
    monkeypatch.setattr(reading, "TICK_NS", -(10**12))  # so that files made just now are kept
    return list_images(make_images("a", {"x": 3, "y": 3}))[0]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were read, as they are."""
    seen: list[str] = []
    real = reading.read_bytes

    def recorded(path: str) -> bytes:
        seen.append(path)
        return real(path)

    monkeypatch.setattr(reading, "read_bytes", recorded)
    return seen


def rows(images: Images) -> list[tuple[str, object]]:
    return list(zip(images.sha256, images.headers, strict=True))


def test_unchanged_files_are_read_once(images: Images, read: list[str], tmp_path: Path) -> None:
    Path(images.paths[1]).write_bytes(b"no image")
    first = read_images(images, max_image_pixels=LIMIT, index=tmp_path / "i.json")
    assert sorted(read) == sorted(images.paths)
    second = read_images(images, max_image_pixels=LIMIT, index=tmp_path / "i.json")
    assert len(read) == 6
    assert rows(first) == rows(second) == rows(read_table(images.directory))
    assert second.bad() == [(images.paths[1], "not a PNG, JPEG, WebP, HEIC, AVIF, BMP or GIF image")]


def test_files_that_were_only_hashed_are_decoded_once(images: Images, read: list[str], tmp_path: Path) -> None:
    cut = Path(images.paths[1])
    cut.write_bytes(cut.with_name("002.png").read_bytes()[:-30])
    index = tmp_path / "i.json"
    read_images(images, max_image_pixels=LIMIT, index=index)
    for _ in range(2):
        decoded = read_images(images, max_image_pixels=LIMIT, index=index, decodes=True)
        assert len(read) == 12
        assert [path for path, _ in decoded.bad()] == [str(cut)]


def _rewrite_keeping_size_and_date(path: Path, other: Path) -> None:
    status = path.stat()
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _replace_keeping_size_and_date(path: Path, other: Path) -> None:
    copy = path.with_name("copy")
    shutil.copy2(path, copy)
    data = bytearray(copy.read_bytes())
    data[-20] ^= 1
    copy.write_bytes(data)
    os.utime(copy, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    copy.rename(path)


def _other_content(path: Path, other: Path) -> None:
    shutil.copy2(other, path)


def _another_links_target(path: Path, other: Path) -> None:
    path.unlink()
    path.symlink_to(other)


@pytest.mark.parametrize(
    "change",
    [_rewrite_keeping_size_and_date, _replace_keeping_size_and_date, _other_content, _another_links_target],
)
def test_a_changed_file_is_read_again(
    images: Images,
    read: list[str],
    tmp_path: Path,
    change: Callable[[Path, Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = read_images(images, max_image_pixels=LIMIT, index=tmp_path / "i.json")
    change(Path(images.paths[2]), Path(images.paths[4]))
    read.clear()
    after = read_images(images, max_image_pixels=LIMIT, index=tmp_path / "i.json")
    assert read == [images.paths[2]]
    assert [i for i in range(6) if rows(before)[i] != rows(after)[i]] == [2]
    assert rows(after) == rows(read_table(images.directory))
    assert caplog.messages == ["Reading 1 of 6 image files: the others have not changed"]


def test_added_removed_and_unreadable_files(images: Images, read: list[str], tmp_path: Path) -> None:
    index = tmp_path / "i.json"
    read_images(images.select(np.arange(4)), max_image_pixels=LIMIT, index=index)
    read.clear()
    Path(images.paths[0]).unlink()
    found = read_images(images, max_image_pixels=LIMIT, index=index)
    assert sorted(read) == [images.paths[0], *images.paths[4:]]
    assert [header.fault for header in found.headers] == ["No such file or directory", *[None] * 5]
    read.clear()
    read_images(images.select(np.arange(1, 6)), max_image_pixels=LIMIT, index=index)
    assert read == []
    read_images(images.select(np.arange(1)), max_image_pixels=LIMIT, index=index)
    assert read == [images.paths[0]]


def test_a_file_changed_just_before_is_read_again(make_images: Callable[..., Path], tmp_path: Path) -> None:
    images, _ = list_images(make_images("a", {"x": 3, "y": 3}))
    read_images(images, max_image_pixels=LIMIT, index=tmp_path / "i.json")
    assert '"files": {}' in (tmp_path / "i.json").read_text()


def test_another_limit_or_a_damaged_index_reads_all(
    images: Images, read: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "i.json"
    read_images(images, max_image_pixels=LIMIT, index=place)
    small = read_images(images, max_image_pixels=10, index=place)
    assert all("more than max_image_pixels=10" in str(header.fault) for header in small.headers)
    text = place.read_bytes()
    place.write_bytes(text[:-30] + b"1" + text[-29:])
    read.clear()
    read_images(images, max_image_pixels=10, index=place)
    assert sorted(read) == sorted(images.paths)
    assert "i.json is damaged" in caplog.text


def test_where_nothing_can_be_kept_the_files_are_read(
    images: Images, read: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hh_fast")
    (tmp_path / "file").write_text("")
    found = read_images(images, max_image_pixels=LIMIT, index=tmp_path / "file" / "i.json")
    assert sorted(read) == sorted(images.paths)
    assert rows(found) == rows(read_table(images.directory))
    assert "index cannot be written" in caplog.text


def test_the_bytes_that_are_hashed_are_those_that_are_decoded(images: Images, read: list[str]) -> None:
    fill = PixelFill(images, ImageForm((24, 24)), max_image_pixels=LIMIT)
    out = np.zeros((6, 24, 24, 3), np.uint8)
    assert fill(0, out) == {}
    assert sorted(read) == sorted(images.paths)
    assert rows(fill.read()) == rows(read_table(images.directory))


def test_a_file_that_changes_between_two_readings_is_not_taken_for_the_one_that_was_hashed(images: Images) -> None:
    known = read_table(images.directory)
    shutil.copy(images.paths[4], images.paths[1])
    out = np.zeros((6, 24, 24, 3), np.uint8)
    assert PixelFill(known, ImageForm((24, 24)), max_image_pixels=LIMIT)(0, out) == {1: CHANGED}
    assert [i for i in range(6) if not out[i].any()] == [1]


def test_each_folder_and_part_has_its_own(tmp_path: Path) -> None:
    places = {index_path(tmp_path, Path(folder), part) for folder in ("a", "b") for part in (None, (0, 2), (1, 2))}
    assert len(places) == 6
    assert index_path(tmp_path, Path("a")) == index_path(tmp_path, Path.cwd() / "a")


def test_ctrl_c_stops_the_other_threads(monkeypatch):
    begun, calls = threading.Event(), []

    class Interrupted:
        """A pool in whose first moments Ctrl-C arrives."""

        def map(self, work, _):
            self.thread = threading.Thread(target=work, args=(0,))
            self.thread.start()
            begun.wait()
            raise KeyboardInterrupt

    def read(number):
        calls.append(number)
        begun.set()
        time.sleep(0.01)

    pool = Interrupted()
    monkeypatch.setattr(reading, "_pool", lambda: pool)
    with pytest.raises(KeyboardInterrupt):
        reading.in_threads(read, range(500))
    pool.thread.join()
    assert len(calls) < 100
