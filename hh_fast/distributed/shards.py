"""What the workers of a cluster must agree on once each has seen its images, and the shards that they then train on."""

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
    """A training set in fixed shards, image i in shard i modulo `num_shards`: each worker trains on its own alone.

    One shard is the whole set, which all workers have. `smallest` is the number of images of the smallest shard.
    """

    num_shards: int
    num_images: int
    smallest: int
    fingerprint: str

    def num_steps(self, batch_size: int) -> int:
        """Steps of the global `batch_size` that every shard can fill in one pass."""
        return self.smallest // (batch_size // self.num_shards)

    def steps_per_epoch(self, config: TrainConfig) -> int:
        """Raises `UsageError` where the smallest shard does not fill one step."""
        num_steps, most = self.num_steps(config.batch_size), self.smallest * self.num_shards
        of_shards = f"{most} for shards of {self.smallest} images"
        rule = of_shards if self.num_shards > 1 else f"the number of training images, {most}"
        config.require("batch_size", num_steps > 0, f"at most {rule}")
        return config.steps_per_epoch or num_steps


def whole(train: Examples, fingerprint: str = "") -> Shards:
    """One shard: this process has all training images."""
    return Shards(1, len(train), len(train), fingerprint)


def agree(replicas: Replicas, data: Data, *, precision: str, jit_compile: bool, sharded: bool) -> Shards:
    """The shards of the training set, once all workers have found that they have the same images and compute alike.

    Raises:
        ClusterError: workers have other images or compute otherwise; it names what differs.
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
        "Sharded: this worker trains on %d of %d images. Each epoch sees every image once, as on one machine, but in another"
        " order: an image always meets images of its own shard in a worker's part of the batch",
        len(data.train),
        sum(counts),
    )
    return Shards(replicas.cluster.num_workers, sum(counts), min(counts), fingerprint)
