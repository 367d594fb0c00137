"""Augmented batches: each image by (seed, number of the pass, index in the full listing), however it comes."""

import gc
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tensorflow as tf
from small_data import examples_of

from hh_fast.augmentation import Augmentation, apply, draw
from hh_fast.config import DataConfig
from hh_fast.data.load import Examples, load_data
from hh_fast.data.pipeline import Share, eval_batches, images_at, order, train_batches

AUGMENTATION = Augmentation(rotation_range=90, width_shift_range=0.3, zoom_range=0.4, horizontal_flip=True)
PLAN: dict[str, Any] = {"batch_size": 4, "seed": 7, "epochs": 3, "augmentation": AUGMENTATION}
NUM_IMAGES = 16


def load(directory: Path, tmp_path: Path, **changes: Any) -> Examples:
    fields: dict[str, Any] = {"validation_split": 0.0, "cache": "memory", **changes}
    shard = fields.pop("shard", None)
    config = DataConfig(train_dir=str(directory), image_size=(32, 24), cache_dir=str(tmp_path / "cache"), **fields)
    return load_data(config, shard).train


@pytest.fixture
def directory(make_images: Callable[..., Path]) -> Path:
    """16 images, 8 of x and 8 of y, all different."""
    return make_images("a", {"x": 8, "y": 8})


@pytest.fixture
def split(directory: Path, tmp_path: Path) -> Examples:
    return load(directory, tmp_path)


def expected(split: Examples, number: int, rows: Iterable[int]) -> np.ndarray:
    """The images at `rows` of the whole split as pass `number` shows them, without tf.data."""
    rows = np.asarray(rows)
    parameters = draw(AUGMENTATION, (32, 24), seed=7, epoch=number, indices=rows)
    return apply(list(images_at(split, rows)), parameters)


def pixels(batches: Any) -> list[np.ndarray]:
    return [images.numpy() for images, _ in batches]


@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
def test_each_image_by_seed_pass_and_index(cache: str, directory: Path, tmp_path: Path, split: Examples) -> None:
    batches = pixels(train_batches(load(directory, tmp_path, cache=cache), **PLAN))
    assert len(batches) == 12
    plain = pixels(train_batches(split, **{**PLAN, "augmentation": None}))
    for step, images in enumerate(batches):
        rows = order(NUM_IMAGES, 7, step // 4).numpy()[step % 4 * 4 :][:4]
        np.testing.assert_array_equal(images, expected(split, step // 4, rows))
        assert (images != plain[step]).any(axis=(1, 2, 3)).all()


def by_index(split: Examples, number: int, batches: Iterable[np.ndarray]) -> dict[int, bytes]:
    """Which images these are, by their pixels in pass `number`."""
    known = {image.tobytes(): i for i, image in enumerate(expected(split, number, range(NUM_IMAGES)))}
    assert len(known) == NUM_IMAGES
    return {known[image.tobytes()]: image.tobytes() for images in batches for image in images}


@pytest.mark.parametrize(("num_workers", "num_parts"), [(1, 2), (2, 1), (2, 2), (4, 1)])
def test_workers_and_replicas_see_the_single_devices_images(num_workers: int, num_parts: int, split: Examples) -> None:
    whole = np.stack(pixels(train_batches(split, **PLAN)))
    shares = [
        np.stack(pixels(train_batches(split, **PLAN, share=Share(worker, num_workers, num_parts))))
        for worker in range(num_workers)
    ]
    together = np.concatenate([share.reshape(len(whole), -1, 32, 24, 3) for share in shares], axis=1)
    np.testing.assert_array_equal(together, whole)


@pytest.mark.parametrize("num_shards", [2, 4])
def test_shards_see_the_single_machines_images(
    num_shards: int, directory: Path, tmp_path: Path, split: Examples
) -> None:
    for epoch in range(2):
        seen: list[np.ndarray] = []
        for worker in range(num_shards):
            shard = load(directory, tmp_path, shard=(worker, num_shards))
            plan = {**PLAN, "batch_size": 2, "epochs": epoch + 1, "first_epoch": epoch}
            seen += pixels(train_batches(shard, **plan, steps_per_pass=NUM_IMAGES // num_shards // 2))
        assert len(by_index(split, epoch, seen)) == NUM_IMAGES


@pytest.mark.parametrize(("epoch", "step"), [(0, 3), (1, 0), (2, 1)])
def test_a_resume_goes_on_with_the_same_pixels(epoch: int, step: int, split: Examples) -> None:
    whole = pixels(train_batches(split, **PLAN))
    rest = pixels(train_batches(split, **PLAN, first_epoch=epoch, first_step=step))
    np.testing.assert_array_equal(rest, whole[4 * epoch + step :])


def test_every_pass_within_an_epoch_changes_anew(split: Examples) -> None:
    plan = {**PLAN, "epochs": 2, "steps_per_epoch": 7}
    batches = pixels(train_batches(split, **plan))
    for epoch in range(2):  # 7 of the 8 steps that 2 passes fill
        assert len(by_index(split, 2 * epoch, batches[7 * epoch :][:4])) == NUM_IMAGES
        assert len(by_index(split, 2 * epoch + 1, batches[7 * epoch + 4 :][:3])) == 12
    resumed = pixels(train_batches(split, **plan, first_epoch=1, first_step=5))
    np.testing.assert_array_equal(resumed, batches[12:])


def test_the_index_is_that_of_the_full_listing(directory: Path, tmp_path: Path, split: Examples) -> None:
    (directory / "x" / "003.png").write_bytes(b"broken")
    part = load(directory, tmp_path, validation_split=0.25, bad_images="skip")
    assert len(part) < 13
    number_of = {path: i for i, path in enumerate(split.images.paths)}
    assert part.images.indices.tolist() == [number_of[path] for path in part.images.paths]
    seen = pixels(train_batches(part, **{**PLAN, "batch_size": 1, "epochs": 1}))
    assert sorted(by_index(split, 0, seen)) == part.images.indices.tolist()


def test_validation_is_not_augmented(split: Examples) -> None:
    np.testing.assert_array_equal(
        np.concatenate(pixels(eval_batches(split, batch_size=5))), images_at(split, np.arange(NUM_IMAGES))
    )


def test_batches_given_up_midway_leave_nothing_waiting(split: Examples) -> None:
    dataset = train_batches(split, **{**PLAN, "epochs": 10**6})
    for _ in range(20):
        next(iter(dataset))


def test_the_store_is_not_copied() -> None:
    images = tf.zeros((760, 300, 300, 3), tf.uint8)
    split = examples_of(images, [0] * 760)
    before = psutil.Process().memory_info().rss
    flips = Augmentation(horizontal_flip=True)
    next(iter(train_batches(split, batch_size=4, seed=0, epochs=1, augmentation=flips)))
    assert psutil.Process().memory_info().rss - before < images.shape.num_elements() / 3


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_data_sets_that_are_dropped_leave_no_images(cache: str, directory: Path, tmp_path: Path) -> None:
    """As in a notebook, whose cell is run again and again: TensorFlow keeps every function that a data set calls."""

    def use() -> None:
        fields: dict[str, Any] = {"validation_split": 0.0, "cache": cache, "cache_dir": str(tmp_path / "cache")}
        data = load_data(DataConfig(train_dir=str(directory), image_size=(600, 600), **fields))
        next(iter(train_batches(data.train, **PLAN)))

    use()
    use()
    gc.collect()
    before = psutil.Process().memory_info().rss
    for _ in range(10):
        use()
    gc.collect()
    assert psutil.Process().memory_info().rss - before < 2 * NUM_IMAGES * 600 * 600 * 3  # of ten times as much
