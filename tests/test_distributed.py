"""Several replicas end where one does, to rounding, and all of a cluster's workers end alike, to the bit."""

import json
import os
import re
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
from workers import Workers, free_addresses, start_workers

from hh_fast.config import TrainConfig
from hh_fast.data.load import Examples
from hh_fast.data.pipeline import Share, train_batches
from hh_fast.distributed.replicas import lost_workers_reported
from hh_fast.distributed.shards import Shards
from hh_fast.distributed.tf_config import Cluster, ClusterError
from hh_fast.errors import UsageError

pytestmark = pytest.mark.slow

# What each child runs: 16 steps of SGD in float32 on augmented images by as many replicas as asked, and the weights saved.
STEPS = """
import os
import tensorflow as tf
count, images, out, head, *rest = words
count = int(count)
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * max(count, 1))
import numpy as np
from hh_fast.config import DataConfig, TrainConfig
from hh_fast.data.load import load_data
from hh_fast.model import build_model
from hh_fast.distributed.inputs import EvaluationRounds
from hh_fast.distributed.replicas import start
from hh_fast.training.loop import Loop
from hh_fast.training.step import Trainer, make_optimizer

strategy = "multi_worker" if "TF_CONFIG" in os.environ else "mirrored" if count else "none"
config = TrainConfig(strategy=strategy, batch_size=8, validation_batch_size=4, epochs=4, optimizer="sgd",
                     learning_rate=0.01, precision="float32", augment=True)
with start(config) as replicas:
    data = load_data(DataConfig(train_dir=images, image_size=(96, 96), cache="memory", validation_split=0.2))
    assert replicas.num_replicas == max(count, 1)
    with replicas.strategy.scope():
        model = build_model((96, 96), num_classes=2, head=head, dtype="float32")
        optimizer = make_optimizer(config, "float32")
    trainer = Trainer(model, optimizer, replicas, batch_size=8, jit_compile="xla" in rest)
    progress = Loop(trainer, data, config, seed=3).run()
    assert len(progress.history) * (len(data.train) // 8) == 16
    history = [[row[name] for name in ("loss", "accuracy", "val_loss", "val_accuracy")] for row in progress.history]
    _, probabilities = trainer.evaluate(EvaluationRounds(replicas, data.validation, 4))
    out = out.replace("N", str(replicas.cluster.worker))
    np.savez(out, *model.get_weights(), history=history, probabilities=probabilities)
"""
# Two steps in float16's way, of which the first overflows on the second replica alone.
OVERFLOW = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import numpy as np
from hh_fast.config import TrainConfig
from hh_fast.distributed.replicas import start
from hh_fast.model import build_model
from hh_fast.training.step import Trainer, make_optimizer

class Overflowing(Trainer):
    def _loss_and_gradients(self, images, labels):
        loss, right, gradients = super()._loss_and_gradients(images, labels)
        return loss, right, [tf.where(tf.reduce_all(labels == 1), np.inf, gradient) for gradient in gradients]

config = TrainConfig(strategy="mirrored", batch_size=4)
with start(config) as replicas:
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
# One step of a trainable BatchNormalization by two replicas, each on its half of the rows.
NORMALIZED = """
import os
import tensorflow as tf
strategy, *rest = words
cpu = tf.config.list_physical_devices("CPU")[0]
if strategy == "mirrored":
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras, numpy as np
from hh_fast.config import TrainConfig
from hh_fast.distributed.replicas import start
from hh_fast.training.step import Trainer, make_optimizer

with start(TrainConfig(strategy=strategy, batch_size=8)) as replicas:
    with replicas.strategy.scope():
        model = keras.Sequential([keras.Input((2, 2, 3)), keras.layers.BatchNormalization(momentum=0.5), keras.layers.Flatten(),
                                  keras.layers.Dense(1, activation="sigmoid")])
        optimizer = make_optimizer(TrainConfig(), "float32")
    trainer = Trainer(model, optimizer, replicas, batch_size=8, jit_compile="xla" in rest)
    rows = np.random.default_rng(0).integers(0, 256, (8, 2, 2, 3), np.uint8)
    def split(rows):
        parts = tf.split(rows, 2)
        return replicas.strategy.experimental_distribute_values_from_function(
            lambda context: parts[context.replica_id_in_sync_group])
    trainer.train_step(split(tf.constant(rows)), split(tf.constant([0, 1] * 4)))
    halves = rows.astype(np.float32).reshape(2, -1, 3)
    norm = model.layers[0]
    for variable, expected in ((norm.moving_mean, 0.5 * halves.mean(1).mean(0)),
                               (norm.moving_variance, 0.5 + 0.5 * halves.var(1).mean(0))):
        copies = [copy.numpy() for copy in replicas.strategy.experimental_local_results(variable.value)]
        assert len(copies) == replicas.share.num_parts
        for copy in copies:
            np.testing.assert_allclose(copy, expected, rtol=1e-5)
    statistics = [norm.moving_mean.numpy().tolist(), norm.moving_variance.numpy().tolist()]
    assert all(theirs == statistics for theirs in replicas.gather(statistics))
"""
# Starts with the settings of its number, and says how that ended, as bin/train does.
START = """
import sys
from hh_fast.config import TrainConfig
from hh_fast.distributed.replicas import start
from hh_fast.errors import HHFastError
try:
    with start(TrainConfig(**eval(words[0])[number])):
        print("started", flush=True)
except HHFastError as e:
    print(e, flush=True)
    sys.exit(e.exit_code)
"""
TRAIN = "import sys; from hh_fast.cli.train import main; sys.exit(main(words))"


