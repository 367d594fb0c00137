"""`--unknown` from training to the exported files and what bin/predict says of them."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from test_unknown import classifier

import hh_fast
from hh_fast.any_model import load_model
from hh_fast.cli.predict import main as predict
from hh_fast.errors import DataError, UsageError
from hh_fast.export.parity import UnknownCheck
from hh_fast.unknown import has_unknown, scrambled

SIZE = 8
COLOURS = {"grass": (40, 200, 40), "sky": (40, 40, 210), "other": (230, 30, 30)}


def draw(folder: Path, colour: tuple[int, int, int], count: int, seed: int) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for i in range(count):
        pixels = np.clip(rng.normal(rng.normal(colour, 40), 12, (SIZE, SIZE, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:03d}.png")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for seed, name in enumerate(("grass", "sky")):
        draw(tmp_path / "train" / name, COLOURS[name], 40, seed)
    draw(tmp_path / "other" / "red", COLOURS["other"], 20, 9)
    return tmp_path / "train", tmp_path / "other"


@pytest.fixture
def settings(folders: tuple[Path, Path], tmp_path: Path) -> dict[str, object]:
    return {
        "train_dir": str(folders[0]),
        "run_dir": str(tmp_path / "run"),
        "cache_dir": str(tmp_path / "cache"),
        "model": classifier(2),
        "epochs": 2,
        "unknown": True,
    }


@pytest.mark.slow
def test_it_is_trained_resumed_exported_and_told(
    folders: tuple[Path, Path], settings: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = hh_fast.train(**settings, other_dir=str(folders[1]))
    result = json.loads((run.run_dir / "result.json").read_text())["unknown"]
    assert 0.9 <= result["kept"] <= 1
    assert (result["num_other"], result["let_through"]) == (10, 0)
    assert "Output `unknown`: " in (run.run_dir / "README.md").read_text()
    first = load_model(run.run_dir / "model.keras")
    assert has_unknown(first) and not has_unknown(load_model(run.run_dir / "last.keras"))

    # More epochs fit it anew.
    run = hh_fast.train(**{**settings, "epochs": 4}, other_dir=str(folders[1]))
    assert has_unknown(load_model(run.run_dir / "model.keras"))
    assert len(run.history) == 4

    bundle = hh_fast.export_model(run, tmp_path / "bundle", formats=("float32", "int8"), calibration_images=20)
    assert (bundle.export_dir / "labels.txt").read_text() == "grass\nsky\nunknown\n"
    metadata = json.loads((bundle.export_dir / "metadata.json").read_text())
    assert metadata["unknown_class"] == "unknown"
    for name in ("float32", "int8"):
        check = metadata["files"][name]["check"]["unknown"]
        assert check["num_other"] == 20
        assert abs(check["known"] - check["model_known"]) <= 0.1
        assert check["other"] == check["model_other"] == 0
    assert "| pictures of other things |" in (bundle.export_dir / "README.md").read_text()

    for model in (run.run_dir, bundle.files["int8"]):
        assert predict([f"--model={model}", str(folders[1])]) == 0
        out, err = capsys.readouterr()
        assert out.count(": unknown ") == 20
        assert "unknown: 20 of 20 images" in err
    assert predict([f"--model={bundle.files['int8']}", str(folders[0])]) == 0
    assert "without the answer unknown" in capsys.readouterr().err

    # The model of a run is trained further as if it had no such output, and gets it again where that is asked for.
    tuned = hh_fast.train(
        **{**settings, "model": str(run.run_dir), "run_dir": str(tmp_path / "tuned"), "unknown": False, "epochs": 1}
    )
    assert not has_unknown(load_model(tuned.run_dir / "model.keras"))


def test_what_it_cannot_be_added_to_is_refused(
    folders: tuple[Path, Path], settings: dict[str, object], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="`unknown` must be given with --backbone or --model"):
        hh_fast.train(**{**settings, "model": None})
    with pytest.raises(UsageError, match="`other_dir` must be given with --unknown"):
        hh_fast.train(**{**settings, "unknown": False}, other_dir="x")
    with pytest.raises(UsageError, match="`unknown` must be left out if no images are held out"):
        hh_fast.train(**settings, validation_split=0)
    cnn = keras.Sequential([keras.Input((SIZE, SIZE, 3)), keras.layers.Flatten(), keras.layers.Dense(1, "sigmoid")])
    with pytest.raises(UsageError, match="`unknown` needs a network that ends in pooled features"):
        hh_fast.train(**{**settings, "model": cnn})
    (folders[0] / "sky").rename(folders[0] / "unknown")
    with pytest.raises(UsageError, match="`unknown` must be left out if a class is named unknown"):
        hh_fast.train(**settings)


def test_a_folder_without_pictures_of_other_things_is_named(settings: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no picture in .*/empty: --other_dir must be a folder of pictures"):
        hh_fast.train(**settings, other_dir=str(tmp_path / "empty"))


@pytest.mark.parametrize(
    ("known", "foreign", "num_failures"),
    [(0.94, 0.0, 0), (0.92, 0.0, 1), (0.95, 0.03, 0), (0.95, 0.04, 1), (0.9, 0.1, 2)],
)
def test_a_file_may_differ_by_two_points_and_chance(known: float, foreign: float, num_failures: int) -> None:
    failures = UnknownCheck(known, 0.95, 10_000, foreign, 0.01).failures(10_000)
    assert len(failures) == num_failures
    assert all("for a class, the model " in failure for failure in failures)


def test_scrambled_pictures_hold_the_same_pixels() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 30, 44, 3), np.uint8)
    found = scrambled(images)
    assert (found != images).mean() > 0.5
    np.testing.assert_array_equal(np.sort(found[:, :28, :42].ravel()), np.sort(images[:, :28, :42].ravel()))
    np.testing.assert_array_equal(found, scrambled(images))
