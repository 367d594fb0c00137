"""From names to folders: zips, the sample, and TensorFlow Datasets."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import tensorflow_datasets as tfds

from hh_fast.cli.train import main
from hh_fast.config import DataConfig
from hh_fast.data import sources
from hh_fast.data import tfds as tfds_folders
from hh_fast.data.load import load_data
from hh_fast.data.pipeline import images_at
from hh_fast.data.sources import find_source, source_name
from hh_fast.errors import DataError, UsageError

MakeImages = Callable[..., Path]


def zipped(folder: Path, top: str = "") -> Path:
    archive = folder.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as out:
        for path in sorted(folder.rglob("*.png")):
            out.write(path, Path(top) / path.relative_to(folder))
        out.writestr("__MACOSX/x/._000.png", b"not an image")
        out.writestr("README.txt", "hello")
    return archive


@pytest.mark.parametrize("top", ["", "horse-or-human", "a/b"], ids=["classes on top", "one folder on top", "two"])
def test_a_zip_is_used_like_its_folder(make_images: MakeImages, tmp_path: Path, top: str) -> None:
    folder = make_images("train", {"x": 3, "y": 3})
    values: dict[str, Any] = {"image_size": (24, 24), "cache_dir": str(tmp_path / "cache"), "validation_split": 0.0}
    from_folder = load_data(DataConfig(train_dir=str(folder), **values))
    from_zip = load_data(DataConfig(train_dir=str(zipped(folder, top)), **values))
    assert from_zip.fingerprint == from_folder.fingerprint
    assert from_zip.source.name == tmp_path.name


@pytest.mark.parametrize("pack", [None, "", "horse-or-human"], ids=["folder", "zip", "zip with a top folder"])
@pytest.mark.parametrize("names", [("train", "validation"), ("Training", "val"), ("train", "valid"), ("train", "test")])
def test_a_folder_that_holds_the_splits(
    make_images: MakeImages, tmp_path: Path, names: tuple[str, str], pack: str | None
) -> None:
    for number, name in enumerate(names):
        make_images(f"pictures/{name}", {"x": 3 - number, "y": 3 - number}, seed=number)
    given = tmp_path / "pictures" if pack is None else zipped(tmp_path / "pictures", pack)
    source = find_source(DataConfig(train_dir=str(given), cache_dir=str(tmp_path / "cache")))
    assert source.validation_dir is not None
    assert (source.train_dir.name, source.validation_dir.name) == names
    assert source.name == "pictures"
    assert source.note == f"{given} contains {names[0]}/ and {names[1]}/, which are used as the two splits"


def test_beside_the_splits_and_instead_of_them(make_images: MakeImages, tmp_path: Path) -> None:
    root = make_images("a/train", {"x": 2, "y": 2}).parent
    for name in ("test", "validation"):
        make_images(f"a/{name}", {"x": 2, "y": 2})
    source = find_source(DataConfig(train_dir=str(root)))
    assert source.validation_dir == root / "validation"
    assert str(source.note).endswith("used as the two splits; unused: test/")
    assert find_source(DataConfig(train_dir=str(root), validation_dir=str(root))).validation_dir == root / "validation"
    own = DataConfig(train_dir=str(root), validation_dir=str(root / "test"))
    assert find_source(own).validation_dir == root / "test"
    with pytest.raises(UsageError) as caught:
        find_source(DataConfig(train_dir=str(root), validation_split=0.3))
    assert str(caught.value) == (
        "`validation_split` must be left out if --train_dir contains train/ and validation/. Received: 0.3"
    )


def test_classes_that_are_called_like_splits(make_images: MakeImages) -> None:
    root = make_images("a", {"train": 2, "test": 2})
    assert find_source(DataConfig(train_dir=str(root))).train_dir == root


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (DataConfig(), "sample"),
        (DataConfig(train_dir="/a/pictures/"), "pictures"),
        (DataConfig(train_dir="/a/horse-or-human.zip"), "horse-or-human"),
        (DataConfig(train_dir="/a/pets/train"), "pets"),
        (DataConfig(train_dir="/"), "images"),
        (DataConfig(dataset="tfds:horses_or_humans"), "horses_or_humans"),
        (DataConfig(dataset="tfds:cats_vs_dogs:4.0.0"), "cats_vs_dogs_4.0.0"),
    ],
)
def test_names_fit_for_a_folder(config: DataConfig, name: str) -> None:
    assert source_name(config) == name


def test_the_sample_says_what_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sources, "sample_dir", lambda root: root / "drawn")
    source = find_source(DataConfig(cache_dir=str(tmp_path)))
    assert (source.train_dir, source.validation_dir) == (
        tmp_path / "drawn" / "train",
        tmp_path / "drawn" / "validation",
    )
    assert source.note is not None
    assert "--dataset=tfds:horses_or_humans" in source.note


class TinyHorses(tfds.core.GeneratorBasedBuilder):
    """A TFDS set made here, with the splits and features of the real one."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(None, None, 3)),
                "label": tfds.features.ClassLabel(names=["horses", "humans"]),
            }
        )
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager: Any) -> Any:
        return {"train": self._generate_examples(6, 0), "test": self._generate_examples(4, 1)}

    def _generate_examples(self, *arguments: int) -> Any:
        count, seed = arguments
        rng = np.random.default_rng(seed)
        for i in range(count):
            yield i, {"image": rng.integers(0, 256, (20, 30, 3), np.uint8), "label": i % 2}


