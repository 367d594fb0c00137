import numpy as np
import pytest

from benchmarks.race import rivals
from hh_fast.model import build_model


@pytest.mark.parametrize("workers", [1, 2])
def test_an_epoch_yields_every_image_once_scaled(make_images, workers):
    folder = make_images("train", {"horses": 5, "humans": 3})
    iterator = rivals.generator(folder, image_size=(24, 24), batch_size=3, workers=workers)
    for _ in range(2):
        batches = list(rivals.generator_batches(iterator))
        assert [images.shape for images, _ in batches] == [(3, 24, 24, 3), (3, 24, 24, 3), (2, 24, 24, 3)]
        assert sorted(np.concatenate([labels for _, labels in batches])) == [0] * 5 + [1] * 3
        values = np.concatenate([images for images, _ in batches])
        assert values.dtype == np.float32
        assert 0.9 < values.max() <= 1.0


def test_the_iterator_carries_the_workers_that_fit_reads(make_images):
    folder = make_images("train", {"a": 1, "b": 1})
    options = {"image_size": (24, 24), "batch_size": 1}
    iterator = rivals.generator(folder, workers=2, use_multiprocessing=True, **options)
    assert (iterator.workers, iterator.use_multiprocessing) == (2, True)


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


def test_the_recipe_has_its_parameters_and_our_model_its_weights():
    recipe = rivals.recipe_model((300, 300))
    assert recipe.count_params() == 1_704_097
    ours = build_model((96, 96), num_classes=2, head="sigmoid", seed=3)
    recipe = rivals.recipe_model((96, 96))
    recipe.set_weights(ours.get_weights())
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3)).astype(np.float32)
    # Rescaling multiplies by 1/255 where the generator's batches are scaled already: one rounding apart.
    np.testing.assert_allclose(recipe(images / 255), ours(images), rtol=1e-5)
