"""bin/train end to end: a run, its folder, its refusals, and resume to the bit."""

import concurrent.futures
import contextlib
import csv
import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from hh_fast.cli.train import main
from hh_fast.errors import UsageError
from hh_fast.io.output_folder import MARKER
from hh_fast.training import checkpoint, report
from hh_fast.training import run as run_files
from hh_fast.training import train as train_module
from hh_fast.training.loop import Loop, StoppedError
from hh_fast.training.step import Result, Trainer
from hh_fast.training.train import train

MakeImages = Callable[..., Path]
TIMINGS = {"images_per_second", "input_wait", "seconds"}


@pytest.fixture
def flags(make_images: MakeImages, tmp_path: Path) -> list[str]:
    """Three epochs of three steps on small images."""
    train = make_images("train", {"horses": 13, "humans": 13})
    validation = make_images("validation", {"horses": 5, "humans": 5}, seed=1)
    return [
        f"--train_dir={train}",
        f"--validation_dir={validation}",
        f"--cache_dir={tmp_path / 'cache'}",
        f"--run_dir={tmp_path / 'run'}",
        "--image_size=96,96",
        "--batch_size=8",
        "--epochs=3",
    ]


def rows(run_dir: Path) -> list[dict[str, str]]:
    with (run_dir / "history.csv").open() as file:
        return list(csv.DictReader(file))


def outcome(run_dir: Path) -> tuple[list[dict[str, str]], list[np.ndarray], list[np.ndarray]]:
    """What two equal runs agree on to the bit: history without its timings, and the weights of both models."""
    history = [{name: value for name, value in row.items() if name not in TIMINGS} for row in rows(run_dir)]
    models = [keras.saving.load_model(run_dir / name) for name in ("model.keras", "last.keras")]
    return history, models[0].get_weights(), models[1].get_weights()