def child(code: str, *words: object) -> "subprocess.Popen[str]":
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, "-c", f"import sys; words = sys.argv[1:]\n{code}", *map(str, words)]
    return subprocess.Popen(
        command, env=os.environ | quiet, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process: "subprocess.Popen[str]", *, seconds: float = 300) -> tuple[int, str]:
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


def test_the_batch_must_be_divisible(tmp_path: Path) -> None:
    workers = start_workers(START, tmp_path, [{"batch_size": 5}] * 2)
    assert workers.finish() == [1, 1]
    expected = "`batch_size` must be a multiple of the number of replicas, 2. Received: 5"
    assert expected in workers.lines(0)
    assert expected in workers.lines(1)


@pytest.mark.parametrize(
    ("text", "who"),
    [
        ("reset by /job:worker/replica:0/task:2 and then /job:worker/replica:0/task:1", "worker 2 (h:3)"),
        ("at /job:worker/replica:0/task:0: lost /job:worker/replica:0/task:1", "worker 1 (h:2)"),
        ("nobody", "another worker"),
    ],
)
def test_a_loss_names_the_worker_behind_it(text: str, who: str) -> None:
    with pytest.raises(ClusterError) as caught, lost_workers_reported(Cluster(("h:1", "h:2", "h:3"), 0)):
        raise tf.errors.UnavailableError(None, None, text)
    assert str(caught.value) == (
        f"worker 0 stops: {who} failed or cannot be reached. See its log, then restart all workers with the same commands:"
        " they resume from the last checkpoint"
    )


def test_an_internal_error_that_names_no_other_worker_is_ones_own() -> None:
    cluster = Cluster(("h:1", "h:2"), 0)
    own = tf.errors.InternalError(None, None, "cuDNN failed at /job:worker/replica:0/task:0/device:GPU:0")
    with pytest.raises(tf.errors.InternalError), lost_workers_reported(cluster):
        raise own
    for text in ("lost /job:worker/replica:0/task:1", "Collective ops is aborted by: Socket closed"):
        with pytest.raises(ClusterError), lost_workers_reported(cluster):
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
    single = child(STEPS, 0, images, tmp_path / "single.npz", "sigmoid")
    workers = start_workers(STEPS, tmp_path, 2, images, tmp_path / "workerN.npz", "sigmoid")
    assert workers.finish() == [0, 0], workers.text(0) + workers.text(1)
    code, text = finish(single)
    assert code == 0, text
    names = [*WEIGHTS, "history", "probabilities"]
    assert largest_difference(tmp_path / "worker0.npz", tmp_path / "worker1.npz", names) == 0
    assert 0 < largest_difference(tmp_path / "single.npz", tmp_path / "worker0.npz", WEIGHTS) < 1e-4
    assert largest_difference(tmp_path / "single.npz", tmp_path / "worker0.npz", ["history", "probabilities"]) < 1e-4


def test_mirrored_replicas_take_their_rows_statistics_and_have_the_mean() -> None:
    code, text = finish(child(NORMALIZED, "mirrored"))
    assert code == 0, text


def test_workers_take_their_rows_statistics_and_have_the_mean(tmp_path: Path) -> None:
    workers = start_workers(NORMALIZED, tmp_path, "multi_worker")
    assert workers.finish() == [0, 0], workers.text(0) + workers.text(1)


MISSING = "failed to connect within --worker_timeout_s: check that it was started and that its address can be reached from here"


def test_a_worker_that_does_not_come_is_named(tmp_path: Path) -> None:
    addresses = free_addresses(3)
    workers = start_workers(START, tmp_path, [{"worker_timeout_s": 5}] * 2, numbers=(0, 1), addresses=addresses)
    assert workers.finish(seconds=60) == [5, 5]
    expected = f"worker 2 ({addresses[2]}) {MISSING}"
    assert expected in workers.lines(0)
    assert expected in workers.lines(1)


