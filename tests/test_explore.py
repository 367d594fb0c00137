"""`bin/explore` from its flags to its report, its picture and its errors."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_data import pictures

from hh_fast.augmentation import Augmentation, apply, draw
from hh_fast.cli.explore import main
from hh_fast.config import DataConfig
from hh_fast.data.explore.grid import CAPTION, CARD, GAP, HEADING, LINE, PAPER, TILE, GridImage, pick, save_grid
from hh_fast.data.explore.inspection import inspect
from hh_fast.data.explore.pictures import in_groups
from hh_fast.data.sources import find_source
from hh_fast.training.train import train

MakeImages = Callable[..., Path]


def test_a_photo_under_the_grids_name_stays(
    make_images: MakeImages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = make_images("train", {"a": 3, "b": 3})
    photo, text = train / "a" / "000.png", tmp_path / "notes.png"
    text.write_text("no image")
    for theirs in (photo, text):
        before = theirs.read_bytes()
        assert main([f"--train_dir={train}", f"--grid={theirs}"]) == 1
        assert "`grid` must not be a file that bin/explore did not draw" in capsys.readouterr().err
        assert theirs.read_bytes() == before
    for _ in range(2):  # its own is replaced
        assert main([f"--train_dir={train}", f"--grid={tmp_path / 'grid.png'}"]) == 0


def test_report_and_grid(make_images: MakeImages, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = make_images("train", {"cats": 5, "dogs": 3})
    grid = tmp_path / "out" / "grid.png"
    assert main([f"--train_dir={train}", f"--grid={grid}", "--grid_size=2,3", "--image_size=100,200"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(
        f"Data set: {tmp_path.name}\n\ntrain: 8 images in {train}\n  cats       5  000.png, 001.png, "
    )
    assert "--cache=memory 0.5 MB of memory, 0.0 MB of disk" in " ".join(out.split())
    assert (
        "  unequal classes: the largest has 1.7 times the images of the smallest; --class_weight=balanced weighs classes equally"
        in out
    )
    assert "  unreadable: none" in out
    assert err == f"Drew 6 images to {grid}; augmentation: none\n"
    with Image.open(grid) as picture:
        assert picture.size == (3 * (TILE + GAP) + GAP, 2 * (TILE + CAPTION + GAP) + GAP)
    assert [path.name for path in grid.parent.iterdir()] == ["grid.png"]


def test_it_fails_where_training_would(make_images: MakeImages, capsys: pytest.CaptureFixture[str]) -> None:
    train = make_images("train", {"cats": 4, "dogs": 1})
    flags = [f"--train_dir={train}", "--grid_size=0,0"]
    assert main(flags) == 2
    assert f"problems: 1 (what training will refuse)\n    one image in {train / 'dogs'}" in capsys.readouterr().out
    assert main([*flags, "--validation_split=0"]) == 0
    for path in sorted((train / "cats").iterdir())[1:]:
        path.write_bytes(b"")
    (train / "dogs" / "1.tif").touch()
    assert main([*flags, "--validation_split=0"]) == 2
    out = capsys.readouterr().out
    assert "    3 of 5 images cannot be used: mend or remove them, or give --bad_images=skip\n" in out
    assert f"  left out: 1 (.tif (1))\n    {train / 'dogs' / '1.tif'}\n" in out
    assert main([*flags, "--validation_split=0", "--bad_images=skip"]) == 0
    (train / "dogs" / "000.png").write_bytes(b"")
    assert main([*flags, "--validation_split=0", "--bad_images=skip"]) == 2
    problem = f"    class dogs has no usable images for training: repair those in {train / 'dogs'}, or add some\n"
    assert problem in capsys.readouterr().out


def test_json_has_every_path(make_images: MakeImages, capsys: pytest.CaptureFixture[str]) -> None:
    train = make_images("train", {"cats": 2, "dogs": 2})
    for number in range(30):
        (train / "cats" / f"e{number:02}.png").touch()
    assert main([f"--train_dir={train}", "--grid_size=0,0", "--json"]) == 2
    report = json.loads(capsys.readouterr().out)
    assert [path for path, _ in report["splits"][0]["unreadable"]] == [
        str(train / "cats" / f"e{n:02}.png") for n in range(30)
    ]


def test_no_tensorflow_is_loaded(make_images: MakeImages) -> None:
    train = make_images("train", {"cats": 2, "dogs": 2})
    code = f"""
