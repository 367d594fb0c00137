"""The input of each worker's replicas: their parts of every global batch."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from hh_fast.config import TrainConfig
from hh_fast.data.load import Examples
from hh_fast.data.pipeline import Share, batches_at, train_batches
from hh_fast.distributed.replicas import Replicas
from hh_fast.distributed.shards import Shards


def train_input(replicas: Replicas, shards: Shards, split: Examples, config: TrainConfig, **plan: Any) -> Iterator[Any]:
    """The batches of `train_batches(split, batch_size=config.batch_size, **plan)`, distributed for `replicas.strategy.run`.

    With several `shards`, `split` is this worker's shard, and its batches are the worker's part of the global ones.
    """
    share, batch_size = replicas.share, config.batch_size
    if shards.num_shards > 1:
        plan["steps_per_pass"] = shards.num_steps(batch_size)
        share, batch_size = Share(0, 1, share.num_parts), batch_size // shards.num_shards

    def of_worker(_: tf.distribute.InputContext) -> tf.data.Dataset:
        # repeat(), although it is never read that far: otherwise tf.distribute asks all workers at each step whether an input ends.
        return train_batches(split, batch_size=batch_size, share=share, **plan).repeat()

    return iter(replicas.strategy.distribute_datasets_from_function(of_worker))


class EvaluationRounds:
    """Ordered passes over `split` in rounds of one batch per replica; the last image is repeated to fill the last round.

    The rows of a round are those of all replicas, in order.
    """

    def __init__(self, replicas: Replicas, split: Examples, batch_size: int) -> None:
        size = -(-batch_size // replicas.num_replicas)
        num_rounds = -(-len(split) // (size * replicas.num_replicas))
        rows = np.minimum(np.arange(num_rounds * replicas.num_replicas * size, dtype=np.int32), len(split) - 1)
        self.split = split
        self._num_rounds = num_rounds
        own_rows = rows.reshape(num_rounds, -1)[:, replicas.share.rows(size * replicas.num_replicas)].reshape(-1, size)
        self._passes = replicas.strategy.distribute_datasets_from_function(
            lambda _: batches_at(split, own_rows).repeat()
        )
        self._at_start: Iterator[Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        """One pass; all workers must read the same number of rounds."""
        # Creating an iterator takes longer than predicting a round, so it is reused for the next pass, if this one was completed.
        batches, self._at_start = self._at_start or iter(self._passes), None
        yield from itertools.islice(batches, self._num_rounds)
        self._at_start = batches
