"""A cluster of processes for the tests: one process imports TensorFlow, and its forks are the workers."""

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Sequence
from pathlib import Path

PARENT = """
import os, sys, traceback
code, numbers, environments, logs = sys.argv[1], *map(eval, sys.argv[2:5])
from hh_fast.io.quiet import import_tensorflow
import_tensorflow()
import hh_fast.training.train
pids = []
for number, environment, log in zip(numbers, environments, logs):
    if pid := os.fork():
        pids.append(pid)
        continue
    os.environ["TF_CONFIG"] = environment
    file = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(file, 1), os.dup2(file, 2)
    try:
        exec(compile(code, "worker", "exec"), {"__name__": "worker", "number": number, "words": sys.argv[5:]})
        status = 0
    except SystemExit as e:
        status = e.code or 0
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush(), sys.stderr.flush()
    os._exit(status)
print(*pids, flush=True)
for pid in pids:
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


def free_addresses(count: int) -> tuple[str, ...]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = tuple(f"127.0.0.1:{opened.getsockname()[1]}" for opened in sockets)
    for opened in sockets:
        opened.close()
    return addresses


def tf_config(addresses: Sequence[str], worker: int) -> str:
    return json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": worker}})


@dataclasses.dataclass
class Workers:
    """Running workers, by their place in the list that they were started with."""

    parent: "subprocess.Popen[str]"
    pids: list[int]
    logs: list[Path]

    def signal(self, worker: int, number: signal.Signals) -> None:
        os.kill(self.pids[worker], number)

    def text(self, worker: int) -> str:
        return self.logs[worker].read_text()

    def lines(self, worker: int) -> list[str]:
        """What it printed, with TensorFlow's own lines before and behind it."""
        return self.text(worker).splitlines()

    def wait_for(self, worker: int, text: str, *, seconds: float = 300) -> None:
        """Waits until its log holds `text`."""
        end = time.monotonic() + seconds
        while text not in self.text(worker):
            assert time.monotonic() < end and self.parent.poll() is None, self.text(worker)
            time.sleep(0.02)

    def finish(self, *, seconds: float = 300) -> list[int]:
        """Their exit codes; all are killed if they take longer."""
        try:
            out, _ = self.parent.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            for pid in self.pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            out, _ = self.parent.communicate()
        return [int(line) for line in out.splitlines()]


def start_workers(
    code: str,
    folder: Path,
    *words: object,
    count: int = 2,
    numbers: Sequence[int] | None = None,
    addresses: Sequence[str] = (),
) -> Workers:
    """Runs `code`, which knows its `number` and these `words`, in the workers `numbers` (default: all) of a cluster of `count`."""
    addresses = addresses or free_addresses(count)
    numbers = range(count) if numbers is None else numbers
    folder.mkdir(parents=True, exist_ok=True)
    logs = [folder / f"worker{place}.log" for place in range(len(numbers))]
    for log in logs:
        log.write_text("")
    lists = (list(numbers), [tf_config(addresses, number) for number in numbers], [str(log) for log in logs])
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, code, *map(repr, lists), *map(str, words)],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    workers = Workers(parent, [int(pid) for pid in parent.stdout.readline().split()], logs)
    weakref.finalize(workers, _end, parent, workers.pids)  # also where the test fails before it has waited for them
    return workers


def _end(parent: "subprocess.Popen[str]", pids: Sequence[int]) -> None:
    for pid in pids if parent.poll() is None else ():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    parent.wait()
    if parent.stdout is not None:
        parent.stdout.close()
