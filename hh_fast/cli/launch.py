"""`bin/launch`: a cluster of worker processes on this machine, for trying out what a real cluster does."""

import json
import logging
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
from hh_fast.stopping import orderly

logger = logging.getLogger(__name__)

SYNOPSIS = """\
bin/launch [flags] -- train [flags of bin/train]: starts that command in several processes that train together, as a
cluster of machines would, each with its number before its lines. Signals go to all; when one fails, all are ended."""

COMMANDS = ("train",)
POLL_S = 0.1
KILL_S = 5


def free_addresses(count: int) -> list[str]:
    """Loopback addresses whose ports nothing listens at."""
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
        start_new_session=True,  # Ctrl-C reaches the workers through this process alone, once
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


def _wait(workers: "Sequence[subprocess.Popen[bytes]]", seconds: float | None = None, *, stop_at_failure: bool) -> bool:
    """Waits for all, at most so long, or until one has failed where that is asked for; says whether all have ended."""
    end = time.monotonic() + seconds if seconds is not None else None
    while any(worker.poll() is None for worker in workers):
        if end is not None and time.monotonic() > end:
            return False
        if stop_at_failure and any(worker.poll() for worker in workers):
            return False
        time.sleep(POLL_S)
    return True


def _end(workers: "Sequence[subprocess.Popen[bytes]]", grace_s: float) -> None:
    if _wait(workers, grace_s, stop_at_failure=False):
        return
    _signal_all(workers, signal.SIGTERM)
    if not _wait(workers, KILL_S, stop_at_failure=False):
        _signal_all(workers, signal.SIGKILL)
        _wait(workers, stop_at_failure=False)


def _exit_code(code: int) -> int:
    return code if code >= 0 else 128 - code


def supervise(workers: "Sequence[subprocess.Popen[bytes]]", grace_s: float) -> int:
    """Waits for the workers; when one fails, ends all. Returns 0, or the exit code of the first that failed."""
    if _wait(workers, stop_at_failure=True):
        failed = [worker.returncode for worker in workers if worker.returncode]
        return _exit_code(failed[0]) if failed else 0
    first = next(number for number, worker in enumerate(workers) if worker.poll())
    code = _exit_code(workers[first].returncode)
    logger.warning("Worker %d ended with exit code %d: ending all (within %d s)", first, code, grace_s + KILL_S)
    _end(workers, grace_s)
    return code


def body(launch: LaunchConfig, free: Sequence[str]) -> int:
    if not free or free[0] not in COMMANDS:
        given = " ".join(free) or "nothing"
        raise UsageError(f"a command must follow --: one of {', '.join(COMMANDS)}. Received: {given}; see --help")
    addresses = free_addresses(launch.workers)
    workers = [_start(free, addresses, worker) for worker in range(launch.workers)]
    signals_seen = 0

    def forward(number: int, _: object) -> None:
        nonlocal signals_seen
        signals_seen += 1
        _signal_all(workers, number if signals_seen < 3 else signal.SIGKILL)

    previous = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with orderly():
            threads = _copy_output(workers)
            code = supervise(workers, launch.grace_s)
            for thread in threads:
                thread.join(KILL_S)
            return code
    finally:
        _signal_all(workers, signal.SIGKILL)
        for number, handler in previous.items():
            signal.signal(number, handler)


def main(arguments: Sequence[str] | None = None) -> int:
    return command.run(body, name="launch", synopsis=SYNOPSIS, configs=(LaunchConfig,), arguments=arguments)
