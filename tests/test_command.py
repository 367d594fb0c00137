"""Flags, help, exit codes and one-line errors, without TensorFlow."""

import errno
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hh_fast.cli import command
from hh_fast.config import Config, DataConfig, TrainConfig
from hh_fast.errors import CheckError, DataError, UsageError

COMMANDS = ("train", "explore", "export", "predict", "launch")


def parse(*arguments: str) -> tuple[DataConfig, TrainConfig]:
    (data, train), free = command.parse((DataConfig, TrainConfig), arguments)
    assert free == []
    return data, train


def test_each_kind_of_flag() -> None:
    data, train = parse(
        "--image_size=96,128", "--epochs=3", "--learning_rate=0.5", "--augment", "--train_dir=x", "--cache=disk"
    )
    assert (data.image_size, data.train_dir, data.cache) == ((96, 128), "x", "disk")
    assert (train.epochs, train.learning_rate, train.augment) == (3, 0.5, True)


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.2", 0.2), ("20", 20), ("20.0", 20.0), ("-4,0,4", (-4, 0, 4)), ("0.8,1.2", (0.8, 1.2)), ("1e-1", 0.1)],
)
def test_a_range_is_a_number_or_numbers_of_the_kind_that_was_typed(text: str, value: Any) -> None:
    _, train = parse(f"--width_shift_range={text}")
    assert repr(train.width_shift_range) == repr(value)


def test_no_flags_are_the_defaults() -> None:
    assert parse() == (DataConfig(), TrainConfig())


def test_flags_behind_the_flagfile_overrule_it(tmp_path: Path) -> None:
    flagfile = tmp_path / "some.flags"
    flagfile.write_text("# a comment\n--epochs=7\n--batch_size=64\n")
    _, train = parse("--batch_size=32", f"--flagfile={flagfile}", "--epochs=2")
    assert (train.epochs, train.batch_size) == (2, 64)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--nope=1", "Unknown command line flag 'nope'; see --help"),
        ("--epochs=x", "flag --epochs=x: invalid literal for int() with base 10: 'x'; see --help"),
        ("--image_size=a,b", "`image_size` must be comma-separated whole numbers. Received: a,b"),
        ("--zoom_range=0.8-1.2", "`zoom_range` must be a number, or comma-separated numbers. Received: 0.8-1.2"),
        ("--precision=half", "`precision` must be one of auto, float32, mixed_bfloat16, mixed_float16. Received: half"),
    ],
)
def test_flags_that_cannot_be_used(argument: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(argument)
    assert str(caught.value) == message


def run_with(error: BaseException | None, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    def body(_: Config) -> None:
        if error is not None:
            raise error

    code = command.run(body, name="try", synopsis="s", configs=(DataConfig,), arguments=arguments)
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UsageError("bad flag"), 1, "try: bad flag\n"),
        (DataError("bad\nfile"), 2, "try: bad\\nfile\n"),
        (CheckError("differs"), 3, "try: differs\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/x/y"),
            2,
            "try: No space left on device: /x/y; free some space, or choose another folder\n",
        ),
        (PermissionError(errno.EACCES, "Permission denied", b"/x/\xff"), 2, None),
        (KeyboardInterrupt(), 130, "try: interrupted\n"),
        (None, 0, ""),
    ],
)
def test_errors_are_one_line_with_an_exit_code(
    error: BaseException | None, code: int, line: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    got, text = run_with(error, capsys)
    assert got == code
    assert text.count("\n") == (0 if error is None else 1)
    assert line is None or text == line


@pytest.mark.parametrize("words", [["--verbosity=1"], ["--verbosity", "1"], ["-verbosity=2"]])
def test_verbosity_brings_the_traceback_back(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError):
        run_with(DataError("x"), capsys, *words)


def test_a_file_whose_name_begins_with_a_dash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "-dash.jpg").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        parse("-dash.jpg")
    assert str(caught.value) == "Unknown command line flag 'dash.jpg'; for the file of that name write ./-dash.jpg"
    assert command.parse((DataConfig,), ["./-dash.jpg"])[1] == ["./-dash.jpg"]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_lists_the_flags_with_defaults_and_loads_nothing_heavy(name: str) -> None:
    code = (
        f"import sys; from hh_fast.cli.{name} import main; code = main(['--help'])\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'matplotlib', 'PIL'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy or code else 0)"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    assert done.returncode == 0, done.stderr
    assert "--verbosity: -1: warnings only" in done.stdout
    assert "--flagfile" in done.stdout
    assert "Exit codes: " in done.stdout
    assert seconds < 2  # half a second is asked for on a quiet machine; an import of TensorFlow takes four


def test_help_of_train_names_every_field() -> None:
    text = command.help_text("s", (DataConfig, TrainConfig))
    for config in (DataConfig, TrainConfig):
        for name in config.__dataclass_fields__:
            assert f"--{name}: " in text or f"--[no]{name}: " in text
    assert "(default: '32')" in text


def test_a_reader_that_has_enough_is_no_error() -> None:
    code = "import sys; from hh_fast.cli.train import main; sys.exit(main(['--help']))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 141
