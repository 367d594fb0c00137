"""What the report says of good, broken, misplaced and repeated images."""

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_data import bursts

from hh_fast.config import DataConfig
from hh_fast.data.explore.inspection import Report, inspect
from hh_fast.data.explore.printing import to_text
from hh_fast.data.images import Images
from hh_fast.data.load import load_data
from hh_fast.data.sources import Source
from hh_fast.errors import DataError
from hh_fast.io.text import printable

MakeImages = Callable[..., Path]


def look(train: Path, validation: Path | None = None, *, num_names: int = 2, max_image_pixels: int = 10_000) -> Report:
    config = DataConfig(image_size=(10, 20), max_image_pixels=max_image_pixels, cache_dir=str(train.parent / "cache"))
    return inspect(Source("things", train, validation), config, num_names=num_names)


def test_counts_names_sizes_modes_and_bytes(make_images: MakeImages) -> None:
    train = make_images("train", {"cats": 3, "dogs": 2})
    Image.new("L", (7, 5)).save(train / "dogs" / "grey.jpg")
    validation = make_images("validation", {"cats": 1, "dogs": 1}, seed=1)
    report = look(train, validation)
    assert report.class_names == ["cats", "dogs"]
    first, second = report.splits
    assert (first.name, first.directory, second.name) == ("train", str(train), "validation")
    assert first.counts == {"cats": 3, "dogs": 3}
    assert first.first_files == {"cats": ["000.png", "001.png"], "dogs": ["000.png", "001.png"]}
    assert first.image_sizes == {"24x24": 5, "7x5": 1}
    assert first.modes == {"RGB": 5, "L": 1}
    assert first.formats == {"png": 5, "jpeg": 1}
    # 8 images of 10 x 20 pixels and 3 channels.
    assert report.cache_bytes["memory"] == {"memory": 4800, "disk": 0}
    assert report.cache_bytes["disk"] == {"memory": 0, "disk": 4800}
    assert report.problems == report.leaks == report.duplicates == report.conflicts == []


def test_images_that_show_the_same_picture_are_grouped(tmp_path: Path) -> None:
    train = bursts(tmp_path / "train", {"x": [1] * 6 + [2] * 2, "y": [3] * 4})
    copy = train / "y" / "00-0-copy.png"
    copy.write_bytes((train / "y" / "00-0.png").read_bytes())
    report = look(train)
    found = {frozenset(Path(path).stem for path in group) for group in report.near_copies}
    assert len(report.near_copies) == 6
    assert all(len(group) in (2, 3) and len({name[:2] for name in group}) == 1 for group in found)
    assert len(report.duplicates) == 1
    assert "near copies: 6 (groups of images that show the same picture" in to_text(report)
    held_out = load_data(DataConfig(train_dir=str(train), image_size=(10, 20), cache_dir=str(tmp_path))).validation
    assert held_out is not None and report.held_out is not None
    assert list(report.held_out.values()) == held_out.images.counts().tolist()


def test_a_picture_that_is_trained_and_validated_on_is_a_near_copy(tmp_path: Path) -> None:
    train, validation = (bursts(tmp_path / name, {"x": [1, 1], "y": [1, 1]}, seed) for seed, name in enumerate("ab"))
    with Image.open(train / "x" / "01-0.png") as image:
        darker = (np.asarray(image) * 0.8).astype(np.uint8)
    Image.fromarray(darker).save(validation / "y" / "darker.png")
    assert look(train, validation).near_copies == [
        [str(train / "x" / "01-0.png"), str(validation / "y" / "darker.png")]
    ]


def test_faults_by_path(make_images: MakeImages) -> None:
    train = make_images("train", {"cats": 4, "dogs": 2})
    cats = train / "cats"
    (cats / "000.png").write_bytes(b"")
    (cats / "001.png").write_bytes((cats / "001.png").read_bytes()[:-300])
    (cats / "002.png").write_text("no image")
    Image.new("RGB", (200, 200)).save(cats / "big.png")
    Image.new("RGB", (4, 4)).save(cats / "really.png", "JPEG")
    (cats / "notes.txt").write_text("seen")
    (train / "stray.png").write_bytes(b"x")
    split = look(train).splits[0]
    assert dict(split.unreadable) == {
        str(cats / "000.png"): "empty file",
        str(cats / "001.png"): "the file is truncated: part of the image is missing",
        str(cats / "002.png"): "not a PNG, JPEG, WebP, HEIC, AVIF, BMP or GIF image",
        str(cats / "big.png"): "its header states 200 x 200 pixels, more than max_image_pixels=10000",
    }
    assert split.misnamed == [(str(cats / "really.png"), "png", "jpeg")]
    assert split.ignored == [str(cats / "notes.txt"), str(train / "stray.png")]
    assert split.counts == {"cats": 6, "dogs": 2}
    assert sum(split.modes.values()) == 4


def test_repeats_within_a_split_between_classes_and_between_splits(make_images: MakeImages) -> None:
    train = make_images("train", {"cats": 3, "dogs": 2})
    validation = make_images("validation", {"cats": 2, "dogs": 2}, seed=1)
    copies = [
        (train / "cats" / "000.png", train / "cats" / "again.png"),
        (train / "cats" / "001.png", train / "dogs" / "wrong.png"),
        (train / "dogs" / "000.png", validation / "dogs" / "leak.png"),
    ]
    for original, copy in copies:
        shutil.copy(original, copy)
    for empty in (train / "cats" / "e1.png", train / "cats" / "e2.png"):
        empty.touch()
    report = look(train, validation)
    pairs = [[str(path) for path in pair] for pair in copies]
    assert report.duplicates == pairs[:2]
    assert report.conflicts == [pairs[1]]
    assert report.leaks == [pairs[2]]


