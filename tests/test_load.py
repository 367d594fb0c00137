"""A data set made ready, and every way in which its folders can be unfit."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_data import bursts

from hh_fast.config import DataConfig
from hh_fast.data import copies, store
from hh_fast.data.load import Examples, load_data
from hh_fast.data.store import choose_cache
from hh_fast.errors import DataError

MakeImages = Callable[..., Path]


def config(tmp_path: Path, train: Path, **values: Any) -> DataConfig:
    return DataConfig(train_dir=str(train), image_size=(24, 24), cache_dir=str(tmp_path / "cache"), **values)


def test_a_fifth_of_each_class_is_held_out_by_default(make_images: MakeImages, tmp_path: Path) -> None:
    data = load_data(config(tmp_path, make_images("a", {"x": 10, "y": 20})))
    assert data.class_names == ("x", "y")
    assert data.validation is not None
    np.testing.assert_array_equal(np.bincount(data.train.labels), [8, 16])
    np.testing.assert_array_equal(np.bincount(data.validation.labels), [2, 4])
    assert not set(data.train.images.paths) & set(data.validation.images.paths)


def copy_of(path: Path, name: str) -> None:
    (path.parent / name).write_bytes(path.read_bytes())


def test_copies_are_kept_on_one_side_and_counted(
    make_images: MakeImages, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_images("a", {"x": 10, "y": 10})
    for path in [*root.rglob("00[0-4].png")]:
        copy_of(path, f"copy-{path.name}")
    data = load_data(config(tmp_path, root))
    assert data.validation is not None
    assert not set(data.train.images.sha256) & set(data.validation.images.sha256)
    assert data.copies == "10 of 30 images, each in the split of its original"
    assert f"Byte-identical copies: {data.copies}" in caplog.text


def scenes_of(examples: Examples | None) -> set[str]:
    assert examples is not None
    return {f"{Path(path).parent.name}/{Path(path).name[:2]}" for path in examples.images.paths}


@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
def test_images_that_look_the_same_are_kept_on_one_side(
    cache: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(tmp_path, bursts(tmp_path / "a", {"x": [1] * 6 + [2] * 2, "y": [2] * 5}), cache=cache)
    data = load_data(settings)
    assert not scenes_of(data.train) & scenes_of(data.validation)
    assert data.near_copies == "7 of 20 images show 7 others again, each on the side of that other"
    assert f"Copies that differ in their bytes: {data.near_copies}" in caplog.text

    monkeypatch.setattr(copies, "find_copies", lambda *_: pytest.fail("it was kept"))
    again = load_data(dataclasses.replace(settings, image_size=(32, 32)))
    assert data.validation and again.validation
    assert again.validation.images.paths == data.validation.images.paths
    assert again.near_copies == data.near_copies


def test_a_group_that_fills_its_class_is_on_both_sides(tmp_path: Path) -> None:
    data = load_data(config(tmp_path, bursts(tmp_path / "a", {"x": [1] * 10, "y": [8, 1]})))
    assert data.validation is not None
    assert data.near_copies == (
        "7 of 19 images show 1 others again; 1 of these groups are on both sides, for they are too large to hold out whole"
    )
    assert np.bincount(data.validation.labels).tolist() == [2, 2]


def test_validation_images_that_are_training_images_too_are_told(
    make_images: MakeImages, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train, validation = make_images("t", {"x": 3, "y": 3}), make_images("v", {"x": 2, "y": 2}, seed=1)
    (validation / "y" / "001.png").write_bytes((train / "y" / "000.png").read_bytes())
    data = load_data(config(tmp_path, train, validation_dir=str(validation)))
    assert data.copies == "1 of 4 validation images are also training images"
    assert f"{data.copies} (byte-identical)" in caplog.text


def test_recorded_images_are_validated_on_wherever_they_lie(make_images: MakeImages, tmp_path: Path) -> None:
    root = make_images("a", {"x": 10, "y": 10})
    first = load_data(config(tmp_path, root)).validation
    assert first is not None
    for i in range(5):
        (root / "x" / f"00{i}.png").rename(root / "x" / f"moved-{i}.png")
        copy_of(root / "y" / "000.png", f"new-{i}.png")
    again = load_data(config(tmp_path, root), recorded=first.images.sha256)
    assert again.validation is not None
    assert sorted(again.validation.images.sha256) == sorted(first.images.sha256)
    assert len(again.train) == 25 - 4
    Path(again.validation.images.paths[0]).unlink()
    less = load_data(config(tmp_path, root), recorded=first.images.sha256).validation
    assert less is not None
    assert len(less) == 3
    with pytest.raises(DataError) as caught:
        load_data(config(tmp_path, root), recorded=["0" * 64])
    assert str(caught.value) == (
        f"none of the 1 images that the run held out for validation is in {root}: give the run's folders"
        " with --train_dir and --validation_dir"
    )


def test_validation_can_be_left_out(make_images: MakeImages, tmp_path: Path) -> None:
    data = load_data(config(tmp_path, make_images("a", {"x": 3, "y": 3}), validation_split=0.0))
    assert data.validation is None
    assert len(data.train) == 6


def test_the_fingerprint_follows_content_labels_and_splits(make_images: MakeImages, tmp_path: Path) -> None:
    root = make_images("a", {"x": 4, "y": 4})
    first = load_data(config(tmp_path, root)).fingerprint
    assert load_data(config(tmp_path, root, cache="none")).fingerprint == first
    assert load_data(config(tmp_path, root, seed=1)).fingerprint != first
    (root / "x" / "000.png").rename(root / "y" / "aaa.png")
    assert load_data(config(tmp_path, root)).fingerprint != first


@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
def test_bad_images_stop_or_are_skipped(
    make_images: MakeImages, tmp_path: Path, cache: str, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_images("a", {"x": 6, "y": 6})
    (root / "x" / "001.png").write_bytes(b"")
    cut = root / "y" / "002.png"
    cut.write_bytes(cut.read_bytes()[:200])
    with pytest.raises(DataError) as caught:
        load_data(config(tmp_path, root, cache=cache, validation_split=0.0))
    message = str(caught.value)
    assert message.startswith("2 of 12 images cannot be used: ")
    assert (
        f"{root / 'x' / '001.png'}: empty file; {cut}: the file is truncated: part of the image is missing" in message
    )
    assert message.endswith("skip them with --bad_images=skip")
    data = load_data(config(tmp_path, root, cache=cache, validation_split=0.0, bad_images="skip"))
    assert len(data.bad) == 2
    assert len(data.train) == 10
    assert "Skipping 2 of 12 images that cannot be used" in caplog.text


def test_many_bad_images_are_listed_whole_in_a_file(make_images: MakeImages, tmp_path: Path) -> None:
    root = make_images("a", {"x": 30, "y": 3})
    for path in sorted((root / "x").iterdir())[1:]:
        path.write_bytes(b"")
    with pytest.raises(DataError) as caught:
        load_data(config(tmp_path, root, validation_split=0.0))
    listing = tmp_path / "cache" / "bad_images" / "a.txt"
    assert str(caught.value).count("empty file") == 5
    assert f"; all are listed in {listing}. Repair or remove them" in str(caught.value)
    assert listing.read_text().splitlines() == [f"{root / 'x' / f'{i:03d}.png'}: empty file" for i in range(1, 30)]


def test_files_left_out_are_counted_by_suffix(
    make_images: MakeImages, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_images("a", {"x": 4, "y": 4})
    validation = make_images("b", {"x": 1, "y": 1}, seed=1)
    for name in ("x/1.tif", "x/2.TIF", "y/notes.txt", "x/.DS_Store"):
        (root / name).touch()
    (validation / "y" / "3.tif").touch()
    load_data(config(tmp_path, root, validation_dir=str(validation)))
    assert "Left out 4 files: .tif (3), .txt (1)" in caplog.messages


def two_folders(make: MakeImages, train: dict[str, int], validation: dict[str, int]) -> tuple[Path, dict[str, str]]:
    return make("train", train), {"validation_dir": str(make("validation", validation))}


def copied(root: Path) -> Path:
    for name in ("copy.png", "copy2.png"):
        copy_of(root / "y" / "000.png", name)
    return root


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda make: (make("train", {"x": 3}), {}),
            "only one class, x, in {root}: a classifier needs two or more sub-folders",
        ),
        (
            lambda make: (make("train", {"x": 3, "y": 0}), {}),
            "no images in {root}/y: put PNG, JPEG, WebP, HEIC, AVIF, BMP or GIF files there, or remove that folder",
        ),
        (
            lambda make: (make("train", {"x": 3, "y": 1}), {}),
            "one image in {root}/y: one would be held out for validation, and none left to train on. Add images, or give --validation_dir (nothing is held out"
            " with --validation_split=0, but bin/export then asks for validation images)",
        ),
        (
            lambda make: (copied(make("train", {"x": 3, "y": 1})), {}),
            "3 copies of one image in {root}/y: one would be held out for validation, and none left to train on. Add images, or give --validation_dir (nothing is held out"
            " with --validation_split=0, but bin/export then asks for validation images)",
        ),
        (
            lambda make: (make("train", {"x": 1, "y": 3, "z": 1}), {}),
            "one image in {root}/x; one image in {root}/z: one would be held out for validation, and none left to train on. Add images, or give --validation_dir (nothing is held out"
            " with --validation_split=0, but bin/export then asks for validation images)",
        ),
        (
            lambda make: (make("train", {"x": 3, "y": 0, "z": 0}), {}),
            "no images in {root}/y: put PNG, JPEG, WebP, HEIC, AVIF, BMP or GIF files there, or remove that folder; no images in {root}/z:"
            " put PNG, JPEG, WebP, HEIC, AVIF, BMP or GIF files there, or remove that folder",
        ),
        (
            lambda make: two_folders(make, {"x": 2, "y": 2}, {"x": 2, "z": 2}),
            "the classes differ: {root} has x, y and {validation} has x, z; give both the same sub-folders",
        ),
        (
            lambda make: (root := make("train", {"x": 2, "y": 2}), {"validation_dir": str(root)}),
            "{root} is both the training and the validation folder, so validation would be meaningless: use another folder",
        ),
    ],
)
def test_folders_that_cannot_be_trained_on(make_images: MakeImages, tmp_path: Path, make: Any, message: str) -> None:
    root, values = make(make_images)
    with pytest.raises(DataError) as caught:
        load_data(config(tmp_path, root, **values))
    assert str(caught.value) == message.format(root=root, validation=tmp_path / "validation")


def test_no_readable_image_at_all(make_images: MakeImages, tmp_path: Path) -> None:
    root = make_images("a", {"x": 2, "y": 2})
    for path in root.rglob("*.png"):
        path.write_bytes(b"text")
    with pytest.raises(DataError, match=f"no image in {root} can be read; the first, .*: not a PNG, JPEG"):
        load_data(config(tmp_path, root, bad_images="skip"))


def test_a_class_that_only_bad_images_had(make_images: MakeImages, tmp_path: Path) -> None:
    root = make_images("a", {"x": 2, "y": 2})
    for path in (root / "y").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="class y has no usable images for training: repair those in .*/y, or add some"):
        load_data(config(tmp_path, root, bad_images="skip", validation_split=0.0))


def test_an_unwritable_cache_is_an_error_of_its_folder(make_images: MakeImages, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in the way")
    with pytest.raises(OSError, match=str(tmp_path / "cache")):
        load_data(config(tmp_path, make_images("a", {"x": 2, "y": 2}), cache="disk"))


@pytest.mark.parametrize(
    ("num_bytes", "memory", "disk", "chosen"),
    [
        (10**6, 10**9, 0, "memory"),
        (6 * 10**8, 10**9, 10**9, "disk"),
        (6 * 10**8, 10**9, 10**8, "none"),
    ],
)
def test_auto_predicts_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_bytes: int, memory: int, disk: int, chosen: str
) -> None:
    monkeypatch.setattr(store, "available_memory", lambda: memory)
    monkeypatch.setattr(store.shutil, "disk_usage", lambda _: SimpleNamespace(free=disk))
    cache, why = choose_cache("auto", num_bytes, tmp_path / "not" / "there")
    assert cache == chosen
    assert f"{num_bytes / 1e6:,.0f} MB decoded" in why
    assert f"{memory / 1e6:,.0f} MB" in why
    assert choose_cache("none", num_bytes, tmp_path)[0] == "none"


def test_workers_of_one_machine_share_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "available_memory", lambda: 10**9)
    monkeypatch.setattr(store.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**10))
    assert choose_cache("auto", 2 * 10**8, tmp_path, 2)[0] == "memory"
    cache, why = choose_cache("auto", 2 * 10**8, tmp_path, 4)
    assert cache == "disk"
    assert why.startswith("200 MB decoded by each of 4 workers, too much for memory")


class Scenes:
    """A front that makes the same of any two images that are equally bright, to a tenth of the range."""

    shape, key, num_bytes = (11,), "scenes", 44

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return np.eye(11, dtype=np.float32)[images.mean(axis=(1, 2, 3)).astype(int) * 10 // 255]


@pytest.mark.parametrize(("cache", "finds_scenes"), [("disk", True), ("memory", True), ("none", True), ("disk", False)])
def test_the_split_keeps_a_scene_together_where_its_features_are_there(
    tmp_path: Path, cache: str, finds_scenes: bool
) -> None:
    rng = np.random.default_rng(0)
    for number in range(40):
        folder = tmp_path / "a" / ("x" if number < 20 else "y")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(-20, 20, (20, 20, 3)) + 25 * (number // 4) + 12
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / f"{number:02d}.png")
    front: Any = Scenes()
    data = load_data(config(tmp_path, tmp_path / "a", cache=cache), front=front, finds_scenes=finds_scenes)
    assert data.validation is not None
    both = [{Path(path).stem for path in part.images.paths} for part in (data.train, data.validation)]
    scenes = [{int(stem) // 4 for stem in stems} for stems in both]
    if finds_scenes and cache != "none":
        assert data.near_copies.startswith("30 of 40 images show 10 others again")
        assert not scenes[0] & scenes[1]
    else:
        assert data.near_copies == "none"
        assert scenes[0] & scenes[1]
