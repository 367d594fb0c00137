import numpy as np
import pytest

from hh_fast.bench import baseline
from hh_fast.model import build_model

FEEDINGS = [baseline.Feeding(), baseline.Feeding(2), baseline.Feeding(2, use_multiprocessing=True)]


@pytest.mark.parametrize("feeding", FEEDINGS[:2], ids=lambda feeding: feeding.name)
def test_an_epoch_yields_every_image_once_scaled(make_images, feeding):
    folder = make_images("train", {"horses": 5, "humans": 3})
    iterator = baseline.generator(folder, image_size=(24, 24), batch_size=3, feeding=feeding)
    for _ in range(2):
        batches = list(baseline.batches(iterator))
        assert [images.shape for images, _ in batches] == [(3, 24, 24, 3), (3, 24, 24, 3), (2, 24, 24, 3)]
        assert sorted(np.concatenate([labels for _, labels in batches])) == [0] * 5 + [1] * 3
        values = np.concatenate([images for images, _ in batches])
        assert values.dtype == np.float32
        assert 0.9 < values.max() <= 1.0


def test_the_iterator_carries_the_workers_that_fit_reads(make_images):
    iterator = baseline.generator(
        make_images("train", {"a": 1, "b": 1}), image_size=(24, 24), batch_size=1, feeding=FEEDINGS[2]
    )
    assert (iterator.workers, iterator.use_multiprocessing) == (2, True)


def test_names_say_how_batches_are_made():
    assert [feeding.name for feeding in baseline.feedings(4)] == [
        "ImageDataGenerator",
        "ImageDataGenerator, 4 threads",
        "ImageDataGenerator, 4 processes",
    ]


def test_the_recipe_has_its_parameters_and_our_model_its_weights():
    recipe = baseline.recipe_model((300, 300))
    assert recipe.count_params() == 1_704_097
    ours = build_model((96, 96), num_classes=2, head="sigmoid", seed=3)
    recipe = baseline.recipe_model((96, 96))
    recipe.set_weights(ours.get_weights())
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3)).astype(np.float32)
    # Rescaling multiplies by 1/255 where the generator's batches are scaled already: one rounding apart.
    np.testing.assert_allclose(recipe(images / 255), ours(images), rtol=1e-5)
