import importlib.util

import numpy as np
import peers
import pytest

from hh_fast.bench.baselines import recipe_model
from hh_fast.bench.isolate import in_process

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")


def job(folder="", weights=(), **changes):
    values = {
        "train_dir": str(folder),
        "validation_dir": None,
        "image_size": (96, 96),
        "num_classes": 2,
        "softmax": False,
        "batch_size": 2,
        "validation_batch_size": 2,
        "epochs": 1,
        "learning_rate": 0.001,
        "seed": 0,
        "weights": tuple(weights),
    }
    return peers.TorchJob(**{**values, **changes})


@needs_torch
@pytest.mark.parametrize("softmax", [False, True])
def test_its_cnn_is_the_same_function(softmax):
    model = recipe_model((96, 96), softmax=softmax)
    images = np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3), np.uint8)
    found = in_process(
        peers.torch_probabilities, job(weights=model.get_weights(), softmax=softmax), images, framework="torch"
    )
    np.testing.assert_allclose(found, model(images.astype(np.float32) / 255), atol=1e-5)


@needs_torch
def test_it_reads_every_image_and_trains(make_images):
    folder = make_images("train", {"a": 3, "b": 3}, size=(96, 96))
    figures = in_process(peers.torch_input, job(folder), framework="torch")
    assert figures.first.num_images == 6
    weights = recipe_model((96, 96)).get_weights()
    trained = in_process(
        peers.torch_training, job(folder, weights, validation_dir=str(folder), epochs=2), "float32", framework="torch"
    )
    assert trained.images == (6, 6)
    assert len(trained.val_accuracy) == 2
