"""Zips: unpacked once, and never outside of their folder."""

import io
import os
import random
import stat
import struct
import types
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from hh_fast.data.archive import unpack
from hh_fast.data.folders import count_left_out
from hh_fast.data.images import list_images
from hh_fast.errors import DataError


def image() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 0, 0)).save(out, "PNG")
    return out.getvalue()


IMAGES = {f"{name}/{i}.png": image() for name in ("horses", "humans") for i in range(2)}


def make_zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def everything_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=str
)
@pytest.mark.parametrize("prefix", ["", "train/", "a/b/train/", "./"])
def test_images_are_unpacked_once(tmp_path: Path, prefix: str, method: int, caplog: pytest.LogCaptureFixture) -> None:
    extra = {"__MACOSX/horses/._0.png": b"x", "notes.txt": b"x", "horses/.hidden.png": b"x"}
    path = make_zip(tmp_path / "a.zip", {prefix + name: data for name, data in (IMAGES | extra).items()}, method)
    root = unpack(path, tmp_path / "cache")
    images, _ = list_images(root)
    paths, labels, class_names = images.paths, images.labels, images.class_names
    assert class_names == ("horses", "humans")
    assert labels.tolist() == [0, 0, 1, 1]
    assert [Path(name).read_bytes() for name in paths] == [image()] * 4
    assert unpack(path, tmp_path / "cache") == root
    assert caplog.text.count("Unpacking") == 1


def test_what_is_left_out_of_a_zip_is_found_each_time(tmp_path: Path) -> None:
    others = {"horses/1.tif": b"x", "horses/.DS_Store": b"x", "__MACOSX/horses/._1.tif": b"x"}
    others |= {"notes.txt": b"x", "more/about/notes.doc": b"x"}
    path = make_zip(tmp_path / "a.zip", IMAGES | others)
    for _ in range(2):
        images, found = list_images(unpack(path, tmp_path / "cache"))
        assert len(images) == len(IMAGES)
        assert count_left_out(found.others) == {".tif": 1, ".txt": 1, ".doc": 1}
        assert {Path(place).stat().st_size for place in found.others} == {0}


def test_an_unpacked_zip_is_read_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_zip(tmp_path / "a.zip", IMAGES)
    root = unpack(path, tmp_path / "cache")
    monkeypatch.setattr("hh_fast.io.files.locked", None)  # taking the lock would write
    assert unpack(path, tmp_path / "cache") == root


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


OUTSIDE = "{path} contains {name!r}, which is outside of the folder that it is unpacked to: do not trust it"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../evil.png", OUTSIDE),
        ("horses/../../evil.png", OUTSIDE),
        ("/evil.png", OUTSIDE),
        ("//evil.png", OUTSIDE),
        ("C:/evil.png", OUTSIDE),
        ("C:\\evil.png", OUTSIDE),
        ("..\\evil.png", OUTSIDE),
        ("../evil.txt", OUTSIDE),
        (link("horses/evil.png"), "{path} contains a link, {name!r}: zip the files themselves"),
        (link("horses"), "{path} contains a link, {name!r}: zip the files themselves"),
        ("horses/0.png/evil.png", "{path} contains {name!r} below a file: zip the folder again"),
        ("horses//0.png", "{path} contains 'horses/0.png' twice: zip the folder again"),
    ],
    ids=str,
)
def test_what_would_leave_the_folder_is_refused(tmp_path: Path, name: str | zipfile.ZipInfo, message: str) -> None:
    path = tmp_path / "in" / "a.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        for good, data in IMAGES.items():
            archive.writestr(good, data)
        archive.writestr(name, image())
        if isinstance(name, str):
            archive.infolist()[-1].filename = name  # zipfile mends some names as it writes them
    before = everything_below(tmp_path)
    with pytest.raises(DataError) as caught:
        unpack(path, tmp_path / "in" / "cache")
    shown = name if isinstance(name, str) else name.filename
    if isinstance(name, str) and "\\" in name:
        assert str(caught.value).startswith(f"{path} contains ")
    else:
        assert str(caught.value) == message.format(path=path, name=shown)
    assert set(everything_below(tmp_path)) - set(before) == {"in/cache", "in/cache/unpacked"}


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", IMAGES)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("horses/0.png", b"another")
    with pytest.raises(DataError) as caught:
        unpack(path, tmp_path / "cache")
    assert str(caught.value) == f"{path} contains 'horses/0.png' twice: zip the folder again"


