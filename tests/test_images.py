"""Which files are images of which class, and what is said of the others."""

import os
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from small_data import read_table

from hh_fast.config import DataConfig
from hh_fast.data.explore.inspection import inspect
from hh_fast.data.folders import count_left_out, describe_left_out
from hh_fast.data.images import conflicts, list_images
from hh_fast.data.keras_rules import list_as_keras
from hh_fast.data.load import load_data
from hh_fast.data.sources import Source
from hh_fast.errors import DataError
from hh_fast.predict.files import ImageFile, find_images

MakeImages = Callable[..., Path]


def test_what_is_no_regular_file_is_not_opened(make_images: MakeImages) -> None:
    root = make_images("a", {"x": 0})
    os.mkfifo(root / "x" / "pipe.png")
    (root / "x" / "dangling.png").symlink_to(root / "nowhere")
    (root / "x" / "loop.png").symlink_to(root / "x" / "loop.png")
    assert [fault for _, fault in read_table(root).bad()] == [
        "No such file or directory",
        "Too many levels of symbolic links",
        "not a regular file",
    ]


def test_the_fingerprint_follows_content_and_order_but_not_names(make_images: MakeImages) -> None:
    images = read_table(make_images("a", {"x": 3, "y": 3}))
    same = read_table(make_images("b", {"x": 3, "y": 3}))
    other = read_table(make_images("c", {"x": 3, "y": 3}, seed=1))
    assert images.fingerprint() == same.fingerprint()
    turned = images.select(np.arange(6)[::-1])
    assert len({images.fingerprint(), other.fingerprint(), turned.fingerprint()}) == 3


def test_a_selection_keeps_each_row_together(make_images: MakeImages) -> None:
    images = read_table(make_images("a", {"x": 2, "y": 3}))
    part = images.select(np.array([4, 1])).select(np.array([1, 0]))
    assert part.paths == (images.paths[1], images.paths[4])
    assert part.sha256 == (images.sha256[1], images.sha256[4])
    assert part.headers == (images.headers[1], images.headers[4])
    assert (part.labels.tolist(), part.indices.tolist()) == ([0, 1], [1, 4])


def test_the_listing_is_that_of_keras(make_images: MakeImages) -> None:
    root = make_images("a", {"b class": 3, "a": 2, "C": 2})
    (root / ".hidden").mkdir()
    (root / "a" / "inner").mkdir()
    (root / "a" / "inner" / "Z.PNG").write_bytes((root / "a" / "000.png").read_bytes())
    (root / "a" / "notes.txt").write_text("no image")
    (root / "a" / "001.webp").write_bytes(b"")
    (root / "stray.png").write_bytes(b"")
    images, _, class_names = list_as_keras(root, "inferred", None, follow_links=False)
    theirs = keras.utils.image_dataset_from_directory(
        root, shuffle=False, batch_size=None, image_size=(24, 24), verbose=False
    )
    assert list(images.paths) == theirs.file_paths
    assert class_names == theirs.class_names
    np.testing.assert_array_equal(images.labels, [int(label) for _, label in theirs])


def test_file_names_that_are_not_utf8_or_hold_line_breaks_are_read(make_images: MakeImages) -> None:
    root = make_images("a", {"x": 1, "y": 1})
    data = (root / "x" / "000.png").read_bytes()
    for name in (b"bad\xff.png", b"line\nbreak.png", b"a space.png"):
        with open(os.path.join(os.fsencode(root / "x"), name), "wb") as out:
            out.write(data)
    images = read_table(root)
    assert (len(images), images.bad()) == (5, [])


def test_what_is_left_out_is_counted(make_images: MakeImages) -> None:
    root = make_images("a", {"x": 1, "y": 1})
    for name in ("x/1.tif", "x/2.TIF", "y/README", "y/.DS_Store", "y/._000.png", "stray.png"):
        (root / name).touch()
    (root / "y" / "more").symlink_to(root / "x")
    images, found = list_images(root)
    assert len(images) == 2
    assert sorted(found.others) == [
        str(root / name) for name in ("stray.png", "x/1.tif", "x/2.TIF", "y/README", "y/more")
    ]
    assert describe_left_out(count_left_out(found.others)) == (
        "Left out 5 files: .tif (2), .png in no class folder (1), no suffix (1), link to a folder (1)"
    )
    assert describe_left_out(count_left_out(["a.tif"])) == "Left out 1 file: .tif (1)"


