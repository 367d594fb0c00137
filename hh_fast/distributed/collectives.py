"""The devices and workers that train together, and what the workers tell each other."""

import contextlib
import dataclasses
import functools
import json
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hh_fast.config import require
from hh_fast.data.pipeline import Share
from hh_fast.distributed.handshake import difference
from hh_fast.distributed.tf_config import ALONE, Cluster, ClusterError
from hh_fast.errors import HHFastError


@dataclasses.dataclass
class Replicas:
    """A strategy and the cluster that it spans. Every method is called by all workers alike.

    `Replicas()` is one device: the default strategy, with one replica.
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

    def require_divisible(self, batch_size: int) -> None:
        """Raises `UsageError` where the global batch is not divisible by the number of replicas."""
        rule = f"a multiple of the number of replicas, {self.num_replicas}"
        require(batch_size % self.num_replicas == 0, "batch_size", rule, batch_size)

    def merge(self, own: np.ndarray) -> np.ndarray:
        """Arrays of one shape and dtype, zero except in what one worker alone fills, made whole: to the bit, summed as int64."""
        if self.cluster.num_workers == 1 or own.size == 0:  # TensorFlow dies of a collective over nothing
            return own
        words = np.frombuffer(own.tobytes() + bytes(-own.nbytes % 8), np.int64)
        merged = self.strategy.experimental_local_results(self._sum(tf.constant(words)))[0].numpy()
        return np.frombuffer(merged.tobytes(), own.dtype, own.size).reshape(own.shape)

    @functools.cached_property
    def _sum(self) -> Any:
        per_worker = self.share.num_parts

        def in_replica(own: tf.Tensor) -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            first = tf.equal(context.replica_id_in_sync_group % per_worker, 0)
            return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.where(first, own, tf.zeros_like(own)))

        of_any_length = [tf.TensorSpec((None,), tf.int64)]
        return tf.function(
            lambda own: self.strategy.run(in_replica, args=(own,)), input_signature=of_any_length, autograph=False
        )

    def gather_figures(self, figures: Sequence[float]) -> np.ndarray:
        """Each worker's figures, float64 (num_workers, n)."""
        table = np.zeros((self.cluster.num_workers, len(figures)), np.float64)
        table[self.cluster.worker] = figures
        return self.merge(table)

    def gather_texts(self, text: str) -> list[str]:
        """Each worker's text, which may hold file names that are not UTF-8."""
        own = text.encode("utf-8", "surrogateescape")
        lengths = self.gather_figures([len(own)])[:, 0].astype(int)
        table = np.zeros((self.cluster.num_workers, lengths.max()), np.uint8)
        table[self.cluster.worker, : len(own)] = np.frombuffer(own, np.uint8)
        rows = zip(self.merge(table), lengths, strict=True)
        return [row[:length].tobytes().decode("utf-8", "surrogateescape") for row, length in rows]

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """A barrier at the end of the block; re-raises any worker's failure on all.

        Raises:
            ClusterError: another worker failed, in its words.
        """
        error: Exception | None = None
        try:
            yield
        except (HHFastError, OSError) as e:
            error = e
        said = self.gather_texts(str(error) if error else "")
        if error:
            raise error
        for worker, text in enumerate(said):
            if text:
                raise ClusterError(f"{self.cluster.name(worker)} stopped: {text}")

    def require_same(self, facts: dict[str, Any]) -> None:
        """Raises `ClusterError` that names what differs between workers, of facts known by now."""
        all_facts = [json.loads(text) for text in self.gather_texts(json.dumps(facts))]
        for worker, theirs in enumerate(all_facts):
            if found := difference(worker, all_facts[0], theirs):
                raise ClusterError(found)

    def share_variables(self, variables: Sequence[keras.Variable]) -> None:
        """Sets every worker's variables to the chief's, to the bit."""
        for variable in variables if self.cluster.num_workers > 1 else ():
            value = np.asarray(variable.numpy())
            variable.assign(self.merge(value if self.cluster.is_chief else np.zeros_like(value)))
