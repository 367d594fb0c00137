"""Several replicas end where one does, to rounding, and all of a cluster's workers end alike, to the bit."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorflow as tf
from small_data import examples_of

from hh_fast.config import TrainConfig
from hh_fast.data.load import Examples
from hh_fast.data.pipeline import Share, train_batches
from hh_fast.distributed.collectives import Replicas
from hh_fast.distributed.shards import Shards
from hh_fast.distributed.strategy import lost_workers_reported
from hh_fast.distributed.tf_config import Cluster, ClusterError
from hh_fast.errors import UsageError

pytestmark = pytest.mark.slow

# What each child runs: 16 steps of SGD in float32 on augmented `images` by as many replicas as asked, and the weights saved.
STEPS = """
import os, sys
import tensorflow as tf
count, images, out, head = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * max(count, 1))
import numpy as np
from hh_fast.config import DataConfig, TrainConfig
from hh_fast.data.load import load_data
from hh_fast.model import build_model
from hh_fast.distributed.inputs import EvaluationRounds
from hh_fast.distributed.tf_config import find_cluster
from hh_fast.training.loop import Loop
from hh_fast.distributed.strategy import start
from hh_fast.training.step import Trainer, make_optimizer

cluster = find_cluster("auto", os.environ)
config = TrainConfig(strategy="auto" if cluster else "mirrored" if count else "none", batch_size=8,
                     validation_batch_size=4, epochs=4, optimizer="sgd", learning_rate=0.01, precision="float32", augment=True)
replicas = start(config, cluster)
data = load_data(DataConfig(train_dir=images, image_size=(96, 96), cache="memory", validation_split=0.2))
assert replicas.num_replicas == max(count, 1)
with replicas.strategy.scope():
    model = build_model((96, 96), num_classes=2, head=head, dtype="float32")
    optimizer = make_optimizer(config, "float32")
