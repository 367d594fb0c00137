"""The devices and workers that train together: their tf.distribute strategy, and communication between the workers.

TensorFlow's coordination service, in the chief's process, waits for the workers, monitors them, and exchanges small values.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.compiler.xla.tsl.protobuf.coordination_config_pb2 import CoordinatedJob
from tensorflow.python.eager.context import context

import hh_fast
from hh_fast.config import Config, TrainConfig
from hh_fast.data.pipeline import Share
from hh_fast.distributed.tf_config import ALONE, ENVIRONMENT, Cluster, ClusterError, find_cluster
from hh_fast.errors import HHFastError, UsageError
from hh_fast.io.files import to_json
from hh_fast.io.quiet import native_stderr_logged, signals_end_at_once
from hh_fast.io.versions import package_versions

logger = logging.getLogger(__name__)

# Settings that may differ between machines. The contents of the images are compared later.
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
CLUSTER = "the cluster in TF_CONFIG"
ANSWER_MS = 30_000
# Raised by TensorFlow when a worker is gone.
LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.InternalError,
    tf.errors.DeadlineExceededError,
)


@dataclasses.dataclass
class Replicas:
    """A strategy and its cluster. All workers must call each method.

    `Replicas()` is a single device: the default strategy with one replica.
    """

    strategy: tf.distribute.Strategy = dataclasses.field(default_factory=tf.distribute.get_strategy)
    cluster: Cluster = ALONE

    @property
    def num_replicas(self) -> int:
        return int(self.strategy.num_replicas_in_sync)

    @property
    def share(self) -> Share:
        """This worker's part of each global batch."""
        num_workers = self.cluster.num_workers
        return Share(self.cluster.worker, num_workers, self.num_replicas // num_workers)

    def gather(self, value: Any) -> list[Any]:
        """Each worker's value, after a JSON round trip, in the order of the workers; waits for all of them."""
        if self.cluster.num_workers == 1:
            return [value]
        line = np.frombuffer(f"{json.dumps(value)}\n".encode(), np.uint8)
        lines = self.strategy.experimental_local_results(self._all_gather(tf.constant(line, tf.int64)))[0]
        return [json.loads(line) for line in bytes(lines.numpy().tolist()).splitlines()[:: self.share.num_parts]]

    @functools.cached_property
    def _all_gather(self) -> Any:
        def in_replica(line: tf.Tensor) -> tf.Tensor:
            return tf.distribute.get_replica_context().all_gather(tf.identity(line), axis=0)

        of_any_length = [tf.TensorSpec((None,), tf.int64)]
        return tf.function(
            lambda line: self.strategy.run(in_replica, args=(line,)), input_signature=of_any_length, autograph=False
        )

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """A barrier at the end of the block; re-raises any worker's failure on all.

        Raises:
            ClusterError: another worker failed; has that worker's message.
        """
        error: Exception | None = None
        try:
            yield
        except (HHFastError, OSError) as e:
            error = e
        said = self.gather(str(error) if error else "")
        if any(said):
            self.leave()
        if error:
            raise error
        for worker, text in enumerate(said):
            if text:
                raise ClusterError(f"{self.cluster.name(worker)} stopped: {text}")

    def require_same(self, facts: dict[str, Any]) -> None:
        """Raises `ClusterError`, which names the differences, unless all workers have the same `facts`."""
        all_facts = self.gather(facts)
        if any(theirs != all_facts[0] for theirs in all_facts):
            self.leave()
        _refuse_differences(all_facts)

    def leave(self) -> None:
        """Waits until every worker has received what was gathered last, and none needs this process."""
        if self.cluster.num_workers > 1:
            with contextlib.suppress(tf.errors.OpError):  # a lost worker needs nothing
                context().wait_at_barrier("hh_fast/end", ANSWER_MS)

    def share_variables(self, variables: Sequence[keras.Variable]) -> None:
        """Sets every worker's variables to the chief's exact values."""
        with self.strategy.scope():
            for variable in variables if self.cluster.num_workers > 1 else ():
                variable.assign(tf.Variable(variable.numpy()))  # initialised with the chief's value on all workers


def _refuse_differences(facts: Sequence[dict[str, Any]]) -> None:
    """Raises `ClusterError` if a worker's facts, by name, differ from the chief's, `facts[0]`."""
    chiefs = facts[0]
    for worker, theirs in enumerate(facts):
        if found := [
            f"{name} is {_show(chiefs.get(name))} at worker 0 and {_show(theirs.get(name))} at worker {worker}"
            for name in {**chiefs, **theirs}
            if chiefs.get(name) != theirs.get(name)
        ]:
            raise ClusterError(f"the workers differ: {'; '.join(found)}. Start all with the same settings and code")


def _show(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _code_digest() -> str:
    """SHA-256 of this package's source files, 16 hex digits; the version number does not change while code is edited."""
    root = Path(hh_fast.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _compare(replicas: Replicas, configs: Sequence[Config]) -> None:
    """Raises `ClusterError` if another worker was started with settings or code that change the results.

    Uses the coordination service, since collectives fail if the workers have different numbers of devices.
    """
    cluster = replicas.cluster
    flags = {f"--{name}": value for config in configs for name, value in to_json(config).items()}
    own = {
        CLUSTER: list(cluster.addresses),
        "the number of replicas": replicas.share.num_parts,
        **{f"the version of {name}": number for name, number in package_versions().items() if name != "python"},
        "the code of hh_fast (SHA-256)": _code_digest(),
        **{name: value for name, value in flags.items() if name.removeprefix("--") not in LOCAL_FIELDS},
    }
    service = context()
    service.set_config_key_value(f"hh_fast/{cluster.worker}", json.dumps(own))

    def facts_of(worker: int) -> Any:
        return json.loads(service.get_config_key_value(f"hh_fast/{worker}", ANSWER_MS))

    facts = [facts_of(worker) for worker in range(len(facts_of(0)[CLUSTER]))]
    # The chief, whose process runs the service, must not leave before all have read.
    with contextlib.suppress(*LOST):
        service.wait_at_barrier("hh_fast", ANSWER_MS)
    _refuse_differences(facts)


def _workers_in(text: str, cluster: Cluster) -> list[int]:
    """The workers named in a TensorFlow message, in order."""
    tasks = re.findall(r"/job:(chief|worker)/(?:replica:\d+/)?task:(\d+)", text)
    behind_chief = any(job == "chief" for job, _ in tasks)
    numbers = [0 if job == "chief" else int(index) + behind_chief for job, index in tasks]
    return [number for number in dict.fromkeys(numbers) if number < cluster.num_workers]


def _start_cluster(cluster: Cluster, timeout_s: int) -> tf.distribute.Strategy:
    service = context()
    if service._context_handle is not None:
        raise UsageError(
            "cluster training must run first and only once in a process, but TensorFlow is already initialised here: start a new"
            " process, and pass the model as a .keras file"
        )
    resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    tasks = {job: resolver.cluster_spec().num_tasks(job) for job in resolver.cluster_spec().jobs}
    service.configure_coordination_service(
        "standalone",
        service_leader=f"/job:{'chief' if 'chief' in tasks else 'worker'}/task:0",
        cluster_register_timeout_in_ms=1000 * timeout_s,
        coordinated_jobs=[CoordinatedJob(name=job, num_tasks=count) for job, count in tasks.items()],
    )
    service.coordination_service.cluster_register_with_barrier = (
        True  # else only the chief is waited for with this timeout
    )
    own = f"worker {cluster.worker} of {cluster.num_workers}"
    logger.info("Starting %s at %s and waiting for the others", own, cluster.addresses[cluster.worker])
    try:
        with signals_end_at_once(), native_stderr_logged():
            return tf.distribute.MultiWorkerMirroredStrategy()
    except tf.errors.DeadlineExceededError as e:
        late = str(e).partition("timed out task names")[2].partition("\n\n")[0]
        missing = _workers_in(late, cluster) or [0]
        raise ClusterError(
            f"{', '.join(map(cluster.name, missing))} failed to connect within --worker_timeout_s: check that it was started and"
            " that its address can be reached from here"
        ) from e
    except tf.errors.OpError as e:
        reason = str(e).partition("\n")[0].rstrip(".")
        raise ClusterError(
            f"{own} cannot start at {cluster.addresses[cluster.worker]} ({reason}): check that the port is free and that no other"
            " process has the same task in TF_CONFIG"
        ) from e


def _loss(cluster: Cluster, error: Exception) -> ClusterError | None:
    """The `ClusterError` for an `error` caused by a lost worker, else None."""
    # If one loss caused others, the first worker named is the cause.
    text = str(error)
    others = [number for number in _workers_in(text, cluster) if number != cluster.worker]
    of_own_device = not others and isinstance(error, tf.errors.InternalError) and "ollective" not in text
    if cluster.num_workers == 1 or of_own_device:
        return None
    if not others and "CoordinationService" in text and not cluster.is_chief:
        others = [0]
    who = cluster.name(others[0]) if others else "another worker"
    return ClusterError(
        f"worker {cluster.worker} stops: {who} failed or cannot be reached. See its log, then restart all workers with the"
        " same commands: they resume from the last checkpoint"
    )


@contextlib.contextmanager
def lost_workers_reported(cluster: Cluster) -> Iterator[None]:
    """Turns TensorFlow's errors about a lost worker into a `ClusterError` that names it."""
    try:
        yield
    except LOST as e:
        if loss := _loss(cluster, e):
            raise loss from e
        raise


def _start_on_one_machine(config: TrainConfig) -> Replicas:
    gpus = tf.config.get_visible_devices("GPU")
    if config.strategy == "none" or (config.strategy == "auto" and len(gpus) < 2):
        return Replicas()
    devices = [device.name for device in tf.config.list_logical_devices("GPU" if gpus else "CPU")]
    return Replicas(tf.distribute.MirroredStrategy(devices))


@contextlib.contextmanager
def start(config: TrainConfig, *configs: Config) -> Iterator[Replicas]:
    """The replicas that `config` asks for. In a cluster all workers call this, before TensorFlow runs any operation.

    `config` and `configs` must be the same on all workers. The block ends with a barrier.

    Raises:
        UsageError: TF_CONFIG or a setting is invalid, or TensorFlow is already initialised.
        ClusterError: another worker failed to connect, has other settings, or was lost while the block ran.
    """
    cluster = find_cluster(config.strategy, os.environ)
    if cluster is None and os.environ.get(ENVIRONMENT) and config.strategy != "auto":
        logger.warning("%s is set, but ignored with --strategy=%s", ENVIRONMENT, config.strategy)
    config.require("shard_data", cluster is not None or not config.shard_data, "left out without a cluster of workers")
    if cluster is None:
        replicas = _start_on_one_machine(config)
    else:
        replicas = Replicas(_start_cluster(cluster, config.worker_timeout_s), cluster)
    with lost_workers_reported(replicas.cluster):
        if cluster is not None:
            _compare(replicas, (config, *configs))
        rule = f"a multiple of the number of replicas, {replicas.num_replicas}"
        config.require("batch_size", config.batch_size % replicas.num_replicas == 0, rule)
        if cluster is not None or replicas.num_replicas > 1:
            kind = "multi_worker" if cluster else "mirrored"
            counts = (replicas.num_replicas, replicas.cluster.num_workers)
            logger.info("Strategy: %s, %d replicas on %d workers", kind, *counts)
        yield replicas
        replicas.gather(None)  # TensorFlow needs all workers to stay until the last one is done
        replicas.leave()
