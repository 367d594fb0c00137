"""A `.tflite` that would take the process down is refused in one line."""

import signal
import struct
from pathlib import Path

import pytest

from hh_fast.errors import DataError
from hh_fast.predict import trial


def test_what_ends_the_child_is_an_error_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tflite"
    path.write_bytes(b"\x1c\0\0\0TFL3" + bytes(40))
    child = "kill -SEGV $$"
    real = trial.subprocess.run
    monkeypatch.setattr(trial.subprocess, "run", lambda command, **how: real(["/bin/sh", "-c", child], **how))
    with pytest.raises(DataError) as caught:
        trial.trial_run(path)
    assert str(caught.value) == (
        f"LiteRT cannot run {path}: a process that tried it was killed by signal {int(signal.SIGSEGV)};"
        " export or copy it again"
    )


def test_a_hang_is_an_error_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "MAX_SECONDS", 0.1)
    real = trial.subprocess.run
    monkeypatch.setattr(trial.subprocess, "run", lambda command, **how: real(["sleep", "9"], **how))
    with pytest.raises(DataError) as caught:
        trial.trial_run(tmp_path / "a.tflite")
    assert str(caught.value) == (
        f"LiteRT did not score an image with {tmp_path / 'a.tflite'} in 0.1 s: export or copy it again"
    )


def test_what_the_child_says_is_the_error(tmp_path: Path) -> None:
    path = tmp_path / "a b.tflite"
    path.write_bytes(struct.pack("<I4s", 1 << 30, b"TFL3") + bytes(400))
    with pytest.raises(DataError, match="export or copy it again$") as caught:
        trial.trial_run(path)
    assert str(caught.value).startswith(f"{path} is truncated or damaged (")
    assert "a process that tried it" not in str(caught.value)
