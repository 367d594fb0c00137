"""A local cluster: its lines, its end, and the signals it passes on. The workers here are stand-ins without TensorFlow."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from hh_fast.cli import launch

# Each stand-in tells its place in the cluster, then does what its number says.
STAND_IN = """
import json, os, signal, sys, time
config = json.loads(os.environ["TF_CONFIG"])
worker = config["task"]["index"]
print(len(config["cluster"]["worker"]), config["task"]["type"], flush=True)
def stop(number, _):
    print("got", signal.Signals(number).name, flush=True)
    sys.exit(128 + number)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)
print("ready", os.getpid(), file=sys.stderr, flush=True)
{do}
"""
LAUNCH = """
import subprocess, sys
from hh_fast.cli import launch
real = subprocess.Popen
subprocess.Popen = lambda command, **options: real([sys.executable, "-c", sys.argv[1]], **options)
sys.exit(launch.main(sys.argv[2:]))
"""


def start(do: str, *flags: str) -> "subprocess.Popen[str]":
    words = [sys.executable, "-c", LAUNCH, STAND_IN.format(do=do), *flags, "--", "train"]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: "subprocess.Popen[str]") -> tuple[int, list[str], str]:
    watchdog = threading.Timer(30, process.kill)
    watchdog.start()
    out, err = process.communicate()
    watchdog.cancel()
    return process.returncode, sorted(out.splitlines()), err


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_each_worker_is_told_its_place_and_its_lines_carry_its_number() -> None:
    code, out, err = finish(start("", "--workers=3"))
    assert (code, out) == (0, ["0| 3 worker", "1| 3 worker", "2| 3 worker"])
    assert sorted(re.findall(r"^(\d\| ready) \d+$", err, re.MULTILINE)) == ["0| ready", "1| ready", "2| ready"]


def test_when_one_fails_all_are_ended_and_its_exit_code_stays() -> None:
    begin = time.monotonic()
    code, out, err = finish(start("time.sleep(60 if worker else 0.5); sys.exit(7)", "--grace_s=0"))
    assert time.monotonic() - begin < 15
    assert code == 7
    assert "1| got SIGTERM" in out
    assert "Worker 0 failed with exit code 7: stopping all (within 5 s)\n" in err
    assert not any(is_running(int(pid)) for pid in re.findall(r"ready (\d+)", err))


@pytest.mark.slow
def test_a_killed_worker_is_a_failure_and_a_deaf_one_is_killed() -> None:
    do = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(0.5)\nos.kill(os.getpid(), 9) if worker else time.sleep(60)"
    code, _, err = finish(start(do, "--grace_s=0"))
    assert code == 128 + signal.SIGKILL
    assert "Worker 1 failed with exit code 137: stopping all (within 5 s)\n" in err
    assert not any(is_running(int(pid)) for pid in re.findall(r"ready (\d+)", err))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_reach_all_workers_once(number: signal.Signals) -> None:
    process = start("time.sleep(60)")
    ready = [process.stderr.readline() for _ in range(2)] if process.stderr else []
    assert all("ready" in line for line in ready)
    process.send_signal(number)
    code, out, _ = finish(process)
    assert code == 128 + number
    assert out.count(f"0| got {number.name}") == out.count(f"1| got {number.name}") == 1


def test_a_signal_while_workers_start_reaches_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start_and_interrupt(*_: object) -> "subprocess.Popen[bytes]":
        sleeping = ["sleep", "60"]  # a Python that is still starting would end with 1
        options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "start_new_session": True}
        started.append(subprocess.Popen(sleeping, **options))
        if len(started) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return started[-1]

    monkeypatch.setattr(launch, "_start", start_and_interrupt)
    assert launch.main(["--workers=2", "--grace_s=0", "--", "train"]) == 128 + signal.SIGINT
    assert [worker.poll() for worker in started] == [-signal.SIGINT] * 2


def test_an_ignored_interrupt_is_ignored_by_the_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    def start_and_interrupt(*_: object) -> "subprocess.Popen[bytes]":
        os.kill(os.getpid(), signal.SIGINT)
        waiting = [sys.executable, "-c", "import time; time.sleep(0.5)"]
        return subprocess.Popen(waiting, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    monkeypatch.setattr(launch, "_start", start_and_interrupt)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert launch.main(["--workers=2", "--", "train"]) == 0
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "launch: a command must follow --: one of train. Received: nothing; see --help\n"),
        (["--", "rm", "-r"], "launch: a command must follow --: one of train. Received: rm -r; see --help\n"),
        (["--workers=0", "--", "train"], "launch: `workers` must be from 1 to 64. Received: 0\n"),
    ],
)
def test_what_cannot_be_launched(words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert launch.main(words) == 1
    assert capsys.readouterr().err == line


def test_addresses_are_free_and_each_its_own() -> None:
    addresses = launch.free_addresses(5)
    assert len(set(addresses)) == 5
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+", address) for address in addresses)