trainer = Trainer(model, optimizer, replicas, batch_size=8, jit_compile="xla" in sys.argv)
progress = Loop(trainer, data, config, seed=3).run()
assert len(progress.history) * (len(data.train) // 8) == 16
history = [[row[name] for name in ("loss", "accuracy", "val_loss", "val_accuracy")] for row in progress.history]
_, probabilities = trainer.evaluate(EvaluationRounds(replicas, data.validation, 4))
np.savez(out, *model.get_weights(), history=history, probabilities=probabilities)
replicas.gather_figures([0])  # TensorFlow wants all workers there until the last is done
"""
# Two steps in float16's way, of which the first overflows on the second replica alone.
OVERFLOW = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import numpy as np
from hh_fast.config import TrainConfig
from hh_fast.distributed.strategy import start
from hh_fast.model import build_model
from hh_fast.training.step import Trainer, make_optimizer

class Overflowing(Trainer):
    def _loss_and_gradients(self, images, labels):
        loss, right, gradients = super()._loss_and_gradients(images, labels)
        return loss, right, [tf.where(tf.reduce_all(labels == 1), np.inf, gradient) for gradient in gradients]

config = TrainConfig(strategy="mirrored", batch_size=4)
replicas = start(config, None)
with replicas.strategy.scope():
    model = build_model((96, 96), num_classes=2, head="sigmoid")
    optimizer = make_optimizer(config, "mixed_float16")
trainer = Overflowing(model, optimizer, replicas, batch_size=4, jit_compile=False)
def split(rows):
    parts = tf.split(rows, 2)
    return replicas.strategy.experimental_distribute_values_from_function(
        lambda context: parts[context.replica_id_in_sync_group])

before, scale = model.get_weights(), float(optimizer.dynamic_scale.numpy())
images = tf.constant(np.random.default_rng(0).integers(0, 255, (4, 96, 96, 3), np.uint8))
for labels in ([0, 0, 1, 1], [0, 1, 0, 1]):
    trainer.start_step(split(images), split(tf.constant(labels)))
    kept = all((a == b).all() for a, b in zip(before, model.get_weights()))
    replicas_finite = all(np.isfinite(copy.numpy()).all() for variable in model.trainable_variables
                          for copy in replicas.strategy.experimental_local_results(variable.value))
    print("kept" if kept else "changed", replicas_finite, float(optimizer.dynamic_scale.numpy()) / scale)
"""
ALONE = """
import logging, os
from hh_fast.config import TrainConfig
from hh_fast.distributed.tf_config import find_cluster
from hh_fast.distributed.strategy import start
logging.basicConfig(level=logging.INFO)
start(TrainConfig(worker_timeout_s=2), find_cluster("auto", os.environ))
"""
TRAIN = "import sys; from hh_fast.cli.train import main; sys.exit(main())"


def free_addresses(count: int) -> tuple[str, ...]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = tuple(f"127.0.0.1:{opened.getsockname()[1]}" for opened in sockets)
    for opened in sockets:
        opened.close()
    return addresses


def child(code: str, *words: object, **environment: str) -> "subprocess.Popen[str]":
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1", **environment}
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


def tf_config(addresses: tuple[str, ...], worker: int) -> str:
    return json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": worker}})


def in_memory(num_images: int) -> Examples:
    """Images of one pixel whose value is their position."""
    images = tf.reshape(tf.cast(tf.range(num_images), tf.uint8), (-1, 1, 1, 1)) * tf.ones((1, 1, 1, 3), tf.uint8)
    labels = np.arange(num_images, dtype=np.int32)
    return examples_of(images, labels)


def positions(batches: tf.data.Dataset) -> np.ndarray:
    parts = [(images.numpy()[:, 0, 0, 0].astype(int), labels.numpy()) for images, labels in batches]
    assert all((images == labels).all() for images, labels in parts)
    return np.stack([images for images, _ in parts])


@pytest.mark.parametrize(("num_workers", "num_parts"), [(1, 2), (2, 1), (2, 2), (4, 1)])
def test_shares_together_are_the_single_machines_batches(num_workers: int, num_parts: int) -> None:
    plan = {"batch_size": 8, "seed": 3, "epochs": 3, "first_epoch": 1, "first_step": 2, "steps_per_epoch": 7}
    split = in_memory(29)
    whole = positions(train_batches(split, **plan))
    assert whole.shape == (12, 8)
    shares = [
        positions(train_batches(split, **plan, share=Share(worker, num_workers, num_parts))).reshape(12, -1)
        for worker in range(num_workers)
    ]
    assert np.concatenate(shares, axis=1).tolist() == whole.tolist()


def test_an_epoch_over_shards_sees_every_image_once() -> None:
    shards = Shards(num_shards=3, num_images=26, smallest=8, fingerprint="")
    config = TrainConfig(batch_size=6)
    assert shards.steps_per_epoch(config) == 26 // 6
    for epoch in range(2):
        seen = []
        for worker in range(3):
            own = np.arange(26)[worker::3]
            batches = train_batches(
                in_memory(len(own)), batch_size=2, seed=0, epochs=epoch + 1, first_epoch=epoch, steps_per_pass=4
            )
            seen += own[positions(batches).ravel()].tolist()
        assert len(seen) == len(set(seen)) == 24


def test_a_shard_too_small_for_a_step_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        Shards(num_shards=4, num_images=11, smallest=2, fingerprint="").steps_per_epoch(TrainConfig(batch_size=12))
    assert str(caught.value) == "`batch_size` must be at most 8 for shards of 2 images. Received: 12"


class Strategy:
    """As far as `Replicas` asks a strategy that spans one process."""

    num_replicas_in_sync = 4


def test_the_batch_must_divide() -> None:
    replicas = Replicas(Strategy())
    replicas.require_divisible(8)
    with pytest.raises(UsageError) as caught:
        replicas.require_divisible(10)
    assert str(caught.value) == "`batch_size` must be a multiple of the number of replicas, 4. Received: 10"


@pytest.mark.parametrize(
    ("text", "who"),
    [
        ("reset by /job:worker/replica:0/task:2 and then /job:worker/replica:0/task:1", "worker 2 (h:3)"),
        ("at /job:worker/replica:0/task:0: lost /job:worker/replica:0/task:1", "worker 1 (h:2)"),
        ("nobody", "another worker"),
    ],
)
def test_a_loss_names_the_worker_behind_it(text: str, who: str) -> None:
    replicas = Replicas(Strategy(), Cluster(("h:1", "h:2", "h:3"), 0))
    with pytest.raises(ClusterError) as caught, lost_workers_reported(replicas.cluster):
        raise tf.errors.UnavailableError(None, None, text)
    assert str(caught.value) == (
        f"worker 0 stops: {who} failed or cannot be reached. See its log, then start all workers again with the same commands:"
        " they go on from the last checkpoint"
    )


def test_an_internal_error_that_names_no_other_worker_is_ones_own() -> None:
    replicas = Replicas(Strategy(), Cluster(("h:1", "h:2"), 0))
    own = tf.errors.InternalError(None, None, "cuDNN failed at /job:worker/replica:0/task:0/device:GPU:0")
    with pytest.raises(tf.errors.InternalError), lost_workers_reported(replicas.cluster):
        raise own
    for text in ("lost /job:worker/replica:0/task:1", "Collective ops is aborted by: Socket closed"):
        with pytest.raises(ClusterError), lost_workers_reported(replicas.cluster):
            raise tf.errors.InternalError(None, None, text)


@pytest.mark.parametrize(("head", "counts"), [("sigmoid", (2, 4)), ("softmax", (2,))])
def test_mirrored_replicas_end_where_one_device_does(
    images: Path, tmp_path: Path, head: str, counts: tuple[int, ...]
) -> None:
    for process in [child(STEPS, count, images, tmp_path / f"{count}.npz", head) for count in (0, *counts)]:
        code, text = finish(process)
        assert code == 0, text
    for count in counts:
        files = tmp_path / "0.npz", tmp_path / f"{count}.npz"
        assert 0 < largest_difference(*files, WEIGHTS) < 1e-4
        assert largest_difference(*files, ["history", "probabilities"]) < 1e-4


def test_an_overflow_on_one_replica_alone_skips_the_step_on_all() -> None:
    code, text = finish(child(OVERFLOW))
    assert (code, text.splitlines()[-2:]) == (0, ["kept True 0.5", "changed True 0.5"]), text


def test_two_processes_end_where_one_does_and_alike_to_the_bit(images: Path, tmp_path: Path) -> None:
    addresses = free_addresses(2)
    processes = [child(STEPS, 0, images, tmp_path / "single.npz", "sigmoid")]
    processes += [
        child(STEPS, 2, images, tmp_path / f"worker{i}.npz", "sigmoid", TF_CONFIG=tf_config(addresses, i))
        for i in range(2)
    ]
    for process in processes:
        code, text = finish(process)
        assert code == 0, text
    names = [*WEIGHTS, "history", "probabilities"]
    assert largest_difference(tmp_path / "worker0.npz", tmp_path / "worker1.npz", names) == 0
    assert 0 < largest_difference(tmp_path / "single.npz", tmp_path / "worker0.npz", WEIGHTS) < 1e-4
    assert largest_difference(tmp_path / "single.npz", tmp_path / "worker0.npz", ["history", "probabilities"]) < 1e-4


def flags(images: Path, run_dir: Path, *more: str) -> list[str]:
    return [
        f"--train_dir={images}",
        f"--run_dir={run_dir}",
        "--image_size=96,96",
        "--batch_size=8",
        "--epochs=12",
        "--checkpoint_every_steps=1",
        "--learning_rate=0.0001",
        "--precision=float32",
        "--cache=memory",
        "--worker_timeout_s=60",
        *more,
    ]


def cluster_of_two(*words: list[str]) -> "list[subprocess.Popen[str]]":
    addresses = free_addresses(2)
    return [child(TRAIN, *own, TF_CONFIG=tf_config(addresses, i)) for i, own in enumerate(words)]


def wait_for_epoch(run_dir: Path, epoch: int) -> None:
    end = time.monotonic() + 90
    while not list(run_dir.glob(f"checkpoints/epoch{epoch:04d}-*.npz")):
        assert time.monotonic() < end
        time.sleep(0.01)


def weights(path: Path) -> bytes:
    """The weights' bytes, out of a .keras file."""
    with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as file, h5py.File(file) as opened:
        found: list[bytes] = []
        opened.visititems(lambda _, item: found.append(item[()].tobytes()) if isinstance(item, h5py.Dataset) else None)
        return b"".join(found)


def test_a_killed_worker_stops_the_others_and_the_same_commands_resume_exactly(images: Path, tmp_path: Path) -> None:
    whole, broken = (flags(images, tmp_path / name) for name in ("whole", "broken"))
    for process in cluster_of_two(whole, whole):
        code, text = finish(process)
        assert code == 0, text

    chief, other = cluster_of_two(broken, broken)
    wait_for_epoch(tmp_path / "broken", 2)
    other.kill()
    start = time.monotonic()
    code, text = finish(chief)
    finish(other)
    assert time.monotonic() - start < 30
    assert code == 5, text
    assert "train: worker 0 stops: worker 1 (127.0.0.1:" in text
    assert (
        ") failed or cannot be reached. See its log, then start all workers again with the same commands: they go on"
        in text
    )

    chief, other = cluster_of_two(broken, broken)
    wait_for_epoch(tmp_path / "broken", 5)
    other.send_signal(signal.SIGTERM)
    for process in (other, chief):
        code, text = finish(process)
        assert code == 143, text
        assert "train: stopped by SIGTERM at epoch " in text

    # TensorFlow's collectives crashed once here, on a machine at many times its load. That is a worker lost like any other:
    # the same commands must still come to the same end.
    for _ in range(3):
        ended = [finish(process) for process in cluster_of_two(broken, broken)]
        codes = [code for code, _ in ended]
        assert set(codes) <= {0, 5, -signal.SIGSEGV}, ended
        assert ["[worker 0] Going on in" in text for _, text in ended] == [True, False]
        if codes == [0, 0]:
            break
    assert codes == [0, 0], ended
    assert weights(tmp_path / "broken" / "last.keras") == weights(tmp_path / "whole" / "last.keras")
    rows = [
        [line.split(",")[:5] for line in (tmp_path / name / "history.csv").read_text().splitlines()]
        for name in ("whole", "broken")
    ]
    assert rows[0] == rows[1] and len(rows[0]) == 13


def test_a_worker_lost_between_meeting_and_start_is_no_silent_wait() -> None:
    code, text = finish(child(ALONE, TF_CONFIG=tf_config(free_addresses(2), 0)))
    assert code == -signal.SIGALRM, text
    assert (
        "starting TensorFlow's servers. If one is lost right now, the others wait, and are ended by SIGALRM after 2 s"
        in text
    )


def test_workers_with_other_images_are_refused_and_the_run_folder_stays_the_chiefs(
    images: Path, make_images: Callable[..., Path], tmp_path: Path
) -> None:
    others = make_images("others", {"horses": 21, "humans": 20}, size=(96, 96), seed=1)
    chief, other = cluster_of_two(flags(images, tmp_path / "run0"), flags(others, tmp_path / "run1"))
    for process in (chief, other):
        code, text = finish(process)
        assert code == 5, text
        assert "train: the workers differ: the data fingerprint is " in text
    assert not (tmp_path / "run1").exists()


def test_sharded_workers_each_read_their_own_images(images: Path, tmp_path: Path) -> None:
    words = flags(images, tmp_path / "run", "--shard_data", "--epochs=1", "--bad_images=error")
    texts = []
    for process in cluster_of_two(words, words):
        code, text = finish(process)
        assert code == 0, text
        texts.append(text)
    assert "[worker 0] Sharded: this worker trains on 17 of 33 images. Each epoch sees every image once" in texts[0]
    assert "[worker 1] Sharded: this worker trains on 16 of 33 images. Each epoch sees every image once" in texts[1]
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["num_train"], config["num_shards"], config["num_replicas"]) == (33, 2, 2)
