"""bin/predict as it is typed."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from picture_table import PICTURES, write_pictures
from small_run import CLASS_NAMES, Run

from hh_fast.cli.predict import main

pytest_plugins = ["small_run"]

Out = pytest.CaptureFixture[str]


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from hh_fast.cli.predict import main; main(['--help'])\n"
        "sys.exit(bool({'tensorflow', 'numpy', 'PIL', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--model" in done.stdout
    assert "held_out: " in done.stdout


def test_one_line_an_image(bundle: Path, run: Run, capsys: Out) -> None:
    image = str(run.validation_dir / "humans" / "003.png")
    assert main([f"--model={bundle / 'model_float32.tflite'}", image]) == 0
    path, _, said = capsys.readouterr().out.rstrip("\n").rpartition(": ")
    assert path == image
    name, score = said.split()
    assert name == "humans"
    assert 0.5 < float(score) <= 1
    assert len(score) == 5


def test_a_folder_of_classes_is_scored(bundle: Path, run: Run, capsys: Out) -> None:
    assert main([f"--model={bundle / 'model_int8.tflite'}", "--top=2", str(run.validation_dir)]) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert len(lines) == 24
    assert lines[0].startswith(f"{run.validation_dir / 'horses' / '000.png'}: horses 0.")
    assert ", humans 0." in lines[0]
    assert captured.err.splitlines() == [
        "accuracy 1.0000 (24 of 24)",
        "| true \\ predicted | horses | humans |",
        "| ---------------- | -----: | -----: |",
        "| horses           |     12 |      0 |",
        "| humans           |      0 |     12 |",
    ]


def test_images_that_the_run_trained_on_are_told_and_left_out_where_asked(
    run: Run, tmp_path: Path, capsys: Out
) -> None:
    both = tmp_path / "both"
    shutil.copytree(run.validation_dir, both)
    for name in CLASS_NAMES:
        shutil.copy(run.train_dir / name / "000.png", both / name / "trained.png")
    assert main([f"--model={run.run_dir}", str(run.train_dir)]) == 0
    assert (
        "The model was trained on 64 of these 64 images, so the accuracy is too high for new ones: --held_out classifies only"
        " the images that the run held out" in capsys.readouterr().err.splitlines()
    )
    assert main([f"--model={run.model}", "--held_out", str(both)]) == 0
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 24
    assert "trained.png" not in captured.out
    assert "was trained on" not in captured.err
    assert main([f"--model={run.run_dir}", "--held_out", str(run.train_dir)]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "predict: none of these images was held out for validation by the run: give the folder that it was trained on"
    )


def test_only_a_run_knows_what_it_held_out(bundle: Path, run: Run, capsys: Out) -> None:
    assert main([f"--model={bundle / 'model_int8.tflite'}", "--held_out", str(run.validation_dir)]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "predict: `held_out` must be left out if --model does not belong to a run folder. Received: True"
    )


def test_a_format_that_the_bundle_does_not_have(bundle: Path, tmp_path: Path, capsys: Out) -> None:
    shutil.copy(bundle / "model_float32.tflite", tmp_path)
    path = tmp_path / "model_int8.tflite"
    assert main([f"--model={path}", "x.png"]) == 2
    assert capsys.readouterr().err == f"predict: no model {path}: its folder has model_float32.tflite\n"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The guide's table of formats as pictures."""
    root = tmp_path_factory.mktemp("table")
    write_pictures(root)
    return root


def test_with_and_without_tensorflow_files_are_read_alike(bundle: Path, run: Run, table: Path, capsys: Out) -> None:
    said = {}
    for model in (run.model, bundle / "model_float32.tflite"):
        assert main([f"--model={model}", "--json", "--max_image_pixels=10000", str(table)]) == 2
        captured = capsys.readouterr()
        assert "Left out 6 files: .tif (4), .svg (2)" in captured.err.splitlines()
        said[model.suffix] = [json.loads(line) for line in captured.out.splitlines()]
    for one, other in zip(said[".keras"], said[".tflite"], strict=True):
        assert one["path"] == other["path"]
        assert (one["error"], one["class"]) == (other["error"], other["class"])
        assert one["score"] == (one["score"] and pytest.approx(other["score"], abs=1e-4))
    assert len(said[".keras"]) == 2 * len(PICTURES)


def test_json_lines(bundle: Path, run: Run, tmp_path: Path, capsys: Out) -> None:
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    model = f"--model={bundle / 'model_float32.tflite'}"
    assert main([model, "--json", "--top=2", str(run.validation_dir), str(bad)]) == 2
    *rows, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert len(rows) == 24
    assert {tuple(row) for row in (*rows, last)} == {("path", "label", "class", "score", "top", "error")}
    assert rows[0]["path"] == str(run.validation_dir / "horses" / "000.png")
    assert rows[0]["label"] == rows[0]["class"] == rows[0]["top"][0]["class"] == "horses"
    assert sum(entry["score"] for entry in rows[0]["top"]) == pytest.approx(1, abs=1e-5)
    assert {key: value for key, value in last.items() if value} == {
        "path": str(bad),
        "error": f"{bad}: not a PNG, JPEG, WebP, HEIC, AVIF, BMP or GIF image",
    }