def test_bombs_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    zeros = bytes(30 << 20)
    path = make_zip(tmp_path / "a.zip", {f"horses/{i}.png": zeros for i in range(10)})
    size, claimed = path.stat().st_size, 10 * len(zeros)
    with pytest.raises(DataError) as caught:
        unpack(path, tmp_path / "cache")
    assert str(caught.value) == (
        f"{path} unpacks to {claimed:,} bytes, over 100 times its {size:,}, unlike any images: do not trust it"
    )
    with pytest.raises(DataError) as caught:
        unpack(path, tmp_path / "cache", max_bytes=1000)
    assert str(caught.value) == (
        f"{path} unpacks to {claimed:,} bytes, more than 1,000: unpack it yourself if you trust it"
    )
    assert everything_below(tmp_path / "cache") == ["unpacked"]


def test_more_than_the_disk_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_zip(tmp_path / "a.zip", IMAGES)
    monkeypatch.setattr("hh_fast.data.archive.shutil.disk_usage", lambda _: types.SimpleNamespace(free=7))
    claimed = sum(map(len, IMAGES.values()))
    with pytest.raises(DataError) as caught:
        unpack(path, tmp_path / "cache")
    assert str(caught.value) == (
        f"{path} unpacks to {claimed} bytes, but {tmp_path / 'cache' / 'unpacked'} has 7 free: free some space, or give"
        " another --cache_dir"
    )


def test_a_member_that_lies_about_its_size_ends_where_it_says(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"horses/0.png": bytes(1 << 20), "humans/0.png": image()})
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\1\2")
    data[entry + 24 : entry + 28] = struct.pack("<I", 10)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"is not a readable zip \(Bad CRC-32 for file 'horses/0.png'\)"):
        unpack(path, tmp_path / "cache")
    assert everything_below(tmp_path / "cache") == ["unpacked"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "{path} is not a readable zip (File is not a zip file): download it again"),
        (b"PK\3\4 no more", "{path} is not a readable zip (File is not a zip file): download it again"),
    ],
)
def test_what_is_no_zip(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        unpack(path, tmp_path / "cache")
    assert str(caught.value) == message.format(path=path)


def test_an_encrypted_zip(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", IMAGES)
    data = bytearray(path.read_bytes())
    for mark, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        start = -1
        while (start := data.find(mark, start + 1)) >= 0:
            data[start + place] |= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="is encrypted, password required for extraction"):
        unpack(path, tmp_path / "cache")


def test_a_zip_without_images(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"notes.txt": b"x"})
    with pytest.raises(DataError) as caught:
        unpack(path, tmp_path / "cache")
    assert (
        str(caught.value)
        == f"{path} contains no PNG, JPEG, WebP, HEIC, AVIF, BMP or GIF file in a folder: zip the class folders"
    )


@pytest.mark.parametrize("names", [("0.png", "1.png"), ("a/0.png",), ("a/b/0.png",)])
def test_a_zip_without_class_folders_is_named_itself(tmp_path: Path, names: tuple[str, ...]) -> None:
    path = make_zip(tmp_path / "a.zip", {name: image() for name in names})
    with pytest.raises(DataError) as caught:
        unpack(path, tmp_path / "cache")
    assert str(caught.value) == (
        f"{path} contains {len(names)} images but no two class folders: put the images of each class into a folder named after"
        " it, and zip these folders"
    )
    assert everything_below(tmp_path / "cache") == ["unpacked"]


def test_broken_zips_are_refused_or_read_and_write_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        whole = make_zip(tmp_path / "whole.zip", IMAGES, method).read_bytes()
        draw = random.Random(method)
        for number in range(60):
            data = bytearray(whole)
            if number % 4 == 0:
                data = data[: draw.randrange(len(data))]
            for _ in range(draw.choice((1, 1, 4))):
                data[draw.randrange(len(data))] = draw.randrange(256)
            path = tmp_path / "in" / "a.zip"
            path.write_bytes(data)
            try:
                unpack(path, tmp_path / "in" / "cache")
            except DataError as e:
                assert "\n" not in str(e)
            except OSError as e:
                assert e.filename is not None
    assert everything_below(tmp_path / "in")[:3] == ["a.zip", "cache", "cache/unpacked"]
    assert sorted(os.listdir(tmp_path)) == ["in", "whole.zip"]