def test_linked_class_folders_and_files_are_read_by_every_command(make_images: MakeImages, tmp_path: Path) -> None:
    elsewhere = make_images("elsewhere", {"dogs": 3})
    root = make_images("a", {"cats": 3})
    (root / "dogs").symlink_to(elsewhere / "dogs")
    (root / "cats" / "linked.png").symlink_to(elsewhere / "dogs" / "000.png")
    config = DataConfig(train_dir=str(root), image_size=(24, 24), validation_split=0, cache_dir=str(tmp_path / "cache"))
    data = load_data(config)
    report = inspect(Source("a", root, None), config, num_names=0)
    predicted = list(find_images([str(root)], ("cats", "dogs"), (), []))
    assert data.train.labels.tolist() == [item.label for item in predicted] == [0] * 4 + [1] * 3
    assert list(data.train.images.paths) == [item.path for item in predicted]
    assert report.splits[0].counts == {"cats": 4, "dogs": 3}


@pytest.fixture
def locked(make_images: MakeImages, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two classes, in one of which lies a folder that this user may not read (whoever runs the tests)."""
    root = make_images("a", {"cats": 3, "dogs": 3})
    (root / "dogs" / "2024").mkdir()
    scandir = os.scandir

    def refusing(path: str) -> object:
        if os.fspath(path).endswith("2024"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    return root


def test_a_folder_that_cannot_be_read_is_named_by_every_command(
    locked: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = {"train_dir": str(locked), "image_size": (24, 24), "cache_dir": str(tmp_path / "cache")}
    said = f"the folder {locked / 'dogs' / '2024'} cannot be read (Permission denied): change its permissions, or move it elsewhere"
    with pytest.raises(DataError) as caught:
        load_data(DataConfig(**values))
    assert str(caught.value) == said
    assert len(load_data(DataConfig(**values, bad_images="skip")).train) == 4
    assert f"Left out: {said}" in caplog.messages
    report = inspect(Source("a", locked, None), DataConfig(**values), num_names=0)
    assert report.problems == [said]
    assert report.splits[0].unreadable == [(str(locked / "dogs" / "2024"), "Permission denied")]
    *_, last = find_images([str(locked)], ("cats", "dogs"), (), [])
    assert last == ImageFile(str(locked / "dogs" / "2024"), 1, said)


@pytest.mark.parametrize("name", ["cats ", " cats", "ca\nts", "ca\u2028ts", "ca\x85ts"])
def test_class_names_that_no_list_of_labels_can_hold(make_images: MakeImages, tmp_path: Path, name: str) -> None:
    root = make_images("a", {name: 3, "dogs": 3})
    config = DataConfig(train_dir=str(root), image_size=(24, 24), cache_dir=str(tmp_path / "cache"))
    said = f"the name of the class folder {name!r} in {root} contains a line break, or begins or ends with a space: rename it"
    with pytest.raises(DataError) as caught:
        load_data(config)
    assert str(caught.value) == said
    assert inspect(Source("a", root, None), config, num_names=0).problems == [said]


def test_a_class_name_that_is_not_utf8(make_images: MakeImages, tmp_path: Path) -> None:
    root = make_images("a", {"cats\udcff": 3, "dogs": 3})
    config = DataConfig(train_dir=str(root), image_size=(24, 24), cache_dir=str(tmp_path / "cache"))
    with pytest.raises(DataError) as caught:
        load_data(config)
    assert (
        str(caught.value) == f"the name of the class folder {'cats' + chr(0xDCFF)!r} in {root} is not UTF-8: rename it"
    )


def test_conflicts_are_named_at_the_start_of_training(
    make_images: MakeImages, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_images("a", {"cats": 12, "dogs": 4})
    both = [root / "cats" / "003.png", root / "dogs" / "same.png"]
    both[1].write_bytes(both[0].read_bytes())
    config = DataConfig(train_dir=str(root), image_size=(24, 24), cache_dir=str(tmp_path / "cache"))
    load_data(config)
    report = inspect(Source("a", root, None), config, num_names=0)
    assert report.conflicts == conflicts([read_table(root)]) == [list(map(str, both))]
    assert (
        "1 byte-identical image is in more than one class, so at least one label is wrong (bin/explore lists all):"
        f" {both[0]} = {both[1]}"
    ) in caplog.messages
    assert (
        "Unequal classes: the largest has 2.4 times the images of the smallest; --class_weight=balanced weighs classes equally"
        in caplog.messages
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "no folder {root}: check the path"),
        (
            lambda root: root.write_text(""),
            "{root} is not a folder: give a folder whose sub-folders are the classes, or a .zip of one",
        ),
        (
            lambda root: root.mkdir(),
            "no class sub-folders in {root}: put the images of each class into a sub-folder named after it",
        ),
    ],
)
def test_folders_that_cannot_be_used(tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    root = tmp_path / "root"
    make(root)
    with pytest.raises(DataError) as caught:
        list_images(root)
    assert str(caught.value) == message.format(root=root)
