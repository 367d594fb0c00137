"""bin/export as it is typed: what goes wrong is one line, and leaves nothing."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small_run import Run

from hh_fast.cli.export import main

pytestmark = pytest.mark.slow

pytest_plugins = ["small_run"]

Out = pytest.CaptureFixture[str]


def data_flags(run: Run) -> list[str]:
    return [f"--train_dir={run.train_dir}", f"--validation_dir={run.validation_dir}"]


def last_line(capsys: Out) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from hh_fast.cli.export import main; main(['--help'])\n"
        "sys.exit(bool({'tensorflow', 'numpy', 'PIL', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for flag in ("--run_dir", "'saved_model,float32,int8'", "--min_agreement"):
        assert flag in done.stdout


def test_a_run(run: Run, tmp_path: Path, capsys: Out) -> None:
    target = tmp_path / "bundle"
    assert main([f"--run_dir={run.run_dir}", f"--export_dir={target}", "--formats=float32"]) == 0
    assert capsys.readouterr().err.splitlines()[-1] == f"Exported to {target}"
    assert (target / "model_float32.tflite").is_file()


def test_the_default_place(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([f"--run_dir={run.run_dir}", "--formats=float32", "--check_images=4"]) == 0
    found = json.loads((tmp_path / "exports" / "horse_or_human" / "metadata.json").read_text())
    assert found["files"]["float32"]["check"]["num_images"] == 4


def test_a_model_from_elsewhere(run: Run, tmp_path: Path) -> None:
    """One that was trained on images scaled to [0, 1], as the recipe's notebooks do it."""
    import keras
    import numpy as np

    inner = keras.models.load_model(run.model)
    layers = [layer for layer in inner.layers if not isinstance(layer, keras.layers.Rescaling)]
    model = keras.Sequential([keras.Input((96, 96, 3)), *layers])
    image = np.random.default_rng(0).random((1, 96, 96, 3), np.float32)
    np.testing.assert_allclose(model(image), inner(image * 255), atol=1e-6)
    model.save(tmp_path / "mine.keras")
    target = tmp_path / "bundle"
    flags = [f"--model={tmp_path / 'mine.keras'}", "--input_max=1", f"--export_dir={target}", *data_flags(run)]
    assert main([*flags, "--formats=float32,saved_model"]) == 0
    for file in json.loads((target / "metadata.json").read_text())["files"].values():
        assert file["check"]["accuracy"] == 1.0


def test_a_failed_gate_is_exit_code_3(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    from hh_fast.export import parity

    monkeypatch.setitem(parity.MAX_DIFFERENCE, "float16", 1e-12)
    target = tmp_path / "bundle"
    assert main([f"--run_dir={run.run_dir}", f"--export_dir={target}", "--formats=float32,float16"]) == 3
    assert last_line(capsys).startswith(f"export: left out of {target}: float16: scores differ by up to ")


def without(run: Run, to: Path, name: str) -> Path:
    shutil.copytree(run.run_dir, to)
    (to / name).unlink()
    return to


def test_an_unfinished_run(run: Run, tmp_path: Path, capsys: Out) -> None:
    run_dir = without(run, tmp_path / "run", "result.json")
    assert main([f"--run_dir={run_dir}"]) == 2
    command = (
        f"bin/train --train_dir={run.train_dir} --validation_dir={run.validation_dir} --image_size=96,96 --cache=memory"
        f" --cache_dir={run.run_dir.parent / 'cache'} --batch_size=16"
    )
    assert last_line(capsys) == (
        f"export: {run_dir} is not a finished run, it has no result.json: let `{command}` finish it, or"
        f" export its best model so far with --model={run_dir / 'model.keras'}"
    )
    run_dir = without(run, tmp_path / "other", "model.keras")
    assert main([f"--run_dir={run_dir}"]) == 2
    assert last_line(capsys) == (
        f"export: {run_dir} is not a finished run, it has no model.keras: let `{command}` finish it"
    )


def test_a_bundle_is_no_run(bundle: Path, tmp_path: Path, capsys: Out) -> None:
    assert main([f"--run_dir={bundle}"]) == 2
    assert last_line(capsys) == (
        f"export: {bundle} is a bundle written by bin/export: give --run_dir the folder of the run"
    )
    assert main([f"--run_dir={tmp_path}"]) == 2
    assert last_line(capsys) == f"export: {tmp_path} is not a run folder, it has no config.json: check the path"


def test_a_damaged_run(run: Run, tmp_path: Path, capsys: Out) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(run.run_dir, run_dir)
    (run_dir / "config.json").write_text("{}")
    assert main([f"--run_dir={run_dir}"]) == 2
    assert last_line(capsys) == (
        f"export: {run_dir / 'config.json'} is damaged or from another version (Object missing required field `data`):"
        " give another --run_dir, or train again with --overwrite"
    )
    shutil.copy(run.run_dir / "config.json", run_dir)
    (run_dir / "model.keras").write_bytes(run.model.read_bytes()[:1000])
    assert main([f"--run_dir={run_dir}"]) == 2
    assert last_line(capsys) == (
        f"export: {run_dir / 'model.keras'} is not a .keras file, or it is truncated: give the Keras model, or copy it again"
    )


# flags without those of the data, exit code, text
MISTAKES = [
    ([], 1, "export: `run_dir` must be given, or --model instead, but not both. Received: None"),
    (["--run_dir=a", "--model=b"], 1, "export: `run_dir` must be given, or --model instead, but not both. Received: a"),
    (
        ["--run_dir=/absent"],
        2,
        "export: no run folder /absent: check the path, or create it with bin/train --run_dir=/absent",
    ),
    (["--model=/absent.keras"], 2, "export: no model /absent.keras: check the path"),
    (
        ["--run_dir=a", "--formats=float32,int4"],
        1,
        "export: `formats` must be a list of saved_model, float32, float16, dynamic, int8, int16x8, or all. Received: int4",
    ),
    (
        ["--run_dir=a", "--input_max=1"],
        1,
        "export: `input_max` must be left out if --run_dir is given. Received: 1.0",
    ),
    (["--model=a", "--input_max=0"], 1, "export: `input_max` must be above 0 and at most 255. Received: 0.0"),
    (["--run_dir=a", "--min_agreement=97"], 1, "export: `min_agreement` must be from 0 to 1. Received: 97.0"),
    (["--run_dir=a", "--check_images=0"], 1, "export: `check_images` must be at least 1. Received: 0"),
    (["--run_dir=a", "--calibration_images=0"], 1, "export: `calibration_images` must be at least 1. Received: 0"),
    (["--run_dir=a", "model.keras"], 1, "export: this command takes flags only. Received: model.keras; see --help"),
]


@pytest.mark.parametrize(("arguments", "code", "text"), MISTAKES)
def test_mistakes_are_one_line(
    arguments: list[str],
    code: int,
    text: str,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Out,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*arguments, *data_flags(run)]) == code
    assert capsys.readouterr().err.splitlines() == [text]
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_keras_model(run: Run, bundle: Path, capsys: Out) -> None:
    path = bundle / "model_float32.tflite"
    assert main([f"--model={path}", *data_flags(run)]) == 2
    assert last_line(capsys) == (
        f"export: {path} is not a .keras file, or it is truncated: give the Keras model, or copy it again"
    )


