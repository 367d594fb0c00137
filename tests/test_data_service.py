"""Whatever a tf.data service does, every epoch sees each image exactly once and in one machine's order."""

import collections
import dataclasses
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from hh_fast.augmentation import Augmentation
from hh_fast.config import DataConfig
from hh_fast.data.load import Split, load_data
from hh_fast.data.pipeline import Share, train_batches
from hh_fast.distributed import data_service as service_module
from hh_fast.distributed.data_service import MAX_HELD, Counts, in_order, service_batches
from hh_fast.distributed.handshake import require_service
from hh_fast.errors import DataError

pytestmark = pytest.mark.slow

SERVICE = "import sys; from hh_fast.cli.data_service import main; sys.exit(main())"


@pytest.fixture
def split(make_images: Callable[..., Path]) -> Split:
    images = make_images("images", {"a": 24, "b": 24})
    return load_data(DataConfig(train_dir=str(images), image_size=(24, 24), cache="memory", validation_split=0)).train


def identify(split: Split, batches: Any) -> list[list[int]]:
    """Which image each row of each batch is, by its pixels."""
    number = {image.tobytes(): i for i, image in enumerate(split.images.numpy())}
    assert len(number) == split.num_images
    return [[number[image.tobytes()] for image in images.numpy()] for images, _ in batches]


ROWS = np.arange(40).reshape(20, 2)


def out_of(split: Split, steps: list[int]) -> tuple[list[list[int]], Counts]:
    """What comes out where a service sends these steps' batches, in this order and number."""
    images = tf.gather(split.images, ROWS[steps])
    counts = Counts()
    served = tf.data.Dataset.from_tensor_slices((np.array(steps), images))
    came = list(in_order(split, ROWS, served, counts, address="grpc://x:1", timeout_s=20))
    return identify(split, [(part, None) for part in came]), counts


IN_ORDER = list(range(20))


@pytest.mark.parametrize(
    ("steps", "counts"),
    [  # what the service sends, and the images counted: sent, decoded here, dropped
        (IN_ORDER, Counts(40, 0, 0)),
        (IN_ORDER[::2] + IN_ORDER[1::2], Counts(40, 0, 0)),  # two workers, one behind
        (IN_ORDER[:7] + IN_ORDER[9:], Counts(36, 4, 0)),  # a worker died with two batches
        (IN_ORDER[:7], Counts(14, 26, 0)),  # all died
        (IN_ORDER[:5] + IN_ORDER[3:], Counts(40, 0, 4)),  # a dispatcher restarted
        ([*IN_ORDER[1 : MAX_HELD + 1], 0, *IN_ORDER[MAX_HELD + 1 :]], Counts(38, 2, 2)),  # one too late
    ],
)
def test_every_image_once_in_order_whatever_the_service_sends(split: Split, steps: list[int], counts: Counts) -> None:
    assert out_of(split, steps) == (ROWS.tolist(), counts)


def test_what_pillow_decodes_is_put_in_its_place(split: Split) -> None:
    """The service sends it black."""
    bent = dataclasses.replace(split, by_pillow=frozenset(split.paths[i] for i in (3, 10, 11)))
    sent = tf.gather(split.images, ROWS).numpy()
    sent[1, 1] = sent[5] = 0
    served = tf.data.Dataset.from_tensor_slices((np.arange(20), sent))
    came = list(in_order(bent, ROWS, served, Counts(), address="grpc://x:1", timeout_s=20))
    assert identify(split, [(part, None) for part in came]) == ROWS.tolist()