import sys
from hh_fast.cli.explore import main
assert main(["--train_dir={train}", "--grid_size=0,0"]) == 0
assert "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_errors_are_one_line(make_images: MakeImages, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = make_images("train", {"cats": 1, "dogs": 1})
    file, empty = tmp_path / "file", tmp_path / "empty"
    file.touch()
    empty.mkdir()
    cases = [  # arguments, exit code, text
        (["--train_dir=/no/where"], 2, "no folder /no/where: check the path"),
        (
            [f"--train_dir={file}"],
            2,
            f"{file} is not a folder: give a folder whose sub-folders are the classes, or a .zip of one",
        ),
        (
            [f"--train_dir={empty}"],
            2,
            f"no class sub-folders in {empty}: put the images of each class into a sub-folder named after it",
        ),
        (
            ["--grid_size=4,0"],
            1,
            "`grid_size` must be two numbers from 1 to 100, rows,columns, or 0,0 for no pictures. Received: 4,0",
        ),
        (["--num_names=-1"], 1, "`num_names` must be at least 0. Received: -1"),
        (["pictures"], 1, "this command takes flags only. Received: pictures; see --help"),
        (
            [f"--train_dir={train}", f"--grid={file}/grid.png"],
            2,
            f"File exists: {file}; a file of that name exists: move it, or choose another folder",
        ),
    ]
    for arguments, exit_code, text in cases:
        assert main(arguments) == exit_code
        assert capsys.readouterr().err == f"explore: {text}\n"


@pytest.mark.parametrize(
    ("counts", "num_images", "expected"),
    [
        ((8, 8), 4, [(0, "0"), (0, "4"), (1, "0"), (1, "4")]),
        ((1, 8), 4, [(0, "0"), (1, "0"), (1, "2"), (1, "5")]),
        ((1, 0), 4, [(0, "0")]),
        ((2, 2), 3, [(0, "0"), (0, "1"), (1, "0")]),
    ],
)
def test_pick_is_even(counts: tuple[int, ...], num_images: int, expected: list[tuple[int, str]]) -> None:
    assert pick([[str(n) for n in range(count)] for count in counts], num_images) == expected


def test_grid_takes_every_kind_of_image(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = []
    for mode, suffix in (("RGBA", "png"), ("P", "gif"), ("1", "bmp"), ("I;16", "png"), ("CMYK", "jpg"), ("LA", "png")):
        path = tmp_path / f"{mode.replace(';', '')}.{suffix}"
        Image.new(mode, (30, 10), None if mode == "P" else Image.new(mode, (1, 1)).getpixel((0, 0))).save(path)
        images.append(GridImage("a class with a name that is far too long for the place it has", str(path)))
    broken = tmp_path / "broken.png"
    broken.write_text("no image")
    assert save_grid(tmp_path / "grid.png", [*images, GridImage("broken", str(broken))], (2, 4)) == 6
    assert f"Left out of the grid: {broken}: not a PNG, JPEG, WebP, HEIC, AVIF, BMP or GIF image" in caplog.text


def test_a_row_is_an_image_and_what_training_makes_of_it(make_images: MakeImages, tmp_path: Path) -> None:
    train = make_images("train", {"cats": 5, "dogs": 4}, size=(TILE, TILE))
    grid = tmp_path / "grid.png"
    ranges: dict[str, Any] = {"rotation_range": 90.0, "vertical_flip": True}
    words = [f"--train_dir={train}", f"--grid={grid}", "--grid_size=2,3", f"--image_size={TILE},{TILE}", "--seed=4"]
    assert main([*words, "--rotation_range=90", "--vertical_flip"]) == 0
    shown = np.asarray(Image.open(grid))
    for row, index in enumerate((0, 5)):  # the first of each class
        image = np.asarray(Image.open(train / ("cats", "dogs")[row] / "000.png"))
        for column in range(3):
            left, top = GAP + column * (TILE + GAP), GAP + row * (TILE + CAPTION + GAP) + CAPTION
            tile = shown[top : top + TILE, left : left + TILE]
            expected = image
            if column > 0:
                drawn = draw(Augmentation(**ranges), (TILE, TILE), seed=4, epoch=column - 1, indices=np.array([index]))
                expected = apply([image], drawn)[0]
            np.testing.assert_array_equal(tile, expected)


def picture_folders(root: Path) -> Path:
    """Two classes of 9 x 8 pictures, of which each folder has one of the other class, and one picture that is there twice."""
    for name, tint in (("meadows", (40, 200, 60)), ("skies", (200, 120, 40))):
        for i, pixels in enumerate(pictures(17, seed=len(name))):
            tinted = (pixels * 0.4 + np.array(tint) * 0.6).astype(np.uint8)
            folder = root / ("skies" if (name == "meadows") == (i == 5) else "meadows")
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(tinted).save(folder / f"{name}{i:02d}.png")
    with Image.open(root / "skies" / "skies00.png") as image:
        image.resize((160, 120)).save(root / "skies" / "small.png")
    (root / "skies" / "broken.png").write_bytes(b"")
    return root


@pytest.mark.slow
def test_a_backbone_finds_photos_in_the_wrong_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train_dir, findings = picture_folders(tmp_path / "train"), tmp_path / "findings"
    words = [
        *(f"--train_dir={train_dir}", f"--cache_dir={tmp_path / 'cache'}", f"--findings_dir={findings}"),
        *(f"--grid={tmp_path / 'grid.png'}", "--bad_images=skip"),
    ]
    looking = [*words, "--backbone=efficientnet_lite0", "--image_size=64,64"]
    assert main(looking) == 0
    out, err = capsys.readouterr()
    strays = {str(train_dir / "skies" / "meadows05.png"), str(train_dir / "meadows" / "skies05.png")}
    assert "  wrong folder: 2 (photos to look at: they look like another class, the clearest first)\n" in out
    assert all(f"    {path}: looks like {Path(path).name[:-6]} " in out for path in strays)
    assert f"Drew what is to be looked at: {findings / 'wrong_folder.png'}\n" in err
    assert {path.name for path in findings.glob("*.png")} >= {"wrong_folder.png", "same_picture.png"}

    # The next time, and without pictures, no network is built: TensorFlow is not loaded.
    code = f"""
import sys
from hh_fast.cli.explore import main
assert main({[*looking, "--json", "--grid_size=0,0"]}) == 0
assert "tensorflow" not in sys.modules and "keras" not in sys.modules
"""
    printed = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE).stdout
    report = json.loads(printed)
    first = report["wrong_folder"][:2]
    assert {one["path"] for one in first} == strays
    assert all(one["probability"] < 0.1 < 0.5 < one["looks_like_probability"] for one in first)
    assert {one["looks_like"] for one in first} == {"meadows", "skies"}
    assert report["near_copies"] == [[str(train_dir / "skies" / name) for name in ("skies00.png", "small.png")]]

    # What is mended goes out of the pictures; other files stay, and stand in the way where they have a picture's name.
    mine = findings / "mine.txt"
    mine.touch()
    for path in strays:
        Path(path).unlink()
    assert main(words) == 0
    assert sorted(path.name for path in findings.iterdir() if path.name[0] != ".") == ["mine.txt", "same_picture.png"]
    (findings / "wrong_folder.png").write_text("mine")
    capsys.readouterr()
    assert main(words) == 1
    assert "`findings_dir` must not contain files of yours with names" in capsys.readouterr().err
    assert (findings / "wrong_folder.png").read_text() == "mine"


