"""tf.distribute's strategy for the devices that a run asks for, and which worker was lost where a collective fails."""

import contextlib
import logging
import re
import signal
from collections.abc import Iterator

import tensorflow as tf

from hh_fast.config import TrainConfig
from hh_fast.distributed.collectives import Replicas
from hh_fast.distributed.tf_config import Cluster, ClusterError

logger = logging.getLogger(__name__)

# What a collective raises when a worker is gone.
LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.InternalError)


def _lost_worker(cluster: Cluster, error: Exception) -> int | None:
    # Where one loss has brought others about, the first that is named is the one behind them.
    tasks = re.findall(r"/job:(chief|worker)/(?:replica:\d+/)?task:(\d+)", str(error))
    behind_chief = any(job == "chief" for job, _ in tasks)
    numbers = [0 if job == "chief" else int(index) + behind_chief for job, index in tasks]
    others = [number for number in numbers if number != cluster.worker and number < cluster.num_workers]
    return others[0] if others else None


@contextlib.contextmanager
def lost_workers_reported(cluster: Cluster) -> Iterator[None]:
    """Turns TensorFlow's errors about a worker that is gone into a `ClusterError` that names it."""
    try:
        yield
    except LOST as e:
        lost = _lost_worker(cluster, e)
        of_own_device = lost is None and isinstance(e, tf.errors.InternalError) and "ollective" not in str(e)
        if cluster.num_workers == 1 or of_own_device:
            raise
        who = "another worker" if lost is None else cluster.name(lost)
        raise ClusterError(
            f"worker {cluster.worker} stops: {who} failed or cannot be reached. See its log, then start all workers again with"
            " the same commands: they go on from the last checkpoint"
        ) from e


@contextlib.contextmanager
def _in_time(timeout_s: int) -> Iterator[None]:
    """Lets the system end the process where TensorFlow's servers do not find each other in time; main thread only.

    TensorFlow waits there without end, and with Python's lock held, so that no thread or handler could do it.
    """
    logger.info(
        "All workers are there: starting TensorFlow's servers. If one is lost right now, the others wait, and are ended by"
        " SIGALRM after %d s (--worker_timeout_s)",
        timeout_s,
    )
    previous = signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(timeout_s)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def start(config: TrainConfig, cluster: Cluster | None) -> Replicas:
    """The replicas that `config` asks for.

    For a cluster this starts TensorFlow's server, so it must come before any operation runs.
    """
    if cluster is not None:
        with _in_time(config.worker_timeout_s):
            replicas = Replicas(tf.distribute.MultiWorkerMirroredStrategy(), cluster)
    else:
        gpus = tf.config.get_visible_devices("GPU")
        if config.strategy == "none" or (config.strategy == "auto" and len(gpus) < 2):
            return Replicas()
        devices = [device.name for device in tf.config.list_logical_devices("GPU" if gpus else "CPU")]
        replicas = Replicas(tf.distribute.MirroredStrategy(devices))
    replicas.require_divisible(config.batch_size)
    logger.info(
        "Strategy: %s, %d replicas on %d workers",
        "multi_worker" if cluster else "mirrored",
        replicas.num_replicas,
        replicas.cluster.num_workers,
    )
    return replicas