def assert_same(one: Path, other: Path) -> None:
    (history, *weights), (other_history, *other_weights) = outcome(one), outcome(other)
    assert history == other_history
    for mine, theirs in zip(weights, other_weights, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


def elsewhere(flags: list[str], run_dir: Path) -> list[str]:
    return [*(flag for flag in flags if not flag.startswith("--run_dir")), f"--run_dir={run_dir}"]


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().err.splitlines()
    assert not any(line.startswith("Traceback") for line in lines)
    return lines[-1]


def test_a_run_and_all_that_it_leaves(flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir = tmp_path / "run"
    assert main([*flags, "--precision=float32"]) == 0
    log = capsys.readouterr().err
    assert "Cache: memory (1 MB decoded, less than half of the" in log
    assert "Images: 26 for training, 10 for validation; classes horses, humans" in log
    assert "Precision float32 (set by --precision); XLA off (slower than oneDNN's" in log
    assert "Compiled step: convolutions in float32, no XLA; 8 images per step, 3 steps per epoch" in log
    assert "Few steps per epoch: the model may underfit; try a smaller --batch_size, or more --epochs" in log
    assert "Epoch 3/3: loss " in log
    assert log.splitlines()[-1] == f"Next: bin/export --run_dir={run_dir}"
    assert " images/s, input wait " in log
    expected = {
        "README.md", "config.json", "confusion.png", "curves.png", "held_out.csv", "history.csv", "last.keras", "model.keras",
        "result.json", "tensorboard", "worst.png", "checkpoints",
    }  # fmt: skip
    assert {path.name for path in run_dir.iterdir()} == expected | {MARKER}
    history = rows(run_dir)
    assert [row["epoch"] for row in history] == ["1", "2", "3"]
    assert set(history[0]) == {"epoch", "loss", "accuracy", "val_loss", "val_accuracy"} | TIMINGS
    config = json.loads((run_dir / "config.json").read_text())
    assert (config["class_names"], config["head"], config["train"]["epochs"]) == (["horses", "humans"], "sigmoid", 3)
    for name in ("curves.png", "confusion.png", "worst.png"):
        with Image.open(run_dir / name) as picture:
            assert min(picture.size) > 200
    card = (run_dir / "README.md").read_text()
    result = json.loads((run_dir / "result.json").read_text())
    assert float(history[result["best_epoch"] - 1]["val_accuracy"]) == result["val_accuracy"]
    assert f"**{result['val_accuracy']:.4f}**" in card
    assert "bin/train --train_dir=" in card
    assert len(list((run_dir / "tensorboard").iterdir())) == 1


@pytest.mark.slow
def test_a_small_folder_needs_no_flags(
    make_images: MakeImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    root = make_images("pictures", {"x": 11, "y": 11}, size=(96, 96))
    flags = ["--image_size=96,96", "--epochs=2", "--cache_dir=cache", "--precision=mixed_bfloat16"]
    assert main(["--train_dir=pictures", *flags]) == 0
    log = capsys.readouterr().err
    assert "Batch size 2 instead of 128, as there are only 18 training images (--batch_size, --epochs)" in log
    run_dir = tmp_path / "runs" / "pictures"
    config = json.loads((run_dir / "config.json").read_text())
    assert config["data"]["train_dir"] == str(root)
    with (run_dir / "held_out.csv").open() as file:
        held = [(row["sha256"], row["class"], Path(row["file"])) for row in csv.DictReader(file)]
    assert [name for _, name, _ in held] == ["x", "x", "y", "y"]
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == sha256 for sha256, _, path in held)
    model = keras.saving.load_model(run_dir / "model.keras")
    images = np.stack([np.asarray(Image.open(path), np.float32) for *_, path in held])
    right = (model.predict(images, verbose=0)[:, 0] > 0.5) == [name == "y" for _, name, _ in held]
    assert f"**{right.mean():.4f}**, {right.sum()} of 4 images" in (run_dir / "README.md").read_text()
    assert json.loads((run_dir / "result.json").read_text())["val_accuracy"] == right.mean()


@pytest.mark.slow
def test_what_is_told_of_the_model_is_measured_on_its_file(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Here the file calls everything the second class, whatever the step thought."""
    real = train_module.save_portable

    def save_other(model: keras.Sequential, path: Path) -> None:
        weights = model.get_weights()
        model.set_weights([*weights[:-1], np.full_like(weights[-1], 1e6)])
        real(model, path)
        model.set_weights(weights)

    monkeypatch.setattr(train_module, "save_portable", save_other)
    assert main([*flags, "--epochs=2"]) == 0
    log = capsys.readouterr().err
    best = json.loads((tmp_path / "run" / "result.json").read_text())["best"]["val_accuracy"]
    assert f"(val_accuracy 0.5000, measured on the saved file; {best:.4f} during training, in " in log
    assert "1 of 2 classes are never predicted: horses" in log
    assert "An accuracy of 0.500 is hardly better than guessing" in log
    assert "**0.5000**, 5 of 10 images" in (tmp_path / "run" / "README.md").read_text()


@pytest.mark.slow
def test_the_saved_model_is_plain_float32_keras(flags: list[str], tmp_path: Path) -> None:
    assert main([*flags, "--precision=mixed_bfloat16", "--epochs=1"]) == 0
    model = keras.saving.load_model(tmp_path / "run" / "model.keras")
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}
    assert model(np.zeros((2, 96, 96, 3), np.uint8)).shape == (2, 1)


class Interrupt(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize(
    ("steps", "extra"),
    [
        (1, ["--checkpoint_every_steps=1"]),
        (4, ["--checkpoint_every_steps=1", "--augment", "--cache=disk"]),
        (5, ["--checkpoint_every_steps=2", "--precision=mixed_bfloat16", "--cache=none"]),
        (6, ["--optimizer=adam", "--learning_rate_schedule=cosine", "--warmup_steps=2", "--class_weight=balanced"]),
        (7, []),
    ],
    ids=["first epoch", "mid-epoch, augmented", "before the checkpoint", "at an epoch's end, scheduled", "epochs only"],
)
def test_a_run_cut_off_anywhere_ends_as_if_it_had_not_been(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int, extra: list[str]
) -> None:
    flags = [*flags, *extra]
    assert main(elsewhere(flags, tmp_path / "whole")) == 0
    real, done = Loop._run_step, iter(range(100))

    def cut_off(self: Loop, *args: Any) -> None:
        if next(done) == steps:
            raise Interrupt
        real(self, *args)

    monkeypatch.setattr(Loop, "_run_step", cut_off)
    with pytest.raises(Interrupt):
        main(flags)
    monkeypatch.setattr(Loop, "_run_step", real)
    assert main(flags) == 0
    assert_same(tmp_path / "whole", tmp_path / "run")


def test_a_run_cut_off_while_it_ends_leaves_nothing_behind(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = checkpoint.keep_last

    def cut_off(folder: Path, number: int = 1, *, best_epoch: int = 0) -> None:
        if number == 1:
            raise Interrupt
        real(folder, number, best_epoch=best_epoch)

    flags = [*flags, "--epochs=1", "--checkpoint_every_steps=2"]
    monkeypatch.setattr(checkpoint, "keep_last", cut_off)
    with pytest.raises(Interrupt):
        main(flags)
    monkeypatch.setattr(checkpoint, "keep_last", real)
    assert main(flags) == 0
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["epoch000001-step00000000.npz"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_a_checkpoint_and_says_where(
    flags: list[str], tmp_path: Path, number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    def soon() -> None:
        while not (tmp_path / "run" / "history.csv").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    threading.Thread(target=soon, daemon=True).start()
    assert main([*flags, "--epochs=400"]) == 128 + number
    line = last_line(capsys)
    assert line.startswith(f"train: stopped by {number.name} at epoch ")
    assert line.endswith("; repeat the command to resume from there")
    assert list((tmp_path / "run" / "checkpoints").iterdir())
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_signal_whose_exception_was_lost_before_the_first_step_stops_the_run_too(
    flags: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = Trainer.describe_step

    def passed_over(self: Trainer) -> str:
        with contextlib.suppress(SystemExit):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        return real(self)

    monkeypatch.setattr(Trainer, "describe_step", passed_over)
    assert main([*flags, "--epochs=400"]) == 143
    assert last_line(capsys).startswith("train: stopped by SIGTERM at epoch 1, step 2 of ")


@pytest.mark.slow
def test_a_finished_run_is_kept_until_told_otherwise(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "run"
    assert main([*flags, "--epochs=1"]) == 0
    before = (run_dir / "model.keras").read_bytes()
    assert main([*flags, "--epochs=1"]) == 0
    assert (
        last_line(capsys)
        == f"The run in {run_dir} is finished, nothing to do; more --epochs (or another --early_stopping_patience) continue it,"
        " --overwrite starts over"
    )
    assert main([*flags, "--epochs=1", "--seed=3", "--learning_rate=0.01"]) == 1
    message = f"train: `run_dir` {run_dir} holds a run with other settings: seed was 0 and is 3; learning_rate was 0.001 and is"
    assert last_line(capsys).startswith(message)
    assert (run_dir / "model.keras").read_bytes() == before
    assert main([*flags, "--epochs=1", "--seed=3", "--overwrite"]) == 0
    assert (run_dir / "model.keras").read_bytes() != before


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        (["--train_dir=/nowhere/at/all"], 2),
        (["--batch_size=27"], 1),
        (["--head=softmax", "--validation_dir=/nowhere/at/all"], 2),
        (["extra"], 1),
    ],
)
def test_a_refused_command_overwrites_nothing_and_leaves_nothing(
    flags: list[str], tmp_path: Path, extra: list[str], code: int
) -> None:
    run = run_files.output_folder(tmp_path / "run")
    run.path.mkdir()
    run.record("model.keras", "result.json", "config.json")
    for name in ("model.keras", "result.json", "config.json"):
        (run.path / name).write_text("{}")
    assert main([*flags, "--overwrite", *extra]) == code
    assert {path.name for path in run.path.iterdir()} == {"model.keras", "result.json", "config.json", MARKER}
    assert main([*elsewhere(flags, tmp_path / "runs" / "new"), *extra]) == code
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_more_epochs_go_on_with_a_finished_run_as_if_asked_for_at_once(flags: list[str], tmp_path: Path) -> None:
    assert main([*elsewhere(flags, tmp_path / "whole"), "--epochs=3"]) == 0
    for epochs in (1, 3):
        assert main([*flags, f"--epochs={epochs}"]) == 0
    assert_same(tmp_path / "whole", tmp_path / "run")
    assert json.loads((tmp_path / "run" / "config.json").read_text())["train"]["epochs"] == 3
    assert main([*flags, "--epochs=2"]) == 1


def test_a_cosine_schedule_ends_with_the_run(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*flags, "--learning_rate_schedule=cosine"]
    assert main([*flags, "--epochs=1", "--profile_steps=2,3"]) == 0
    assert list((tmp_path / "run" / "profile").rglob("*.xplane.pb"))
    assert "--learning_rate_schedule=cosine" in (tmp_path / "run" / "README.md").read_text()
    assert main([*flags, "--epochs=2"]) == 1
    assert last_line(capsys) == (
        f"train: `run_dir` {tmp_path / 'run'} holds a run with other settings: epochs was 1 and is 2, on which the cosine learning rate"
        " schedule depends. Give another --run_dir, the same settings, or --overwrite"
    )


@pytest.mark.slow
def test_a_run_without_a_better_epoch_ends_early_and_ends_alike_when_it_goes_on(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [*flags, "--optimizer=sgd", "--learning_rate=1e-30", "--early_stopping_patience=2"]
    assert main([*flags, "--epochs=2"]) == 0
    assert main([*flags, "--epochs=9"]) == 0
    assert [row["epoch"] for row in rows(tmp_path / "run")] == ["1", "2", "3"]
    assert "No better epoch in the last 2: stopping early (--early_stopping_patience)" in capsys.readouterr().err
    config = (tmp_path / "run" / "config.json").read_bytes()
    for same in (flags, [*flags, "--early_stopping_patience=1"]):
        assert main([*same, "--epochs=9"]) == 0
        assert "is finished, nothing to do" in last_line(capsys)
    assert (tmp_path / "run" / "config.json").read_bytes() == config
    assert main([*flags, "--early_stopping_patience=3", "--epochs=9"]) == 0
    assert len(rows(tmp_path / "run")) == 4
    assert main([*flags, "--epochs=10"]) == 0  # more epochs: as much patience again
    assert len(rows(tmp_path / "run")) == 6
    assert json.loads((tmp_path / "run" / "config.json").read_text())["train"]["epochs"] == 10
    assert main([flag for flag in flags if "patience" not in flag] + ["--epochs=7"]) == 1
    assert main([flag for flag in flags if "patience" not in flag] + ["--epochs=10"]) == 0
    assert len(rows(tmp_path / "run")) == 10


@pytest.mark.slow
def test_a_run_that_went_on_after_an_early_end_and_was_cut_off_goes_on_again(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = [*flags, "--optimizer=sgd", "--learning_rate=1e-30", "--early_stopping_patience=1"]
    assert main([*flags, "--epochs=5"]) == 0
    assert len(rows(tmp_path / "run")) == 2

    def cut_off(_: Loop) -> None:
        raise Interrupt

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "run", cut_off)
        with pytest.raises(Interrupt):
            main([*flags, "--epochs=6"])
    assert main([*flags, "--epochs=6"]) == 0
    assert len(rows(tmp_path / "run")) == 3


def test_a_report_that_fails_costs_no_result(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise MemoryError("no room for a picture")

    monkeypatch.setattr(report, "draw_confusion", fails)
    assert main([*flags, "--epochs=1"]) == 0
    text = f"The report in {tmp_path / 'run'} is incomplete (MemoryError: no room for a picture)"
    assert text in capsys.readouterr().err
    assert json.loads((tmp_path / "run" / "result.json").read_text())["best_epoch"] == 1


@pytest.mark.slow
def test_many_classes_leave_a_report_of_bounded_size(
    make_images: MakeImages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = make_images("many", {f"class {i}": 3 for i in range(60)})
    flags = [f"--train_dir={train}", f"--run_dir={tmp_path / 'run'}", "--image_size=96,96", "--epochs=1"]
    assert main([*flags, "--steps_per_epoch=1"]) == 0
    log = capsys.readouterr().err
    assert "classes class 0, class 1, class 10, " in log
    assert " and 50 more" in log
    assert max(map(len, log.splitlines())) < 400
    assert (tmp_path / "run" / "README.md").stat().st_size < 8_000
    with Image.open(tmp_path / "run" / "confusion.png") as picture:
        assert max(picture.size) < 2000


@pytest.mark.slow
def test_a_run_that_was_stopped_as_it_validated_says_so(
    flags: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = Trainer.evaluate

    def stopped(self: Trainer, rounds: Any, pending: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        while not pending:
            time.sleep(0.01)
        return real(self, rounds, pending)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "evaluate", stopped)
        assert main([*flags, "--epochs=1"]) == 143
    capsys.readouterr()
    assert main([*flags, "--epochs=1"]) == 0
    log = capsys.readouterr().err
    assert "at epoch 1, its validation" in log
    (epoch,) = (line for line in log.splitlines() if line.startswith("Epoch 1/1"))
    assert "val_accuracy" in epoch
    assert "images/s" not in epoch


@pytest.mark.slow
def test_weighted_classes_are_validated_by_the_balanced_accuracy(flags: list[str], tmp_path: Path) -> None:
    assert main([*flags, "--epochs=2", "--class_weight=balanced"]) == 0
    for row in rows(tmp_path / "run"):  # as many of each class: both are one
        assert float(row["val_balanced_accuracy"]) == pytest.approx(float(row["val_accuracy"]))


@pytest.mark.slow
def test_the_library_trains_in_a_thread_and_leaves_signals_alone(
    make_images: MakeImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    settings = {
        "train_dir": str(make_images("train", {"horses": 13, "humans": 13})),
        "run_dir": str(tmp_path / "run"),
        "image_size": (96, 96),
        "batch_size": 8,
        "epochs": 2,
    }
    real, done = Loop._finish_steps, iter(range(100))

    def interrupted(self: Loop, *args: Any, **options: Any) -> None:
        real(self, *args, **options)
        if next(done) == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_finish_steps", interrupted)
        with pytest.raises(StoppedError, match="stopped by SIGINT at epoch 1, step 2 of 2; repeat the"):
            train(**settings)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        run = pool.submit(train, **settings).result()
    train(**(settings | {"run_dir": str(tmp_path / "whole")}))
    assert_same(tmp_path / "whole", tmp_path / "run")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert (run.run_dir, run.class_names) == (tmp_path / "run", ("horses", "humans"))
    assert [row["epoch"] for row in run.history] == [1, 2]
    assert run.model(np.zeros((2, 96, 96, 3), np.float32)).shape == (2, 1)
    with pytest.raises(UsageError, match="unknown setting `epoch`; choose from augment, "):
        train(epoch=3)


@pytest.mark.slow
def test_other_images_cannot_go_on_with_a_run(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*flags, "--epochs=1"]) == 0
    (tmp_path / "run" / "result.json").unlink()
    (tmp_path / "train" / "horses" / "000.png").unlink()
    assert main([*flags, "--epochs=1"]) == 2
    counts = "26 for training and 10 for validation, now 25 for training and 10 for validation"
    assert f"{tmp_path / 'run'} cannot be resumed: the images changed ({counts}). Restore" in last_line(capsys)


def test_two_runs_cannot_share_a_folder(flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with run_files.output_folder(tmp_path / "run").held():
        assert main(flags) == 2
    assert (
        last_line(capsys)
        == f"train: another process is writing to {tmp_path / 'run'}: wait for it, or give another --run_dir"
    )


def test_a_folder_of_other_things_is_left_alone(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    for extra in ([], ["--overwrite"]):
        assert main([*flags, *extra]) == 1
        assert "must be new, empty or a run folder" in last_line(capsys)
    assert (tmp_path / "run" / "thesis.tex").read_text() == "years of work"


@pytest.mark.slow
def test_a_run_leaves_other_peoples_files_where_they_are(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "run"
    flags = [*flags, "--epochs=1", "--profile_steps=1,2"]
    assert main(flags) == 0
    theirs = [
        run_dir / name for name in ("thesis.tex", "tensorboard/old/events", "checkpoints/best.npz", "profile/mine")
    ]
    for path in theirs:
        path.parent.mkdir(exist_ok=True)
        path.write_text("years of work")
    ours = {path for path in run_dir.rglob("*") if path.is_file()} - set(theirs)
    assert main([*flags, "--seed=3", "--overwrite"]) == 0
    assert [path.read_text() for path in theirs] == ["years of work"] * 4
    assert len({path for path in run_dir.rglob("*") if path.is_file()} - set(theirs)) == len(ours)
    (run_dir / "result.json").unlink()
    marker = json.loads((run_dir / MARKER).read_text())
    (run_dir / MARKER).write_text(
        json.dumps(marker | {"files": [name for name in marker["files"] if name != "README.md"]})
    )
    (run_dir / "README.md").write_text("my notes on this run")
    for extra in (["--seed=3"], ["--overwrite"]):
        assert main([*flags, *extra]) == 1
        assert "not contain files of yours with names that a run writes" in last_line(capsys)
    assert (run_dir / "README.md").read_text() == "my notes on this run"


def test_a_loss_that_is_no_number_stops_the_run(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*flags, "--optimizer=sgd", "--learning_rate=1e30", "--checkpoint_every_steps=1"]) == 4
    line = last_line(capsys)
    assert "of epoch 1 (step " in line
    assert line.endswith("try a lower --learning_rate. The last checkpoint is kept")


@pytest.mark.parametrize("diverged", [2, 3, 5])
def test_the_step_that_diverged_is_named_though_losses_are_looked_at_late(
    flags: list[str], diverged: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, started, looked = Trainer.start_step, [], []

    def start_step(self: Trainer, *batch: Any) -> tf.Tensor:
        started.append(len(looked))
        loss = real(self, *batch)
        return loss if len(started) != diverged else loss * float("nan")

    finish = Trainer.finish_step
    monkeypatch.setattr(Trainer, "start_step", start_step)
    monkeypatch.setattr(Trainer, "finish_step", lambda self, *step: looked.append(step) or finish(self, *step))
    assert main(flags) == 4
    epoch, step = divmod(diverged - 1, 3)
    assert last_line(capsys).startswith(
        f"train: the loss is nan at step {step + 1} of epoch {epoch + 1} (step {diverged} of the run); try a lower"
    )
    assert started[:3] == [0, 0, 1]  # the second step starts before the first one's loss is waited for


def test_a_last_step_that_diverged_does_not_replace_the_best_model(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = [flag for flag in flags if not flag.startswith("--validation_dir")]
    real, started = Trainer.start_step, []

    def start_step(self: Trainer, *batch: Any) -> tf.Tensor:
        loss = real(self, *batch)
        started.append(loss)
        if len(started) == 6:
            self.model.layers[-1].bias.assign([float("nan")])
        return loss

    monkeypatch.setattr(Trainer, "start_step", start_step)
    monkeypatch.setattr(Trainer, "train_result", lambda self: Result(1 / len(started), len(started) / 100))
    assert main([*plain, "--validation_split=0"]) == 4
    assert "the weights are NaN or infinite after step 3 of epoch 2" in last_line(capsys)
    kept = keras.saving.load_model(tmp_path / "run" / "model.keras")
    assert all(np.isfinite(weight).all() for weight in kept.get_weights())


@pytest.mark.parametrize(
    ("extra", "code", "message"),
    [
        (["--batch_size=27"], 1, "`batch_size` must be at most the number of training images, 26. Received: 27"),
        (
            ["--image_size=93,200"],
            1,
            "`image_size` must be at least 94,94: five 3 x 3 convolutions and 2 x 2 poolings leave nothing of a smaller image."
            " Received: 93,200",
        ),
        (["--train_dir=/nowhere/at/all"], 2, "no folder /nowhere/at/all: check the path"),
        (["--require_gpu"], 1, "`require_gpu` is set, but no GPU can be used: "),
        (["extra"], 1, "this command takes flags only. Received: extra; see --help"),
        (["--profile_steps=3,2"], 1, "`profile_steps` must be two numbers, first,last, from 1. Received: 3,2"),
    ],
)
def test_what_cannot_be_trained(
    flags: list[str], extra: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*flags, *extra]) == code
    assert last_line(capsys).startswith(f"train: {message}")


def test_a_run_folder_in_place_of_which_a_file_stands(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").write_text("")
    assert main(flags) == 1
    assert last_line(capsys) == f"train: `run_dir` must be a folder. Received: {tmp_path / 'run'}, a file"


@pytest.mark.slow
def test_three_classes_take_a_softmax(
    make_images: MakeImages, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [
        f"--train_dir={make_images('three', {'a': 8, 'b': 8, 'c': 8})}",
        f"--run_dir={tmp_path / 'run'}",
        "--image_size=96,96",
        "--batch_size=8",
        "--epochs=1",
        "--steps_per_epoch=1",
    ]
    assert main([*flags, "--head=sigmoid"]) == 1
    assert last_line(capsys) == "train: `head` must be softmax for 3 classes. Received: sigmoid"
    assert main([*flags, "--overwrite"]) == 0
    assert keras.saving.load_model(tmp_path / "run" / "model.keras").output_shape == (None, 3)


@pytest.mark.slow
def test_gpu_flags_train_here_too_with_one_warning(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flagfile = Path(__file__).parent.parent / "gpu.flags"
    assert main([f"--flagfile={flagfile}", *flags, "--epochs=1", "--validation_batch_size=5"]) == 0
    log = capsys.readouterr().err
    if "No GPU can be used" in log:
        assert log.count("No GPU can be used: ") == 1
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["train"]["validation_batch_size"] == 5
    assert config["train"]["device"] == "gpu"


def test_without_validation_the_training_loss_chooses(flags: list[str], tmp_path: Path) -> None:
    plain = [flag for flag in flags if not flag.startswith("--validation_dir")]
    assert main([*plain, "--validation_split=0", "--epochs=1"]) == 0
    assert not (tmp_path / "run" / "confusion.png").exists()
    assert "No validation images." in (tmp_path / "run" / "README.md").read_text()


REAL = Path(__file__).parents[2] / "shared" / "data" / "horse-or-human-100px"


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="the real images are not here")
def test_real_images_as_folders(tmp_path: Path) -> None:
    code = main(
        [
            f"--train_dir={REAL / 'train'}",
            f"--validation_dir={REAL / 'validation'}",
            f"--run_dir={tmp_path / 'run'}",
            "--image_size=100,100",
            "--epochs=1",
        ]
    )
    assert code == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["num_train"], config["num_validation"]) == (1027, 256)
