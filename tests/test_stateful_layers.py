"""Every layer of Keras that holds state, through copy and export: what comes out is what `keras.Model.predict` says."""

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from hh_fast.any_model import with_policy
from hh_fast.export import saved_model
from hh_fast.predict import keras_model

L = keras.layers
SIZE = (8, 8, 3)
HOLDS_STATE = re.compile(r"add_weight\(|SeedGenerator\(|load_own_variables\(|EinsumDense\(|finalize_state\(")
# Of text, of sound or of labels beside images, and programs of other libraries.
NOT_OF_IMAGES = [
    "CategoryEncoding",
    "FlaxLayer",
    "IntegerLookup",
    "JaxLayer",
    "Layer",
    "MaxNumBoundingBoxes",
    "MelSpectrogram",
    "RNN",
    "STFTSpectrogram",
    "StringLookup",
    "TFSMLayer",
    "TextVectorization",
    "TorchModuleWrapper",
]
Make = Callable[[Any], Any]


def rows(x: Any) -> Any:
    """(batch, 8, 24): a sequence of eight rows."""
    return L.Reshape((8, 24))(x)


def volume(x: Any) -> Any:
    return L.Reshape((2, 4, 8, 3))(x)


def frames(x: Any) -> Any:
    return L.Reshape((2, 4, 8, 3))(x)


def numbers(x: Any) -> Any:
    """(batch, 8): integers below 8."""
    return L.Discretization(bin_boundaries=[0.2, 0.4, 0.6, 0.8])(
        L.Rescaling(1 / 255)(L.GlobalAveragePooling1D()(rows(x)))
    )


def adapted(layer: keras.Layer) -> keras.Layer:
    layer.adapt(np.random.default_rng(1).uniform(0, 255, (32, *SIZE)).astype(np.float32))
    return layer


TABLE: dict[str, Make] = {
    "AdditiveAttention": lambda x: L.AdditiveAttention()([rows(x), rows(x)]),
    "AlphaDropout": lambda x: L.AlphaDropout(0.5)(x),
    "Attention": lambda x: L.Attention(use_scale=True, dropout=0.5)([rows(x), rows(x)]),
    "BatchNormalization": lambda x: L.BatchNormalization()(x),
    "Bidirectional": lambda x: L.Bidirectional(L.LSTM(3))(rows(x)),
    "Conv1D": lambda x: L.Conv1D(4, 3)(rows(x)),
    "Conv1DTranspose": lambda x: L.Conv1DTranspose(4, 3)(rows(x)),
    "Conv2D": lambda x: L.Conv2D(4, 3)(x),
    "Conv2DTranspose": lambda x: L.Conv2DTranspose(4, 3)(x),
    "Conv3D": lambda x: L.Conv3D(4, 2)(volume(x)),
    "Conv3DTranspose": lambda x: L.Conv3DTranspose(4, 2)(volume(x)),
    "ConvLSTM1D": lambda x: L.ConvLSTM1D(4, 3)(x),
    "ConvLSTM2D": lambda x: L.ConvLSTM2D(4, 3)(frames(x)),
    "ConvLSTM3D": lambda x: L.ConvLSTM3D(4, 2)(L.Reshape((2, 2, 4, 4, 3))(x)),
    "Dense": lambda x: L.Dense(4)(x),
    "DepthwiseConv1D": lambda x: L.DepthwiseConv1D(3)(rows(x)),
    "DepthwiseConv2D": lambda x: L.DepthwiseConv2D(3)(x),
    "Discretization": lambda x: adapted(L.Discretization(num_bins=6))(x),
    "Dropout": lambda x: L.Dropout(0.5)(x),
    "EinsumDense": lambda x: L.EinsumDense("abcd,de->abce", output_shape=(8, 8, 4), bias_axes="e")(x),
    "Embedding": lambda x: L.Embedding(8, 4)(numbers(x)),
    "GRU": lambda x: L.GRU(4, recurrent_dropout=0.2)(rows(x)),
    "GRUCell": lambda x: L.RNN(L.GRUCell(4))(rows(x)),
    "GaussianDropout": lambda x: L.GaussianDropout(0.5)(x),
    "GaussianNoise": lambda x: L.GaussianNoise(0.5)(x),
    "GroupNormalization": lambda x: L.GroupNormalization(3)(x),
    "GroupQueryAttention": lambda x: L.GroupQueryAttention(4, 4, 2)(rows(x), rows(x)),
    "LSTM": lambda x: L.LSTM(4)(rows(x)),
    "LSTMCell": lambda x: L.RNN(L.LSTMCell(4))(rows(x)),
    "LayerNormalization": lambda x: L.LayerNormalization()(x),
    "MultiHeadAttention": lambda x: L.MultiHeadAttention(2, 4)(rows(x), rows(x)),
    "Normalization": lambda x: adapted(L.Normalization())(x),
    "PReLU": lambda x: L.PReLU("ones")(L.Rescaling(1 / 127, offset=-1)(x)),
    "RMSNormalization": lambda x: L.RMSNormalization()(x),
    "ReversibleEmbedding": lambda x: L.ReversibleEmbedding(8, 4)(numbers(x)),
    "SeparableConv1D": lambda x: L.SeparableConv1D(4, 3)(rows(x)),
    "SeparableConv2D": lambda x: L.SeparableConv2D(4, 3)(x),
    "SimpleRNN": lambda x: L.SimpleRNN(4)(rows(x)),
    "SimpleRNNCell": lambda x: L.RNN(L.SimpleRNNCell(4))(rows(x)),
    "SpatialDropout1D": lambda x: L.SpatialDropout1D(0.5)(rows(x)),
    "SpatialDropout2D": lambda x: L.SpatialDropout2D(0.5)(x),
    "SpatialDropout3D": lambda x: L.SpatialDropout3D(0.5)(volume(x)),
    "SpectralNormalization": lambda x: L.SpectralNormalization(L.Conv2D(4, 3))(x),
    "StackedRNNCells": lambda x: L.RNN([L.GRUCell(4), L.LSTMCell(4)])(rows(x)),
    "TimeDistributed": lambda x: L.TimeDistributed(L.Conv2D(4, 3))(frames(x)),
}
# Image layers, which are drawn from a seed of their own in training alone.
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "CenterCrop": (4, 4),
    "RandomBrightness": (0.2,),
    "RandomColorDegeneration": (0.2,),
    "RandomContrast": (0.2,),
    "RandomCrop": (8, 8),
    "RandomHue": (0.2,),
    "RandomPosterization": (4,),
    "RandomRotation": (0.2,),
    "RandomSaturation": (0.2,),
    "RandomSharpness": (0.2,),
    "RandomShear": ((0.0, 0.1), (0.0, 0.1)),  # Keras cannot load the range of a single number again
    "RandomTranslation": (0.1, 0.1),
    "RandomZoom": (0.1,),
    "Rescaling": (1 / 255,),
    "Resizing": (4, 4),
}