def test_what_training_will_refuse(make_images: MakeImages) -> None:
    train = make_images("train", {"cats": 2})
    validation = make_images("validation", {"cats": 1, "dogs": 1})
    (train / "birds").mkdir()
    problems = look(train, validation).problems
    assert problems == [
        f"no images in {train / 'birds'}: put PNG, JPEG, WebP, HEIC, AVIF, BMP or GIF files there, or remove that folder",
        f"the classes differ: {train} has birds, cats and {validation} has cats, dogs; give both the same sub-folders",
    ]
    assert look(make_images("lone", {"cats": 2})).problems == [
        f"only one class, cats, in {train.parent / 'lone'}: a classifier needs two or more sub-folders"
    ]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"^no folder {tmp_path / 'none'}: check the path$"):
        look(tmp_path / "none")


def test_odd_names_stay_on_their_lines(make_images: MakeImages, tmp_path: Path) -> None:
    train = make_images("train", {"new\nline": 1, "plain": 1})
    odd = Path(os.fsdecode(os.fsencode(train) + b"/caf\xe9"))
    (train / "plain").rename(odd)
    (odd / "empty.png").touch()
    report = look(train)
    text = to_text(report)
    assert "new\\nline" in text
    assert f"{train}/caf\\udce9/empty.png: empty file" in text
    text.encode()  # or printing it would fail
    assert report.splits[0].unreadable == [(str(odd / "empty.png"), "empty file")]


def test_long_lists_are_cut_in_text(make_images: MakeImages) -> None:
    train = make_images("train", {"cats": 1, "dogs": 1})
    for number in range(25):
        (train / "cats" / f"e{number}.png").touch()
    text = to_text(look(train))
    assert "unreadable: 25 (images that cannot be used)" in text
    assert text.count(": empty file") == 20
    assert "and 5 more; --json lists all" in text


def test_printable() -> None:
    cases = [
        ("plain é.png", "plain é.png"),
        ("a\nb\x1b[2J", "a\\nb\\x1b[2J"),
        ("\udcff", "\\udcff"),
        ("\u202e", "\\u202e"),
    ]
    for name, expected in cases:
        assert printable(name) == expected


def test_what_auto_would_choose_is_told_with_its_reason(make_images: MakeImages) -> None:
    report = look(make_images("train", {"x": 2, "y": 2}))
    assert report.auto_cache == "memory"
    assert "--cache=auto    chooses memory here: 0 MB decoded, less than half of the" in to_text(report)


def test_what_the_automatic_split_would_do(make_images: MakeImages, tmp_path: Path) -> None:
    train = make_images("train", {"cats": 10, "dogs": 20})
    for name in ("000", "001"):
        shutil.copy(train / "dogs" / f"{name}.png", train / "dogs" / f"{name}-copy.png")
    report = look(train)
    data = load_data(DataConfig(train_dir=str(train), image_size=(24, 24), cache_dir=str(tmp_path / "cache")))
    assert data.validation is not None
    assert report.held_out == {"cats": 2, "dogs": int((data.validation.labels == 1).sum())}
    assert (
        "Training would hold out 6 for validation (--validation_split, --seed): cats 2, dogs 4; copies stay on one side"
    ) in to_text(report)
    assert look(train, make_images("validation", {"cats": 1, "dogs": 1})).held_out is None


def test_a_class_that_cannot_be_split_is_a_problem(make_images: MakeImages) -> None:
    train = make_images("train", {"cats": 1, "dogs": 3})
    report = look(train)
    assert report.held_out is None
    assert report.problems == [
        f"one image in {train / 'cats'}: one would be held out for validation, and none left to train on. Add images, or give --validation_dir (nothing is held out"
        " with --validation_split=0, but bin/export then asks for validation images)"
    ]


@pytest.mark.parametrize(
    ("counts", "num_broken"),
    [
        ({"a": 0, "b": 0}, 0),
        ({"a": 1, "b": 1}, 0),
        ({"a": 4}, 0),
        ({"a": 9, "b": 5, "c": 1}, 0),
        ({"a": 9, "b": 9, "c": 1}, 19),
        ({"a": 9, "b": 9, "c": 1}, 5),
    ],
    ids=["empty", "two photos", "one class", "a class of one photo", "nothing readable", "some unreadable"],
)
def test_features_of_odd_folders_say_nothing_of_what_they_lack(
    counts: dict[str, int], num_broken: int, make_images: MakeImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = make_images("train", counts)
    broken = [str(path) for path in sorted(train.rglob("*.png"))[:num_broken]]
    for path in broken:
        Path(path).write_bytes(b"")

    def features(tables: Sequence[Images], *_: object) -> tuple[np.ndarray, str]:
        rng = np.random.default_rng(0)
        rows = [(header.fault is None) * rng.normal(size=40) for images in tables for header in images.headers]
        return np.asarray(rows, np.float32).reshape(-1, 40), "key"

    monkeypatch.setattr("hh_fast.data.explore.inspection.backbone_features", features)
    config = DataConfig(cache_dir=str(tmp_path / "cache"), bad_images="skip")
    report = inspect(Source("things", train, None), config, num_names=2, backbone="efficientnet_lite0")
    assert report.wrong_folder is not None
    assert report.unlike_others is not None
    named, far = ({one.path for one in found} for found in (report.wrong_folder, report.unlike_others))
    assert not (named | far) & {*broken, str(train / "c" / "000.png")}
    assert bool(named) == (len(counts) > 2 and num_broken < 19)
    assert ("  unlike others: none" in to_text(report)) == (not far)
