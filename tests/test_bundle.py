"""The bundle as a whole: what is in it, what is left out, and what happens to an older one."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_run import Run

from hh_fast.config import DataConfig, ExportConfig
from hh_fast.errors import CheckError, DataError, UsageError
from hh_fast.io.cores import num_cores
from hh_fast.io.output_folder import MARKER

pytestmark = pytest.mark.slow

pytest_plugins = ["small_run"]

FORMATS = ("saved_model", "float32", "float16", "dynamic", "int8", "int16x8")


def export(run: Run, target: Path, **options: object) -> Path:
    from hh_fast.export import bundle
    from hh_fast.export.trained_model import load_trained_model

    fields = {"run_dir": str(run.run_dir), "export_dir": str(target), "formats": ("float32", "float16"), **options}
    config = ExportConfig(**fields)
    return bundle.export(config, load_trained_model(config, {}))


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_is_in_it(bundle: Path) -> None:
    assert names_in(bundle) == {
        MARKER,
        "README.md",
        "SHA256SUMS",
        "examples.png",
        "labels.txt",
        "metadata.json",
        "model_dynamic.tflite",
        "model_float16.tflite",
        "model_float32.tflite",
        "model_int16x8.tflite",
        "model_int8.tflite",
        "saved_model",
    }
    assert (bundle / "labels.txt").read_text() == "horses\nhumans\n"
    assert names_in(bundle.parent) == {"horse_or_human"}


def test_sums_are_of_every_other_file(bundle: Path) -> None:
    sums = dict(line.split("  ")[::-1] for line in (bundle / "SHA256SUMS").read_text().splitlines())
    files = {path.relative_to(bundle).as_posix(): path for path in bundle.rglob("*") if path.is_file()}
    assert set(sums) == set(files) - {"SHA256SUMS", MARKER}
    assert all(hashlib.sha256(files[name].read_bytes()).hexdigest() == digest for name, digest in sums.items())


def test_metadata_json(bundle: Path, run: Run) -> None:
    found = json.loads((bundle / "metadata.json").read_text())
    assert found["class_names"] == ["horses", "humans"]
    assert (found["input"]["height"], found["input"]["width"], found["input"]["range"]) == (96, 96, [0, 255])
    assert found["made_from"]["model_sha256"] == hashlib.sha256(run.model.read_bytes()).hexdigest()
    assert (found["made_from"]["num_train"], found["made_from"]["num_validation"]) == (64, 24)
    assert list(found["files"]) == list(FORMATS)
    assert found["left_out"] == {}
    int8 = found["files"]["int8"]
    assert int8["input"] == {"shape": [1, 96, 96, 3], "dtype": "uint8", "quantization": {"scale": 1.0, "zero_point": 0}}
    assert int8["output"]["quantization"] == {"scale": 1 / 256, "zero_point": 0}
    assert int8["bytes"] == (bundle / "model_int8.tflite").stat().st_size
    assert int8["peak_memory_bytes"] > 100_000
    assert [latency["num_threads"] for latency in int8["latency"]] == sorted({1, num_cores()})
    for file in found["files"].values():
        assert file["check"]["passed"]
        assert file["check"]["num_images"] == 24
        assert file["check"]["agreement"] >= 0.97
        assert sum(count for *_, count in file["check"]["confusion"]) == 24
    assert found["files"]["float32"]["check"]["largest_difference"] < 1e-5


def test_nothing_in_it_names_this_machine(bundle: Path, run: Run) -> None:
    for name in ("README.md", "metadata.json"):
        assert str(run.run_dir.parent) not in (bundle / name).read_text()


def test_card_states_what_was_measured(bundle: Path) -> None:
    card = (bundle / "README.md").read_text()
    check = json.loads((bundle / "metadata.json").read_text())["files"]["float32"]["check"]
    front, _, body = card.removeprefix("---\n").partition("\n---\n")
    assert 'license: "apache-2.0"' in front
    assert "pipeline_tag: image-classification" in front
    assert f"value: {check['model_accuracy']:.4f}" in front
    right = round(check["model_accuracy"] * 24)
    assert f"classifies {right} of 24 validation images correctly" in body
    for name in FORMATS[1:]:
        assert f"| `model_{name}.tflite` " in body
    assert "On CPUs, `int16x8` runs on LiteRT's reference kernels" in body
    assert "bin/serve --export_dir=FOLDER" in body
    assert "The Kotlin and Swift code has not been compiled." in body


@pytest.mark.parametrize("block", [0, 1])
def test_the_cards_python_works_as_it_stands(
    block: int, bundle: Path, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = (bundle / "README.md").read_text().split("```python\n")[1 + block].split("```")[0]
    monkeypatch.chdir(bundle)
    photo = bundle / "photo.jpg"
    Image.open(run.validation_dir / "humans" / "000.png").convert("RGB").save(photo)
    try:
        exec(code, {})
    finally:
        photo.unlink()
    said = capsys.readouterr().out
    assert "humans" in said
    assert "horses" in said


def test_the_examples_are_a_picture(bundle: Path) -> None:
    with Image.open(bundle / "examples.png") as picture:
        assert picture.width > 600
        assert len(np.unique(np.asarray(picture.convert("L")))) > 100


def test_a_file_that_fails_is_left_out(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hh_fast.export import parity

    monkeypatch.setitem(parity.MAX_DIFFERENCE, "float16", 1e-12)
    target = tmp_path / "bundle"
    with pytest.raises(CheckError) as caught:
        export(run, target)
    assert str(caught.value).startswith(f"left out of {target}: float16: scores differ by up to ")
    assert ", more than 1e-12, most on " in str(caught.value)
    assert str(run.validation_dir) in str(caught.value)
    assert str(caught.value).endswith("; use float32, or train with smaller weights")
    assert "model_float32.tflite" in names_in(target)
    assert "model_float16.tflite" not in names_in(target)
    assert list(json.loads((target / "metadata.json").read_text())["left_out"]) == ["float16"]
    card = (target / "README.md").read_text()
    assert "Not in this bundle: float16, which failed its check: scores differ by up to " in card
    assert str(run.validation_dir) not in card


def test_a_format_that_cannot_be_made_is_left_out(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hh_fast.export import tflite

    def convert(converter: object, variant: str, *images: object) -> bytes:
        if variant == "float16":
            raise CheckError("the model cannot be converted to float16 with built-in operators: X")
        return real(converter, variant, *images)

    real = tflite.convert
    monkeypatch.setattr(tflite, "convert", convert)
    with pytest.raises(CheckError) as caught:
        export(run, tmp_path / "bundle")
    assert str(caught.value) == (
        f"left out of {tmp_path / 'bundle'}: the model cannot be converted to float16 with built-in operators: X"
    )
    assert "model_float16.tflite" not in names_in(tmp_path / "bundle")


def test_a_signature_that_refuses_every_image_fails(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import tensorflow as tf

    from hh_fast.export import saved_model

    def refuse(encoded: tf.Tensor, image_size: tuple[int, int]) -> tf.Tensor:
        with tf.control_dependencies([tf.debugging.Assert(tf.equal(encoded, ""), ["refused"])]):
            return tf.zeros((*image_size, 3), tf.uint8)

    monkeypatch.setattr(saved_model, "decode", refuse)
    with pytest.raises(CheckError, match=": saved_model: scores are not numbers, most on .* -> nan") as caught:
        export(run, tmp_path / "bundle", formats=("saved_model", "float32"))
    assert "float32:" not in str(caught.value)
    assert names_in(tmp_path / "bundle") & {"saved_model", "model_float32.tflite"} == {"model_float32.tflite"}
    assert "The SavedModel fails to decode 24 of 24 images" in caplog.messages


def test_if_all_fail_the_older_bundle_stays(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hh_fast.export import parity

    target = export(run, tmp_path / "bundle", formats=("float32",))
    before = (target / "SHA256SUMS").read_text()
    monkeypatch.setitem(parity.MAX_DIFFERENCE, "float32", -1.0)
    with pytest.raises(
        CheckError, match=r"^nothing was exported: float32: scores differ by up to .*, more than .*, most on "
    ):
        export(run, target, formats=("float32",))
    assert (target / "SHA256SUMS").read_text() == before
    assert names_in(tmp_path) == {"bundle"}


def test_an_older_bundle_is_replaced_whole(run: Run, tmp_path: Path) -> None:
    target = export(run, tmp_path / "bundle", formats=("float32",))
    (target / "metadata.json").write_text("older")
    export(run, target, formats=("float32", "float16"))
    assert {"model_float16.tflite", "model_float32.tflite", "README.md"} <= names_in(target)
    assert list(json.loads((target / "metadata.json").read_text())["files"]) == ["float32", "float16"]


def test_other_peoples_files_in_a_bundle_stay(run: Run, tmp_path: Path) -> None:
    target = export(run, tmp_path / "bundle", formats=("saved_model", "float32"))
    theirs = [target / name for name in ("thesis.tex", ".git/HEAD", "saved_model/notes.txt")]
    for path in theirs:
        path.parent.mkdir(exist_ok=True)
        path.write_text("years of work")
    export(run, target, formats=("saved_model", "float32"))
    assert [path.read_text() for path in theirs] == ["years of work"] * 3
    (target / "model_int8.tflite").write_text("mine")
    with pytest.raises(
        UsageError, match="`export_dir` must not contain files of yours .* contains model_int8.tflite: move"
    ):
        export(run, target, formats=("saved_model", "float32"))


def test_formats_of_an_older_bundle_are_not_lost(run: Run, tmp_path: Path) -> None:
    target = export(run, tmp_path / "bundle", formats=("float32",))
    before = (target / "SHA256SUMS").read_text()
    with pytest.raises(UsageError) as caught:
        export(run, target, formats=("float16",))
    assert str(caught.value) == (
        f"`formats` must include those in {target}, which would be lost: add float32, or give another"
        " --export_dir. Received: float16"
    )
    assert (target / "SHA256SUMS").read_text() == before


def test_a_broken_export_leaves_nothing(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hh_fast.export import model_card

    def write(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(model_card, "write", write)
    with pytest.raises(KeyboardInterrupt):
        export(run, tmp_path / "bundle")
    assert names_in(tmp_path) == set()


def test_a_folder_of_other_files_is_not_replaced(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(UsageError) as caught:
        export(run, tmp_path)
    assert str(caught.value) == (
        f"`export_dir` must be new, empty or a bundle folder of hh_fast. Received: {tmp_path}, which contains mine.txt: give"
        " another folder, or move these elsewhere"
    )


def test_a_file_in_place_of_the_target(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError) as caught:
        export(run, tmp_path / "file")
    assert str(caught.value) == f"`export_dir` must be a folder. Received: {tmp_path / 'file'}, a file"


def test_too_few_calibration_images(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        export(run, tmp_path / "bundle", formats=("int8",), calibration_images=65)
    assert str(caught.value) == (
        f"{run.train_dir} has 64 training images, fewer than --calibration_images=65: add images, or give"
        " --calibration_images=64"
    )
    assert names_in(tmp_path) == set()


def test_no_calibration_where_no_format_needs_it(run: Run, tmp_path: Path) -> None:
    assert export(run, tmp_path / "bundle", formats=("float32",), calibration_images=65).is_dir()


def test_data_that_moved_is_given_anew(run: Run, tmp_path: Path) -> None:
    from hh_fast.export.trained_model import load_trained_model

    moved = Run(tmp_path / "run", tmp_path / "train", tmp_path / "validation")
    shutil.copytree(run.run_dir, moved.run_dir)
    config = json.loads((moved.run_dir / "config.json").read_text())
    config["data"]["train_dir"] = str(tmp_path / "gone")
    (moved.run_dir / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match=f"^no folder {tmp_path / 'gone'}"):
        load_trained_model(ExportConfig(run_dir=str(moved.run_dir)), {})
    given = {"train_dir": str(run.train_dir), "validation_dir": str(run.validation_dir)}
    assert load_trained_model(ExportConfig(run_dir=str(moved.run_dir)), given).train.rows.shape == (96, 96, 3)


def test_data_of_other_classes_is_refused(run: Run, tmp_path: Path) -> None:
    from hh_fast.export.trained_model import load_trained_model

    for split in ("train", "validation"):
        shutil.copytree(run.validation_dir, tmp_path / split)
        (tmp_path / split / "humans").rename(tmp_path / split / "mules")
    given = {"train_dir": str(tmp_path / "train"), "validation_dir": str(tmp_path / "validation")}
    with pytest.raises(DataError) as caught:
        load_trained_model(ExportConfig(run_dir=str(run.run_dir)), given)
    assert str(caught.value) == (
        f"the model of {run.run_dir} has the classes horses, humans, but its data in {tmp_path / 'train'} has horses,"
        " mules: give the run's own data with --train_dir"
    )


def test_the_card_is_of_the_images_held_out(run: Run, tmp_path: Path) -> None:
    """Images that were added since are not measured; those that are gone are counted."""
    from hh_fast.export import bundle
    from hh_fast.export.trained_model import load_trained_model

    validation = tmp_path / "validation"
    shutil.copytree(run.validation_dir, validation)
    (validation / "horses" / "000.png").unlink()
    (validation / "horses" / "001.png").rename(validation / "horses" / "other.png")
    for i in range(5):
        shutil.copy(run.train_dir / "horses" / f"00{i}.png", validation / "horses" / f"new-{i}.png")
    given = {"validation_dir": str(validation)}
    config = ExportConfig(run_dir=str(run.run_dir), export_dir=str(tmp_path / "bundle"), formats=("float32",))
    target = bundle.export(config, load_trained_model(config, given))
    made = json.loads((target / "metadata.json").read_text())
    assert (made["made_from"]["num_validation"], made["made_from"]["num_validation_missing"]) == (23, 1)
    assert made["files"]["float32"]["check"]["num_images"] == 23
    card = (target / "README.md").read_text()
    assert "of 23 validation images" in card
    assert (
        "the images that training held out, identified by content. 1 other held-out images no longer existed at export"
        in card
    )
    shutil.rmtree(validation)
    shutil.copytree(run.train_dir, validation)
    with pytest.raises(DataError) as caught:
        load_trained_model(ExportConfig(run_dir=str(run.run_dir)), given)
    assert str(caught.value).startswith(
        f"none of the 24 images that the run held out for validation is in {validation}: "
    )


def test_a_run_that_held_nothing_out_is_checked_on_images_given(run: Run, tmp_path: Path) -> None:
    from hh_fast.export.trained_model import load_trained_model

    run_dir = tmp_path / "run"
    shutil.copytree(run.run_dir, run_dir)
    config = json.loads((run_dir / "config.json").read_text())
    config["data"] |= {"validation_dir": None, "validation_split": 0.0, "seed": 7}
    (run_dir / "config.json").write_text(json.dumps(config))
    (run_dir / "held_out.csv").write_text("sha256,class,file\n")
    asked = ExportConfig(run_dir=str(run_dir))
    with pytest.raises(DataError) as caught:
        load_trained_model(asked, {})
    assert str(caught.value) == (
        f"{run_dir} held out no images for validation, so nothing can be checked: give --validation_dir, a folder of images"
        " that it was not trained on"
    )
    trained = load_trained_model(asked, {"validation_dir": str(run.validation_dir)})
    assert (len(trained.validation), trained.num_missing) == (24, 0)
    with pytest.raises(UsageError) as refused:
        load_trained_model(asked, {"validation_split": 0.2})
    assert str(refused.value) == (
        "`validation_split` must be left out if --run_dir is given, as the run has its own split. Received: 0.2"
    )


def test_a_value_given_counts_even_where_it_is_the_default() -> None:
    from hh_fast.export.trained_model import _data_config

    run = DataConfig(seed=7, train_dir="a", validation_split=0.0, cache="disk")
    assert _data_config(run, {"seed": 0, "cache": "auto"}) == DataConfig(train_dir="a", validation_split=0.0)
    assert _data_config(run, {"dataset": "sample"}) == DataConfig(seed=7, cache="disk")
    assert _data_config(DataConfig(dataset="tfds:x"), {"train_dir": "b"}) == DataConfig(train_dir="b")
