"""Order, batches and resume, in each home of the images."""

import gc
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from small_data import examples_of

from hh_fast.config import DataConfig
from hh_fast.data.load import Examples, load_data
from hh_fast.data.pipeline import eval_batches, images_at, order, train_batches
from hh_fast.data.pixels import ImageForm
from hh_fast.data.rows import DecodedRows

CACHES = ("memory", "disk", "none")


@pytest.fixture(params=CACHES)
def split(request: pytest.FixtureRequest, make_images: Callable[..., Path], tmp_path: Path) -> Examples:
    """21 images, 10 of x and 11 of y."""
    config = DataConfig(
        train_dir=str(make_images("a", {"x": 10, "y": 11})),
        validation_split=0.0,
        image_size=(24, 24),
        cache=request.param,
        cache_dir=str(tmp_path / "cache"),
    )
    return load_data(config).train


def flat(batches: object) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(images.numpy(), labels.numpy()) for images, labels in batches]  # type: ignore[attr-defined]


def numbers(split: Examples, batches: object) -> list[list[int]]:
    """Which images each batch holds: every image of the fixture is another."""
    known = {image.tobytes(): i for i, image in enumerate(images_at(split, np.arange(len(split))))}
    assert len(known) == len(split)
    return [[known[image.tobytes()] for image in images] for images, _ in flat(batches)]


@pytest.mark.slow
def test_an_iterator_that_is_given_up_ends_at_once(split: Examples) -> None:
    # Under tf.data's autotuner about every third waits for the end of a nap: here 0.63 s after its start, later after more use.
    dataset = train_batches(split, batch_size=4, seed=0, epochs=10**6)
    waited = []
    gc.freeze()  # so that the collections below, which end the iterators, look at what is made here only
    try:
        for _ in range(8):
            end = time.perf_counter() + 0.35
            batches = iter(dataset)
            while time.perf_counter() < end:
                next(batches)
            del batches
            gc.collect()
            waited.append(time.perf_counter() - end)
    finally:
        gc.unfreeze()
    assert max(waited) < 0.2, waited


def test_the_order_is_a_permutation_fixed_by_seed_and_epoch() -> None:
    first = order(1000, 7, 3).numpy()
    np.testing.assert_array_equal(np.sort(first), np.arange(1000))
    np.testing.assert_array_equal(first, order(1000, 7, 3))
    assert (first != order(1000, 7, 4).numpy()).mean() > 0.9
    assert (first != order(1000, 8, 3).numpy()).mean() > 0.9
    # A full shuffle, not one through a small buffer: early images go anywhere.
    assert abs(np.corrcoef(first, np.arange(1000))[0, 1]) < 0.1


def test_each_epoch_sees_each_image_once_but_for_the_remainder(split: Examples) -> None:
    seen = numbers(split, train_batches(split, batch_size=4, seed=0, epochs=3))
    assert [len(batch) for batch in seen] == [4] * 15
    epochs = [sum(seen[i : i + 5], []) for i in (0, 5, 10)]
    for epoch in epochs:
        assert len(set(epoch)) == 20
    assert epochs[0] != epochs[1] != epochs[2]


def test_the_homes_agree_with_the_order(split: Examples) -> None:
    seen = numbers(split, train_batches(split, batch_size=7, seed=5, epochs=2))
    expected = [order(21, 5, epoch).numpy().reshape(3, 7).tolist() for epoch in range(2)]
    assert seen == sum(expected, [])


def test_labels_stay_with_their_images(split: Examples) -> None:
    for images, labels in flat(train_batches(split, batch_size=7, seed=1, epochs=1)):
        np.testing.assert_array_equal(images.mean(axis=(1, 2)).argmax(axis=1), labels)
        assert (images.dtype, labels.dtype) == (np.uint8, np.int32)


@pytest.mark.parametrize(("epoch", "step"), [(0, 3), (1, 0), (1, 4), (2, 5)])
def test_a_resume_goes_on_with_the_batches_that_were_left(split: Examples, epoch: int, step: int) -> None:
    whole = numbers(split, train_batches(split, batch_size=4, seed=2, epochs=3))
    rest = numbers(split, train_batches(split, batch_size=4, seed=2, epochs=3, first_epoch=epoch, first_step=step))
    assert rest == whole[5 * epoch + step :]


def test_fewer_or_more_steps_than_a_pass(split: Examples) -> None:
    few = numbers(split, train_batches(split, batch_size=4, seed=2, epochs=2, steps_per_epoch=2))
    assert len(few) == 4
    more = numbers(split, train_batches(split, batch_size=4, seed=2, epochs=2, steps_per_epoch=7))
    assert len(more) == 14
    for start in (0, 7):
        assert len(set(sum(more[start : start + 5], []))) == 20  # a whole pass before any image comes twice
    resumed = train_batches(split, batch_size=4, seed=2, epochs=2, steps_per_epoch=7, first_epoch=1, first_step=6)
    assert numbers(split, resumed) == more[13:]


def test_validation_keeps_order_and_remainder(split: Examples) -> None:
    seen = numbers(split, eval_batches(split, batch_size=8))
    assert seen == [list(range(8)), list(range(8, 16)), list(range(16, 21))]
    labels = np.concatenate([labels for _, labels in flat(eval_batches(split, batch_size=8))])
    np.testing.assert_array_equal(labels, split.labels)


def test_images_come_by_position(split: Examples) -> None:
    chosen = images_at(split, np.array([20, 0, 3]))
    assert numbers(split, [(chosen_tensor(chosen), chosen_tensor(split.labels[[20, 0, 3]]))]) == [[20, 0, 3]]


def chosen_tensor(array: np.ndarray) -> object:

    return tf.constant(array)


def test_the_store_is_read_in_place() -> None:
    """tf.data's default rewrites copy what a map captures: 200 MB here."""
    import psutil

    images = tf.zeros((760, 300, 300, 3), tf.uint8)
    split = examples_of(images, [0] * 760)
    before = psutil.Process().memory_info().rss
    batches = iter(train_batches(split, batch_size=4, seed=0, epochs=1))
    next(batches)
    assert psutil.Process().memory_info().rss - before < images.numpy().nbytes / 3


def test_a_graph_holds_no_paths() -> None:
    # A graph's constants are copied each time that it is put into another: of 100,000 paths that took 130 MB.
    def graph_bytes(num_images: int) -> int:
        rows = DecodedRows([f"folder/{i:06d}.png" for i in range(num_images)], ImageForm((4, 4)))
        traced = tf.function(rows.gather).get_concrete_function(tf.TensorSpec((2,), tf.int64))
        return int(traced.graph.as_graph_def().ByteSize())

    assert graph_bytes(1000) < graph_bytes(1) + 100
