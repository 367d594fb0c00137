"""Rows made once, in memory or on disk; damage is noticed, and a fill that was killed goes on."""

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from small_data import read_table

from hh_fast.data import load, store
from hh_fast.data.images import Images, list_images
from hh_fast.data.load import Examples, read_examples
from hh_fast.data.pipeline import images_at
from hh_fast.data.pixels import ImageForm, read_pixels
from hh_fast.data.rows import KeptRows

FORM = ImageForm((24, 24))
NUM_ROWS, SHAPE = 2 * store.CHUNK + 5, (3, 2)
ROWS = np.random.default_rng(0).normal(size=(NUM_ROWS, *SHAPE)).astype(np.float32)


class Fill:
    """Fills `ROWS`, but for row 7, and notes where it was called."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.starts: list[int] = []
        self.stop_at = stop_at

    def __call__(self, start: int, out: np.ndarray) -> dict[int, str]:
        assert not out.any()
        if start == self.stop_at:
            raise KeyboardInterrupt
        self.starts.append(start)
        out[...] = ROWS[start : start + len(out)]
        if start <= 7 < start + len(out):
            out[7 - start] = 0
            return {7: "no such row"}
        return {}


def expected() -> np.ndarray:
    rows = ROWS.copy()
    rows[7] = 0
    return rows


def make(folder: Path, fill: Fill) -> np.ndarray:
    rows, faults = store.on_disk(folder, NUM_ROWS, SHAPE, np.float32, fill, what="rows")
    assert faults == {7: "no such row"}
    return rows


def test_rows_of_any_shape_and_type_in_both_homes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    in_memory, faults = store.in_memory(NUM_ROWS, SHAPE, np.float32, Fill())
    assert faults == {7: "no such row"}
    fill = Fill()
    for rows in (in_memory, make(tmp_path / "rows", fill), make(tmp_path / "rows", fill)):
        np.testing.assert_array_equal(rows, expected())
        assert rows.dtype == np.float32
    assert fill.starts == [0, store.CHUNK, 2 * store.CHUNK]  # by the first alone
    assert caplog.text.count(f"Made {NUM_ROWS} rows") == 1


def test_no_rows_at_all(tmp_path: Path) -> None:
    for rows, _ in (
        store.in_memory(0, SHAPE, np.float32, Fill()),
        store.on_disk(tmp_path / "a", 0, SHAPE, np.float32, Fill(), what="rows"),
        store.on_disk(tmp_path / "a", 0, SHAPE, np.float32, Fill(), what="rows"),
    ):
        assert rows.shape == (0, *SHAPE)


@pytest.mark.parametrize("damage", ["flip", "flip the last", "cut", "no meta", "bad meta", "checksums", "faults"])
def test_a_damaged_file_is_noticed_and_made_again(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path / "kept", Fill())
    rows, meta = tmp_path / "kept" / store.ROWS, tmp_path / "kept" / store.META
    data = bytearray(rows.read_bytes())
    if damage.startswith("flip"):
        data[-1 if damage == "flip the last" else len(data) // 2] ^= 1
        rows.write_bytes(data)
    elif damage == "cut":
        rows.write_bytes(data[:-1])
    elif damage == "no meta":
        meta.unlink()
    elif damage == "bad meta":
        meta.write_text("{")
    elif damage == "checksums":
        meta.write_text(meta.read_text().replace('"checksums": [', '"checksums": [1'))
    else:
        meta.write_text(meta.read_text().replace('"7": ', '"8": '))
    caplog.clear()
    np.testing.assert_array_equal(make(tmp_path / "kept", Fill()), expected())
    assert ("is damaged: rebuilding it" in caplog.text) == (damage != "no meta")
    assert f"Made {NUM_ROWS} rows" in caplog.text


def test_a_fill_that_is_stopped_goes_on_where_it_was(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "kept", Fill(stop_at=2 * store.CHUNK))
    assert not (tmp_path / "kept").exists()
    fill = Fill()
    np.testing.assert_array_equal(make(tmp_path / "kept", fill), expected())
    assert fill.starts == [2 * store.CHUNK]
    assert f"{2 * store.CHUNK} of {NUM_ROWS} rows are done" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [store.META, store.ROWS]


@pytest.mark.parametrize("damage", ["rows", "journal", "journal cut", "no rows"])
def test_what_a_stopped_fill_left_is_checked(tmp_path: Path, damage: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "kept", Fill(stop_at=2 * store.CHUNK))
    rows, journal = tmp_path / "kept.partial" / store.ROWS, tmp_path / "kept.partial" / store.JOURNAL
    data, lines = bytearray(rows.read_bytes()), journal.read_bytes()
    data[10] ^= 1
    if damage == "rows":
        rows.write_bytes(data)
    elif damage == "journal":
        journal.write_bytes(lines.replace(b'"start": 0', b'"start": 1'))
    elif damage == "journal cut":
        journal.write_bytes(lines.splitlines(keepends=True)[0][:-9])
    else:
        rows.unlink()
    fill = Fill()
    np.testing.assert_array_equal(make(tmp_path / "kept", fill), expected())
    assert fill.starts[0] == 0
    assert len(fill.starts) == (2 if damage in ("rows", "journal") else 3)


KILLED = """
import sys, time
import numpy as np
from pathlib import Path
from hh_fast.data import store
def fill(start, out):
    if start == 2 * store.CHUNK:
        print("here", flush=True)
        time.sleep(60)
    out[...] = np.arange(start, start + len(out))[:, None]
    return {}