def test_a_tfds_set_becomes_folders_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = DataConfig(dataset="tfds:tiny_horses", cache_dir=str(tmp_path), image_size=(20, 30))
    data = load_data(config)
    assert data.class_names == ("horses", "humans")
    assert data.validation is not None
    assert (len(data.train), len(data.validation)) == (6, 4)
    expected = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    assert (images_at(data.train, np.arange(6)) == expected).all(axis=(1, 2, 3)).sum() == 1
    monkeypatch.setattr(TinyHorses, "_generate_examples", None)
    assert load_data(config).fingerprint == data.fingerprint


class NoLabels(TinyHorses):
    """A TFDS set that cannot be classified."""

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict({"image": tfds.features.Image()})
        )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_set", "`dataset`: TensorFlow Datasets has no data set 'no_such_set'; see its catalog for the names"),
        ("no_labels", "`dataset` must be a data set with the features image and label. 'no_labels' has image"),
    ],
)
def test_sets_that_cannot_be_used(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_source(DataConfig(dataset=f"tfds:{name}", cache_dir=str(tmp_path)))
    assert str(caught.value) == message


def test_no_network_is_one_line_with_the_remedies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def offline(url: str, **_: object) -> None:
        raise requests.ConnectionError("Failed to resolve the host")

    monkeypatch.setattr(requests, "head", offline)
    flags = ["--dataset=tfds:horses_or_humans", f"--cache_dir={tmp_path}", f"--run_dir={tmp_path / 'run'}"]
    assert main(flags) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("train: cannot get horses_or_humans (http")
    assert "horse-or-human.zip cannot be reached)" in lines[-1]
    assert "--tfds_manual_dir" in lines[-1]
    assert "--train_dir and --validation_dir" in lines[-1]


def test_archives_laid_out_by_hand_need_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("horse-or-human.zip", "validation-horse-or-human.zip"):
        (tmp_path / name).write_bytes(b"")
    monkeypatch.setattr(requests, "head", None)
    builder = tfds.builder("horses_or_humans", data_dir=str(tmp_path))
    tfds_folders._refuse_offline(builder, "horses_or_humans", str(tmp_path))


def test_a_real_download_that_fails_is_one_line_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise tfds.download.DownloadError("the archive has another checksum")

    monkeypatch.setattr(TinyHorses, "download_and_prepare", broken)
    with pytest.raises(DataError, match=r"cannot get tiny_horses \(the archive has another checksum\): connect to the"):
        find_source(DataConfig(dataset="tfds:tiny_horses", cache_dir=str(tmp_path)))
