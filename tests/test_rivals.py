import numpy as np
import pytest

from benchmarks.race import rivals


@pytest.mark.parametrize("threads", [1, 2])
def test_an_epoch_yields_every_image_once_scaled(make_images, threads):
    folder = make_images("train", {"horses": 5, "humans": 3})
    iterator = rivals.generator(folder, image_size=(24, 24), batch_size=3)
    for _ in range(2):
        batches = list(rivals.generator_batches(iterator, threads))
        assert [images.shape for images, _ in batches] == [(3, 24, 24, 3), (3, 24, 24, 3), (2, 24, 24, 3)]
        assert sorted(np.concatenate([labels for _, labels in batches])) == [0] * 5 + [1] * 3
        values = np.concatenate([images for images, _ in batches])
        assert values.dtype == np.float32
        assert 0.9 < values.max() <= 1.0


@pytest.mark.filterwarnings("ignore:Please import `affine_transform`:DeprecationWarning")  # Keras' own import
def test_augmented_images_differ_in_each_epoch(make_images):
    folder = make_images("train", {"a": 1, "b": 1})
    options = {"image_size": (24, 24), "batch_size": 2, "shuffle": False, "augment": True}
    iterator = rivals.generator(folder, **options)
    first, second = (next(rivals.generator_batches(iterator))[0] for _ in range(2))
    assert np.abs(first - second).max() > 0.1


def test_stock_batches_keep_their_order_under_a_cache(make_images):
    folder = make_images("train", {"a": 3, "b": 1})
    options = {"image_size": (24, 24), "batch_size": 4, "shuffle": False}
    plain = rivals.stock_dataset(folder, **options)
    cached = rivals.stock_dataset(folder, cache=True, prefetch=True, **options)
    [(images, labels)], [(cached_images, cached_labels)] = list(plain), list(cached)
    assert images.dtype.name == "float32"
    np.testing.assert_array_equal(images, cached_images)
    assert labels.numpy().tolist() == cached_labels.numpy().tolist() == [0, 0, 0, 1]
