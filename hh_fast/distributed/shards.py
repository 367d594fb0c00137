"""The shards of the training set, and the comparison of all workers' images and settings."""

import dataclasses
import hashlib
import logging
from typing import Any

from hh_fast.config import TrainConfig
from hh_fast.data.load import Data, Examples
from hh_fast.distributed.replicas import Replicas

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Shards:
    """A training set in fixed shards, image i in shard i modulo `num_shards`; each worker trains on its own shard.

    With one shard all workers have the whole set. `smallest` is the number of images in the smallest shard.
    """

    num_shards: int
    num_images: int
    smallest: int
    fingerprint: str

    def num_steps(self, batch_size: int) -> int:
        """Steps per epoch with the global `batch_size`, limited by the smallest shard."""
        return self.smallest // (batch_size // self.num_shards)

    def steps_per_epoch(self, config: TrainConfig) -> int:
        """The steps per epoch. Raises `UsageError` if the smallest shard does not fill one step."""
        num_steps, most = self.num_steps(config.batch_size), self.smallest * self.num_shards
        of_shards = f"{most} for shards of {self.smallest} images"
        rule = of_shards if self.num_shards > 1 else f"the number of training images, {most}"
        config.require("batch_size", num_steps > 0, f"at most {rule}")
        return config.steps_per_epoch or num_steps


def whole(train: Examples, fingerprint: str = "") -> Shards:
    """A single shard: this process has all training images."""
    return Shards(1, len(train), len(train), fingerprint)


def agree(replicas: Replicas, data: Data, *, precision: str, jit_compile: bool, sharded: bool) -> Shards:
    """The shards of the training set, after checking that all workers have the same images, precision and compiler.

    Raises:
        ClusterError: workers differ; it names the difference.
    """
    facts: dict[str, Any] = {
        "the classes": ", ".join(data.class_names),
        "precision": precision,
        "XLA": jit_compile,
    }
    facts |= {"the list of images (SHA-256)": data.listing} if sharded else {"the data fingerprint": data.fingerprint}
    replicas.require_same(facts)
    if not sharded:
        return whole(data.train, data.fingerprint)
    counts, fingerprints = zip(*replicas.gather((len(data.train), data.fingerprint)), strict=True)
    fingerprint = hashlib.sha256(" ".join(fingerprints).encode()).hexdigest()
    logger.info(
        "Sharded: this worker trains on %d of %d images. Each epoch sees every image once, but batches differ from those on one"
        " machine: a worker's part of each batch has only images of its shard",
        len(data.train),
        sum(counts),
    )
    return Shards(replicas.cluster.num_workers, sum(counts), min(counts), fingerprint)
