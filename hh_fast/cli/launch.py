"""`bin/launch`: starts a cluster of worker processes on this machine, to try out distributed training."""

import functools
import json
import logging
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import IO

from hh_fast.cli import command
from hh_fast.config import LaunchConfig
from hh_fast.errors import UsageError
from hh_fast.io.signals import pending_signals

logger = logging.getLogger(__name__)

SYNOPSIS = """\
bin/launch [flags] -- train [flags of bin/train]: runs that command in several processes that train together, like a
cluster of machines. Each output line starts with the worker's number. Signals are passed to all; if one fails, all are stopped."""

COMMANDS = ("train",)
POLL_S = 0.1
KILL_S = 5


def free_addresses(count: int) -> list[str]:
    """Loopback addresses with free ports."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [f"127.0.0.1:{opened.getsockname()[1]}" for opened in sockets]
    finally:
        for opened in sockets:
            opened.close()


def _start(words: Sequence[str], addresses: list[str], worker: int) -> "subprocess.Popen[bytes]":
    code = f"import sys; from hh_fast.cli.{words[0]} import main; sys.exit(main())"
    cluster = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": worker}}
    return subprocess.Popen(
        [sys.executable, "-c", code, *words[1:]],
        env=os.environ | {"TF_CONFIG": json.dumps(cluster), "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # so that Ctrl-C reaches the workers once, from this process
    )


def _copy(source: IO[bytes], target: IO[bytes], worker: int, lock: threading.Lock) -> None:
    with source:
        for line in source:
            with lock:
                target.write(f"{worker}| ".encode() + line.rstrip(b"\n") + b"\n")
                target.flush()


def _copy_output(workers: "Sequence[subprocess.Popen[bytes]]") -> list[threading.Thread]:
    lock = threading.Lock()
    threads = []
    for number, worker in enumerate(workers):
        for source, target in ((worker.stdout, sys.stdout.buffer), (worker.stderr, sys.stderr.buffer)):
            threads.append(threading.Thread(target=_copy, args=(source, target, number, lock), daemon=True))
            threads[-1].start()
    return threads


def _signal_all(workers: "Sequence[subprocess.Popen[bytes]]", number: int) -> None:
    for worker in workers:
        if worker.poll() is None:
            worker.send_signal(number)


class _Supervisor:
    """Waits for the workers, and passes each of this process's `signals` on to all of them."""

    def __init__(self, workers: "Sequence[subprocess.Popen[bytes]]", signals: Sequence[int]) -> None:
        self._workers = workers
        self._signals = signals
        self._num_passed_on = 0

    def wait(self, seconds: float = math.inf, *, stop_at_failure: bool = False) -> bool:
        """Waits up to `seconds` for all workers, or until one fails; returns whether all have ended."""
        end = time.monotonic() + seconds
        while any(worker.poll() is None for worker in self._workers):
            for number in self._signals[self._num_passed_on :]:
                _signal_all(self._workers, number)
                self._num_passed_on += 1
            if time.monotonic() > end or (stop_at_failure and any(worker.poll() for worker in self._workers)):
                return False
            time.sleep(POLL_S)
        return True

    def run(self, grace_s: float) -> int:
        """Waits for the workers and, if one fails, stops all. Returns 0, or the exit code of the first that failed."""
        if self.wait(stop_at_failure=True):
            return next((_exit_code(worker.returncode) for worker in self._workers if worker.returncode), 0)
        first = next(number for number, worker in enumerate(self._workers) if worker.poll())
        code = _exit_code(self._workers[first].returncode)
        logger.warning("Worker %d failed with exit code %d: stopping all (within %d s)", first, code, grace_s + KILL_S)
        if not self.wait(grace_s):
            _signal_all(self._workers, signal.SIGTERM)
            self.wait(KILL_S)
        return code


def _exit_code(code: int) -> int:
    return code if code >= 0 else 128 - code


def body(launch: LaunchConfig, free: Sequence[str]) -> int:
    if not free or free[0] not in COMMANDS:
        given = " ".join(free) or "nothing"
        raise UsageError(f"a command must follow --: one of {', '.join(COMMANDS)}. Received: {given}; see --help")
    addresses = free_addresses(launch.workers)
    workers: list[subprocess.Popen[bytes]] = []
    with pending_signals(most=2) as signals:  # a third kills all at once
        try:
            for number in range(launch.workers):
                workers.append(_start(free, addresses, number))  # noqa: PERF401  # the list must hold those started if one fails
            threads = _copy_output(workers)
            code = _Supervisor(workers, signals).run(launch.grace_s)
        finally:
            _signal_all(workers, signal.SIGKILL)
            for worker in workers:
                worker.wait()
        for thread in threads:
            thread.join(KILL_S)
        return code


main = functools.partial(
    command.run, body, name="launch", synopsis=SYNOPSIS, configs=(LaunchConfig,), takes_arguments=True
)
