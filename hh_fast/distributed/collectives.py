"""The devices and workers that train together, and what the workers tell each other."""

import contextlib
import dataclasses
import functools
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hh_fast.data.pipeline import Share
from hh_fast.distributed.handshake import difference
from hh_fast.distributed.tf_config import Cluster, ClusterError
from hh_fast.errors import HHFastError, UsageError


@dataclasses.dataclass
class Replicas:
    """A strategy and the cluster it spans (None: this process alone). Every method is called by all workers alike.

    `Replicas()` is one device: the default strategy, with one replica.
    """

    strategy: tf.distribute.Strategy = dataclasses.field(default_factory=tf.distribute.get_strategy)
    cluster: Cluster | None = None

    @property
    def num_replicas(self) -> int:
        return int(self.strategy.num_replicas_in_sync)

    @property
    def num_workers(self) -> int:
        return self.cluster.num_workers if self.cluster else 1

    @property
    def num_local_workers(self) -> int:
        """Workers at this one's address, this one among them."""
        return self.cluster.num_local_workers if self.cluster else 1

    @property
    def worker(self) -> int:
        return self.cluster.worker if self.cluster else 0

    @property
    def is_chief(self) -> bool:
        return self.worker == 0

    @property
    def share(self) -> Share:
        """This worker's part of each global batch."""
        return Share(self.worker, self.num_workers, self.num_replicas // self.num_workers)

    def require_divisible(self, batch_size: int) -> None:
        """Raises `UsageError` where the global batch is not divisible by the number of replicas."""
        if batch_size % self.num_replicas:
            raise UsageError(
                f"`batch_size` must be a multiple of the number of replicas, {self.num_replicas}. Received: {batch_size}"
            )

    def sum_words(self, words: np.ndarray) -> np.ndarray:
        """The sum over the workers of int64 (n,); exact, so that anything can travel as zeros and one worker's bytes."""
        if self.num_workers == 1 or words.size == 0:  # TensorFlow dies of a collective over nothing
            return words
        results = self.strategy.experimental_local_results(self._sum(tf.constant(words, tf.int64)))
        return results[0].numpy()

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
        table = np.zeros((self.num_workers, len(figures)), np.float64)
        table[self.worker] = figures
        return self.sum_words(table.view(np.int64).ravel()).view(np.float64).reshape(table.shape)

    def merge(self, own: np.ndarray) -> np.ndarray:
        """Arrays of one shape and dtype, zero except in rows that one worker alone fills, made whole."""
        padded = np.zeros(-(-own.nbytes // 8) * 8, np.uint8)
        padded[: own.nbytes] = np.frombuffer(np.ascontiguousarray(own).data, np.uint8)
        merged = self.sum_words(padded.view(np.int64)).view(np.uint8)[: own.nbytes]
        return np.frombuffer(merged.tobytes(), own.dtype).reshape(own.shape)

    def gather_texts(self, text: str) -> list[str]:
        """Each worker's text, which may hold file names that are not UTF-8."""
        own = text.encode("utf-8", "surrogateescape")
        lengths = self.gather_figures([len(own)])[:, 0].astype(int)
        table = np.zeros((self.num_workers, int(lengths.max())), np.uint8)
        table[self.worker, : len(own)] = np.frombuffer(own, np.uint8)
        whole = self.merge(table)
        return [
            row[:length].tobytes().decode("utf-8", "surrogateescape")
            for row, length in zip(whole, lengths, strict=True)
        ]

    def from_chief(self, content: bytes) -> bytes:
        """What the chief passed; what the others pass is not looked at."""
        if self.num_workers == 1:
            return content
        length = int(self.gather_figures([len(content) if self.is_chief else 0])[0, 0])
        own = np.frombuffer(content, np.uint8) if self.is_chief else np.zeros(length, np.uint8)
        return self.merge(own).tobytes()

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
            if text and self.cluster:
                raise ClusterError(f"{self.cluster.name(worker)} stopped: {text}")

    def require_same(self, facts: dict[str, Any]) -> None:
        """Raises `ClusterError` that names what differs between workers, of facts known by now."""
        all_facts = [json.loads(text) for text in self.gather_texts(json.dumps(facts))]
        for worker, theirs in enumerate(all_facts):
            if found := difference(worker, all_facts[0], theirs):
                raise ClusterError(found)

    def share_variables(self, variables: Sequence[keras.Variable]) -> None:
        """Sets every worker's variables to the chief's, to the bit."""
        if self.num_workers == 1:
            return
        packed = io.BytesIO()
        if self.is_chief:
            np.savez(packed, *[variable.numpy() for variable in variables])
        with np.load(io.BytesIO(self.from_chief(packed.getvalue())), allow_pickle=False) as arrays:
            for i, variable in enumerate(variables):
                variable.assign(arrays[f"arr_{i}"])
