"""Batches whose images a tf.data service decodes, in the same order as one machine's whatever the service does.

The service promises less than training needs: several of its workers answer in any order, and what a worker held when it died
is never sent. So each batch travels with its step's number; those that come early are held until their turn, those that do
not come are decoded here, and those that come twice are dropped. Every epoch sees each image exactly once, and a resume is exact.
"""

import contextlib
import dataclasses
import functools
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from hh_fast.augmentation import Augmentation
from hh_fast.data.augmenter import Augmenter
from hh_fast.data.decode import file_loader
from hh_fast.data.engine import no_autograph
from hh_fast.data.load import Split
from hh_fast.data.pipeline import Share, images_at, index_batches, make_augmenter
from hh_fast.errors import DataError
from hh_fast.io.cores import num_cores

logger = logging.getLogger(__name__)

# From the number of a batch and positions in the split, int (n,), to their images, uint8 (n, height, width, 3).
DecodeHere: TypeAlias = Callable[[int, np.ndarray], np.ndarray]

# Batches held for their turn before the one that is due is decoded here: a slow worker shall not fill the memory.
MAX_HELD = 16
QUEUE_SIZE = 2
# A service worker that dies stalls TensorFlow's client until the dispatcher counts it as lost: wait this long for it.
PATIENCE_S = 5.0


@dataclasses.dataclass
class Counts:
    """Images of an epoch: those the service sent in time, those decoded here in its stead, those it sent for nothing."""

    sent: int = 0
    decoded_here: int = 0
    dropped: int = 0