def test_a_chief_that_does_not_come_is_named(tmp_path: Path) -> None:
    addresses = free_addresses(2)
    workers = start_workers(START, tmp_path, [{}, {"worker_timeout_s": 2}], numbers=(1,), addresses=addresses)
    assert workers.finish(seconds=60) == [5]
    assert f"worker 0 (the chief, {addresses[0]}) {MISSING}" in workers.lines(0)


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        addresses = (f"127.0.0.1:{taken.getsockname()[1]}", *free_addresses(1))
        workers = start_workers(START, tmp_path, [{}] * 2, numbers=(0,), addresses=addresses)
        assert workers.finish(seconds=60) == [5]
    expected = (
        f"worker 0 of 2 cannot start at {addresses[0]} (Could not start gRPC server): check that the port is free and that no"
        " other process has the same task in TF_CONFIG"
    )
    assert expected in workers.lines(0)


def test_what_differs_between_workers_is_named_to_all(tmp_path: Path) -> None:
    workers = start_workers(START, tmp_path, [{"epochs": 1}, {"epochs": 2, "worker_timeout_s": 299}])
    assert workers.finish() == [5, 5]
    expected = (
        "the workers differ: --epochs is 1 at worker 0 and 2 at worker 1. Start all with the same settings and code"
    )
    assert expected in workers.lines(0)
    assert expected in workers.lines(1)


def test_other_lists_of_workers_are_a_difference(tmp_path: Path) -> None:
    addresses = free_addresses(3)
    chief = start_workers(START, tmp_path / "chief", [{}], numbers=(0,), addresses=addresses[:2])
    other = start_workers(START, tmp_path / "other", [{}] * 2, numbers=(1,), addresses=addresses)
    assert (chief.finish(), other.finish()) == ([5], [5])
    told = [line for line in chief.lines(0) if line.startswith("the workers differ: the cluster in TF_CONFIG is ")]
    assert len(told) == 1
    assert told[0] in other.lines(0)


IN_USE = (
    "cluster training must run first and only once in a process, but TensorFlow is already initialised here: start a new"
    " process, and pass the model as a .keras file"
)
# hh_fast.train as a program of one's own calls it, in a cluster of one.
CALLS = """
import sys, threading
import keras
import hh_fast
settings = dict(train_dir=words[0], run_dir=words[1], image_size=(96, 96), batch_size=8, epochs=1)
def call(**more):
    try:
        print(hh_fast.train(**settings, **more).history[-1]["epoch"])
    except hh_fast.errors.UsageError as e:
        print(e)
if words[2] == "model":
    call(model=keras.Sequential([keras.Input((96, 96, 3)), keras.layers.Flatten(), keras.layers.Dense(1, "sigmoid")]))
else:
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    call(overwrite=True)
"""


def test_train_with_a_model_in_a_cluster_is_refused(images: Path, tmp_path: Path) -> None:
    workers = start_workers(CALLS, tmp_path, images, tmp_path / "run", "model", count=1)
    assert (workers.finish(), IN_USE in workers.lines(0)) == ([0], True)


def test_train_in_a_cluster_runs_in_a_thread_and_once(images: Path, tmp_path: Path) -> None:
    workers = start_workers(CALLS, tmp_path, images, tmp_path / "run", "twice", count=1)
    assert (workers.finish(), [line for line in workers.lines(0) if line in ("1.0", IN_USE)]) == (
        [0],
        ["1.0", IN_USE],
    )


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
        *more,
    ]


def weights(path: Path) -> bytes:
    """The weights' bytes, out of a .keras file."""
    with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as file, h5py.File(file) as opened:
        found: list[bytes] = []
        opened.visititems(lambda _, item: found.append(item[()].tobytes()) if isinstance(item, h5py.Dataset) else None)
        return b"".join(found)


def train(folder: Path, words: list[str]) -> Workers:
    return start_workers(TRAIN, folder, *words)


@pytest.mark.parametrize(
    ("lost", "number"), [(1, signal.SIGKILL), (0, signal.SIGKILL), (1, signal.SIGSTOP), (0, signal.SIGSTOP)]
)
def test_a_worker_that_dies_or_hangs_stops_the_others(
    lost: int, number: signal.Signals, images: Path, tmp_path: Path
) -> None:
    workers = train(tmp_path, flags(images, tmp_path / "run", "--epochs=10000"))
    workers.wait_for(0, "[worker 0] Epoch 2/")
    workers.signal(lost, number)
    start = time.monotonic()
    text = f"train: worker {1 - lost} stops: worker {lost} ({'the chief, ' if lost == 0 else ''}127.0.0.1:"
    workers.wait_for(1 - lost, text, seconds=30)
    assert time.monotonic() - start < 30
    if number == signal.SIGSTOP:
        workers.signal(lost, signal.SIGKILL)
    codes = workers.finish(seconds=60)
    assert (codes[1 - lost], codes[lost]) == (5, -signal.SIGKILL), workers.text(1 - lost)
    assert (
        ") failed or cannot be reached. See its log, then restart all workers with the same commands: they resume"
        in workers.text(1 - lost)
    )