def stateful() -> Iterator[str]:
    """The names of Keras' layers whose own code, or that of a base, makes weights, seeds or other state."""
    base = L.Rescaling.__base__
    kinds = {kind: name for name, kind in reversed(vars(L).items()) if inspect.isclass(kind)}
    for kind, name in kinds.items():
        sources = "".join(map(inspect.getsource, set(kind.__mro__[:-1]) - set(L.Layer.__mro__)))
        if HOLDS_STATE.search(sources) and name not in NOT_OF_IMAGES:
            if issubclass(kind, base):
                TABLE.setdefault(name, lambda x, kind=kind, name=name: kind(*ARGUMENTS.get(name, ()))(x))
            yield name


STATEFUL = sorted(stateful())
GROUPS = [STATEFUL[i : i + 12] for i in range(0, len(STATEFUL), 12)]


def model_of(names: list[str]) -> keras.Model:
    """Each layer by itself on the image, and what they give added up; all weights are random, statistics too."""
    image = keras.Input(SIZE)
    parts = [L.Dense(2)(L.LayerNormalization()(L.Flatten()(TABLE[name](image)))) for name in names]
    parts.append(L.Dense(2)(L.Flatten()(L.Rescaling(1 / 64)(image))))
    model = keras.Model(image, L.Softmax()(L.Rescaling(0.2)(L.Add()(parts))), name="mine")
    rng = np.random.default_rng(0)
    for layer in model._flatten_layers():
        if not hasattr(layer, "adapt") and not layer._layers:
            for weights in layer.weights:
                scale = max(1, np.prod(weights.shape[:-1])) ** -0.5
                values = rng.uniform(0.2, 1.0, weights.shape)
                weights.assign(scale * values * rng.choice([-1, 1], values.shape) if weights.trainable else values)
    return model


def test_the_table_is_whole() -> None:
    assert set(STATEFUL) <= set(TABLE)


@pytest.mark.slow
@pytest.mark.parametrize("names", GROUPS, ids=" ".join)
def test_a_copy_and_a_saved_model_give_what_keras_predicts(names: list[str], tmp_path: Path) -> None:
    model = model_of(names)
    images = np.random.default_rng(2).integers(0, 256, (5, *SIZE), np.uint8)
    expected = model.predict(images.astype(np.float32), verbose=0)
    assert np.ptp(expected[:, 0]) > 1e-2
    np.testing.assert_allclose(keras_model.classifier(model, Path("m"), "ab").score(images), expected, atol=1e-5)
    saved_model.save(with_policy(model, "float32", rename=True), ("a", "b"), tmp_path / "saved")
    serve = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    np.testing.assert_allclose(serve(image=tf.constant(images, tf.float32))["scores"], expected, atol=1e-5)