store.on_disk(Path(sys.argv[1]), 3 * store.CHUNK, (4,), np.float32, fill, what="rows")
"""


@pytest.mark.slow
def test_a_killed_fill_loses_one_chunk(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "kept")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    starts = []

    def fill(start: int, out: np.ndarray) -> dict[int, str]:
        starts.append(start)
        out[...] = np.arange(start, start + len(out))[:, None]
        return {}

    rows, _ = store.on_disk(tmp_path / "kept", 3 * store.CHUNK, (4,), np.float32, fill, what="rows")
    np.testing.assert_array_equal(rows, np.repeat(np.arange(3.0 * store.CHUNK)[:, None], 4, axis=1))
    assert starts == [2 * store.CHUNK]


def _open_and_sum(place: str) -> tuple[float, bool]:
    fill = Fill()
    rows = make(Path(place), fill)
    time.sleep(0.1)
    return float(rows.sum()), bool(fill.starts)


@pytest.mark.slow
def test_of_several_processes_one_fills(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        found = pool.map(_open_and_sum, [str(tmp_path / "kept")] * 2, chunksize=1)
    assert len({total for total, _ in found}) == 1
    assert sorted(filled for _, filled in found) == [False, True]
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_what_is_on_disk_stays_readable_and_is_not_counted_as_memory(tmp_path: Path) -> None:
    rows = make(tmp_path / "kept", Fill())
    place = str(tmp_path / "kept" / store.ROWS)
    mappings = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith(place)]
    # shared and read only: the kernel may drop and reread its pages
    assert [fields[1] for fields in mappings] == ["r--s"]
    Path(place).unlink()
    gc.collect()
    np.testing.assert_array_equal(rows, expected())


# The pixels of image files.


@pytest.fixture
def images(make_images: Callable[..., Path]) -> Images:
    return list_images(make_images("a", {"x": 40, "y": 30}))[0]


def read(images: Images, cache: str, tmp_path: Path, max_image_pixels: int = 10**6) -> Examples:
    index = tmp_path / "cache" / "i.json"
    return read_examples(images, FORM, cache, tmp_path / "cache", max_image_pixels=max_image_pixels, index=index)


def pixels(examples: Examples) -> np.ndarray:
    return images_at(examples, examples.images.good())


def decoded_folders(tmp_path: Path) -> list[Path]:
    return [entry for entry in (tmp_path / "cache" / "decoded").iterdir() if entry.is_dir()]


def test_every_home_has_the_same_pixels_and_names_the_same_bad_files(images: Images, tmp_path: Path) -> None:
    Path(images.paths[5]).write_bytes(Path(images.paths[5]).read_bytes()[:100])
    Path(images.paths[9]).write_bytes(b"")
    good = [path for i, path in enumerate(images.paths) if i not in (5, 9)]
    expected = np.stack([read_pixels(path, FORM) for path in good])
    for cache in ("memory", "disk", "disk", "none", "none"):
        made = read(images, cache, tmp_path)
        assert made.images.bad() == [
            (images.paths[5], "the file is truncated: part of the image is missing"),
            (images.paths[9], "empty file"),
        ]
        np.testing.assert_array_equal(pixels(made), expected)
        assert made.images.fingerprint() == read_table(images.directory).fingerprint()


def test_the_disks_images_are_decoded_once(images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read(images, "disk", tmp_path)
    monkeypatch.setattr(load, "PixelFill", lambda *_, **__: None)
    assert len(pixels(read(images, "disk", tmp_path))) == 70


def test_changed_content_and_another_limit_are_other_files(images: Images, tmp_path: Path) -> None:
    read(images, "disk", tmp_path)
    path = Path(images.paths[0])
    status = path.stat()
    path.write_bytes(Path(images.paths[1]).read_bytes())
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # a copy that keeps the time
    made = pixels(read(images, "disk", tmp_path))
    np.testing.assert_array_equal(made[0], made[1])
    assert len(read(images, "disk", tmp_path, max_image_pixels=10).images.bad()) == 70
    assert len(decoded_folders(tmp_path)) == 3


def test_another_seed_needs_no_other_file(make_images: Callable[..., Path], tmp_path: Path) -> None:
    from hh_fast.config import DataConfig

    root = make_images("a", {"x": 10, "y": 10})
    held = set()
    for seed in range(3):
        config = DataConfig(
            train_dir=str(root), image_size=(24, 24), cache="disk", cache_dir=str(tmp_path / "cache"), seed=seed
        )
        data = load.load_data(config)
        assert data.validation is not None
        held.add(data.validation.images.paths)
    assert len(held) == 3
    assert len(decoded_folders(tmp_path)) == 1


@pytest.mark.parametrize("shift", [0, 1, 16])
def test_rows_of_a_block_anywhere_in_memory(shift: int) -> None:
    """TensorFlow ends the process where it is handed memory that is not aligned, so that is copied."""
    memory = np.zeros(64 + 64 + 30, np.uint8)
    first = -memory.ctypes.data % 64 + shift
    block = memory[first : first + 30].reshape(10, 3)
    block[:] = np.arange(10, dtype=np.uint8)[:, None]
    rows = KeptRows(block)
    gather = tf.function(rows.gather)
    assert gather(tf.constant([3, 1])).numpy().tolist() == [[3, 3, 3], [1, 1, 1]]
    block[:] = 7
    assert gather(tf.constant([3])).numpy().tolist() == [[7, 7, 7] if shift == 0 else [3, 3, 3]]
