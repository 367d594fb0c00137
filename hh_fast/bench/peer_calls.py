"""The peers' part of the races: checked to compute the same, then measured in turn with everything else."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from hh_fast.bench import peers
from hh_fast.bench.isolate import in_process
from hh_fast.bench.race import Call
from hh_fast.bench.setting import Setting
from hh_fast.bench.whole import Job, keras_probabilities
from hh_fast.errors import CheckError
from hh_fast.io.cores import num_cores

# Probabilities of one CNN by two frameworks, in float32: summing orders differ.
MAX_PEER_DIFFERENCE = 1e-4


def _peer_job(job: Job, weights: Sequence[np.ndarray]) -> peers.PeerJob:
    return peers.PeerJob(
        train_dir=str(job.data.train_dir),
        validation_dir=job.data.validation_dir,
        image_size=job.data.image_size,
        num_classes=job.num_classes,
        softmax=job.head == "softmax",
        batch_size=job.train.batch_size,
        validation_batch_size=job.train.validation_batch_size,
        epochs=job.train.epochs,
        learning_rate=job.train.learning_rate,
        seed=job.data.seed,
        weights=tuple(weights),
    )


def peer_calls(setting: Setting) -> tuple[list[Call], list[Call]]:
    """The peers' measurements of input and of whole training, where they are installed and compute the same.

    Raises:
        CheckError: a peer's CNN, with the same weights, gives other probabilities.
    """
    if not setting.bench.peers or peers.missing():
        return [], []
    job = setting.job("float32")
    images = np.random.default_rng(0).integers(0, 256, (4, *job.data.image_size, 3), np.uint8)
    weights, expected = in_process(keras_probabilities, job, images)
    peer_job = _peer_job(job, weights)
    found = in_process(peers.torch_probabilities, peer_job, images, framework="torch")
    if np.abs(found - expected).max() > MAX_PEER_DIFFERENCE:
        raise CheckError(
            f"PyTorch's CNN differs from Keras' by {np.abs(found - expected).max():.2g} with equal weights"
        )
    name = f"PyTorch DataLoader, {num_cores()} workers"
    input_job = dataclasses.replace(peer_job, train_dir=str(setting.input_dir), weights=())
    input_calls = [Call(name, peers.torch_input, (input_job, setting.plan.num_input), framework="torch")]
    functions = {"PyTorch, {}": peers.torch_training, "bound: resident batch, PyTorch, {}": peers.torch_resident}
    trainings = [
        Call(text.format(dtype), function, (peer_job, dtype), framework="torch")
        for text, function in functions.items()
        for dtype in peers.DTYPES
    ]
    return input_calls, trainings
