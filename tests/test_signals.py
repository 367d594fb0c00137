"""Signals end a command in time."""

import os
import signal
import subprocess
import sys
import time

import pytest

from hh_fast.io.signals import in_time, pending_signals

DEAF = """
import signal, sys, time
from hh_fast.io.signals import in_time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
with in_time("deaf"):
    ready = False
    while True:
        try:
            print("" if ready else "ready", flush=True)
            ready = True
            time.sleep(60)
        except BaseException:
            pass
"""
BUSY = """
import signal, time
from hh_fast.io.signals import in_time, pending_signals
with in_time("busy"), pending_signals():
    print("ready", flush=True)
    end = time.monotonic() + 5
    while time.monotonic() < end:
        time.sleep(0.1)
print("saved")
"""


def signalled(code: str, number: int) -> tuple[int, str, str, float]:
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise RuntimeError("the child did not start")
        start = time.monotonic()
        process.send_signal(number)
        try:
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
        return process.returncode, out, err, time.monotonic() - start


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_loses_the_exception_ends_all_the_same(number: signal.Signals) -> None:
    code, _, err, seconds = signalled(DEAF, number)
    assert (code, err) == (128 + number, f"deaf: stopped by {number.name}\n")
    assert 2.5 < seconds < 5


@pytest.mark.slow
def test_what_looks_after_signals_by_itself_gets_its_time() -> None:
    code, out, _, seconds = signalled(BUSY, signal.SIGTERM)
    assert (code, out) == (0, "saved\n")
    assert seconds > 4.5


GARBLED = """
import sys, time
from hh_fast.cli.command import run
def body(*_):
    try:
        print("ready", flush=True)
        time.sleep(60)
    except BaseException:
        raise TypeError("what C code makes of an exception in its callback")
sys.exit(run(body, name="garbled", synopsis="", configs=()))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_comes_out_as_another_exception_is_a_stop_all_the_same(number: signal.Signals) -> None:
    code, _, err, seconds = signalled(GARBLED, number)
    assert (code, err) == (128 + number, "garbled: interrupted\n" if number == signal.SIGINT else "")
    assert seconds < 2


LOST = """
import signal, time
from hh_fast.io.signals import in_time, pending_signals
with in_time("lost"):
    try:
        print("ready", flush=True)
        time.sleep(60)
    except BaseException:
        pass
    with pending_signals() as numbers:
        print(numbers)
"""


def test_a_lost_signal_can_be_asked_for() -> None:
    code, out, _, _ = signalled(LOST, signal.SIGTERM)
    assert (code, out) == (0, "[15]\n")


IMPORTING = """
import ctypes, signal, sys, time
from hh_fast.io import quiet
from hh_fast.io.signals import in_time
class Slow:
    @staticmethod
    def find_spec(name, *_):
        if name == "tensorflow":
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: None)  # the exception is lost
            print("ready", flush=True)
            while True:
                ctypes.PyDLL(None).usleep(500_000)  # holds the interpreter, as loading TensorFlow's libraries does
                time.sleep(0.01)
sys.meta_path.insert(0, Slow)
quiet.enter_command()
with in_time("importing"):
    quiet.import_tensorflow()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_import_of_tensorflow_ends_at_once_and_says_so(number: signal.Signals) -> None:
    code, _, err, seconds = signalled(IMPORTING, number)
    assert (code, err) == (128 + number, f"importing: stopped by {number.name}\n")
    assert seconds < 2


def test_signals_are_noted_until_one_too_many() -> None:
    with pytest.raises(KeyboardInterrupt), pending_signals(most=2) as numbers:
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert numbers == [signal.SIGINT, signal.SIGTERM]
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with in_time("deaf"), pending_signals() as numbers:
            os.kill(os.getpid(), signal.SIGINT)
            assert numbers == []
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_outside_of_a_command_file_descriptors_are_left_alone() -> None:
    code = "import os; from hh_fast.io import quiet\nwith quiet.native_stderr_logged(): os.write(2, b'seen')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"seen")