def test_csv(bundle: Path, run: Run, tmp_path: Path, capsys: Out) -> None:
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    model = f"--model={bundle / 'model_float32.tflite'}"
    assert main([model, "--csv", "--top=9", str(run.validation_dir), str(bad)]) == 2
    captured = capsys.readouterr()
    header, *rows, last = csv.reader(io.StringIO(captured.out))
    assert header == ["path", "label", "class", "score", "class_2", "score_2", "error"]
    assert len(rows) == 24
    assert {len(row) for row in rows} == {7}
    assert {row[1] for row in rows} == {row[2] for row in rows} == set(CLASS_NAMES)
    assert last == [str(bad), "", "", "", "", "", f"{bad}: not a PNG, JPEG, WebP, HEIC, AVIF, BMP or GIF image"]
    assert "accuracy 1.0000 (24 of 24)" in captured.err


def test_unreadable_files_are_named_and_the_rest_goes_on(bundle: Path, run: Run, tmp_path: Path, capsys: Out) -> None:
    bad = tmp_path / "line\nbreak.png"
    bad.write_text("no image")
    image = str(run.validation_dir / "humans" / "000.png")
    arguments = [f"--model={bundle / 'model_float32.tflite'}", str(bad), str(tmp_path / "absent.png"), image]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [
        f"predict: {tmp_path}/line\\nbreak.png: not a PNG, JPEG, WebP, HEIC, AVIF, BMP or GIF image",
        f"predict: {tmp_path / 'absent.png'}: No such file or directory",
        "predict: 2 of 3 images could not be read, see above",
    ]
    assert captured.out.startswith(f"{image}: humans ")


def predict(*arguments: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    code = "import sys; from hh_fast.cli.predict import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", code, *arguments], input=stdin, capture_output=True, check=False)


def test_paths_on_standard_input(bundle: Path, run: Run, tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/not utf-8 \xff.png"
    Path(os.fsdecode(odd)).write_bytes((run.validation_dir / "humans" / "000.png").read_bytes())
    done = predict(f"--model={bundle / 'model_int8.tflite'}", "-", stdin=odd + b"\n")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(os.fsencode(tmp_path) + rb"/not utf-8 \udcff.png: humans 0.")


def test_a_reader_that_has_seen_enough(bundle: Path, run: Run) -> None:
    code = "import sys; from hh_fast.cli.predict import main; sys.exit(main())"
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = [sys.executable, "-c", code, f"--model={bundle / 'model_int8.tflite'}", str(run.validation_dir)]
    done = subprocess.run(command, stdout=write_end, stderr=subprocess.PIPE, check=False)
    os.close(write_end)
    assert (done.returncode, done.stderr) == (141, b"")


def test_progress_on_a_terminal(
    bundle: Path, run: Run, capsys: Out, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main([f"--model={bundle / 'model_int8.tflite'}", str(run.validation_dir)]) == 0
    assert "\r24 images [" in capsys.readouterr().err


def test_bytes_signature(bundle: Path, run: Run, capsys: Out) -> None:
    assert main([f"--model={bundle / 'saved_model'}", "--signature=bytes", str(run.validation_dir)]) == 0
    assert "accuracy 1.0000 (24 of 24)" in capsys.readouterr().err


# arguments without the model, exit code, text
MISTAKES = [
    (
        [],
        1,
        "predict: `image` must be given: a file, a folder, a glob, or - for paths on standard input. Received: nothing",
    ),
    (["--top=0", "x.png"], 1, "predict: `top` must be at least 1. Received: 0"),
    (["--json", "--csv", "x.png"], 1, "predict: `csv` must be left out if --json is given. Received: True"),
    (["--batch_size=0", "x.png"], 1, "predict: `batch_size` must be at least 1. Received: 0"),
    (
        ["--signature=text", "x.png"],
        1,
        "predict: `signature` must be one of pixels, bytes. Received: text",
    ),
    (
        ["/absent/*.png"],
        1,
        "predict: `image` must be a PNG, JPEG, WebP, HEIC, AVIF, BMP or GIF file, a folder or glob of them, or - for paths on standard input."
        " Received only: /absent/*.png",
    ),
    (
        ["--signature=bytes", "/absent.png"],
        2,
        "predict: {model} takes no encoded images: leave out --signature=bytes",
    ),
]


@pytest.mark.parametrize(("arguments", "code", "text"), MISTAKES)
def test_mistakes_are_one_line(arguments: list[str], code: int, text: str, bundle: Path, capsys: Out) -> None:
    model = bundle / "model_int8.tflite"
    assert main([f"--model={model}", *arguments]) == code
    assert capsys.readouterr().err.splitlines() == [text.format(model=model)]


def test_no_model(capsys: Out) -> None:
    assert main(["x.png"]) == 1
    assert capsys.readouterr().err == (
        "predict: `model` must be given: a .tflite or .keras file, a run folder or a SavedModel folder. Received: nothing\n"
    )