def test_a_service_that_fails_is_told_and_stood_in_for(split: Split, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> Iterator[tuple[int, np.ndarray]]:
        yield 0, split.images[:2].numpy()
        raise ValueError("gone")

    served = tf.data.Dataset.from_generator(
        fail, output_signature=(tf.TensorSpec((), tf.int64), tf.TensorSpec((2, 24, 24, 3), tf.uint8))
    )
    counts = Counts()
    came = list(in_order(split, ROWS, served, counts, address="grpc://x:1", timeout_s=20))
    assert identify(split, [(part, None) for part in came]) == ROWS.tolist()
    assert counts == Counts(2, 38, 0)
    assert "The tf.data service failed (" in caplog.text


def test_silence_is_a_time_out(split: Split) -> None:
    silent = threading.Event()

    def wait() -> Iterator[tuple[int, np.ndarray]]:
        silent.wait(20)
        yield 0, split.images[:2].numpy()

    served = tf.data.Dataset.from_generator(
        wait, output_signature=(tf.TensorSpec((), tf.int64), tf.TensorSpec((2, 24, 24, 3), tf.uint8))
    )
    with pytest.raises(DataError) as caught:
        next(in_order(split, ROWS, served, Counts(), address="grpc://x:1", timeout_s=0.3))
    silent.set()
    assert str(caught.value) == (
        "the tf.data service at grpc://x:1 sent nothing for 0.3 s: see that its workers run, and can be reached from here"
    )


def test_a_service_that_falls_silent_is_stood_in_for(
    split: Split, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = threading.Event()

    def wait() -> Iterator[tuple[int, np.ndarray]]:
        yield 0, split.images[:2].numpy()
        silent.wait(20)

    monkeypatch.setattr(service_module, "PATIENCE_S", 0.3)
    served = tf.data.Dataset.from_generator(
        wait, output_signature=(tf.TensorSpec((), tf.int64), tf.TensorSpec((2, 24, 24, 3), tf.uint8))
    )
    counts = Counts()
    start = time.monotonic()
    came = list(in_order(split, ROWS, served, counts, address="grpc://x:1", timeout_s=20))
    silent.set()
    assert time.monotonic() - start < 5  # one silence, not one for each batch
    assert identify(split, [(part, None) for part in came]) == ROWS.tolist()
    assert counts == Counts(2, 38, 0)
    assert caplog.text.count("The tf.data service has sent nothing for 0.3 s: decoding here until it does") == 1


def test_a_run_that_stopped_at_an_epochs_last_step_goes_on_with_the_next(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    def served(_: Split, rows: np.ndarray, __: str) -> tf.data.Dataset:
        return tf.data.Dataset.from_tensor_slices((np.arange(len(rows)), tf.gather(split.images, rows)))

    monkeypatch.setattr(service_module, "_served", served)
    plan: dict[str, Any] = {"batch_size": 8, "seed": 3, "epochs": 2, "first_epoch": 0, "first_step": 6}
    batches = service_batches(split, address="grpc://x:1", timeout_s=20, share=Share(0, 1), **plan)
    assert identify(split, batches) == identify(split, train_batches(split, **plan))


def test_images_are_augmented_as_without_a_service(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    def served(_: Split, rows: np.ndarray, __: str) -> tf.data.Dataset:
        steps = np.delete(np.arange(len(rows)), [1, 4])[::-1]  # the rest is decoded here
        return tf.data.Dataset.from_tensor_slices((steps, tf.gather(split.images, rows[steps])))

    monkeypatch.setattr(service_module, "_served", served)
    augmentation = Augmentation(rotation_range=90, horizontal_flip=True)
    plan: dict[str, Any] = {"batch_size": 8, "seed": 3, "epochs": 2, "augmentation": augmentation}
    batches = list(service_batches(split, address="grpc://x:1", timeout_s=20, share=Share(1, 2), **plan))
    assert len(batches) == 12
    for (images, labels), (whole_images, whole_labels) in zip(batches, train_batches(split, **plan), strict=True):
        np.testing.assert_array_equal(images, whole_images[4:])
        np.testing.assert_array_equal(labels, whole_labels[4:])


def test_no_service_is_one_line() -> None:
    with pytest.raises(DataError) as caught:
        require_service("grpc://127.0.0.1:1")
    assert str(caught.value) == (
        "no tf.data service answers at grpc://127.0.0.1:1 (Connection refused): start it with bin/data_service --role=dispatcher"
    )


def start(*words: str) -> "subprocess.Popen[str]":
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen([sys.executable, "-c", SERVICE, *words], env=environment, stderr=subprocess.PIPE, text=True)


def wait_for_line(process: "subprocess.Popen[str]", pattern: str) -> str:
    """The first group of the first line that matches; the process is killed if none comes."""
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        for line in process.stderr or []:
            if match := re.search(pattern, line):
                return match[1]
    finally:
        watchdog.cancel()
    raise AssertionError(f"no line like {pattern}")


@pytest.fixture
def service() -> "Iterator[tuple[str, list[subprocess.Popen[str]]]]":
    """The address of a dispatcher, and its two workers, started as a person starts them."""
    processes = [start("--role=dispatcher", "--port=0", "--host=127.0.0.1")]
    try:
        address = wait_for_line(processes[0], r"tf\.data service dispatcher at (grpc://127\.0\.0\.1:\d+);")
        for _ in range(2):
            words = "--role=worker", "--port=0", "--host=127.0.0.1", f"--dispatcher={address.removeprefix('grpc://')}"
            processes.append(start(*words))
        for worker in processes[1:]:
            wait_for_line(worker, r"(tf\.data service worker at )")
        yield address, processes[1:]
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            watchdog = threading.Timer(10, process.kill)
            watchdog.start()
            process.communicate()
            watchdog.cancel()


PLAN: dict[str, Any] = {"batch_size": 4, "seed": 5, "epochs": 3, "steps_per_epoch": 12}


def test_each_image_exactly_once_an_epoch_also_when_a_worker_dies(
    split: Split, service: "tuple[str, list[subprocess.Popen[str]]]", caplog: pytest.LogCaptureFixture
) -> None:
    address, workers = service
    expected = identify(split, train_batches(split, **PLAN))
    batches = service_batches(split, address=address, timeout_s=60, share=Share(0, 1), **PLAN)
    seen = []
    for step, (images, labels) in enumerate(batches):
        seen += identify(split, [(images, labels)])
        assert labels.numpy().tolist() == split.labels[seen[-1]].tolist()
        if step == 13:  # in the second epoch
            workers[0].kill()
    for epoch in range(3):
        rows = [row for batch in seen[12 * epoch : 12 * epoch + 12] for row in batch]
        assert collections.Counter(rows) == dict.fromkeys(range(48), 1)
    assert seen == expected
    reports = re.findall(r"Data service, epoch (\d): (\d+) images, each once: (\d+) sent .*?, (\d+) that", caplog.text)
    assert [(epoch, total) for epoch, total, _, _ in reports] == [("1", "48"), ("2", "48"), ("3", "48")]
    assert reports[0][2:] == ("48", "0")
    assert all(int(sent) + int(here) == 48 for _, _, sent, here in reports)
    resumed = service_batches(
        split, address=address, timeout_s=60, share=Share(1, 2), **PLAN, first_epoch=2, first_step=9
    )
    assert identify(split, resumed) == [batch[2:] for batch in expected[33:]]


def test_one_that_finds_no_dispatcher_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from hh_fast.cli import data_service

    monkeypatch.setattr(data_service, "DISPATCHER_WAIT_S", 0.2)
    before = time.monotonic()
    assert data_service.main(["--role=worker", "--dispatcher=127.0.0.1:1"]) == 2
    assert time.monotonic() - before < 5
    assert capsys.readouterr().err == (
        "data_service: no tf.data service answers at 127.0.0.1:1 (Connection refused): start it with bin/data_service"
        " --role=dispatcher\n"
    )
