"""Files that have not changed are not read again, and every change is noticed."""

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hh_fast.data import index
from hh_fast.data.index import index_path, scan_changed
from hh_fast.data.scan import list_images, scan

LIMIT = 10**6


@pytest.fixture
def paths(make_images: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(index, "TICK_NS", -(10**12))  # so that files made just now are kept
    return list_images(make_images("a", {"x": 3, "y": 3}))[0]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were read, as they are."""
    seen: list[str] = []

    def recorded_scan(unread: list[str], *, max_image_pixels: int) -> object:
        seen.extend(unread)
        return scan(unread, max_image_pixels=max_image_pixels)

    monkeypatch.setattr(index, "scan", recorded_scan)
    return seen


def test_unchanged_files_are_read_once(paths: list[str], read: list[str], tmp_path: Path) -> None:
    Path(paths[1]).write_bytes(b"no image")
    first = scan_changed(paths, max_image_pixels=LIMIT, index=tmp_path / "i.json")
    assert read == paths
    second = scan_changed(paths, max_image_pixels=LIMIT, index=tmp_path / "i.json")
    assert read == paths
    assert first == second == scan(paths, max_image_pixels=LIMIT)
    assert second[1].fault == "not a PNG, JPEG, BMP, GIF or WebP image"


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
    paths: list[str], read: list[str], tmp_path: Path, change: Callable[[Path, Path], None]
) -> None:
    before = scan_changed(paths, max_image_pixels=LIMIT, index=tmp_path / "i.json")
    change(Path(paths[2]), Path(paths[4]))
    read.clear()
    after = scan_changed(paths, max_image_pixels=LIMIT, index=tmp_path / "i.json")
    assert read == [paths[2]]
    assert [i for i in range(6) if before[i] != after[i]] == [2]
    assert after == scan(paths, max_image_pixels=LIMIT)


def test_added_removed_and_unreadable_files(paths: list[str], read: list[str], tmp_path: Path) -> None:
    scan_changed(paths[:4], max_image_pixels=LIMIT, index=tmp_path / "i.json")
    read.clear()
    Path(paths[0]).unlink()
    found = scan_changed(paths, max_image_pixels=LIMIT, index=tmp_path / "i.json")
    assert read == [paths[0], *paths[4:]]
    assert [file.fault for file in found] == ["No such file or directory", *[None] * 5]
    read.clear()
    scan_changed(paths[1:], max_image_pixels=LIMIT, index=tmp_path / "i.json")
    assert read == []
    scan_changed(paths[:1], max_image_pixels=LIMIT, index=tmp_path / "i.json")
    assert read == [paths[0]]


def test_a_file_changed_just_before_is_read_again(
    paths: list[str], read: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    scan_changed(paths, max_image_pixels=LIMIT, index=tmp_path / "i.json")
    assert '"files": {}' in (tmp_path / "i.json").read_text()


def test_another_limit_or_a_damaged_index_reads_all(
    paths: list[str], read: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "i.json"
    scan_changed(paths, max_image_pixels=LIMIT, index=place)
    small = scan_changed(paths, max_image_pixels=10, index=place)
    assert all("more than max_image_pixels=10" in str(file.fault) for file in small)
    text = place.read_bytes()
    place.write_bytes(text[:-30] + b"1" + text[-29:])
    read.clear()
    scan_changed(paths, max_image_pixels=10, index=place)
    assert read == paths
    assert "i.json is damaged" in caplog.text


def test_where_nothing_can_be_kept_the_files_are_read(
    paths: list[str], read: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hh_fast")
    (tmp_path / "file").write_text("")
    found = scan_changed(paths, max_image_pixels=LIMIT, index=tmp_path / "file" / "i.json")
    assert read == paths
    assert found == scan(paths, max_image_pixels=LIMIT)
    assert "cannot be kept" in caplog.text


def test_each_folder_and_part_has_its_own(tmp_path: Path) -> None:
    places = {index_path(tmp_path, Path(folder), part) for folder in ("a", "b") for part in (None, (0, 2), (1, 2))}
    assert len(places) == 6
    assert index_path(tmp_path, Path("a")) == index_path(tmp_path, Path.cwd() / "a")
