"""The cluster of workers that TF_CONFIG describes. Imports no TensorFlow."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from hh_fast.errors import HHFastError, UsageError, require

ENVIRONMENT = "TF_CONFIG"
EXAMPLE = '{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, "task": {"type": "worker", "index": 0}}'


class ClusterError(HHFastError):
    """Another worker of the cluster failed, does not respond, or was started with other settings."""

    exit_code = 5


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers' addresses, HOST:PORT, the chief's first, and the number of this process's worker."""

    addresses: tuple[str, ...]
    worker: int

    @property
    def num_workers(self) -> int:
        return len(self.addresses)

    @property
    def num_local_workers(self) -> int:
        """The number of workers on this machine, by the host in their addresses."""
        hosts = [address.rpartition(":")[0] for address in self.addresses]
        return hosts.count(hosts[self.worker])

    @property
    def is_chief(self) -> bool:
        return self.worker == 0

    def name(self, worker: int) -> str:
        return f"worker {worker} ({'the chief, ' if worker == 0 else ''}{self.addresses[worker]})"


ALONE = Cluster(("",), 0)


def _require(holds: bool, rule: str, received: object) -> None:
    text = received if isinstance(received, str) else json.dumps(received)
    require(holds, f"{ENVIRONMENT} must {rule}, as in {EXAMPLE}", text)


def _addresses(jobs: dict[str, Any]) -> dict[str, list[str]]:
    _require(bool(jobs.get("worker") or jobs.get("chief")), "name the cluster's workers", jobs)
    found = {}
    for job, addresses in jobs.items():
        _require(job in ("chief", "worker"), "hold no other jobs than chief and worker", job)
        _require(isinstance(addresses, list), f"hold a list of addresses for {job}", addresses)
        for address in addresses:
            host, _, port = str(address).rpartition(":")
            is_address = host and port.isdigit() and 0 < int(port) < 65536
            _require(bool(is_address), "give each address as HOST:PORT", address)
        found[job] = [str(address) for address in addresses]
    together = [address for addresses in found.values() for address in addresses]
    _require(len(set(together)) == len(together), "give each worker an address of its own", together)
    _require(len(found.get("chief", [])) <= 1, "name one chief at most", found.get("chief"))
    return found


def parse_cluster(text: str) -> Cluster | None:
    """The cluster of a TF_CONFIG value; None for an empty one, or one without a cluster.

    Raises:
        UsageError: it is not JSON, or a part is invalid or missing.
    """
    if not text.strip():
        return None
    try:
        config = json.loads(text)
    except ValueError as e:
        raise UsageError(f"{ENVIRONMENT} must be JSON ({e}), as in {EXAMPLE}. Received: {text}") from e
    _require(isinstance(config, dict), "be a JSON object", config)
    if not config.get("cluster"):
        return None
    _require(isinstance(config["cluster"], dict), "hold lists of addresses by job", config["cluster"])
    jobs = _addresses(config["cluster"])
    task = config.get("task")
    _require(isinstance(task, dict) and {"type", "index"} <= set(task), "say which task this process is", task)
    job, index = task["type"], task["index"]
    _require(job in jobs, f"have a task type among {', '.join(jobs)}", job)
    _require(isinstance(index, int) or str(index).isdigit(), "have a number as task index", index)
    _require(0 <= int(index) < len(jobs[job]), f"have a task index from 0 to {len(jobs[job]) - 1}", index)
    before = len(jobs.get("chief", [])) if job == "worker" else 0
    return Cluster((*jobs.get("chief", []), *jobs.get("worker", [])), before + int(index))


def find_cluster(strategy: str, environment: Mapping[str, str]) -> Cluster | None:
    """The cluster that a run with this `--strategy` belongs to; None where it is a single process.

    Raises:
        UsageError: as `parse_cluster`, or `multi_worker` and TF_CONFIG names no cluster.
    """
    if strategy in ("none", "mirrored"):
        return None
    cluster = parse_cluster(environment.get(ENVIRONMENT, ""))
    if cluster is None and strategy == "multi_worker":
        raise UsageError(f"--strategy=multi_worker needs {ENVIRONMENT} to name the workers, as in {EXAMPLE}")
    return cluster