def save_keras(path: Path, size: int, *layers: object) -> Path:
    import keras

    keras.Sequential([keras.Input((size, size, 3)), keras.layers.Flatten(), *layers]).save(path)
    return path


def test_a_model_that_does_not_fit_the_data(run: Run, tmp_path: Path, capsys: Out) -> None:
    import keras

    path = save_keras(tmp_path / "three.keras", 8, keras.layers.Dense(3, activation="softmax"))
    assert main([f"--model={path}", *data_flags(run)]) == 2
    assert last_line(capsys) == (
        f"export: {path} has 3 classes, but {run.train_dir} has 2, horses, humans: give the images that it was"
        " trained on"
    )
    path = save_keras(tmp_path / "linear.keras", 8, keras.layers.Dense(1))
    assert main([f"--model={path}", f"--export_dir={tmp_path / 'b'}", *data_flags(run)]) == 2
    assert last_line(capsys).startswith(f"export: the last layer of {path} is neither one sigmoid unit nor a softmax")
    assert not (tmp_path / "b").exists()


def test_another_image_size_than_the_models(run: Run, capsys: Out) -> None:
    assert main([f"--run_dir={run.run_dir}", "--image_size=100,100"]) == 1
    assert last_line(capsys) == ("export: `image_size` must be the model's own, 96,96, or left out. Received: 100,100")


def test_no_validation_images(run: Run, capsys: Out) -> None:
    flags = [f"--model={run.model}", f"--train_dir={run.train_dir}", "--validation_split=0"]
    assert main(flags) == 2
    assert last_line(capsys) == (
        f"export: no validation images for {run.train_dir}, so nothing can be checked: give --validation_dir instead of"
        " --validation_split=0"
    )


def test_an_unwritable_target(run: Run, tmp_path: Path, capsys: Out) -> None:
    (tmp_path / "file").touch()
    assert main([f"--run_dir={run.run_dir}", f"--export_dir={tmp_path / 'file' / 'bundle'}"]) == 2
    assert last_line(capsys).startswith(f"export: Not a directory: {tmp_path / 'file' / 'bundle'}; ")


FULL_DISK = """
import resource, sys
from hh_fast.cli.export import main
from hh_fast.io.quiet import import_tensorflow
import_tensorflow()
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("formats", ["saved_model", "float32"])
def test_a_disk_that_takes_no_more(formats: str, run: Run, tmp_path: Path) -> None:
    """A limit on file sizes stands for the full disk: it too stops TensorFlow and Python in the middle of a write."""
    target = tmp_path / "exports" / "bundle"
    command = [
        sys.executable,
        "-c",
        FULL_DISK,
        f"--run_dir={run.run_dir}",
        f"--export_dir={target}",
        f"--formats={formats}",
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"TMPDIR": str(tmp_path)}
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"export: {os.strerror(errno.EFBIG)}: {target}")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
