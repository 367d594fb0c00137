"""Runs a command as its launcher does, and may end the process at the n-th change of a file below a folder.

`python victim.py COMMAND ARGUMENT...`. The environment says when to end it: VICTIM_ROOT is the folder, VICTIM_AT the
number of the change (from 1), VICTIM_SIGNAL the signal. VICTIM_COUNT is a file that gets the number of changes of a whole
run. VICTIM_NO_NETWORK is a file that an attempt to reach another machine is written to, which also ends the process.
"""

import atexit
import importlib
import os
import sys
from pathlib import Path
from typing import Any

CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
LOOPBACK = ("127.0.0.1", "::1", "localhost", "", None)
REACHING = ("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname")


def end_at_a_change(root: str, at: int, number: int) -> None:
    seen = 0

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal seen
        changes = event in CHANGES or (event == "open" and isinstance(args[2], int) and args[2] & WRITING)
        if changes and isinstance(args[0], (str, bytes, os.PathLike)) and os.fsdecode(args[0]).startswith(root):
            seen += 1
            if seen == at:
                os.kill(os.getpid(), number)

    sys.addaudithook(hook)
    if "VICTIM_COUNT" in os.environ:
        atexit.register(lambda: Path(os.environ["VICTIM_COUNT"]).write_text(str(seen)))


def forbid_network(log: str) -> None:
    """Writes the first attempt to `log`, since standard error may be captured, and ends the process."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event not in REACHING:
            return
        address = args[0] if event.startswith("socket.get") else args[1]
        host = address[0] if isinstance(address, tuple) else address
        if host in LOOPBACK or (not event.startswith("socket.get") and not isinstance(address, tuple)):
            return  # this machine itself, or a socket of its file system; urllib3 so asks whether there is IPv6
        Path(log).write_text(f"{event} {address}")
        os._exit(99)

    sys.addaudithook(hook)


def main() -> int:
    environment, command = os.environ, sys.argv[1]
    if "VICTIM_NO_NETWORK" in environment:
        forbid_network(environment["VICTIM_NO_NETWORK"])
    if "VICTIM_ROOT" in environment:
        at, number = int(environment.get("VICTIM_AT", "0")), int(environment.get("VICTIM_SIGNAL", "9"))
        end_at_a_change(environment["VICTIM_ROOT"], at, number)
    module = "benchmarks.race.__main__" if command == "bench" else f"hh_fast.cli.{command}"
    return int(importlib.import_module(module).main(sys.argv[2:]))


if __name__ == "__main__":
    sys.exit(main())
