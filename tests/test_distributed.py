"""Several replicas end where one does, to rounding, and all of a cluster's workers end alike, to the bit."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

# What each child runs: 16 steps of SGD in float32 on `images` by as many replicas as asked, and the weights saved.
STEPS = """
import sys
import tensorflow as tf
count, images, out, head = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * max(count, 1))
import numpy as np
from hh_fast.config import DataConfig, TrainConfig
from hh_fast.data.load import load_data
from hh_fast.model import build_model
from hh_fast.training.loop import Loop
from hh_fast.training.replica_step import ReplicaTrainer
from hh_fast.training.replicas import start
from hh_fast.training.step import Trainer, make_optimizer

config = TrainConfig(strategy="mirrored" if count else "none", batch_size=8, validation_batch_size=4, epochs=4,
                     optimizer="sgd", learning_rate=0.01, precision="float32")
replicas = start(config, None)
data = load_data(DataConfig(train_dir=images, image_size=(96, 96), cache="memory", validation_split=0.2))
def parts():
    model = build_model((96, 96), num_classes=2, head=head, dtype="float32")
    return model, make_optimizer(config, "float32")
if count:
    assert replicas.num_replicas == count
    with replicas.strategy.scope():
        model, optimizer = parts()
    trainer = ReplicaTrainer(model, optimizer, replicas, batch_size=8, jit_compile="xla" in sys.argv)
else:
    assert replicas is None
    model, optimizer = parts()
    trainer = Trainer(model, optimizer, batch_size=8, jit_compile=False)
progress = Loop(trainer, data, config, seed=3).run()
assert len(progress.history) * data.train.num_images // 8 == 16
history = [[row[name] for name in ("loss", "accuracy", "val_loss", "val_accuracy")] for row in progress.history]
np.savez(out, *model.get_weights(), history=history, probabilities=progress.best_probabilities, step=trainer.describe_step())
"""


def child(code: str, *words: object, **environment: str) -> "subprocess.Popen[str]":
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", **environment}
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.Popen(
        command, env=os.environ | quiet, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process: "subprocess.Popen[str]", *, seconds: float = 90) -> tuple[int, str]:
    """Its exit code and output; it is killed if it takes longer."""
    try:
        text, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        text, _ = process.communicate()
        text += "\n(killed by the test)"
    return process.returncode, text


@pytest.fixture
def images(make_images: Callable[..., Path]) -> Path:
    return make_images("images", {"horses": 21, "humans": 20}, size=(96, 96))


def largest_difference(one: Path, other: Path, names: list[str]) -> float:
    with np.load(one) as a, np.load(other) as b:
        return max(float(np.abs(a[name] - b[name]).max()) for name in names)


WEIGHTS = [f"arr_{i}" for i in range(14)]


@pytest.mark.parametrize("head", ["sigmoid", "softmax"])
def test_mirrored_replicas_end_where_one_device_does(images: Path, tmp_path: Path, head: str) -> None:
    counts = (0, 2, 4) if head == "sigmoid" else (0, 2)
    for process in [child(STEPS, count, images, tmp_path / f"{count}.npz", head) for count in counts]:
        assert finish(process) == (0, "")
    for count in counts[1:]:
        files = tmp_path / "0.npz", tmp_path / f"{count}.npz"
        assert 0 < largest_difference(*files, WEIGHTS) < 1e-4
        assert largest_difference(*files, ["history", "probabilities"]) < 1e-4
        assert largest_difference(tmp_path / "0.npz", tmp_path / "0.npz", ["history"]) == 0