@pytest.mark.slow
def test_training_and_exploring_share_features(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    train_dir = picture_folders(tmp_path / "train")
    shared = {"train_dir": str(train_dir), "cache_dir": str(tmp_path / "cache"), "image_size": (64, 64)}
    shared |= {"backbone": "efficientnet_lite0", "bad_images": "skip"}
    run = train(**shared, run_dir=str(tmp_path / "run"), epochs=1)
    assert caplog.text.count("rows of features") == 1
    caplog.clear()
    data = DataConfig(**{name: value for name, value in shared.items() if name != "backbone"})
    report = inspect(find_source(data), data, num_names=0, backbone="efficientnet_lite0")
    assert "rows of features" not in caplog.text
    held_out, config = report.held_out, run.read_config()
    assert held_out is not None
    assert config is not None
    assert sum(held_out.values()) == config.num_validation


def test_groups_lie_side_by_side(make_images: MakeImages, tmp_path: Path) -> None:
    train = make_images("train", {"cats": 14})
    paths = [str(train / "cats" / f"{i:03d}.png") for i in range(14)]
    images = in_groups([paths[:4], paths[4:7], paths[7:9], paths[:9]])
    groups = [image.group if image else None for image in images]
    assert groups == [*[0] * 4, None, None, *[1] * 3, *[2] * 2, None, *[3] * 6]
    last = images[-1]
    assert last is not None
    assert last.caption == "cats (+ 3 more)\n005.png"
    path = tmp_path / "groups.png"
    assert save_grid(path, images, (3, 6), heading="Groups") == 15
    with Image.open(path) as picture:
        assert picture.size == (6 * (TILE + GAP) + GAP, 3 * (TILE + CAPTION + LINE + GAP) + GAP + HEADING)
        beside = [
            picture.getpixel((i * (TILE + GAP) + GAP // 2, HEADING + GAP + CAPTION + LINE + 9)) for i in range(1, 6)
        ]
    assert beside == [CARD, CARD, CARD, PAPER, PAPER]
