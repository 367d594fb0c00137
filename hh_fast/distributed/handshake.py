"""The workers meet before TensorFlow's own server starts: all are there, and all were started alike.

TensorFlow waits in silence for a worker that never comes. So each worker first calls at the chief's address, one line of
JSON each way; the chief compares, answers all, and frees its port for TensorFlow. Standard library only.
"""

import contextlib
import hashlib
import json
import logging
import socket
import time
from pathlib import Path
from typing import Any

import hh_fast
from hh_fast.config import Config
from hh_fast.distributed.tf_config import Cluster, ClusterError
from hh_fast.io.typed_json import to_json
from hh_fast.io.versions import package_versions

logger = logging.getLogger(__name__)

# Where things lie, and how they are kept there, may differ from machine to machine: the images' content is compared later.
LOCAL_FIELDS = frozenset(
    {
        "run_dir",
        "overwrite",
        "model",
        "train_dir",
        "validation_dir",
        "cache",
        "cache_dir",
        "tfds_manual_dir",
        "worker_timeout_s",
    }
)
RETRY_S = 0.2
MAX_LINE = 1 << 20
MISSING_REMEDY = "see that it was started, and that its address can be reached from here"


def code_digest() -> str:
    """SHA-256 of this package's source files, 16 hex digits: a version number stays the same while code is edited."""
    root = Path(hh_fast.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def introduction(cluster: Cluster, *configs: Config) -> dict[str, Any]:
    """What all workers must have in common, by the name that a person knows it under."""
    flags = {
        f"--{name}": value for config in configs for name, value in to_json(config).items() if name not in LOCAL_FIELDS
    }
    versions = {f"the version of {name}": number for name, number in package_versions().items() if name != "python"}
    return {
        "the cluster in TF_CONFIG": list(cluster.addresses),
        **versions,
        "the code of hh_fast (SHA-256)": code_digest(),
        **flags,
    }


def difference(worker: int, own: dict[str, Any], theirs: dict[str, Any]) -> str | None:
    """What differs between the chief and `worker`, in words, or None."""
    found = [
        f"{name} is {_show(own.get(name))} at worker 0 and {_show(theirs.get(name))} at worker {worker}"
        for name in {**own, **theirs}
        if own.get(name) != theirs.get(name)
    ]
    return f"the workers differ: {'; '.join(found)}. Start all of them alike" if found else None


def _show(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _receive(connection: socket.socket, deadline: float) -> dict[str, Any]:
    """One line of JSON; an empty object where the other side sent something else or nothing in time."""
    text = b""
    with contextlib.suppress(OSError, ValueError):
        while not text.endswith(b"\n") and len(text) < MAX_LINE:
            connection.settimeout(max(deadline - time.monotonic(), 0.01))
            part = connection.recv(65536)
            if not part:
                break
            text += part
        message = json.loads(text)
        if isinstance(message, dict):
            return message
    return {}


def _send(connection: socket.socket, message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # who has gone needs no answer
        connection.settimeout(5)
        connection.sendall(json.dumps(message).encode() + b"\n")


def _listen(address: str) -> socket.socket:
    host, port = _split(address)
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError:
        # In a container the name may be that of a forwarding address that is not this machine's own.
        with contextlib.suppress(OSError):
            return socket.create_server(("", port), backlog=1024)
        raise


def _gather(cluster: Cluster, own: dict[str, Any], arrived: dict[int, socket.socket], deadline: float) -> str | None:
    """Waits at the chief for all others, also after a difference, so that each learns of it; returns what is wrong."""
    problem = None
    with _listen(cluster.addresses[0]) as server:
        while len(arrived) < cluster.num_workers - 1:
            server.settimeout(max(deadline - time.monotonic(), 0.01))
            try:
                connection, _ = server.accept()
            except TimeoutError:
                missing = [cluster.name(i) for i in range(1, cluster.num_workers) if i not in arrived]
                return problem or f"{', '.join(missing)} failed to connect within --worker_timeout_s: {MISSING_REMEDY}"
            message = _receive(connection, min(deadline, time.monotonic() + 5))
            worker = message.get("worker")
            if not isinstance(worker, int) or worker < 0:
                connection.close()  # a port scanner, or a probe of the machine's health
                continue
            if worker in arrived or worker == 0:
                problem = f"two processes are worker {worker}: give each a task index of its own in TF_CONFIG"
                _send(connection, {"error": problem})
                connection.close()
                return problem
            arrived[worker] = connection
            problem = problem or difference(worker, own, message.get("introduction", {}))
    return problem


def _welcome(cluster: Cluster, own: dict[str, Any], deadline: float) -> None:
    arrived: dict[int, socket.socket] = {}
    try:
        problem = _gather(cluster, own, arrived, deadline)
        for connection in arrived.values():
            _send(connection, {"error": problem} if problem else {"welcome": True})
    finally:
        for connection in arrived.values():
            connection.close()
    if problem:
        raise ClusterError(problem)


def _call(cluster: Cluster, own: dict[str, Any], deadline: float) -> None:
    missing = ClusterError(f"{cluster.name(0)} did not answer within --worker_timeout_s: {MISSING_REMEDY}")
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise missing
        try:
            with socket.create_connection(_split(cluster.addresses[0]), timeout=left) as connection:
                _send(connection, {"worker": cluster.worker, "introduction": own})
                answer = _receive(connection, deadline + 5)  # the chief's own time-out names the missing worker
        except OSError:
            answer = {}
        if "error" in answer:
            raise ClusterError(str(answer["error"]))
        if answer.get("welcome"):
            return
        time.sleep(min(RETRY_S, max(left, 0)))


def meet(cluster: Cluster, own: dict[str, Any], *, timeout_s: float) -> None:
    """Returns when all workers are there and have the same `own`.

    Raises:
        ClusterError: a worker failed to connect within `timeout_s` (with its address), or what differs (with its name).
        OSError: the chief cannot listen at its address.
    """
    logger.info(
        "Worker %d of %d, at %s: waiting for the others",
        cluster.worker,
        cluster.num_workers,
        cluster.addresses[cluster.worker],
    )
    deadline = time.monotonic() + timeout_s
    if cluster.is_chief:
        _welcome(cluster, own, deadline)
    else:
        _call(cluster, own, deadline)
