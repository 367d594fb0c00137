"""An output for pictures that are none of the classes: `unknown`, in stock Keras layers behind a pretrained network.

A picture is known where its features resemble those of some training image, in cosine similarity to centres of these. With k
rising from 0 to 1 with that similarity, the scores are those of the classes times k, and 1 - k for `unknown`. So an app that
reads labelled scores has it without a line of its own. What surrounds the things counts too: a class of insects on flowers lets
pictures of flowers through.
"""

import keras
import numpy as np

from hh_fast.config import UNKNOWN
from hh_fast.errors import UsageError

CENTRES, MOST_CENTRES = 32, 1024  # of a class, of all together
ROUNDS = 10  # of k-means
# What k rises by: from 0.12 to 0.88 while the similarity rises by 0.1.
SLOPE = 40.0
INT8_STEP = 1 / 256  # of a similarity: an image of the line itself stays on its side
TILES = 7  # of a scrambled picture, either way
BOTH, KNOWN_SCORES, WITH_UNKNOWN = "both_classes", "known_scores", "scores_with_unknown"  # layers


def feature_model(model: keras.Model) -> keras.Model:
    """The part of a classifier that makes of images the features (batch, d) which its last dense layers take.

    Raises:
        UsageError: these layers take whole maps of pixels, as those of the recipe's CNN do.
    """
    head = (keras.layers.Dense, keras.layers.Dropout, keras.layers.Activation, keras.layers.Softmax)
    tensor = model.outputs[0]
    layer, node, _ = tensor._keras_history
    while isinstance(layer, head):
        tensor = layer._inbound_nodes[node].input_tensors[0]
        layer, node, _ = tensor._keras_history
    if len(tensor.shape) != 2 or isinstance(layer, (keras.layers.Flatten, keras.layers.InputLayer)):
        raise UsageError(
            "`unknown` needs a network that ends in pooled features, which tell what is on a picture wherever it is: give"
            f" --backbone. Received: a model whose classifier begins after `{layer.name}`"
        )
    return keras.Model(model.inputs[0], tensor, name="features")


def has_unknown(model: keras.Model) -> bool:
    return model.outputs[0]._keras_history.operation.name == WITH_UNKNOWN


def without_unknown(model: keras.Model) -> keras.Model:
    """The classifier that `add_unknown` was given, or any other as it is."""
    if not has_unknown(model):
        return model
    scores = model.get_layer(KNOWN_SCORES)._inbound_nodes[0].input_tensors[0]
    layer = scores._keras_history.operation
    outputs = layer._inbound_nodes[0].input_tensors[1] if layer.name == BOTH else scores
    return keras.Model(model.inputs[0], outputs, name=model.name)


def find_centres(features: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """Centres of each class's features, float32 (k, d) of length 1: k-means by cosine similarity, drawn by `seed`.

    `CENTRES` a class, fewer where classes are many, and each image where a class has no more.
    """
    rng = np.random.default_rng(seed)
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-6)
    classes = np.unique(labels)
    most = max(1, min(CENTRES, MOST_CENTRES // len(classes)))
    return np.concatenate([_cluster(unit[labels == label], most, rng) for label in classes]).astype(np.float32)


def _cluster(unit: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    if len(unit) <= count:
        return unit
    centres = unit[[rng.integers(len(unit))]]
    while len(centres) < count:  # far ones are likelier to be drawn (k-means++)
        distance = np.maximum(1 - (unit @ centres.T).max(axis=1), 0) + 1e-9
        centres = np.concatenate([centres, unit[[rng.choice(len(unit), p=distance / distance.sum())]]])
    for _ in range(ROUNDS):
        nearest = (unit @ centres.T).argmax(axis=1)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, unit)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(lengths > 1e-6, sums / np.maximum(lengths, 1e-6), centres)
    return centres


def largest_similarity(features: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The cosine similarity of features, (n, d), to the nearest of `centres`, (n,)."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray((features @ centres.T).max(axis=1) / np.maximum(lengths[:, 0], 1e-6))


def margins(similarity: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """The bend above which images are `unknown`, (n,), from their largest similarity (n,) and chances of the classes (n, c)."""
    # A class with chance p stays ahead while p k > 1 - k, where k = sigmoid(SLOPE (similarity - bend)).
    return similarity + np.log(np.maximum(chances.max(axis=1), 1e-6)) / SLOPE


def find_bend(held: np.ndarray, keep: float, other: np.ndarray) -> float:
    """The similarity at which k is one half, from `margins` of held-out images, and of pictures that are none of the classes.

    So that a share of `keep` of the former keep their class; more, where no more of the latter pass by that.
    """
    bend = np.quantile(held, 1 - keep, method="lower") - INT8_STEP
    below = other[other <= bend]
    if len(other):
        lowest = max(below.max(initial=-1), held.min() - INT8_STEP)
        bend = min(bend, (bend + lowest) / 2)
    return float(bend)


def add_unknown(model: keras.Model, features: keras.Model, centres: np.ndarray, bend: float) -> keras.Model:
    """`model` with the output `unknown` as its last, from `centres` of its `features` and the `bend` of their similarity.

    `features` is `feature_model(model)`. It stays as it is, and shares its layers.
    """
    layers = keras.layers
    scores = model.outputs[0]
    if scores.shape[1] == 1:
        scores = layers.Concatenate(name=BOTH, dtype="float32")([layers.Rescaling(-1.0, offset=1.0)(scores), scores])
    unit = layers.UnitNormalization(name="unit_features", dtype="float32")(features.outputs[0])
    similarity = layers.Dense(len(centres), use_bias=False, name="similarity", dtype="float32", trainable=False)
    nearest = layers.GlobalMaxPooling1D(name="nearest")(layers.Reshape((-1, 1), name="each_centre")(similarity(unit)))
    gates = [
        layers.Dense(1, activation="sigmoid", name=name, dtype="float32", trainable=False)
        for name in ("known", UNKNOWN)
    ]
    known, unknown = (gate(nearest) for gate in gates)
    known_scores = layers.Multiply(name=KNOWN_SCORES, dtype="float32")([scores, known])
    outputs = layers.Concatenate(name=WITH_UNKNOWN, dtype="float32")([known_scores, unknown])
    similarity.set_weights([centres.T])
    for gate, slope in zip(gates, (SLOPE, -SLOPE), strict=True):
        gate.set_weights([np.full((1, 1), slope), np.array([-slope * bend])])
    return keras.Model(model.inputs[0], outputs, name=model.name)


def scrambled(images: np.ndarray) -> np.ndarray:
    """Pictures that are none of the classes: of each of uint8 (n, height, width, 3) the tiles, in an order of chance."""
    rng = np.random.default_rng(0)
    height, width = (side // TILES for side in images.shape[1:3])
    found = images.copy()
    for picture, image in zip(found, images, strict=True):
        for place, tile in enumerate(rng.permutation(TILES * TILES)):
            (to_y, to_x), (y, x) = divmod(place, TILES), divmod(int(tile), TILES)
            picture[to_y * height : (to_y + 1) * height, to_x * width : (to_x + 1) * width] = image[
                y * height : (y + 1) * height, x * width : (x + 1) * width
            ]
    return found