def _served(split: Split, rows: np.ndarray, address: str) -> tf.data.Dataset:
    """(step, images) of `rows`, each once, in any order, as long as no worker of the service dies.

    What Pillow decodes is black: the service runs no Python.
    """
    load_file = file_loader(split.paths, (), split.form)
    is_left_to_pillow = tf.constant([path in split.by_pillow for path in split.paths])

    def image_at(i: tf.Tensor) -> tf.Tensor:
        return tf.cond(
            is_left_to_pillow[i],
            lambda: tf.zeros((*split.image_size, 3), tf.uint8),
            lambda: load_file(i),
        )

    def load(step: tf.Tensor, own: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = tf.TensorSpec((*split.image_size, 3), tf.uint8)
        return step, tf.map_fn(image_at, own, fn_output_signature=image)

    steps = tf.data.Dataset.from_tensor_slices((np.arange(len(rows)), rows))
    # Tuned there: how many cores a worker of the service has is not known here.
    return steps.map(load, num_parallel_calls=tf.data.AUTOTUNE).apply(
        tf.data.experimental.service.distribute(
            processing_mode=tf.data.experimental.service.ShardingPolicy.DYNAMIC, service=address, compression=None
        )
    )


def _with_pillows(
    split: Split, rows: np.ndarray, images: tf.Tensor, decode_here: Callable[[np.ndarray], np.ndarray]
) -> tf.Tensor:
    """The images of `rows` that the service sent, with those that Pillow decodes put in their places."""
    places = np.flatnonzero([split.paths[i] in split.by_pillow for i in rows]) if split.by_pillow else np.zeros(0)
    return tf.tensor_scatter_nd_update(images, places[:, None], decode_here(rows[places])) if len(places) else images


class _Source:
    """Reads a data set on a thread of its own, and waits for its items as long as makes sense: long for the first only."""

    def __init__(self, dataset: tf.data.Dataset, address: str, timeout_s: float) -> None:
        self._items: queue.Queue[Any] = queue.Queue(QUEUE_SIZE)
        self._stopped = threading.Event()
        self._address = address
        self._timeout_s = timeout_s
        self._last = time.monotonic()
        self._silent = self._answered = self._ended = False
        threading.Thread(target=self._read, args=(dataset,), daemon=True).start()

    def _read(self, dataset: tf.data.Dataset) -> None:
        try:
            for step, images in dataset:
                self._put((int(step), images))
                if self._stopped.is_set():
                    return
            self._put(None)
        except tf.errors.OpError as e:
            self._put(e)

    def _put(self, item: Any) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(queue.Full):
                self._items.put(item, timeout=0.2)
                return

    def next(self) -> tuple[int, tf.Tensor] | None:
        """(step, images), or None where the service has ended, failed, or been silent for a while.

        Raises:
            DataError: it has never answered.
        """
        if self._ended:
            return None
        patience = PATIENCE_S if self._answered else self._timeout_s
        try:
            item = self._items.get(timeout=max(self._last + patience - time.monotonic(), 0.001))
        except queue.Empty as e:
            if not self._answered:
                raise DataError(
                    f"the tf.data service at {self._address} sent nothing for {self._timeout_s:g} s: see that its workers run,"
                    " and can be reached from here"
                ) from e
            if not self._silent:
                logger.warning("The tf.data service has sent nothing for %g s: decoding here until it does", PATIENCE_S)
            self._silent = True
            return None
        self._last, self._silent, self._answered = time.monotonic(), False, True
        if isinstance(item, tuple):
            return item
        if item is not None:
            logger.warning("The tf.data service failed (%s)", " ".join(str(item).split())[:300])
        self._ended = True
        return None

    def stop(self) -> None:
        self._stopped.set()


def in_order(
    split: Split,
    rows: np.ndarray,
    dataset: tf.data.Dataset,
    counts: Counts,
    *,
    address: str,
    timeout_s: float,
    decode_here: DecodeHere | None = None,
) -> Iterator[tf.Tensor]:
    """The images of each of `rows`, in their order, out of a data set of (step, images) in any order and number.

    `decode_here` makes those that the service does not; default: as they are.

    Raises:
        DataError: nothing came for `timeout_s` from the start.
    """
    decode_here = decode_here or (lambda _, positions: images_at(split, positions))
    source = _Source(dataset, address, timeout_s)
    held: dict[int, tf.Tensor] = {}
    try:
        for due, own in enumerate(rows):
            while due not in held and len(held) < MAX_HELD:
                item = source.next()
                if item is None:
                    break
                if item[0] < due or item[0] in held:
                    counts.dropped += len(own)
                else:
                    held[item[0]] = item[1]
            if due in held:
                counts.sent += len(own)
                yield _with_pillows(split, own, held.pop(due), functools.partial(decode_here, due))
            else:
                counts.decoded_here += len(own)
                yield tf.constant(decode_here(due, own))
    finally:
        source.stop()


def _report(epoch: int, counts: Counts) -> None:
    level = logging.WARNING if counts.decoded_here or counts.dropped else logging.INFO
    logger.log(
        level,
        "Data service, epoch %d: %d images, each once: %d sent by the service, %d that it missed decoded here, %d sent again or"
        " too late and dropped",
        epoch + 1,
        counts.sent + counts.decoded_here,
        counts.sent,
        counts.decoded_here,
        counts.dropped,
    )


def _augmented(
    served: tf.data.Dataset, split: Split, augmenter: Augmenter, numbers: np.ndarray, rows: np.ndarray
) -> tuple[tf.data.Dataset, DecodeHere]:
    """What the service sends, changed as images `rows` (num_steps, n) of passes `numbers` (num_steps,), and the rest alike."""

    @no_autograph
    def change(step: tf.Tensor, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return step, augmenter.of_batch(images, tf.gather(numbers, step), tf.gather(rows, step))

    def decode_here(step: int, positions: np.ndarray) -> np.ndarray:
        return augmenter.apply(list(images_at(split, positions)), numbers[step], positions)

    return served.map(change, num_parallel_calls=num_cores()), decode_here


def service_batches(
    split: Split,
    *,
    address: str,
    timeout_s: float,
    share: Share,
    batch_size: int,
    epochs: int,
    first_epoch: int = 0,
    first_step: int = 0,
    augmentation: Augmentation | None = None,
    seed: int,
    **plan: Any,
) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
    """The batches of `train_batches`, this worker's `share` of each, decoded by the tf.data service at `address`.

    Yields:
        uint8 (n, height, width, 3) and int32 (n,), n = batch_size / share.num_workers, in the order of `train_batches`.

    Raises:
        DataError: the service sent nothing for `timeout_s`.
    """
    logger.info(
        "Decoding at %s. By itself the service gives no order, loses what a worker holds when it dies, and cannot resume: here"
        " batches are put in order, and what is missed is decoded on this machine and counted",
        address,
    )
    for epoch in range(first_epoch, epochs):
        batches = index_batches(
            split,
            batch_size=batch_size,
            epochs=epoch + 1,
            first_epoch=epoch,
            first_step=first_step if epoch == first_epoch else 0,
            seed=seed,
            **plan,
        )
        whole_batches = list(batches.as_numpy_iterator())
        if not whole_batches:  # the run was stopped at the end of this epoch
            continue
        numbers, all_rows = map(np.stack, zip(*whole_batches, strict=True))
        rows = all_rows[:, share.rows(batch_size)]
        counts = Counts()
        served, decode_here = _served(split, rows, address), None
        if augmenter := make_augmenter(split, augmentation, seed):
            served, decode_here = _augmented(served, split, augmenter, numbers, rows)
        images_in_order = in_order(
            split, rows, served, counts, address=address, timeout_s=timeout_s, decode_here=decode_here
        )
        for step, images in enumerate(images_in_order):
            if step == len(rows) - 1:  # now, since nobody asks for another batch after the last epoch
                _report(epoch, counts)
            yield images, tf.constant(split.labels[rows[step]].astype(np.int32))