def test_the_same_commands_resume_exactly_after_a_kill_and_a_signal(images: Path, tmp_path: Path) -> None:
    whole, broken = (flags(images, tmp_path / name) for name in ("whole", "broken"))
    workers = train(tmp_path / "logs0", whole)
    assert workers.finish() == [0, 0], workers.text(0)

    workers = train(tmp_path / "logs1", broken)
    workers.wait_for(0, "[worker 0] Epoch 2/")
    workers.signal(1, signal.SIGKILL)
    assert workers.finish() == [5, -signal.SIGKILL], workers.text(0)

    workers = train(tmp_path / "logs2", broken)
    workers.wait_for(0, "[worker 0] Epoch 5/")
    workers.signal(1, signal.SIGTERM)
    assert workers.finish() == [143, 143], workers.text(0) + workers.text(1)
    assert all("train: stopped by SIGTERM at epoch " in workers.text(worker) for worker in (0, 1))

    # TensorFlow's collectives crashed once here, on a machine at many times its load. That is a worker lost like any other:
    # the same commands must still come to the same end.
    for attempt in range(3):
        workers = train(tmp_path / f"logs3.{attempt}", broken)
        codes = workers.finish()
        assert set(codes) <= {0, 5, -signal.SIGSEGV}, workers.text(0) + workers.text(1)
        assert ["[worker 0] Resuming" in workers.text(worker) for worker in (0, 1)] == [True, False]
        if codes == [0, 0]:
            break
    assert codes == [0, 0], workers.text(0) + workers.text(1)
    assert weights(tmp_path / "broken" / "last.keras") == weights(tmp_path / "whole" / "last.keras")
    rows = [
        [line.split(",")[:5] for line in (tmp_path / name / "history.csv").read_text().splitlines()]
        for name in ("whole", "broken")
    ]
    assert rows[0] == rows[1] and len(rows[0]) == 13


def test_ctrl_c_ends_a_worker_that_waits_for_the_others(tmp_path: Path) -> None:
    workers = start_workers(TRAIN, tmp_path, f"--run_dir={tmp_path / 'run'}", numbers=(0,))
    workers.wait_for(0, "[worker 0] Starting worker 0 of 2")
    time.sleep(1)  # TensorFlow waits, and holds Python's lock
    workers.signal(0, signal.SIGINT)
    assert workers.finish(seconds=60) in ([-signal.SIGINT], [128 + signal.SIGINT])


def test_workers_with_other_images_are_refused_and_the_run_folder_stays_the_chiefs(
    images: Path, make_images: Callable[..., Path], tmp_path: Path
) -> None:
    others = make_images("others", {"horses": 21, "humans": 20}, size=(96, 96), seed=1)
    by_number = f"words = eval(words[0])[number]\n{TRAIN}"
    workers = start_workers(by_number, tmp_path, [flags(images, tmp_path / "run0"), flags(others, tmp_path / "run1")])
    assert workers.finish() == [5, 5]
    assert all("train: the workers differ: the data fingerprint is " in workers.text(worker) for worker in (0, 1))
    assert not (tmp_path / "run1").exists()


def test_a_failure_of_one_worker_stops_all_in_its_words(images: Path, tmp_path: Path) -> None:
    by_number = f"words = eval(words[0])[number]\n{TRAIN}"
    gone = flags(tmp_path / "gone", tmp_path / "run1")
    workers = start_workers(by_number, tmp_path, [flags(images, tmp_path / "run0"), gone])
    assert workers.finish() == [5, 2]
    assert re.search(r"train: worker 1 \(127.0.0.1:\d+\) stopped: .*/gone", workers.text(0))


def test_sharded_workers_each_read_their_own_images(images: Path, tmp_path: Path) -> None:
    workers = train(tmp_path, flags(images, tmp_path / "run", "--shard_data", "--epochs=1", "--bad_images=error"))
    assert workers.finish() == [0, 0], workers.text(0)
    for worker, count in enumerate((17, 16)):
        said = (
            f"[worker {worker}] Sharded: this worker trains on {count} of 33 images. Each epoch sees every image once"
        )
        assert said in workers.text(worker)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["num_train"], config["num_shards"], config["num_replicas"]) == (33, 2, 2)
